"""Reading and writing the files of tables that steps make: CSV, and the forms that people read."""

from __future__ import annotations

import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from vlmtsc.errors import InputError
from vlmtsc.files import atomic_path


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


def write_csv(path: Path, table: pd.DataFrame) -> None:
    """Write a table whole or not at all, without its index."""
    with atomic_path(path) as temporary:
        table.to_csv(temporary, index=False)


def write_files(folder: Path, contents: Mapping[str, pd.DataFrame | str]) -> None:
    """Write a table in its several forms, each file whole or not at all.

    Parameters
    ----------
    folder : Path
        Made if it is not there; other files in it are left alone.
    contents : mapping of file name to DataFrame or str
        A DataFrame is written as CSV without its index, a text as it is.
    """
    for name, content in contents.items():
        if isinstance(content, str):
            with atomic_path(folder / name) as temporary:
                temporary.write_text(content, encoding="utf-8")
        else:
            write_csv(folder / name, content)
