"""From run folders to tables and figures, on synthetic runs."""

from __future__ import annotations

import csv
import json
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from collect_runs import collect_runs
from draw_figures import draw_figures
from print_summary import print_summary
from vlmtsc.errors import InputError
from vlmtsc.evaluation.metrics import compute_metrics
from vlmtsc.evaluation.predictions import prediction_table
from vlmtsc.reporting.figures import draw_confusion_matrices
from vlmtsc.reporting.style import line_looks, wrapped
from vlmtsc.reporting.tables import (
    COLUMN_TYPES,
    accuracy_table,
    choose_scenarios,
    read_tables,
    run_row,
    runs_table,
    short_count,
    to_latex,
    to_markdown,
)
from write_tables import write_tables

LOG_COLUMNS = ["step", "epoch", "tokens", "loss", "learning_rate", "validation_loss", "validation_accuracy"]


def write_run(
    root: Path,
    dataset: str,
    scenario: str,
    seed: int = 1,
    *,
    model: str = "smolllava",
    protocol: str = "pooled",
    accuracy: float = 0.9,
    n_cases: int = 40,
    classes: tuple[str, ...] = ("1", "2"),
    validation_accuracy: float | None = None,
    train_tokens: int = 620_000,
    epochs: int = 8,
) -> Path:
    """Write the files of one finished run, as finetune_model and evaluate_model do."""
    generator = np.random.default_rng(len(dataset) * 31 + len(scenario) * 7 + seed)
    folder = root / model / dataset / protocol / scenario / f"seed-{seed}"
    folder.mkdir(parents=True)
    true = np.arange(n_cases) % len(classes)
    predicted = true.copy()
    wrong = generator.choice(n_cases, n_cases - round(accuracy * n_cases), replace=False)
    predicted[wrong] = (true[wrong] + generator.integers(1, len(classes), len(wrong))) % len(classes)
    scores = 3.0 * np.eye(len(classes))[predicted] + generator.normal(0, 0.3, (n_cases, len(classes)))
    (folder / "metrics.json").write_text(json.dumps(compute_metrics(true, scores, classes)))
    ids = [f"{dataset}-{case:05d}" for case in range(n_cases)]
    prediction_table(ids, scores, classes, true).to_csv(folder / "predictions.csv", index=False)
    record = {
        "model": model,
        "dataset": dataset,
        "protocol": protocol,
        "scenario": scenario,
        "seed": seed,
        "wall_seconds": 61.5,
        "train_samples": 400,
        "train_tokens": train_tokens,
        "token_budget": 2_000_000,
        "epochs_done": float(epochs),
        "steps": 12 * epochs,
        "stopped_by": "epochs",
        "tokens_per_second": 9_800.0,
        "samples_per_second": 55.0,
        "peak_memory_mb": 1_400.0,
        "trainable_parameters": 2_000_000,
        "total_parameters": 90_000_000,
        "versions": {"python": "3.12"},
        "git_revision": "0123abc",
        "shared_with": None,
        "processes": 1,
        "hardware": {"processor": "EPYC", "cores": 2, "threads": 2, "memory_gib": 8.0, "gpus": []},
        "settings": {"precision": "bf16"},
        "validation_accuracy": accuracy if validation_accuracy is None else validation_accuracy,
        "validation_loss": 0.3,
    }
    (folder / "run_record.json").write_text(json.dumps(record))
    rows = []
    for step in range(1, 12 * epochs + 1):
        tokens = train_tokens * step // (12 * epochs)
        loss = 0.02 + np.exp(-step / 15) * generator.uniform(0.6, 1.4)
        rows.append([step, step / 12, tokens, f"{loss:.5f}", 2e-4, "", ""])
        if step % 12 == 0:
            share = accuracy - 0.4 * np.exp(-step / 20)
            rows.append([step, step / 12, tokens, "", "", f"{0.06 + np.exp(-step / 15):.5f}", f"{share:.5f}"])
    with (folder / "training_log.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(LOG_COLUMNS)
        writer.writerows(rows)
    return folder


def collect(
    results: Path, dataset: str, runs: list[str], model: str = "smolllava", protocol: str = "pooled"
) -> list[Path]:
    """Run collect_runs as its rule does; returns the four files."""
    folder = results / "tables" / "by_dataset" / model / dataset / protocol
    files = [folder / f"{name}.csv" for name in ["runs", "training", "confusion", "reliability"]]
    collect_runs(results / "runs", model, dataset, protocol, runs, *files)
    return files


def write_everything(results: Path, collected: list[list[Path]]) -> None:
    """Run write_tables and draw_figures as their rules do."""
    runs, training, confusion, _ = (list(paths) for paths in zip(*collected, strict=True))
    write_tables(runs, results / "tables")
    draw_figures(results / "tables" / "runs.csv", training, confusion, results / "figures")


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Results of two datasets with two scenarios; one requested run is missing."""
    results = tmp_path_factory.mktemp("project") / "results"
    write_run(results / "runs", "GunPoint", "plot", accuracy=0.95, validation_accuracy=0.8)
    write_run(results / "runs", "GunPoint", "numbers", accuracy=0.9, validation_accuracy=0.9)
    write_run(results / "runs", "BasicMotions", "plot", classes=("walk", "NA", "run_fast"))
    runs = ["plot/seed-1", "numbers/seed-1"]
    write_everything(results, [collect(results, name, runs) for name in ["GunPoint", "BasicMotions"]])
    return results


def test_every_run_has_one_tidy_row_with_metrics_and_costs(finished: Path) -> None:
    runs = read_tables([finished / "tables" / "runs.csv"], COLUMN_TYPES)
    assert list(runs["status"]) == ["done", "done", "done", "not run"]
    first, missing = runs.iloc[0], runs.iloc[3]
    assert (first["dataset"], first["scenario"], first["seed"]) == ("GunPoint", "plot", 1)
    assert first["accuracy"] == 0.95
    assert first["accuracy_low"] < 0.95 < first["accuracy_high"]
    assert (first["train_tokens"], first["token_budget"], first["stopped_by"]) == (
        620_000,
        2_000_000,
        "epochs",
    )
    assert pd.isna(missing["accuracy"])
    assert pd.isna(missing["train_tokens"])
    # whole numbers stay whole, although a missing run makes the column hold an empty cell
    assert ",620000," in (finished / "tables" / "runs.csv").read_text()


def test_costs_and_reliability_are_collected_from_what_a_run_has_left(tmp_path: Path) -> None:
    write_run(tmp_path / "runs", "GunPoint", "plot", accuracy=0.9)
    write_run(tmp_path / "runs", "GunPoint", "numbers")
    place = tmp_path / "benchmarks/smolllava/GunPoint/pooled/plot/seed-1.tsv"
    place.parent.mkdir(parents=True)
    place.write_text("s\th:m:s\n20.5\t0:00:20\n")
    files = [tmp_path / f"{name}.csv" for name in ("runs", "training", "confusion", "reliability")]
    asked = ["plot/seed-1", "numbers/seed-1", "other/seed-1"]
    root = tmp_path / "runs"
    collect_runs(root, "smolllava", "GunPoint", "pooled", asked, *files, benchmarks=tmp_path / "benchmarks")
    runs = read_tables([files[0]], COLUMN_TYPES).set_index("scenario")
    assert runs["evaluation_seconds"].to_list()[0] == 20.5
    assert runs["evaluation_seconds"].isna().to_list() == [False, True, True]
    assert runs.loc["plot", "compute_seconds"] == pytest.approx(2 * (61.5 + 20.5))
    assert runs["device"].to_list()[:2] == ["EPYC, 2 threads"] * 2
    assert runs["flops_per_token"].isna().all()  # these runs have no adapter
    reliability = pd.read_csv(files[3])
    assert set(reliability["scores"]) == {"as scored"}
    assert reliability.groupby("scenario")["cases"].sum().to_dict() == {"plot": 40, "numbers": 40}


def test_bold_is_chosen_on_validation_even_where_another_has_the_better_test(finished: Path) -> None:
    markdown = (finished / "tables" / "accuracy.md").read_text()
    assert "| **90.0 [76.9, 96.0] (620k)** |" in markdown
    assert "95.0 [83.5, 98.6] (620k)" in markdown
    assert "**95.0" not in markdown
    assert "not run" in markdown
    assert "Protocol: pooled." in markdown
    table = pd.read_csv(finished / "tables" / "accuracy.csv")
    assert list(table["chosen on validation"]) == ["numbers", "plot"]
    assert list(table.columns[:2]) == ["dataset", "chosen on validation"]
    assert list(table["majority %"]) == [50.0, 35.0]


def test_latex_table_escapes_and_sets_the_same_cell_in_bold(finished: Path) -> None:
    latex = (finished / "tables" / "accuracy.tex").read_text()
    assert r"\textbf{90.0 [76.9, 96.0] (620k)}" in latex
    assert r"majority \%" in latex
    assert r"\toprule" in latex
    assert latex.count(r"\textbf{") == 2


class CellReader(HTMLParser):
    """Collects the texts of table cells."""

    def __init__(self) -> None:
        super().__init__()
        self.cells: list[str] = []

    def handle_data(self, data: str) -> None:
        if self.get_starttag_text() and self.get_starttag_text().startswith("<td"):  # type: ignore[union-attr]
            self.cells.append(data)


def test_html_tables_are_self_contained_and_hold_every_cell(finished: Path) -> None:
    page = (finished / "tables" / "accuracy.html").read_text()
    reader = CellReader()
    reader.feed(page)
    assert "90.0 [76.9, 96.0] (620k)" in reader.cells
    assert "BasicMotions" in reader.cells
    assert page.count('class="chosen"') == 2
    for name in ["accuracy.html", "runs.html", "costs.html"]:
        text = (finished / "tables" / name).read_text()
        assert "http" not in text
        assert "src=" not in text


def test_figures_are_written_as_png_and_pdf_and_nothing_else_is_left(finished: Path) -> None:
    names = ["accuracy_heatmap", "confusion_matrices", "training_curves"]
    assert sorted(path.name for path in (finished / "figures").iterdir()) == sorted(
        f"{name}.{suffix}" for name in names for suffix in ["pdf", "png"]
    )
    assert all(path.stat().st_size > 5_000 for path in (finished / "figures").iterdir())


def test_drawing_again_gives_the_same_bytes(finished: Path, tmp_path: Path) -> None:
    folder = finished / "tables" / "by_dataset" / "smolllava" / "GunPoint" / "pooled"
    for name in ["first", "second"]:
        draw_figures(
            folder / "runs.csv", [folder / "training.csv"], [folder / "confusion.csv"], tmp_path / name
        )
    for path in (tmp_path / "first").iterdir():
        assert path.read_bytes() == (tmp_path / "second" / path.name).read_bytes(), path.name


def test_summary_prints_the_table_and_where_everything_is(
    finished: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    print_summary(finished)
    printed = capsys.readouterr().out
    assert "GunPoint" in printed
    assert "accuracy_heatmap.png" in printed
    assert "snakemake --report" in printed
    with pytest.raises(InputError, match="run the workflow first"):
        print_summary(tmp_path)


def rows_of(*runs: dict) -> pd.DataFrame:
    """A tidy table of runs from a few values each."""
    common = {"model": "m", "dataset": "d", "protocol": "pooled", "seed": 1, "status": "done"} | {
        "accuracy": 0.9,
        "accuracy_low": 0.8,
        "accuracy_high": 0.95,
        "validation_accuracy": 0.9,
        "validation_loss": 0.3,
        "train_tokens": 1000,
        "n_cases": 40,
        "majority_rate": 0.5,
    }
    return runs_table([common | run for run in runs])


def test_the_test_part_takes_no_part_in_the_choice() -> None:
    table = rows_of(
        {"scenario": "a", "validation_accuracy": 0.8}, {"scenario": "b", "validation_accuracy": 0.9}
    )
    for test_accuracy in [0.1, 1.0]:
        assert list(choose_scenarios(table.assign(accuracy=[1.0, test_accuracy]))) == ["b"]


def test_a_tie_on_validation_goes_to_the_lower_loss_then_to_the_first() -> None:
    assert list(choose_scenarios(rows_of({"scenario": "a"}, {"scenario": "b", "validation_loss": 0.2}))) == [
        "b"
    ]
    assert list(choose_scenarios(rows_of({"scenario": "a"}, {"scenario": "b"}))) == ["a"]


def test_several_seeds_show_mean_deviation_and_what_is_missing() -> None:
    table = rows_of(
        {"scenario": "a", "seed": 1, "accuracy": 0.90},
        {"scenario": "a", "seed": 2, "accuracy": 0.94},
        {"scenario": "a", "seed": 3, "status": "not run"},
        {"scenario": "b", "seed": 1, "status": "not run"},
    )
    cells = accuracy_table(table).cells.iloc[0]
    assert cells["a"] == "92.0 ± 2.8, 2 of 3 seeds (1k)"
    assert cells["b"] == "not run"
    assert r"92.0 $\pm$ 2.8" in to_latex(accuracy_table(table))


def test_several_models_and_protocols_get_rows_of_their_own_in_blocks() -> None:
    table = rows_of(
        {"scenario": "a", "dataset": "d1", "model": "one"},
        {"scenario": "a", "dataset": "d1", "model": "two"},
        {"scenario": "b", "dataset": "d2", "model": "one", "protocol": "official"},
        {"scenario": "a", "dataset": "d2", "model": "one"},
    )
    cells = accuracy_table(table).cells
    assert list(cells["model"]) == ["one", "one", "two", "one"]
    assert list(cells["protocol"]) == ["pooled", "pooled", "pooled", "official"]
    assert list(cells["b"]) == ["-", "-", "-", "90.0 [80.0, 95.0] (1k)"]
    assert "| model" in to_markdown(accuracy_table(table))


def test_a_record_of_another_run_or_with_a_lacking_key_is_refused(tmp_path: Path) -> None:
    folder = write_run(tmp_path, "GunPoint", "plot")
    metrics, record = (
        json.loads((folder / name).read_text()) for name in ["metrics.json", "run_record.json"]
    )
    key = {name: record[name] for name in ["model", "dataset", "protocol", "scenario", "seed"]}
    assert run_row(key, metrics, record)["accuracy"] == 0.9
    with pytest.raises(InputError, match="says scenario 'plot', expected 'numbers'"):
        run_row(key | {"scenario": "numbers"}, metrics, record)
    del record["train_tokens"]
    with pytest.raises(InputError, match="the run record lacks train_tokens"):
        run_row(key, metrics, record)


def test_collecting_only_missing_runs_gives_rows_but_refuses_to_draw(tmp_path: Path) -> None:
    runs, training, confusion, _ = collect(tmp_path, "GunPoint", ["plot/seed-1"])
    assert list(read_tables([runs], COLUMN_TYPES)["status"]) == ["not run"]
    write_tables([runs], tmp_path / "tables")
    assert "not run" in (tmp_path / "tables" / "accuracy.md").read_text()
    with pytest.raises(InputError, match="no run is finished"):
        draw_figures(runs, [training], [confusion], tmp_path / "figures")
    with pytest.raises(InputError, match="'plot', expected SCENARIO/seed-NUMBER"):
        collect(tmp_path, "GunPoint", ["plot"])


@pytest.mark.parametrize(
    ("number", "text"),
    [(950, "950"), (62_345, "62.3k"), (620_000, "620k"), (999_950, "1M"), (1.25e9, "1.25G")],
)
def test_counts_are_written_short(number: float, text: str) -> None:
    assert short_count(number) == text


def test_no_two_lines_look_alike_and_long_names_break() -> None:
    looks = [str(look) for look in line_looks([str(index) for index in range(64)]).values()]
    assert len(set(looks)) == 64
    assert (
        wrapped("BASELINE_2048_adaptive_ds_plot_ds").replace("\n", "") == "BASELINE_2048_adaptive_ds_plot_ds"
    )
    assert max(map(len, wrapped("BASELINE_2048_adaptive_ds_plot_ds").split("\n"))) <= 15


def test_several_seeds_get_an_interval_over_seeds_and_cases(tmp_path: Path) -> None:
    for seed, accuracy in ((1, 0.95), (2, 0.85)):
        write_run(tmp_path / "runs", "GunPoint", "plot", seed, accuracy=accuracy)
    write_run(tmp_path / "runs", "GunPoint", "numbers", 1)
    collected, *_ = collect(
        tmp_path, "GunPoint", ["plot/seed-1", "plot/seed-2", "plot/seed-3", "numbers/seed-1"]
    )
    runs = read_tables([collected], COLUMN_TYPES)
    low, high = (runs[name] for name in ("accuracy_low_over_seeds", "accuracy_high_over_seeds"))
    assert low[0] == low[1] < 0.9 < high[0] == high[1]
    assert low[2:].isna().all()  # a seed that was not run, a scenario with one seed
    cell = accuracy_table(runs).cells["plot"].iloc[0]
    assert cell == f"90.0 ± 7.1 [{100 * low[0]:.1f}, {100 * high[0]:.1f}], 2 of 3 seeds (620k)"
    # Seeds that were scored on other cases do not belong together.
    path = tmp_path / "runs/smolllava/GunPoint/pooled/plot/seed-2/predictions.csv"
    pd.read_csv(path).iloc[1:].to_csv(path, index=False)
    with pytest.raises(InputError, match="scored on different cases"):
        collect(tmp_path, "GunPoint", ["plot/seed-1", "plot/seed-2"])


def test_a_confusion_matrix_of_many_classes_is_small_in_print(tmp_path: Path) -> None:
    names = [str(number) for number in range(300)]
    counts = pd.DataFrame({"true": names, "predicted": names[::-1], "count": 1})
    counts = counts.assign(model="m", dataset="d", protocol="pooled", scenario="plot", seed=0)
    draw_confusion_matrices(counts).savefig(tmp_path / "figure.pdf")
    assert (tmp_path / "figure.pdf").stat().st_size < 100_000  # as shapes, ten times as much
