"""Tables for readers, written as Markdown, LaTeX and HTML, and the texts of their cells."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from vlmtsc.errors import InputError
from vlmtsc.files import read_csv
from vlmtsc.reporting.pages import to_html

#: Shown where there is no value.
NONE = "-"


@dataclass(frozen=True)
class ReaderTable:
    """A table of text with an explanation.

    Attributes
    ----------
    cells : DataFrame of str
    note : str
        Below the table; in HTML each line is a paragraph.
    text_columns : collection of str
        Left-aligned columns; numbers are right-aligned.
    emphasised : sequence of collection of str
        For each row the columns to set in bold; empty if no row has any.
    """

    cells: pd.DataFrame
    note: str
    text_columns: Collection[str] = ("model", "protocol", "dataset", "scenario")
    emphasised: Sequence[Collection[str]] = ()

    @property
    def marks(self) -> pd.DataFrame:
        """Whether each cell is emphasised: DataFrame of bool, as `cells`."""
        emphasised = self.emphasised or [()] * len(self.cells)
        rows = [[name in columns for name in self.cells] for columns in emphasised]
        return pd.DataFrame(rows, self.cells.index, self.cells.columns, dtype=bool)

    def to_markdown(self) -> str:
        """Return the table in Markdown, followed by the note."""
        cells = self.cells.astype(str)
        text = cells.where(~self.marks, "**" + cells + "**").to_markdown(
            index=False,
            colalign=["left" if name in self.text_columns else "right" for name in cells],
            disable_numparse=True,
        )
        return f"{text}\n\n{self.note}\n"

    def to_latex(self, label: str) -> str:
        """Return the table in LaTeX (package booktabs), the note as its caption."""
        style = (
            self.cells.style.hide(axis="index").format(escape="latex").format_index(escape="latex", axis=1)
        )
        style = style.apply(lambda _: self.marks.replace({True: "textbf:--rwrap;", False: ""}), axis=None)
        latex = style.to_latex(
            hrules=True,
            column_format="".join("l" if name in self.text_columns else "r" for name in self.cells),
            caption=self.note.replace("%", r"\%").replace("_", r"\_"),
            label=f"tab:{label}",
            position_float="centering",
        )
        return latex.replace("±", r"$\pm$")

    def to_html(self, title: str) -> str:
        """Return the table as a self-contained page whose columns sort."""
        return to_html(self.cells, title, self.note, list(self.text_columns), self.marks)

    def files(
        self, name: str, title: str, data: pd.DataFrame | None = None, *, latex: bool = False
    ) -> dict[str, pd.DataFrame | str]:
        """Return the files of a table: Markdown, HTML, and if asked for LaTeX, and `data` for CSV."""
        files: dict[str, pd.DataFrame | str] = {
            f"{name}.md": self.to_markdown(),
            f"{name}.html": self.to_html(title),
        }
        files |= {f"{name}.tex": self.to_latex(name)} if latex else {}
        return files if data is None else files | {f"{name}.csv": data}


def read_tables(paths: Iterable[Path | str], dtype: Mapping[str, Any]) -> pd.DataFrame:
    """Read CSV files with the same columns into one table; only an empty cell is a missing value."""
    tables = [
        read_csv(Path(path), dtype=dict(dtype), keep_default_na=False, na_values=[""]) for path in paths
    ]
    if not tables:
        raise InputError("no table to read: the list of files is empty")
    return pd.concat(tables, ignore_index=True)


def percent(share: float, sign: str = "") -> str:
    """Write a share in percent with one decimal; with ``sign="+"`` a difference in points."""
    return NONE if pd.isna(share) else f"{100 * share:{sign}.1f}"


def with_interval(value: float, low: float, high: float, sign: str = "", deviation: float = math.nan) -> str:
    """Write a share and its interval in percent: ``94.1 [90.2, 96.5]``, ``94.1 ± 0.8 [92.0, 95.9]``."""
    spread = "" if pd.isna(deviation) else f" ± {percent(deviation)}"
    interval = "" if pd.isna(low) else f" [{percent(low, sign)}, {percent(high, sign)}]"
    return percent(value, sign) + spread + interval


def p_text(p_value: float) -> str:
    """Write a p-value with three decimals."""
    return NONE if pd.isna(p_value) else "< 0.001" if p_value < 0.001 else f"{p_value:.3f}"


def short_count(number: float) -> str:
    """Write a count with two to three digits and a unit: 950, 62k, 1.2M."""
    if pd.isna(number):
        return NONE
    for unit, size in [("G", 1e9), ("M", 1e6), ("k", 1e3)]:
        # 999,950 would be written as 1000k
        if number >= size * 0.9995:
            return f"{number / size:.3g}{unit}"
    return f"{number:.0f}"


def three_digits(value: float) -> str:
    """Write a quantity with three digits."""
    return NONE if pd.isna(value) else f"{value:.0f}" if abs(value) >= 100 else f"{value:.3g}"


def counted(number: int, noun: str) -> str:
    """Write a number with its noun: 1 thread, 2 threads."""
    return f"{number} {noun}{'' if number == 1 else 's'}"


def joined(values: Iterable[Any], write: Callable[[Any], str] = str, separator: str = " / ") -> str:
    """Join the distinct values that are not missing."""
    return separator.join(dict.fromkeys(write(value) for value in values if not pd.isna(value))) or NONE


def varying(table: pd.DataFrame, *names: str) -> list[str]:
    """Name the columns among `names` with several values: the others need no column for a reader."""
    return [name for name in names if table[name].nunique() > 1]


def grouped(table: pd.DataFrame, *keys: str) -> Iterator[tuple[dict[str, str], pd.DataFrame]]:
    """Yield the groups of rows with equal keys, with the keys that a reader needs: model and protocol if they vary."""
    hidden = {"model", "protocol"} - set(varying(table, "model", "protocol"))
    for values, group in table.groupby(list(keys), sort=False):
        yield {key: value for key, value in zip(keys, values, strict=True) if key not in hidden}, group


def with_constants(note: str, table: pd.DataFrame, *names: str) -> str:
    """Add the columns among `names` that have one value to a note, as ``Model: tiny. Protocol: pooled.``."""
    constant = [name for name in names if table[name].nunique() == 1]
    return " ".join([note, *(f"{name.capitalize()}: {joined(table[name])}." for name in constant)])
