"""Reading and writing files of tables."""

from __future__ import annotations

import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from vlmtsc.errors import InputError
from vlmtsc.files import atomic_path


def read_csv(path: Path, **options: Any) -> pd.DataFrame:
    """Read a CSV file that another step has written; `options` as for `pandas.read_csv`.

    Raises
    ------
    InputError
        If the file is empty, truncated (its last line has no end) or no table.
    """
    content = path.read_bytes()
    if not content.endswith(b"\n"):
        raise InputError(f"{path}: {'truncated' if content else 'empty'}; remove it to have it rebuilt")
    try:
        return pd.read_csv(io.BytesIO(content), **options)
    except (ValueError, UnicodeDecodeError) as error:  # pandas' own errors are ValueErrors
        raise InputError(f"{path}: not a table ({error})") from error


def write_csv(path: Path, table: pd.DataFrame) -> None:
    """Write a table atomically, without its index."""
    with atomic_path(path) as temporary:
        table.to_csv(temporary, index=False)


def write_files(folder: Path, contents: Mapping[str, pd.DataFrame | str]) -> None:
    """Write files by name, each atomically: a DataFrame as CSV without its index, a text as it is.

    The folder is created if needed; other files in it are left alone.
    """
    for name, content in contents.items():
        if isinstance(content, str):
            with atomic_path(folder / name) as temporary:
                temporary.write_text(content, encoding="utf-8")
        else:
            write_csv(folder / name, content)
