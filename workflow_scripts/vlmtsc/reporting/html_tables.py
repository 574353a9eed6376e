"""Tables as self-contained HTML pages, sortable by a click on a column's head.

Snakemake's report shows HTML, PNG and PDF; a CSV it only offers for download.
"""

from __future__ import annotations

import pandas as pd
from jinja2 import Environment

PAGE = Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True).from_string("""\
<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{{ title }}</title>
<style>
body { font: 14px/1.45 system-ui, sans-serif; color: #222; background: #fff; margin: 1.2rem; }
h1 { font-size: 1.15rem; margin: 0 0 .6rem; }
p { max-width: 60rem; color: #444; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; white-space: nowrap; }
th, td { padding: .3rem .7rem; border-bottom: 1px solid #ddd; text-align: right; }
th.text, td.text { text-align: left; }
th { border-bottom: 2px solid #444; }
th button { all: unset; cursor: pointer; font-weight: 600; }
th button:focus-visible { outline: 2px solid #0173b2; outline-offset: 2px; }
th[aria-sort=ascending] button::after { content: " \\25B2"; }
th[aria-sort=descending] button::after { content: " \\25BC"; }
td.chosen { font-weight: 700; background: #eef4f9; }
</style>
</head>
<body>
<h1>{{ title }}</h1>
<div class="scroll" tabindex="0"><table>
<thead><tr>
{% for name in columns %}
<th{% if name in text_columns %} class="text"{% endif %}><button type="button">{{ name }}</button></th>
{% endfor %}
</tr></thead>
<tbody>
{% for row in rows %}
<tr>
{%- for value, name, bold in row -%}
<td
{%- if name in text_columns %} class="text"{% elif bold %} class="chosen"{% endif %}>{{ value }}</td>
{%- endfor -%}
</tr>
{% endfor %}
</tbody>
</table></div>
<p>{{ note }} Click on a column's head to sort.</p>
<script>
"use strict";
const units = {k: 1e3, M: 1e6, G: 1e9};
function key(cell) {
  const found = cell.textContent.match(/^(-?[\\d.]+(?:e[-+]?\\d+)?)([kMG]?)(?![\\w])/);
  return found ? Number(found[1]) * (units[found[2]] || 1) : null;
}
document.querySelectorAll("th button").forEach((button) => button.addEventListener("click", () => {
  const head = button.parentElement, body = document.querySelector("tbody"), column = head.cellIndex;
  const sign = head.getAttribute("aria-sort") === "descending" ? 1 : -1;
  document.querySelectorAll("th").forEach((other) => other.removeAttribute("aria-sort"));
  head.setAttribute("aria-sort", sign > 0 ? "ascending" : "descending");
  [...body.rows].sort((left, right) => {
    const a = left.cells[column], b = right.cells[column], x = key(a), y = key(b);
    if (x !== null && y !== null) return sign * (x - y);
    if (x !== null || y !== null) return x === null ? 1 : -1;  // what is not a number comes last
    return sign * a.textContent.localeCompare(b.textContent);
  }).forEach((row) => body.append(row));
}));
</script>
</body>
</html>
""")


def to_html(
    cells: pd.DataFrame, title: str, note: str, text_columns: list[str], chosen: pd.DataFrame | None = None
) -> str:
    """Write a table as one HTML page that needs nothing else.

    Parameters
    ----------
    cells : DataFrame
        The table; floats are written with four significant digits, missing values as empty cells.
    title, note : str
        Above and below the table; escaped, as everything else is.
    text_columns : list of str
        Columns to align at the left.
    chosen : DataFrame of bool, optional
        Same shape as `cells`: True where a cell is to stand out.
    """
    columns = list(cells.columns)
    marks = chosen[columns].to_numpy() if chosen is not None else [[False] * len(columns)] * len(cells)
    rows = [
        [(written(value), name, mark) for value, name, mark in zip(values, columns, row_marks, strict=True)]
        for values, row_marks in zip(cells.itertuples(index=False), marks, strict=True)
    ]
    return PAGE.render(title=title, note=note, columns=columns, rows=rows, text_columns=text_columns)


def written(value: object) -> str:
    """Write a cell's value as text."""
    if pd.isna(value):
        return ""
    if not isinstance(value, float):
        return str(value)
    return f"{value:.1f}" if abs(value) >= 1000 else f"{value:.4g}"
