"""Stored predictions, and what came of them."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd
import pytest

from predict_time import predict_time
from report_predicted_time import report_predicted_time
from vlmtsc.errors import InputError
from vlmtsc.planning.outcome import read_stored
from vlmtsc.reporting.predicted_time import PREDICTED, draw_predicted_time, read_outcomes, summary

PLACE = ("tiny", "GunPoint", "pooled")
RECIPE = {"epochs": 3, "token_budget": 0, "batch_size": 4, "early_stopping_patience": 0}
ASKED = {"temperature": True, "controls": False}


def build(results: Path, scenario: str, tokens: float = 100) -> None:
    """Write what is known of conversations that are built."""
    path = results / "conversations" / "/".join(PLACE) / scenario / "budget.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    parts = {part: {"cases": 40, "mean": tokens} for part in ("train", "validation", "test")}
    path.write_text(json.dumps({"tokens": parts}))


def finish(results: Path, scenario: str, seconds: float, digest: str, shared: str | None = None) -> None:
    """Write what a finished run leaves."""
    name = f"{'/'.join(PLACE)}/{scenario}/seed-0"
    folder = results / "runs" / name
    folder.mkdir(parents=True, exist_ok=True)
    hardware = {"processor": "Some CPU", "threads": 1, "gpus": []}
    record = {"wall_seconds": seconds, "epochs_done": 3, "stopped_by": "epochs", "settings": RECIPE}
    record |= {"hardware": hardware, "training_digest": digest, "shared_with": shared}
    (folder / "run_record.json").write_text(json.dumps(record))
    (folder / "metrics.json").write_text(json.dumps({"temperature_cases": 40}))
    parameters = {"representation": {"scenario": {"modality": "numbers"}}}
    (folder / "parameters.json").write_text(json.dumps(parameters))
    benchmark = results / "benchmarks/evaluate_model" / f"{name}.tsv"
    benchmark.parent.mkdir(parents=True, exist_ok=True)
    benchmark.write_text(f"s\n{seconds / 10}\n")


def predict(
    results: Path, *scenarios: str, recipe: dict[str, int] | None = None
) -> dict[str, dict[str, str]]:
    output = results / "predicted_time.csv"
    predict_time(
        results,
        *PLACE,
        runs=[f"{scenario}/seed-0" for scenario in scenarios],
        recipe=recipe or RECIPE,
        modalities=dict.fromkeys(scenarios, "numbers"),
        evaluation=ASKED,
        needs={"threads": 1, "gpu": 0},
        history=[],
        output=output,
    )
    return {name.split("/")[3]: row for name, row in read_stored(output).items()}


def test_a_stored_prediction_stays_until_another_training_is_asked_for(tmp_path: Path) -> None:
    build(tmp_path, "a")
    build(tmp_path, "b")
    first = predict(tmp_path, "a")["a"]
    assert (first["learnt_from"], first["before"], first["evaluate_controls"]) == ("0", "", "")
    finish(tmp_path, "a", 500, "x")
    both = predict(tmp_path, "a", "b")
    assert both["a"] == first
    assert both["b"]["learnt_from"] == "1"
    # One run that took far longer than assumed scales what is predicted of the next.
    assert float(both["b"]["seconds"]) > 5 * float(first["seconds"])
    # A selection of fewer runs forgets none.
    assert predict(tmp_path, "b") == both
    again = predict(tmp_path, "a", recipe={**RECIPE, "epochs": 6})["a"]
    assert again["before"] == "x"
    assert float(again["seconds"]) > float(both["b"]["seconds"])


def test_conversations_and_the_file_have_to_be_there(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="tiny/GunPoint/pooled/a/seed-0: no conversations in"):
        predict(tmp_path, "a")
    (tmp_path / "predicted_time.csv").write_text("model,seconds\ntiny,3\n")
    with pytest.raises(InputError, match="columns model, seconds; allowed: model, dataset"):
        predict(tmp_path, "a")


def outcomes(results: Path, *scenarios: str) -> pd.DataFrame:
    names = [f"{'/'.join(PLACE)}/{scenario}/seed-0" for scenario in scenarios]
    return read_outcomes(results, [read_stored(results / "predicted_time.csv")], names)


def test_only_a_run_that_was_made_after_its_prediction_is_compared(tmp_path: Path) -> None:
    for scenario in ("early", "late", "shared", "again"):
        build(tmp_path, scenario)
    finish(tmp_path, "early", 50, "early")
    finish(tmp_path, "again", 50, "old")
    stored = predict(tmp_path, "early", "late", "shared", "again")
    for scenario, shared in (("late", None), ("shared", "tiny/late"), ("again", None)):
        finish(tmp_path, scenario, 60, scenario, shared)
    rows = outcomes(tmp_path, "early", "late", "shared", "again").set_index("scenario")
    assert rows["state"].tolist() == ["done before", "predicted", "shared", "predicted"]
    assert rows.loc["early", ["predicted_seconds", "ratio"]].isna().all()
    assert rows.loc["late", "measured_seconds"] == 66
    assert rows.loc["late", "ratio"] == pytest.approx(66 / float(stored["late"]["seconds"]), rel=0.01)
    assert rows.loc["late", "train_tokens"] == 3 * 40 * 100
    text = summary(rows.reset_index())
    assert text.startswith("2 of 4 runs were predicted before they were made; 1 was there before.")


def test_a_run_without_benchmark_is_not_compared(tmp_path: Path) -> None:
    build(tmp_path, "a")
    predict(tmp_path, "a")
    finish(tmp_path, "a", 60, "a")
    next(tmp_path.rglob("evaluate_model/**/*.tsv")).unlink()
    rows = outcomes(tmp_path, "a")
    assert rows["state"].tolist() == ["not measured"]
    assert rows["ratio"].isna().all()


def test_table_and_figure(tmp_path: Path) -> None:
    for scenario in ("a", "b"):
        build(tmp_path, scenario)
    predict(tmp_path, "a", "b")
    for scenario in ("a", "b"):
        finish(tmp_path, scenario, 60, scenario)
    runs = tmp_path / "runs.csv"
    keys = [[*PLACE, scenario, 0] for scenario in ("a", "b")]
    pd.DataFrame(keys, columns=["model", "dataset", "protocol", "scenario", "seed"]).to_csv(runs, index=False)
    tables, figures = tmp_path / "tables", tmp_path / "figures"
    report_predicted_time(tmp_path, [tmp_path / "predicted_time.csv"], [runs], tables, figures)
    assert "| GunPoint  | b          |      0 | predicted |" in (tables / "predicted_time.md").read_text()
    assert {path.name for path in tables.iterdir()} == {
        f"predicted_time.{kind}" for kind in ("csv", "md", "html")
    }
    before = (figures / "predicted_time.png").read_bytes()
    report_predicted_time(tmp_path, [tmp_path / "predicted_time.csv"], [runs], tables, figures)
    assert (figures / "predicted_time.png").read_bytes() == before


def test_the_figure_has_a_panel_for_each_scenario_and_names_datasets(tmp_path: Path) -> None:
    for scenario in ("a", "b"):
        build(tmp_path, scenario)
    predict(tmp_path, "a", "b")
    finish(tmp_path, "a", 60, "a")
    finish(tmp_path, "b", 90, "b")
    rows = outcomes(tmp_path, "a", "b")
    assert set(rows["state"]) == {PREDICTED}
    figure = draw_predicted_time(rows)
    assert [axis.get_title() for axis in figure.axes] == ["a", "b"]
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["GunPoint"]
    empty = draw_predicted_time(rows.assign(ratio=float("nan")))
    assert "None of the 2 runs was predicted" in empty.texts[0].get_text()
