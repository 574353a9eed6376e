"""Divide the cases of one dataset into train, validation and test."""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np

from vlmtsc.data.series import CleanSeries
from vlmtsc.data.splits import PARTS, split_cases
from vlmtsc.errors import InputError
from vlmtsc.files import atomic_path, write_json
from vlmtsc.script import run_script
from vlmtsc.settings import SplitSettings

logger = logging.getLogger("vlmtsc.split_dataset")


def split_dataset(
    series: Path,
    settings: SplitSettings,
    split: Path,
    facts: Path,
    log: Path | None = None,
) -> None:
    """Divide the cases of one dataset and write down the facts of each part.

    Parameters
    ----------
    series : Path
        The clean series (`preprocess_dataset`).
    settings : SplitSettings
        Protocol and validation share.
    split : Path
        Output: int64 arrays ``train``, ``validation`` and ``test`` of case indices (.npz).
    facts : Path
        Output: counts and class balance of each part (JSON).
    log : Path, optional
        Log file.
    """
    clean = CleanSeries.load(series)
    try:
        parts = split_cases(clean.label_index, clean.n_train, settings)
    except InputError as error:
        raise InputError(f"{series}: {error}") from error
    balance = {name: clean.class_balance(parts[name]) for name in PARTS}
    for name in PARTS:
        logger.info("%s: %s cases for %s", series, len(parts[name]), name)
        absent = [label for label, count in balance[name].items() if count == 0]
        if absent:
            logger.warning("%s: the %s part has no case of class %s", series, name, ", ".join(absent))
    with atomic_path(split) as temporary, temporary.open("wb") as file:
        np.savez_compressed(file, allow_pickle=False, **parts)
    write_json(
        facts,
        {
            "settings": settings.model_dump(),
            "n_cases": {name: len(parts[name]) for name in PARTS},
            "class_balance": balance,
        },
    )


if __name__ == "__main__":
    run_script(split_dataset)
