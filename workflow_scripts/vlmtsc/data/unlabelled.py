"""Reading series without labels, as a user has them."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pandas as pd

from vlmtsc.errors import InputError


def read_unlabelled(path: Path, n_channels: int) -> tuple[list[str], list[np.ndarray]]:
    """Read series from a CSV file or a folder of CSV files.

    Parameters
    ----------
    path : Path
        A CSV file holds univariate series, one a row. A folder holds one series a file (``*.csv``), one
        timepoint a row and one channel a column. A first row of names is allowed. Empty cells are missing;
        empty cells at the end of a row are not part of the series.
    n_channels : int
        Channels that the model was trained on.

    Returns
    -------
    ids : list of str
        Row numbers (from 1, header not counted), or file names without ending.
    series : list of ndarray of float64, shape (n_channels, n_timepoints)
        NaN is missing.

    Raises
    ------
    InputError
        If there is nothing to read, a cell is not a number, or the channels are too few or too many.
    """
    if path.is_dir():
        files = sorted(path.glob("*.csv"))
        if not files:
            raise InputError(f"{path}: no *.csv file; allowed: a folder with one CSV file a series")
        series = [_read_numbers(file).T for file in files]
        ids = [file.stem for file in files]
        places = [str(file) for file in files]
    else:
        if n_channels != 1:
            raise InputError(
                f"{path}: a file holds univariate series, but the model was trained on {n_channels} channels; "
                "allowed: a folder with one CSV file a series, one column a channel"
            )
        table = _read_numbers(path)
        series = [row[np.newaxis, : _used(row)] for row in table]
        ids = [str(number) for number in range(1, len(table) + 1)]
        places = [f"{path}, series {number}" for number in ids]
    for place, case in zip(places, series, strict=True):
        if case.shape[0] != n_channels or case.shape[1] == 0:
            raise InputError(
                f"{place}: {case.shape[0]} channels of {case.shape[1]} timepoints; allowed: {n_channels} "
                "channels of one or more timepoints"
            )
    return ids, series


def _used(row: np.ndarray) -> int:
    present = np.flatnonzero(~np.isnan(row))
    return int(present[-1]) + 1 if present.size else 0


def _read_numbers(path: Path) -> np.ndarray:
    """Read a CSV file of numbers, shape (rows, columns); a first row without any number is a header."""
    try:
        with path.open(newline="", encoding="utf-8") as file:
            width = max(map(len, csv.reader(file)), default=0)  # pandas takes the first row's
        table = pd.read_csv(path, header=None, names=range(width), dtype=str, skip_blank_lines=True)
    except (OSError, UnicodeDecodeError, pd.errors.ParserError, pd.errors.EmptyDataError) as error:
        raise InputError(f"{path}: not a readable CSV file ({error})") from error
    numbers = table.apply(pd.to_numeric, errors="coerce")
    header = int(numbers.iloc[0].isna().all() and table.iloc[0].notna().any())
    table, numbers = table.iloc[header:], numbers.iloc[header:]
    wrong = np.argwhere(numbers.isna().to_numpy() & table.notna().to_numpy() & (table != "nan").to_numpy())
    infinite = np.argwhere(np.isinf(numbers.to_numpy(dtype=float)))
    for row, column in [*wrong, *infinite][:1]:
        raise InputError(
            f"{path}, row {row + 1 + header}, column {column + 1}: {table.iat[row, column]!r}; "
            "allowed: a finite number, or nothing for a missing value"
        )
    if numbers.empty:
        raise InputError(f"{path}: no series; allowed: one or more rows of numbers")
    return numbers.to_numpy(dtype=np.float64)
