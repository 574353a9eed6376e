"""Fit a baseline on the training set of a dataset, and classify its test set."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

from vlmtsc.script import run_script


def fit_baseline(
    key: dict[str, Any],
    series: Path,
    split: Path,
    output: Path,
) -> None:
    """Fit a baseline on the training set of a dataset, and classify its test set.

    Parameters
    ----------
    key : dict
        Identifies the result: baseline, dataset, protocol.
    series : Path
        Clean series (.npz) of `preprocess_dataset`.
    split : Path
        Case indices (.npz) of `split_dataset`.
    output : Path
        Folder for predictions.csv (id, true, predicted, score of each class), metrics.json and record.json.
    """
    from vlmtsc.baselines.results import evaluate_baseline
    from vlmtsc.baselines.series import fit_series_baseline

    fit = partial(fit_series_baseline, key["baseline"])
    evaluate_baseline(key, series, split, output, fit)


if __name__ == "__main__":
    run_script(fit_baseline)
