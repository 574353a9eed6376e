"""Tables for readers in Markdown, LaTeX and HTML, the texts of their cells, and the frame of all HTML pages."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
from jinja2 import DictLoader, Environment

from vlmtsc.errors import InputError
from vlmtsc.files import read_csv

#: Shown where there is no value.
NONE = "-"
#: Nothing is wider than the window: tables and code scroll inside their own box, long words break.
FRAME = """\
<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{{ title }}</title>
<style>
body { font: 15px/1.55 system-ui, sans-serif; color: #222; background: #fff; margin: 1.2rem auto; padding: 0 1.2rem;
  max-width: 70rem; overflow-wrap: break-word; }
h1 { font-size: 1.35rem; margin: 0 0 .6rem; }
h2 { font-size: 1.1rem; margin: 1.8rem 0 .4rem; border-bottom: 1px solid #ddd; padding-bottom: .2rem; }
h3 { font-size: 1rem; margin: 1rem 0 .3rem; }
p, li { max-width: 48rem; }
code { font: .88em/1.4 ui-monospace, monospace; overflow-wrap: anywhere; }
pre { font: .82em/1.45 ui-monospace, Menlo, Consolas, "DejaVu Sans Mono", monospace; background: #f6f7f8;
  padding: .8rem; overflow-x: auto; }
dl { display: grid; grid-template-columns: minmax(7rem, 16rem) minmax(0, 1fr); gap: .2rem 1rem; margin: .3rem 0; }
dt { color: #555; overflow-wrap: anywhere; }
dd { margin: 0; }
@media (max-width: 40rem) { dl { grid-template-columns: minmax(0, 1fr); } dd { margin: 0 0 .4rem .8rem; } }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; font-size: .9em; font-variant-numeric: tabular-nums; white-space: nowrap; }
th, td { padding: .3rem .7rem; border-bottom: 1px solid #ddd; text-align: right; }
th.text, td.text { text-align: left; }
td.chosen { font-weight: 700; background: #eef4f9; }
th { border-bottom: 2px solid #444; }
th button { all: unset; cursor: pointer; font-weight: 600; }
th button:focus-visible { outline: 2px solid #0173b2; outline-offset: 2px; }
th[aria-sort=ascending] button::after { content: " \\25B2"; }
th[aria-sort=descending] button::after { content: " \\25BC"; }
a, summary { color: #0b5c8f; }
{% block looks %}{% endblock %}
</style>
</head>
<body>
<h1>{{ title }}</h1>
{% block content required %}{% endblock %}
<script>
"use strict";
// A click on a column's header sorts its table by the number at the start of each cell; cells without one come last.
const units = {k: 1e3, M: 1e6, G: 1e9};
function key(cell) {
  const found = cell.textContent.match(/^([-+]?\\d[\\d,]*\\.?\\d*(?:e[-+]?\\d+)?)([kMG]?)(?=[\\s%]|$)/);
  return found ? Number(found[1].replaceAll(",", "")) * (units[found[2]] || 1) : null;
}
document.querySelectorAll("th button").forEach((button) => button.addEventListener("click", () => {
  const head = button.parentElement, table = head.closest("table"), body = table.tBodies[0];
  const column = head.cellIndex, sign = head.getAttribute("aria-sort") === "descending" ? 1 : -1;
  table.querySelectorAll("th").forEach((other) => other.removeAttribute("aria-sort"));
  head.setAttribute("aria-sort", sign > 0 ? "ascending" : "descending");
  [...body.rows].sort((left, right) => {
    const a = left.cells[column], b = right.cells[column], x = key(a), y = key(b);
    if (x !== null && y !== null) return sign * (x - y);
    if (x !== null || y !== null) return x === null ? 1 : -1;
    return sign * a.textContent.localeCompare(b.textContent);
  }).forEach((row) => body.append(row));
}));
</script>
</body>
</html>
"""

#: A table whose columns sort; `text` names left-aligned columns, `chosen` (DataFrame of bool) highlights cells.
TABLES = """\
{% macro table(cells, text=(), chosen=none) %}
<div class="scroll" tabindex="0"><table>
<thead><tr>
{% for name in cells.columns %}
<th{% if name in text %} class="text"{% endif %}><button type="button">{{ name }}</button></th>
{% endfor %}
</tr></thead>
<tbody>
{% for row in cells.itertuples(index=False, name=None) %}
{% set marks = chosen[cells.columns].iloc[loop.index0].tolist() if chosen is not none else [] %}
<tr>
{%- for value in row %}
{% set name = cells.columns[loop.index0] %}
<td{% if name in text %} class="text"{% elif marks and marks[loop.index0] %} class="chosen"{% endif %}>
{{- value | cell }}</td>
{%- endfor -%}
</tr>
{% endfor %}
</tbody>
</table></div>
{% endmacro %}
"""


def format_cell(value: object) -> str:
    """Format a table cell: four significant digits for floats, empty if missing."""
    if pd.isna(value):
        return ""
    if not isinstance(value, float):
        return str(value)
    return f"{value:.1f}" if abs(value) >= 1000 else f"{value:.4g}"


#: Pages start with ``{% extends "frame.html" %}`` and fill the block ``content``; ``looks`` adds to the style sheet.
PAGES = Environment(
    autoescape=True,
    trim_blocks=True,
    lstrip_blocks=True,
    loader=DictLoader({"frame.html": FRAME, "tables.html": TABLES}),
)
PAGES.filters["cell"] = format_cell

TABLE_PAGE = PAGES.from_string("""\
{% extends "frame.html" %}
{% from "tables.html" import table %}
{% block looks %}body { max-width: none; }{% endblock %}
{% block content %}
{{ table(cells, text, chosen) }}
{% for paragraph in note.splitlines() %}
<p>{{ paragraph }}{{ " Click on a column's header to sort." if loop.last }}</p>
{% endfor %}
{% endblock %}
""")


@dataclass(frozen=True)
class ReaderTable:
    """A table of text with an explanation (`note`): below the table; in HTML each line is a paragraph.

    `text_columns` are left-aligned, numbers right-aligned. `emphasised` names for each row the columns to set in
    bold; it is empty if no row has any.
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
        return TABLE_PAGE.render(
            title=title, note=self.note, cells=self.cells, text=self.text_columns, chosen=self.marks
        )

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
    """Write a number with its noun: 1 thread, 1,200 cases."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


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
