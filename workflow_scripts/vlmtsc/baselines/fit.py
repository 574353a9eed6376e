"""Fitting a baseline by its name, and measuring it."""

from __future__ import annotations

from typing import Any

import numpy as np

from vlmtsc.baselines.cases import BaselineData, BaselineResult
from vlmtsc.errors import InputError
from vlmtsc.evaluation.metrics import compute_metrics
from vlmtsc.settings import SERIES_BASELINES

#: Metrics that mean nothing without probabilities.
OF_PROBABILITIES = ("log_loss", "expected_calibration_error", "brier_score", "reliability_curve")


def fit_series_baseline(baseline: str, data: BaselineData, threads: int = 1) -> BaselineResult:
    """Fit a method that sees the series alone.

    Parameters
    ----------
    baseline : str
        One of `SERIES_BASELINES`.
    data : BaselineData
        Series.
    threads : int, default 1

    Raises
    ------
    InputError
        If the name is unknown.
    """
    # Each method's packages are imported only where it is asked for: aeon takes seconds.
    if len(np.unique(data.train_labels)) == 1 or baseline == "majority":
        from vlmtsc.baselines.nearest import fit_majority

        return fit_majority(data)
    match baseline:
        case "euclidean_1nn":
            from vlmtsc.baselines.nearest import fit_euclidean_1nn

            return fit_euclidean_1nn(data)
        case "dtw_1nn":
            from vlmtsc.baselines.nearest import fit_dtw_1nn

            return fit_dtw_1nn(data, threads)
        case "minirocket":
            from vlmtsc.baselines.rocket import fit_minirocket

            return fit_minirocket(data, threads)
        case "multirocket_hydra":
            from vlmtsc.baselines.rocket import fit_multirocket_hydra

            return fit_multirocket_hydra(data, threads)
        case "fcn":
            from vlmtsc.baselines.fcn import fit_fcn

            return fit_fcn(data, threads)
    raise InputError(f"baseline {baseline!r}; allowed: {', '.join(SERIES_BASELINES)}")


def measure(result: BaselineResult, labels: np.ndarray, classes: list[str]) -> dict[str, Any]:
    """Return the metrics of a baseline on the test part (`compute_metrics`).

    Those of probabilities are None for a method that has none, and ``probabilistic`` says so.

    Parameters
    ----------
    result : BaselineResult
    labels : ndarray of int64, shape (n_cases,)
        True class of each test case.
    classes : list of str
    """
    metrics = compute_metrics(labels, result.test_scores, classes)
    if not result.probabilistic:
        metrics |= dict.fromkeys([name for name in OF_PROBABILITIES if name in metrics])
    return metrics | {"probabilistic": result.probabilistic}
