"""Reading a split and writing a baseline's results, in the form of a fine-tuned run's."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from vlmtsc.baselines.cases import BaselineResult
from vlmtsc.baselines.fit import measure
from vlmtsc.data.series import CleanSeries
from vlmtsc.data.splits import SETS
from vlmtsc.errors import InputError
from vlmtsc.evaluation.metrics import compute_metrics
from vlmtsc.evaluation.predictions import prediction_table
from vlmtsc.files import write_json
from vlmtsc.settings import BASELINE_SEED
from vlmtsc.table_files import write_csv
from vlmtsc.training.record import git_revision, package_versions, peak_memory_mb

#: Packages that baselines depend on.
PACKAGES = ("numpy", "scipy", "scikit-learn", "numba", "aeon", "torch", "transformers", "snakemake")


def read_split(path: Path, n_cases: int) -> dict[str, np.ndarray]:
    """Read the cases of train, validation and test.

    Raises
    ------
    InputError
        If the parts overlap, or name a case that is not there.
    """
    with np.load(path, allow_pickle=False) as file:
        parts = {name: file[name] for name in SETS}
    cases = np.concatenate(list(parts.values()))
    if len(np.unique(cases)) < len(cases) or cases.min() < 0 or cases.max() >= n_cases:
        raise InputError(f"{path}: parts that overlap or leave the {n_cases} cases; allowed: disjoint parts")
    return parts


def write_result(
    key: Mapping[str, Any],
    result: BaselineResult,
    clean: CleanSeries,
    parts: Mapping[str, np.ndarray],
    files: Mapping[str, Path],
    seconds: float,
) -> float:
    """Write predictions, metrics and record of a baseline; return its accuracy on the test part.

    Parameters
    ----------
    key : mapping
        What identifies the result; kept in the record.
    result : BaselineResult
    clean : CleanSeries
    parts : mapping of str to ndarray of int64
        Case indices of each part.
    files : mapping of str to Path
        Where ``predictions``, ``metrics`` and ``record`` go.
    seconds : float
        Wall time of fitting and answering.
    """
    classes = [str(name) for name in clean.classes]
    test, labels = parts["test"], clean.label_index[parts["test"]]
    table = prediction_table(clean.case_ids[test].tolist(), result.test_scores, classes, labels)
    metrics = measure(result, labels, classes)
    validation = compute_metrics(clean.label_index[parts["validation"]], result.validation_scores, classes)
    write_csv(files["predictions"], table)
    write_json(files["metrics"], metrics)
    write_json(
        files["record"],
        {
            **key,
            "seed": BASELINE_SEED,
            "chosen": result.chosen,
            "probabilistic": result.probabilistic,
            "validation_accuracy": validation["accuracy"],
            "wall_seconds": round(seconds, 3),
            "peak_memory_mb": peak_memory_mb(),
            "versions": package_versions(PACKAGES),
            "git_revision": git_revision(Path(__file__).parent),
        },
    )
    return float(metrics["accuracy"])
