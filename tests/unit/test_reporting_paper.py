"""Published results beside ours, and tables of runs that have partly failed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from test_reporting_runs import collect, write_run

from vlmtsc.configuration import load_configuration_files
from vlmtsc.errors import InputError
from vlmtsc.reporting.incomplete import failures_text, last_line
from vlmtsc.reporting.paper import PaperTables, paper_tables, read_published
from vlmtsc.reporting.tables import COLUMN_TYPES, read_tables
from write_incomplete_tables import write_incomplete_tables
from write_paper_table import write_paper_table

ROOT = Path(__file__).parents[2]
MATRIX: dict[str, Any] = {
    "models": ["smolllava"],
    "datasets": ["TwoLeadECG", "HandOutlines", "Other"],
    "scenarios": ["plot", "BASELINE_2048", "BASELINE_4096"],
}


def test_the_published_numbers_are_those_of_the_paper() -> None:
    published = read_published(ROOT / "config/published.tsv")
    assert len(published) == 12
    configuration = load_configuration_files([ROOT / "config/paper.yaml"], ROOT)
    assert set(published["dataset"]) == set(configuration.datasets)
    assert set(published["scenario"]) <= set(configuration.scenarios)
    best = published.groupby("dataset")["accuracy"].max()
    assert best["FreezerSmallTrain"] == 98.78
    assert best["HandOutlines"] == 66.7


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ("A\tplot\t101\tx", "A, plot: accuracy '101'; allowed: 0 to 100"),
        ("A\tplot\tmany\tx", "A, plot: accuracy 'many'; allowed: 0 to 100"),
        ("A\tplot\t50\tx\nA\tplot\t60\tx", "A, plot stands in the table twice"),
    ],
)
def test_a_wrong_published_number_is_named(tmp_path: Path, row: str, message: str) -> None:
    (tmp_path / "published.tsv").write_text(f"dataset\tscenario\taccuracy\tsource\n{row}\n")
    with pytest.raises(InputError, match=message):
        read_published(tmp_path / "published.tsv")


@pytest.fixture
def collected(tmp_path: Path) -> list[Path]:
    """Give collected runs: two scenarios of one dataset, of which the worse one on the test part is chosen."""
    write_run(tmp_path / "runs", "TwoLeadECG", "plot", accuracy=1.0, n_cases=200, validation_accuracy=0.9)
    write_run(
        tmp_path / "runs", "TwoLeadECG", "BASELINE_2048", accuracy=0.99, n_cases=200, validation_accuracy=0.95
    )
    write_run(tmp_path / "runs", "HandOutlines", "plot", accuracy=0.7, n_cases=100)
    return [
        collect(tmp_path, "TwoLeadECG", ["plot/seed-1", "BASELINE_2048/seed-1"])[0],
        collect(tmp_path, "HandOutlines", ["plot/seed-1"])[0],
    ]


def made(collected: list[Path], protocol: str = "pooled") -> PaperTables:
    runs = read_tables(collected, COLUMN_TYPES).assign(protocol=protocol)
    return paper_tables(runs, read_published(ROOT / "config/published.tsv"), protocol=protocol, **MATRIX)


def test_published_and_ours_stand_side_by_side(collected: list[Path]) -> None:
    tables = made(collected)
    rows = tables.scenario_numbers.set_index(["dataset", "scenario"])
    assert len(rows) == 9
    ours = rows.loc["TwoLeadECG", "BASELINE_2048"]
    assert ours["published"] == 99.1
    assert ours["ours"] == pytest.approx(99.0)
    assert ours["difference"] == pytest.approx(-0.1)
    assert ours["low"] < 99 < ours["high"]
    assert (ours["majority"], ours["tokens"], ours["token budget"]) == (50, 620_000, 2_000_000)
    assert rows.loc["TwoLeadECG", "BASELINE_4096"]["status"] == "not run"
    assert pd.isna(rows.loc["Other", "plot"]["ours"])
    shown = tables.scenarios.cells.set_index(["dataset", "scenario"])
    assert shown.loc["HandOutlines", "BASELINE_4096"]["ours %"] == "not run"
    assert shown.loc["HandOutlines", "BASELINE_4096"]["published %"] == "66.7"
    assert shown.loc["TwoLeadECG", "BASELINE_2048"]["budget"] == "2M"
    assert "inferred" in tables.scenarios.note


def test_the_scenario_that_is_compared_is_chosen_on_validation(collected: list[Path]) -> None:
    tables = made(collected)
    best = tables.best_numbers.set_index("dataset")
    # The plot has the higher test accuracy, and would pass the published one.
    assert best.loc["TwoLeadECG", "scenario"] == "BASELINE_2048"
    assert not best.loc["TwoLeadECG", "reached"]
    assert best.loc["HandOutlines", "reached"]
    assert best.loc["HandOutlines", "published scenario"] in ("BASELINE_2048", "BASELINE_4096")
    assert best.loc["Other", "reached"] is None
    cells = tables.best.cells.set_index("dataset")
    assert cells["reached"].to_dict() == {"TwoLeadECG": "no", "HandOutlines": "yes", "Other": "-"}
    chosen = tables.scenarios.cells[tables.scenarios.chosen["ours %"]]
    assert chosen[["dataset", "scenario"]].to_numpy().tolist() == [
        ["TwoLeadECG", "BASELINE_2048"],
        ["HandOutlines", "plot"],
    ]


def test_a_dataset_without_a_result_says_why(collected: list[Path]) -> None:
    runs = read_tables(collected, COLUMN_TYPES)
    runs.loc[runs["dataset"] == "HandOutlines", ["status", "validation_accuracy"]] = ["failed", None]
    published = read_published(ROOT / "config/published.tsv")
    cells = paper_tables(runs, published, protocol="pooled", **MATRIX).best.cells.set_index("dataset")
    assert cells["ours %"][["HandOutlines", "Other"]].tolist() == ["failed", "not run"]
    assert cells["reached"]["HandOutlines"] == "-"


def test_published_numbers_are_of_the_pooled_split(collected: list[Path]) -> None:
    tables = made(collected, protocol="official")
    assert tables.scenario_numbers["published"].isna().all()
    assert tables.scenario_numbers["difference"].isna().all()
    assert set(tables.best.cells["reached"]) == {"-"}


def test_paper_files(collected: list[Path], tmp_path: Path) -> None:
    output = tmp_path / "out"
    write_paper_table(collected, ROOT / "config/published.tsv", **MATRIX, protocol="pooled", output=output)
    kinds = {"paper.csv", "paper.md", "paper.tex", "paper.html", "paper_best.csv", "paper_best.html"}
    assert {path.name for path in output.iterdir()} == kinds
    text = (output / "paper.md").read_text()
    assert "**99.0 [" in text
    assert "not run" in text
    assert r"\label{tab:paper}" in (output / "paper.tex").read_text()
    assert len(pd.read_csv(output / "paper.csv")) == 9


def state(scenario: str, status: str, **more: str) -> dict[str, object]:
    key = {"model": "smolllava", "dataset": "TwoLeadECG", "protocol": "pooled", "scenario": scenario}
    return key | {"seed": 1, "status": status} | more


def test_what_failed_is_shown_with_its_reason(tmp_path: Path) -> None:
    write_run(tmp_path / "runs", "TwoLeadECG", "plot", accuracy=0.9)
    log = tmp_path / "step.log"
    log.write_text("10:00:00 INFO begins\n10:00:01 ERROR no source has it | at all\n\n")
    states = [
        state("plot", "done"),
        state("numbers", "failed", step="finetune_model", log=str(log)),
        state("both", "not run"),
        state("gone", "done"),  # its files are not there
    ]
    (tmp_path / "states.json").write_text(json.dumps(states))
    write_incomplete_tables(tmp_path / "runs", tmp_path / "states.json", tmp_path / "incomplete")
    runs = pd.read_csv(tmp_path / "incomplete/runs.csv", keep_default_na=False)
    assert runs["status"].tolist() == ["done", "failed", "not run", "not run"]
    assert runs["reason"].tolist() == ["", "no source has it | at all", "", ""]
    assert runs["step"].tolist() == ["", "finetune_model", "", ""]
    text = (tmp_path / "incomplete/accuracy.md").read_text()
    row = next(line for line in text.splitlines() if line.startswith("| TwoLeadECG"))
    assert [cell.strip() for cell in row.split("|")[-4:-1]] == ["failed", "not run", "not run"]
    assert "- TwoLeadECG, finetune_model (1 run: numbers): no source has it" in text
    assert "1 of 4 runs have a result; 1 failed" in failures_text(runs)
    assert {path.name for path in (tmp_path / "incomplete").iterdir()} == {
        "runs.csv",
        "accuracy.csv",
        "accuracy.md",
    }


def test_the_last_line_of_a_log(tmp_path: Path) -> None:
    log = tmp_path / "a.log"
    assert last_line(log) == f"no log {log}"
    log.write_text("\n\n")
    assert last_line(log) == f"empty log {log}"
    log.write_bytes(b"10:00:00 ERROR failed\nTraceback\nValueError: \xff\n")
    assert last_line(log).startswith("ValueError: ")
    log.write_text("10:00:00 INFO step 3 of 9\n")
    assert last_line(log) == "ended without an error, after: step 3 of 9"


def test_every_scenario_of_the_paper_has_its_factors() -> None:
    rows = load_configuration_files([], ROOT).scenario_table
    for name, row in rows.items():
        if name.startswith(("BASELINE_", "WITH_STATS_")):
            assert (row.modality, row.numbers, row.round_to) == ("both", "decimals", 2), name
            assert str(row.context_length) in name
            assert (row.downsampling == "adaptive") == ("adaptive_ds" in name)
            assert (row.plot == "line_downsampled") == name.endswith("_plot_ds")
            assert (row.context_text == "stats") == name.startswith("WITH_STATS")
