"""Evidence: verdicts, inputs that are used, what is missing, and what goes into the README."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from vlmtsc.evaluation.metrics import compute_metrics
from vlmtsc.evaluation.predictions import prediction_table
from vlmtsc.files import write_json
from vlmtsc.paths import BaselineKey, Paths
from vlmtsc.reporting.evidence import best_baseline
from vlmtsc.reporting.tables import RECORD, RUN_KEYS, run_row, runs_table
from write_evidence import write_evidence

CASES = 40
LABELS = np.arange(CASES) % 2
CLASSES = ["low", "high"]
ROOT = Path(__file__).parents[2]
HARDWARE = {"processor": "Some CPU", "cores": 2, "threads": 2, "memory_gib": 24.0, "gpus": []}


def write_scores(folder: Path, wrong: int) -> dict[str, object]:
    """Write predictions and metrics of a method that has the first `wrong` cases wrong."""
    predicted = np.where(np.arange(CASES) < wrong, 1 - LABELS, LABELS)
    scores = np.eye(2)[predicted]
    folder.mkdir(parents=True)
    ids = [f"case-{case:05d}" for case in range(CASES)]
    prediction_table(ids, scores, CLASSES, LABELS).to_csv(folder / "predictions.csv", index=False)
    metrics = compute_metrics(LABELS, scores, CLASSES)
    write_json(folder / "metrics.json", metrics)
    return metrics


def write_run(
    results: Path, dataset: str, scenario: str, wrong: int, validation: float, seed: int = 0
) -> dict[str, object]:
    key = dict(zip(RUN_KEYS, ["tiny", dataset, "pooled", scenario, seed], strict=True))
    folder = results / f"runs/tiny/{dataset}/pooled/{scenario}/seed-{seed}"
    metrics = write_scores(folder, wrong)
    record = dict.fromkeys(RECORD, 1) | key | {"validation_accuracy": validation, "stopped_by": "epochs"}
    record |= {"git_revision": "abcdef", "shared_with": None, "hardware": HARDWARE}
    write_json(folder / "run_record.json", record)
    return run_row(key, metrics, record)


def write_controls(
    results: Path, dataset: str, scenario: str, found: dict[str, tuple[float, str]], wrong: int, seed: int = 0
) -> None:
    """Write controls with a p-value and a finding of each."""
    accuracy = 1 - wrong / CASES
    measured = {"n_cases": CASES, "accuracy": accuracy, "accuracy_low": 0.1, "accuracy_high": 0.9}
    measured |= {"balanced_accuracy": accuracy, "total_variation": 0.0, "changed": 0.0}
    rows = [{"control": "intact", **measured, "p_value": None, "finding": None}]
    rows += [
        {"control": name, **measured, "p_value": p_value, "finding": finding}
        for name, (p_value, finding) in found.items()
    ]
    place = results / f"runs/tiny/{dataset}/pooled/{scenario}/seed-{seed}/controls.csv"
    pd.DataFrame(rows).to_csv(place, index=False)


def write_baseline(results: Path, name: str, dataset: str, wrong: int, validation: float) -> None:
    key = BaselineKey(name, dataset, "pooled", "tiny" if name.startswith("logistic") else "")
    write_scores(Path(Paths(str(results)).baseline(key)), wrong)
    record = {"baseline": name, "dataset": dataset, "protocol": "pooled"}
    record |= {"validation_accuracy": validation, "wall_seconds": 2.0}
    write_json(Path(Paths(str(results)).baseline(key)) / "record.json", record)


@pytest.fixture
def results(tmp_path: Path) -> Path:
    """Give three datasets: the VLM wins on A, a simple method on B, neither on C; D has no simple method."""
    runs = [write_run(tmp_path, "A", "plot", 0, 0.9), write_run(tmp_path, "A", "numbers", 30, 0.5)]
    runs += [write_run(tmp_path, "B", "plot", 30, 0.9), write_run(tmp_path, "C", "plot", 1, 0.9)]
    runs += [write_run(tmp_path, "D", "plot", 1, 0.9)]
    for dataset, wrong in (("A", 20), ("B", 0), ("C", 0)):
        # The one that is best on the test part is not the one that validation chooses.
        write_baseline(tmp_path, "euclidean_1nn", dataset, wrong, 0.8)
        write_baseline(tmp_path, "majority", dataset, 20, 0.5)
    write_baseline(tmp_path, "logistic_tower", "A", 0, 0.7)
    write_controls(tmp_path, "A", "plot", {"image_blank": (0.5, ""), "image_swapped": (1e-9, "")}, 0)
    write_controls(tmp_path, "A", "numbers", {"numbers_removed": (1.0, "numbers not used")}, 30)
    write_controls(tmp_path, "B", "plot", {"image_swapped": (1.0, "image not used")}, 30)
    (tmp_path / "tables").mkdir()
    runs_table(runs).to_csv(tmp_path / "tables/runs.csv", index=False)
    return tmp_path


def write(results: Path, seeds: list[int], scenarios: tuple[str, ...] = ("plot", "numbers")) -> str:
    datasets = ["A", "B", "C", "D"]
    write_evidence(results, ["tiny"], datasets, list(scenarios), seeds, "pooled", results / "tables")
    return (results / "tables/evidence.md").read_text()


def test_verdicts_are_those_of_the_paired_tests(results: Path) -> None:
    text = write(results, [0])
    rows = pd.read_csv(results / "tables/evidence.csv").set_index("dataset")
    assert rows["verdict"].to_dict() == {
        "A": "VLM",
        "B": "simple method",
        "C": "no difference",
        "D": "not tested",
    }
    assert rows["scenario"].to_dict() == dict.fromkeys("ABCD", "plot")
    assert rows["best_baseline"].dropna().unique().tolist() == ["euclidean_1nn"]
    # Three quarters of B's cases wrong, of two equally frequent classes.
    assert rows.loc["B", ["accuracy", "balanced_accuracy"]].tolist() == [0.25, 0.25]
    assert "balanced % |   macro F1 %" in text
    # Exact and corrected for three tests: 20 and 30 cases, all on one side, then one.
    assert rows.loc["A", "p_holm"] == pytest.approx(2 * 2 * 0.5**20)
    assert rows.loc["B", "p_holm"] == pytest.approx(3 * 2 * 0.5**30)
    assert rows.loc["C", "p_holm"] == 1
    assert (
        "Of 3 datasets, the fine-tuned model is better on 1: A; the best simple method is better on 1: "
        "B (euclidean_1nn); there is no difference at 5% on 1: C." in text
    )
    assert "majority 2/0/1, euclidean_1nn 1/0/2, logistic_tower 0/1/0" in text
    assert "No simple method: D." in text
    assert "not been fitted: dtw_1nn, minirocket, multirocket_hydra, fcn, logistic_language" in text


def test_inputs_that_are_not_used_are_counted_and_named(results: Path) -> None:
    text = write(results, [0])
    used = pd.read_csv(results / "tables/evidence_inputs.csv", keep_default_na=False)
    found = used.set_index(["dataset", "scenario"])
    assert found.loc[("A", "plot"), ["image", "numbers"]].tolist() == ["used", ""]
    assert found.loc[("A", "numbers"), "numbers"] == "not used"
    assert found.loc[("B", "plot"), "image"] == "not used"
    assert "Image: of 2 scenarios that have it and controls, 1 does not use it: plot on B." in text
    assert "Numbers: of 1 scenarios that have it and controls, 1 does not use it: numbers on A." in text
    assert "2 of 5 scenarios have no controls: plot." in text
    # What is left of the accuracy under each control stands beside it.
    assert (
        float(found.loc[("A", "numbers"), "accuracy"])
        == float(found.loc[("A", "numbers"), "numbers_removed"])
        == 0.25
    )
    header = next(line for line in text.splitlines() if "| scenario " in line and "swapped image" in line)
    assert "no numbers" in header
    assert "shuffled numbers" not in header  # nobody has this control
    page = (results / "tables/evidence_inputs.html").read_text()
    assert "not used" in page


def test_what_lacks_seeds_is_named(results: Path) -> None:
    write_run(results, "A", "plot", 2, 0.9, seed=1)
    write_controls(results, "A", "plot", {"image_swapped": (1.0, "image not used")}, 2, seed=1)
    text = write(results, [0, 1])
    assert "numbers (none) on B, C, D; numbers without seed 1 on A; plot without seed 1 on B, C, D." in text
    rows = pd.read_csv(results / "tables/evidence.csv").set_index("dataset")
    assert rows.loc["A", "seeds"] == 2
    assert rows.loc["A", "accuracy"] == pytest.approx(1 - 1 / CASES)
    # The paired test takes the first seed: 20 cases that only the fine-tuned model has right.
    assert (rows.loc["A", "only_vlm"], rows.loc["A", "only_baseline"]) == (20, 0)
    assert "used in 1 of 2 seeds, not used in 1 of 2 seeds" in text
    assert "1 does not use it: plot on B; 1 more in some seeds." in text


def test_nothing_there_says_so(tmp_path: Path) -> None:
    (tmp_path / "tables").mkdir()
    text = write(tmp_path, [0], ("plot",))
    assert "No finished run: A, B, C, D." in text
    assert "not run" in text
    assert "plot (none) on A, B, C, D." in text


def test_the_best_baseline_is_the_first_of_equals_on_validation() -> None:
    files = [("euclidean_1nn", 0.9), ("dtw_1nn", 0.9 + 1e-13), ("majority", 0.5), ("fcn", None)]
    found = {name: {"record": {"validation_accuracy": value}, "metrics": {}} for name, value in files}
    assert best_baseline(found) == "euclidean_1nn"
    assert best_baseline({}) is None
