"""Tables as HTML pages, sortable by a click on a column's head."""

from __future__ import annotations

import pandas as pd

from vlmtsc.reporting.pages import PAGES

PAGE = PAGES.from_string("""\
{% extends "frame.html" %}
{% block looks %}
body { max-width: none; }
td.chosen { font-weight: 700; background: #eef4f9; }
{% endblock %}
{% block content %}
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
{% for paragraph in note.splitlines() %}
<p>{{ paragraph }}{{ " Click on a column's head to sort." if loop.last }}</p>
{% endfor %}
{% endblock %}
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
        Above and below the table; escaped, as everything else is. Each line of the note is a paragraph.
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
