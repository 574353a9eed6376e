"""Evidence: verdicts, inputs that are used, and what is missing."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest
from finished_runs import CASES, add_aligned, summarised, write_baseline, write_controls, write_run

from vlmtsc.files import write_files
from vlmtsc.paths import Paths, Run
from vlmtsc.reporting.evidence import best_baseline, evidence_files
from vlmtsc.reporting.runs import list_runs


@pytest.fixture
def results(tmp_path: Path) -> Path:
    """Three datasets: the VLM wins on A, a baseline on B, neither on C; D has no baseline."""
    scored = [("A", "plot", 0, 0.9), ("A", "numbers", 30, 0.5), ("B", "plot", 30, 0.9), ("C", "plot", 1, 0.9)]
    runs = {
        (dataset, scenario): write_run(
            tmp_path, dataset, scenario, wrong=wrong, validation_accuracy=validation
        )
        for dataset, scenario, wrong, validation in [*scored, ("D", "plot", 1, 0.9)]
    }
    for dataset, wrong in (("A", 20), ("B", 0), ("C", 0)):
        # The one that is best on the test set is not the one that validation chooses.
        write_baseline(tmp_path, "euclidean_1nn", dataset, wrong, 0.8)
        write_baseline(tmp_path, "majority", dataset, 20, 0.5)
    write_baseline(tmp_path, "logistic_tower", "A", 0, 0.7)
    write_controls(tmp_path, runs["A", "plot"], {"intact": 0, "image_blank": 3, "image_swapped": 40})
    write_controls(tmp_path, runs["A", "numbers"], {"intact": 30, "numbers_removed": 30})
    write_controls(tmp_path, runs["B", "plot"], {"intact": 30, "image_swapped": 30})
    return tmp_path


def write(results: Path, seeds: list[int], scenarios: tuple[str, ...] = ("plot", "numbers")) -> str:
    """Write the tables of evidence, and return them as Markdown."""
    paths = Paths(str(results))
    files = evidence_files(paths, list_runs(["tiny"], "ABCD", "pooled", scenarios, seeds))
    write_files(results / "tables", files)
    return (results / "tables/evidence.md").read_text()


def test_the_untuned_model_is_a_column_and_never_the_choice(results: Path) -> None:
    for name, wrong, validation in (("plot__untuned", 18, 0.5), ("numbers__1_shot", 10, 0.95)):
        record = {"validation_accuracy": validation, "stopped_by": "untuned"}
        write_run(results, "A", name, wrong=wrong, **record)
    before = write(results, [0])
    assert " untuned |" not in before
    text = write(results, [0], ("plot", "plot__untuned", "numbers__1_shot"))
    rows = pd.read_csv(results / "tables/evidence.csv").set_index("dataset")
    assert rows.loc["A", ["scenario", "accuracy", "accuracy_untuned"]].tolist() == ["plot", 1.0, 0.75]
    assert rows["accuracy_untuned"].drop("A").isna().all()
    assert " untuned |" in text


def test_the_aligned_projector_stands_beside_the_baselines_and_is_compared(results: Path) -> None:
    for dataset, wrong in (("A", 10), ("B", 30)):
        add_aligned(results, Run("tiny", dataset, "pooled", "plot", 0), wrong)
    text = write(results, [0])
    rows = pd.read_csv(results / "tables/evidence.csv").set_index("dataset")
    assert rows["accuracy_aligned_projector"].fillna(-1).to_dict() == {"A": 0.75, "B": 0.25, "C": -1, "D": -1}
    assert " aligned_projector |" in text
    assert set(rows["best_baseline"].dropna()) == {"euclidean_1nn"}  # it is no candidate
    folder = summarised(results, "A", ["numbers", "plot"], baselines=["majority"])
    methods = pd.read_csv(folder / "methods.csv").set_index("kind")
    assert methods.loc["first stage", ["method", "accuracy", "wall_seconds"]].tolist() == ["plot", 0.75, 12.0]
    pairs = pd.read_csv(folder / "comparisons.csv").set_index(["first", "second"])
    of_plot = pairs.loc[("plot", "aligned_projector")]
    assert (of_plot["only_first"], of_plot["only_second"]) == (10, 0)
    assert pairs.index.get_level_values("first").unique().tolist() == ["numbers", "plot"]
    assert ("numbers", "aligned_projector") not in pairs.index  # it has none


def test_verdicts_are_those_of_the_paired_tests(results: Path) -> None:
    text = write(results, [0])
    rows = pd.read_csv(results / "tables/evidence.csv").set_index("dataset")
    verdicts = {"A": "VLM", "B": "baseline", "C": "no difference", "D": "not tested"}
    assert rows["verdict"].to_dict() == verdicts
    assert rows["scenario"].to_dict() == dict.fromkeys("ABCD", "plot")
    assert rows["best_baseline"].dropna().unique().tolist() == ["euclidean_1nn"]
    # Three quarters of B's cases wrong, of two equally frequent classes.
    assert rows.loc["B", ["accuracy", "balanced_accuracy"]].tolist() == [0.25, 0.25]
    # Exact and corrected for three tests: 20 and 30 cases, all on one side, then one.
    assert rows.loc["A", "p_holm"] == pytest.approx(2 * 2 * 0.5**20)
    assert rows.loc["B", "p_holm"] == pytest.approx(3 * 2 * 0.5**30)
    assert rows.loc["C", "p_holm"] == 1
    for counted in ("better on 1: A", "better on 1: B (euclidean_1nn)", "5% on 1: C", "No baseline: D."):
        assert counted in text
    assert "majority 2/0/1, euclidean_1nn 1/0/2, logistic_tower 0/1/0" in text
    assert "not been fitted: dtw_1nn, minirocket, multirocket_hydra, fcn, logistic_language" in text


def test_inputs_that_are_not_used_are_counted_and_named(results: Path) -> None:
    text = write(results, [0])
    used = pd.read_csv(results / "tables/evidence_inputs.csv", keep_default_na=False)
    found = used.set_index(["dataset", "scenario"])
    assert found.loc[("A", "plot"), ["image", "numbers"]].tolist() == ["used", ""]
    assert found.loc[("A", "numbers"), "numbers"] == "not used"
    assert found.loc[("B", "plot"), "image"] == "not used"
    assert "Image: of 2 scenarios with it and controls, 1 does not use it: plot on B." in text
    assert "Numbers: of 1 scenario with it and controls, 1 does not use it: numbers on A." in text
    assert "2 of 5 scenarios have no controls: plot." in text
    assert float(found.loc[("A", "numbers"), "numbers_removed"]) == 0.25
    header = next(line for line in text.splitlines() if "| scenario " in line and "swapped image" in line)
    assert "no numbers" in header
    assert "shuffled numbers" not in header  # no scenario has this control
    assert "not used" in (results / "tables/evidence_inputs.html").read_text()


def test_missing_seeds_are_named(results: Path) -> None:
    run = write_run(results, "A", "plot", 1, wrong=2)
    write_controls(results, run, {"intact": 2, "image_swapped": 2})
    text = write(results, [0, 1])
    assert "numbers without seed 1 on A; plot without seed 1 on B, C, D; numbers (none) on B, C, D." in text
    rows = pd.read_csv(results / "tables/evidence.csv").set_index("dataset")
    assert rows.loc["A", "seeds"] == 2
    assert rows.loc["A", "accuracy"] == pytest.approx(1 - 1 / CASES)
    # The paired test takes the first seed: 20 cases that only the fine-tuned model has right.
    assert (rows.loc["A", "only_vlm"], rows.loc["A", "only_baseline"]) == (20, 0)
    assert "used in 1 of 2 seeds, not used in 1 of 2 seeds" in text
    assert "1 does not use it: plot on B; 1 more in some seeds." in text


def test_without_any_result_the_tables_say_so(tmp_path: Path) -> None:
    text = write(tmp_path, [0], ("plot",))
    assert "No finished run: A, B, C, D." in text
    assert "not run" in text
    assert "plot (none) on A, B, C, D." in text


def test_the_best_baseline_is_the_first_of_equals_on_validation() -> None:
    files = [("euclidean_1nn", 0.9), ("dtw_1nn", 0.9 + 1e-13), ("majority", 0.5), ("fcn", None)]
    found = {name: {"validation_accuracy": value} for name, value in files}
    assert best_baseline(found) == "euclidean_1nn"
    assert best_baseline({}) is None
