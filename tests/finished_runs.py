"""Files of finished runs and baselines, as their steps leave them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from summarise_dataset import summarise_dataset
from vlmtsc.evaluation.constants import ALIGNED
from vlmtsc.evaluation.controls import control_row
from vlmtsc.evaluation.metrics import compute_metrics, prediction_table
from vlmtsc.files import read_json, write_json
from vlmtsc.paths import BaselineKey, Paths, Run
from vlmtsc.reporting.baselines import baseline_key

CASES = 40
RECORD: dict[str, Any] = {
    "wall_seconds": 60.0,
    "train_samples": 400,
    "train_tokens": 620_000,
    "token_budget": 2_000_000,
    "epochs_done": 2.0,
    "steps": 24,
    "stopped_by": "epochs",
    "tokens_per_second": 9_800.0,
    "samples_per_second": 55.0,
    "peak_memory_mb": 1_400.0,
    "trainable_parameters": 2_000_000,
    "total_parameters": 90_000_000,
    "git_revision": "0123abc",
    "shared_with": None,
    "processes": 1,
    "hardware": {"processor": "EPYC", "cores": 2, "threads": 2, "memory_gib": 8.0, "gpus": []},
    "settings": {"precision": "bf16"},
    "validation_accuracy": 0.9,
    "validation_loss": 0.3,
}


def write_scores(
    folder: Path,
    wrong: int | Sequence[int] = 4,
    classes: Sequence[str] = ("low", "high"),
    cases: int = CASES,
    order: np.ndarray | None = None,
) -> dict[str, Any]:
    """Write predictions and metrics, of which the first `wrong` cases or those with these numbers are wrong."""
    true = np.arange(cases) % len(classes)
    wrong = list(range(wrong)) if isinstance(wrong, int) else list(wrong)
    predicted = np.where(np.isin(np.arange(cases), wrong), (true + 1) % len(classes), true)
    order = np.arange(cases) if order is None else order
    scores = np.where(np.eye(len(classes))[predicted] > 0, -0.1, -2.4)[order]
    folder.mkdir(parents=True)
    ids = [f"case-{case:05d}" for case in order]
    prediction_table(ids, scores, list(classes), true[order]).to_csv(folder / "predictions.csv", index=False)
    metrics = compute_metrics(true[order], scores, list(classes))
    write_json(folder / "metrics.json", metrics)
    return metrics


def write_run(
    results: Path,
    dataset: str,
    scenario: str,
    seed: int = 0,
    wrong: int | Sequence[int] = 4,
    *,
    model: str = "tiny",
    protocol: str = "pooled",
    classes: Sequence[str] = ("low", "high"),
    cases: int = CASES,
    order: np.ndarray | None = None,
    **record: Any,
) -> Run:
    """Write the files of a finished run; further keywords are of its record."""
    run = Run(model, dataset, protocol, scenario, seed)
    folder = Path(Paths(str(results)).run(run))
    write_scores(folder, wrong, classes, cases, order)
    write_json(folder / "run_record.json", {**RECORD, **vars(run), **record})
    steps = np.arange(1, 25)
    log = pd.DataFrame(
        {"step": steps, "epoch": steps / 12, "tokens": 1000 * steps, "loss": np.exp(-steps / 15)}
    )
    log = log.assign(learning_rate=2e-4, validation_loss=None, selection_loss=None, validation_accuracy=None)
    log = log.astype(object)
    log.loc[log["step"] % 12 == 0, ["validation_loss", "selection_loss", "validation_accuracy"]] = [
        0.3,
        0.3,
        0.9,
    ]
    log.to_csv(folder / "training_log.csv", index=False)
    return run


def add_aligned(results: Path, run: Run, wrong: int) -> None:
    """Add the classification of the aligned projector alone to a finished run, the first `wrong` cases wrong."""
    folder = Path(Paths(str(results)).run(run))
    table = pd.read_csv(folder / "predictions.csv", dtype={"true": str})
    true = np.arange(CASES) % 2
    scores = np.where(np.eye(2)[np.where(np.arange(CASES) < wrong, 1 - true, true)] > 0, -0.1, -2.4)
    table[ALIGNED] = np.array(["low", "high"])[scores.argmax(axis=1)]
    table.to_csv(folder / "predictions.csv", index=False)
    metrics = read_json(folder / "metrics.json")
    write_json(folder / "metrics.json", metrics | {ALIGNED: compute_metrics(true, scores, ["low", "high"])})
    record = read_json(folder / "run_record.json")
    write_json(folder / "run_record.json", record | {"alignment": {"seconds": 12.0}})


def write_controls(results: Path, run: Run, wrong: Mapping[str, int]) -> None:
    """Write controls of a run, by the number of wrong cases; ``intact`` has to be that of the run."""
    true = np.arange(CASES) % 2
    scores = {
        name: np.where(np.eye(2)[np.where(np.arange(CASES) < number, 1 - true, true)] > 0, -0.1, -2.4)
        for name, number in wrong.items()
    }
    rows = [control_row(name, true, scores["intact"], of, ["low", "high"]) for name, of in scores.items()]
    pd.DataFrame(rows).to_csv(Path(Paths(str(results)).run(run), "controls.csv"), index=False)


def write_baseline(
    results: Path,
    name: str,
    dataset: str,
    wrong: int | Sequence[int] = 4,
    validation: float = 0.8,
    protocol: str = "pooled",
) -> BaselineKey:
    """Write the files of a fitted baseline."""
    key = baseline_key(name, "tiny", dataset, protocol)
    folder = Path(Paths(str(results)).baseline(key))
    write_scores(folder, wrong)
    record = {"baseline": name, "dataset": dataset, "protocol": protocol, "seed": 0, "chosen": {"band": 1}}
    record |= {"validation_accuracy": validation, "wall_seconds": 1.5, "peak_memory_mb": 200.0}
    write_json(folder / "record.json", record)
    return key


def summarised(
    results: Path,
    dataset: str,
    scenarios: Sequence[str],
    seeds: Sequence[int] = (0,),
    baselines: Sequence[str] = (),
    controls: bool = False,
) -> Path:
    """Summarise a dataset, and return the folder of its tables."""
    summarise_dataset(
        str(results), "tiny", dataset, "pooled", list(scenarios), list(seeds), list(baselines), controls
    )
    return Path(Paths(str(results)).summary(Run("tiny", dataset, "pooled", "", 0)))
