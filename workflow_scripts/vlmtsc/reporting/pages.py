"""What the HTML pages of the report share: frame, look, and tables that sort. Each page needs no other file.

Snakemake's report shows HTML, PNG and PDF; a CSV it only offers for download.
"""

from __future__ import annotations

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
// A click on a head sorts the table that it stands in, by the number that a cell begins with; what has none comes last.
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

#: Templates begin with ``{% extends "frame.html" %}`` and fill its block ``content``; ``looks`` may add to the style.
PAGES = Environment(
    autoescape=True, trim_blocks=True, lstrip_blocks=True, loader=DictLoader({"frame.html": FRAME})
)
