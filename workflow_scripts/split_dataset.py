"""Divide the cases of one dataset into train, validation and test sets."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from vlmtsc.data.series import CleanSeries
from vlmtsc.data.splits import split_cases, split_facts
from vlmtsc.errors import InputError
from vlmtsc.files import atomic_path, write_json
from vlmtsc.script import run_script
from vlmtsc.settings import SplitSettings


def split_dataset(
    series: Path,
    settings: SplitSettings,
    output: Path,
) -> None:
    """Divide the cases of one dataset and write the facts of each set.

    Parameters
    ----------
    series : Path
        The clean series of `preprocess_dataset` (.npz).
    settings : SplitSettings
        Protocol and validation share.
    output : Path
        Folder for int64 arrays train, validation, test of case indices (split.npz), and counts (facts.json).
    """
    clean = CleanSeries.load(series)
    try:
        sets = split_cases(
            clean.label_index,
            clean.n_train,
            settings,
            n_validation=clean.n_validation,
            groups=clean.groups,
        )
    except InputError as error:
        raise InputError(f"{series}: {error}") from error
    with atomic_path(output / "split.npz") as temporary, temporary.open("wb") as file:
        np.savez_compressed(file, allow_pickle=False, **sets)
    write_json(output / "facts.json", split_facts(clean, sets, settings, str(series)))


if __name__ == "__main__":
    run_script(split_dataset)
