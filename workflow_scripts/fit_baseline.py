"""Fit a simple method on the training part of a dataset, and classify its test part."""

from __future__ import annotations

import logging
import time
from pathlib import Path
from typing import Any

from vlmtsc.script import run_script

logger = logging.getLogger("vlmtsc.fit_baseline")


def fit_baseline(
    key: dict[str, Any],
    series: Path,
    split: Path,
    predictions: Path,
    metrics: Path,
    record: Path,
    threads: int = 1,
    log: Path | None = None,
) -> None:
    """Fit a simple method on the training part of a dataset, and classify its test part.

    Parameters
    ----------
    key : dict
        What identifies the result: baseline, dataset, protocol.
    series : Path
        Clean series (.npz) of `preprocess_dataset`.
    split : Path
        Case indices (.npz) of `split_dataset`.
    predictions : Path
        One row a test case (.csv) to write: id, true, predicted, score of each class.
    metrics : Path
        Metrics (.json) to write.
    record : Path
        What was chosen on validation, time and versions (.json) to write.
    threads : int, default 1
        Threads.
    log : Path, optional
        File for messages.
    """
    from vlmtsc.baselines.cases import take_parts
    from vlmtsc.baselines.files import read_split, write_result
    from vlmtsc.baselines.fit import fit_series_baseline
    from vlmtsc.data.series import CleanSeries

    clean = CleanSeries.load(series)
    parts = read_split(split, len(clean.values))
    begin = time.monotonic()
    data = take_parts(clean.values, clean.label_index, parts, len(clean.classes))
    result = fit_series_baseline(key["baseline"], data, threads)
    seconds = time.monotonic() - begin
    accuracy = write_result(
        key, result, clean, parts, {"predictions": predictions, "metrics": metrics, "record": record}, seconds
    )
    logger.info("%s: accuracy %.1f%% in %.1f s, chosen: %s", key, 100 * accuracy, seconds, result.chosen)


if __name__ == "__main__":
    run_script(fit_baseline)
