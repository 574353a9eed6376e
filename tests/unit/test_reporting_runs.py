"""From run folders to the tables of runs and accuracies, of runs of which some may have failed."""

from __future__ import annotations

import json
from html.parser import HTMLParser
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pandas as pd
import pytest
from finished_runs import summarised, write_run

from vlmtsc.errors import InputError
from vlmtsc.files import read_json
from vlmtsc.paths import Paths, Run
from vlmtsc.planning import last_line, results_summary, run_states
from vlmtsc.reporting.runs import (
    COLUMN_TYPES,
    accuracy_table,
    choose_scenarios,
    failures_text,
    read_states,
    run_row,
    runs_table,
)
from vlmtsc.reporting.tables import read_tables, short_count
from write_tables import write_tables


def written(results: Path, datasets: list[str], scenarios: list[str], **options: Any) -> Path:
    """Write the tables of the runs with seed 0, and return their folder."""
    whole = {"scenarios": scenarios, "seeds": [0], "selected": datasets, "output": results / "tables"}
    write_tables(str(results), ["tiny"], datasets, "pooled", **{**whole, **options})
    return results / "tables"


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Results of two datasets with two scenarios."""
    results = tmp_path_factory.mktemp("project") / "results"
    write_run(results, "GunPoint", "plot", wrong=2, validation_accuracy=0.8)
    write_run(results, "GunPoint", "numbers", wrong=4, validation_accuracy=0.9)
    for scenario in ("plot", "numbers"):
        write_run(results, "BasicMotions", scenario, classes=("walk", "NA", "run_fast"))
    for name in ("GunPoint", "BasicMotions"):
        summarised(results, name, ["plot", "numbers"])
    written(results, ["GunPoint", "BasicMotions"], ["plot", "numbers"])
    return results


def test_every_run_has_one_tidy_row_with_metrics_and_costs(finished: Path) -> None:
    runs = read_tables([finished / "tables/runs.csv"], COLUMN_TYPES)
    assert list(runs["status"]) == ["done"] * 4
    first = runs.iloc[0]
    assert (first["dataset"], first["scenario"], first["seed"]) == ("GunPoint", "plot", 0)
    assert first["accuracy_low"] < first["accuracy"] == 0.95 < first["accuracy_high"]
    assert (first["train_tokens"], first["token_budget"], first["stopped_by"]) == (
        620_000,
        2_000_000,
        "epochs",
    )


def test_costs_and_reliability_come_from_the_files_that_a_run_has_left(tmp_path: Path) -> None:
    for scenario in ("plot", "numbers"):
        run = write_run(tmp_path, "GunPoint", scenario)
    benchmark = Path(Paths(str(tmp_path)).benchmark("evaluate_model", str(run)))
    benchmark.parent.mkdir(parents=True)
    benchmark.write_text("s\th:m:s\n20.5\t0:00:20\n")
    folder = summarised(tmp_path, "GunPoint", ["plot", "numbers"])
    runs = read_tables([folder / "runs.csv"], COLUMN_TYPES).set_index("scenario")
    assert runs["evaluation_seconds"].isna().to_dict() == {"plot": True, "numbers": False}
    assert runs.loc["numbers", "compute_seconds"] == pytest.approx(2 * (60 + 20.5))
    assert set(runs["device"]) == {"EPYC, 2 threads"}
    assert runs["flops_per_token"].isna().all()  # these runs have no adapter
    reliability = pd.read_csv(folder / "reliability.csv")
    assert set(reliability["scores"]) == {"as scored"}
    assert reliability.groupby("scenario")["cases"].sum().to_dict() == {"plot": 40, "numbers": 40}


def test_bold_is_chosen_on_validation_even_where_another_has_the_better_test(finished: Path) -> None:
    markdown = (finished / "tables/accuracy.md").read_text()
    assert "| **90.0 [76.9, 96.0] (620k)** |" in markdown
    assert "95.0 [83.5, 98.6] (620k)" in markdown
    assert "**95.0" not in markdown
    assert "Protocol: pooled." in markdown
    table = pd.read_csv(finished / "tables/accuracy.csv")
    assert list(table["chosen on validation"]) == ["numbers", "plot"]
    assert list(table.columns[:2]) == ["dataset", "chosen on validation"]
    assert list(table["majority %"]) == [50.0, 35.0]


def test_latex_table_escapes_and_sets_the_same_cell_in_bold(finished: Path) -> None:
    latex = (finished / "tables/accuracy.tex").read_text()
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
        if (self.get_starttag_text() or "").startswith("<td"):
            self.cells.append(data)


def test_html_tables_are_self_contained_and_hold_every_cell(finished: Path) -> None:
    page = (finished / "tables/accuracy.html").read_text()
    reader = CellReader()
    reader.feed(page)
    assert {"90.0 [76.9, 96.0] (620k)", "BasicMotions"} <= set(reader.cells)
    assert page.count('class="chosen"') == 2
    for path in (finished / "tables").glob("*.html"):
        text = path.read_text()
        assert "http" not in text
        assert "src=" not in text


def test_summary_prints_the_table_and_where_everything_is(finished: Path, tmp_path: Path) -> None:
    printed = results_summary(finished, ["comparisons", "accuracy"])
    assert (finished / "tables/accuracy.md").read_text() in printed
    assert "accuracy_heatmap.png" in printed
    assert "comparisons.md (also .csv, .html, .tex)" in printed
    with pytest.raises(InputError, match="run the workflow first"):
        results_summary(tmp_path, ["accuracy"])


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


def test_the_test_set_plays_no_role_in_the_choice() -> None:
    table = rows_of(
        {"scenario": "a", "validation_accuracy": 0.8}, {"scenario": "b", "validation_accuracy": 0.9}
    )
    for test_accuracy in [0.1, 1.0]:
        assert list(choose_scenarios(table.assign(accuracy=[1.0, test_accuracy]))) == ["b"]


def test_a_run_without_fine_tuning_is_chosen_only_where_there_is_no_other() -> None:
    untuned = {"validation_accuracy": 0.95, "stopped_by": "untuned"}
    both = rows_of({"scenario": "a__untuned"} | untuned, {"scenario": "a"})
    assert list(choose_scenarios(both)) == ["a"]
    assert list(choose_scenarios(both.iloc[:1])) == ["a__untuned"]


@pytest.mark.parametrize(("loss", "chosen"), [(0.2, "b"), (0.3, "a")])
def test_a_tie_on_validation_goes_to_the_lower_loss_then_to_the_first(loss: float, chosen: str) -> None:
    table = rows_of({"scenario": "a"}, {"scenario": "b", "validation_loss": loss})
    assert list(choose_scenarios(table)) == [chosen]


def test_several_seeds_show_mean_deviation_and_what_is_missing() -> None:
    table = accuracy_table(
        rows_of(
            {"scenario": "a", "seed": 1, "accuracy": 0.90},
            {"scenario": "a", "seed": 2, "accuracy": 0.94},
            {"scenario": "a", "seed": 3, "status": "not run"},
            {"scenario": "b", "seed": 1, "status": "not run"},
        )
    )
    cells = table.cells.iloc[0]
    assert cells["a"] == "92.0 ± 2.8, 2 of 3 seeds (1k)"
    assert cells["b"] == "not run"
    assert r"92.0 $\pm$ 2.8" in table.to_latex("accuracy")


def test_several_models_and_protocols_get_rows_of_their_own_in_blocks() -> None:
    table = accuracy_table(
        rows_of(
            {"scenario": "a", "dataset": "d1", "model": "one"},
            {"scenario": "a", "dataset": "d1", "model": "two"},
            {"scenario": "b", "dataset": "d2", "model": "one", "protocol": "official"},
            {"scenario": "a", "dataset": "d2", "model": "one"},
        )
    )
    assert list(table.cells["model"]) == ["one", "one", "two", "one"]
    assert list(table.cells["protocol"]) == ["pooled", "pooled", "pooled", "official"]
    assert list(table.cells["b"]) == ["-", "-", "-", "90.0 [80.0, 95.0] (1k)"]


def test_a_record_of_another_run_or_with_a_lacking_key_is_refused(tmp_path: Path) -> None:
    run = write_run(tmp_path, "GunPoint", "plot")
    folder = Path(Paths(str(tmp_path)).run(run))
    metrics, record = (read_json(folder / name) for name in ["metrics.json", "run_record.json"])
    assert run_row(run, metrics, record)["accuracy"] == 0.9
    with pytest.raises(InputError, match="says scenario 'plot', expected 'numbers'"):
        run_row(Run("tiny", "GunPoint", "pooled", "numbers", 0), metrics, record)
    del record["train_tokens"]
    with pytest.raises(InputError, match="the run record lacks train_tokens"):
        run_row(run, metrics, record)


@pytest.mark.parametrize(
    ("number", "text"),
    [(950, "950"), (62_345, "62.3k"), (620_000, "620k"), (999_950, "1M"), (1.25e9, "1.25G")],
)
def test_counts_are_written_short(number: float, text: str) -> None:
    assert short_count(number) == text


def test_several_seeds_get_an_interval_over_seeds_and_cases(tmp_path: Path) -> None:
    for seed, wrong in enumerate((2, 6)):
        write_run(tmp_path, "GunPoint", "plot", seed, wrong=wrong)
    folder = summarised(tmp_path, "GunPoint", ["plot"], seeds=[0, 1])
    runs = read_tables([folder / "runs.csv"], COLUMN_TYPES)
    low, high = (runs[name] for name in ("accuracy_low_over_seeds", "accuracy_high_over_seeds"))
    assert low[0] == low[1] < 0.9 < high[0] == high[1]
    methods = pd.read_csv(folder / "methods.csv")
    assert methods.loc[0, ["accuracy_low", "accuracy_high"]].tolist() == [low[0], high[0]]
    cell = accuracy_table(runs).cells["plot"].iloc[0]
    assert cell == f"90.0 ± 7.1 [{100 * low[0]:.1f}, {100 * high[0]:.1f}], 2 seeds (620k)"
    # Seeds that were scored on other cases do not belong together.
    path = tmp_path / "runs/tiny/GunPoint/pooled/plot/seed-1/predictions.csv"
    pd.read_csv(path).iloc[1:].to_csv(path, index=False)
    with pytest.raises(InputError, match="predictions of other cases"):
        summarised(tmp_path, "GunPoint", ["plot"], seeds=[0, 1])


class Job(SimpleNamespace):
    """A job of a plan."""

    __hash__ = object.__hash__

    @property
    def wildcards_dict(self) -> dict[str, str]:
        return vars(self.wildcards)


def test_failures_are_traced_to_the_step_that_failed_first(tmp_path: Path) -> None:
    log = tmp_path / "step.log"
    log.write_text("10:00:00 INFO begins\n10:00:01 ERROR no source has it | at all\n\n")
    runs = [Run("tiny", "Toy", "pooled", scenario, 0) for scenario in ("done", "failed", "waits", "apart")]
    download = Job(rule=SimpleNamespace(name="download_dataset"), log=[str(log)])
    evaluate = SimpleNamespace(name="evaluate_model")
    names = [SimpleNamespace(**{name: str(value) for name, value in vars(run).items()}) for run in runs]
    jobs = [Job(rule=evaluate, wildcards=name) for name in names[:3]]
    dag = SimpleNamespace(
        jobs=[download, *jobs],
        dependencies={jobs[1]: [download], jobs[2]: [jobs[0]]},
        noneedrun_finished=lambda job: job is jobs[0],
    )
    # A group of jobs fails as a whole.
    states = run_states(dag, [SimpleNamespace(jobs=[download])], runs)
    assert [state["status"] for state in states] == ["done", "failed", "not run", "done"]
    assert (states[1]["step"], states[1]["reason"]) == ("download_dataset", "no source has it | at all")


def test_what_failed_is_shown_with_its_reason(tmp_path: Path) -> None:
    write_run(tmp_path, "Toy", "plot")
    states = [
        {**vars(Run("tiny", "Toy", "pooled", scenario, 0)), "status": status, "step": "", "reason": ""}
        for scenario, status in [
            ("plot", "done"),
            ("numbers", "failed"),
            ("both", "not run"),
            ("gone", "done"),
        ]
    ]
    states[1] |= {"step": "finetune_model", "reason": "no room | at all"}
    (tmp_path / "states.json").write_text(json.dumps(states))
    folder = written(tmp_path, ["Toy"], ["plot"], states=tmp_path / "states.json")
    runs = pd.read_csv(folder / "runs.csv", keep_default_na=False)
    assert runs["status"].tolist() == [
        "done",
        "failed",
        "not run",
        "not run",
    ]  # the last one's files are missing
    assert runs["reason"].tolist() == ["", "no room | at all", "", ""]
    assert runs["step"].tolist() == ["", "finetune_model", "", ""]
    text = (folder / "accuracy.md").read_text()
    row = next(line for line in text.splitlines() if line.startswith("| Toy"))
    assert [cell.strip() for cell in row.split("|")[-4:-1]] == ["failed", "not run", "not run"]
    assert "- Toy, finetune_model (1 run: numbers): no room" in text
    assert "1 of 4 runs have a result; 1 failed" in failures_text(read_states(Paths(str(tmp_path)), states))


def test_the_last_line_of_a_log(tmp_path: Path) -> None:
    log = tmp_path / "a.log"
    assert last_line(log) == f"no log {log}"
    log.write_text("\n\n")
    assert last_line(log) == f"empty log {log}"
    log.write_bytes(b"10:00:00 ERROR failed\nTraceback\nValueError: \xff\n")
    assert last_line(log).startswith("ValueError: ")
    log.write_text("10:00:00 INFO step 3 of 9\n")
    assert last_line(log) == "ended without an error, after: step 3 of 9"
