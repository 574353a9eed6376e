"""Clean one dataset: missing values, unequal lengths, labels."""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np

from vlmtsc.data.cleaning import clean_series
from vlmtsc.data.series import LabelledSeries
from vlmtsc.files import write_json
from vlmtsc.script import run_script
from vlmtsc.settings import CleaningSettings

logger = logging.getLogger("vlmtsc.preprocess_dataset")


def preprocess_dataset(
    archive: Path,
    dataset: str,
    settings: CleaningSettings,
    series: Path,
    facts: Path,
    log: Path | None = None,
) -> None:
    """Clean one dataset and write down its facts.

    Parameters
    ----------
    archive : Path
        The series as parsed (`download_dataset`).
    dataset : str
        Name, the first part of each case's identifier.
    settings : CleaningSettings
        Policies for missing values, unequal lengths and normalisation.
    series : Path
        Output: the clean series (.npz, `CleanSeries`).
    facts : Path
        Output: counts, lengths, class balance, digest (JSON).
    log : Path, optional
        Log file.
    """
    parsed = LabelledSeries.load(archive)
    clean, report = clean_series(parsed, dataset, settings)
    lost = sorted(set(parsed.labels.tolist()) - set(clean.classes.tolist()))
    if report.dropped:
        logger.warning("%s: %s of %s cases dropped", dataset, len(report.dropped), len(parsed.labels))
    if lost:
        logger.warning("%s: no case left of class %s", dataset, ", ".join(lost))
    logger.info(
        "%s: %s values interpolated, %s cases resampled", dataset, report.interpolated, len(report.resampled)
    )
    n_cases, n_channels, n_timepoints = clean.values.shape
    clean.save(series)
    write_json(
        facts,
        {
            "dataset": dataset,
            "digest": parsed.digest(),
            "settings": settings.model_dump(),
            "archive": {
                "train_size": parsed.n_train,
                "test_size": len(parsed.labels) - parsed.n_train,
                "channels": parsed.values.shape[1],
                "length_min": int(parsed.lengths.min()),
                "length_max": int(parsed.lengths.max()),
                "missing_values": int(
                    sum(np.isnan(v[:, :n]).sum() for v, n in zip(parsed.values, parsed.lengths, strict=True))
                ),
            },
            "n_cases": n_cases,
            "n_train": clean.n_train,
            "n_test": n_cases - clean.n_train,
            "n_channels": n_channels,
            "n_timepoints": n_timepoints,
            "n_classes": len(clean.classes),
            "label_map": {label: index for index, label in enumerate(clean.classes.tolist())},
            "class_balance": clean.class_balance(),
            "cases_dropped": list(report.dropped),
            "classes_dropped": lost,
            "values_interpolated": report.interpolated,
            "cases_resampled": len(report.resampled),
        },
    )


if __name__ == "__main__":
    run_script(preprocess_dataset)
