"""Self-contained HTML pages of the report: a common frame, and tables that sort.

Snakemake's report displays HTML, PNG and PDF; it only offers a CSV file for download.
"""

from __future__ import annotations

import pandas as pd
from jinja2 import DictLoader, Environment

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


def to_html(
    cells: pd.DataFrame, title: str, note: str, text_columns: list[str], chosen: pd.DataFrame | None = None
) -> str:
    """Write a table as a self-contained HTML page.

    Parameters
    ----------
    cells : DataFrame
        Floats are written with four significant digits, missing values as empty cells.
    title, note : str
        Text above and below the table; each line of the note is a paragraph.
    text_columns : list of str
        Left-aligned columns.
    chosen : DataFrame of bool, optional
        Same columns and rows as `cells`: True for cells to highlight.
    """
    return TABLE_PAGE.render(title=title, note=note, cells=cells, text=text_columns, chosen=chosen)
