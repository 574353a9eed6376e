"""Reading the tables that steps have written."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import pandas as pd

from vlmtsc.errors import InputError


def read_csv(path: Path, **options: Any) -> pd.DataFrame:
    """Read a CSV file that another step has written whole.

    Parameters
    ----------
    path : Path
    **options
        As for `pandas.read_csv`.

    Raises
    ------
    InputError
        If the file is empty, cut off (its last line has no end) or no table.
    """
    content = path.read_bytes()
    if not content.endswith(b"\n"):
        raise InputError(f"{path}: {'cut off' if content else 'empty'}; remove it to have it made anew")
    try:
        return pd.read_csv(io.BytesIO(content), **options)
    except (ValueError, UnicodeDecodeError) as error:  # pandas' own errors are ValueErrors
        raise InputError(f"{path}: not a table ({error})") from error
