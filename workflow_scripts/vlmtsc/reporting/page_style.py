"""What the pages of text in the report share: their look, and tables that sort."""

from __future__ import annotations

from markupsafe import Markup

#: Nothing is wider than the window: tables and code scroll inside their own box, long words break.
STYLE = Markup("""
body { font: 15px/1.55 system-ui, sans-serif; color: #222; background: #fff; margin: 1.2rem auto; padding: 0 1.2rem;
  max-width: 70rem; overflow-wrap: break-word; }
h1 { font-size: 1.35rem; margin: 0 0 .6rem; }
h2 { font-size: 1.1rem; margin: 1.8rem 0 .4rem; border-bottom: 1px solid #ddd; padding-bottom: .2rem; }
h3 { font-size: 1rem; margin: 1rem 0 .3rem; }
p, li { max-width: 48rem; }
code { font: .88em/1.4 ui-monospace, monospace; overflow-wrap: anywhere; }
pre { font: .82em/1.45 ui-monospace, monospace; background: #f6f7f8; padding: .8rem; overflow-x: auto; }
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
a { color: #0b5c8f; }
""")

#: A click on a head sorts the table that it stands in; what is not a number comes last.
SORTING = Markup("""
"use strict";
const number = (cell) => cell.textContent.trim() === "" ? NaN : Number(cell.textContent);
document.querySelectorAll("th button").forEach((button) => button.addEventListener("click", () => {
  const head = button.parentElement, table = head.closest("table"), body = table.tBodies[0];
  const column = head.cellIndex, sign = head.getAttribute("aria-sort") === "ascending" ? -1 : 1;
  table.querySelectorAll("th").forEach((other) => other.removeAttribute("aria-sort"));
  head.setAttribute("aria-sort", sign > 0 ? "ascending" : "descending");
  [...body.rows].sort((left, right) => {
    const a = left.cells[column], b = right.cells[column], x = number(a), y = number(b);
    if (!isNaN(x) && !isNaN(y)) return sign * (x - y);
    if (isNaN(x) !== isNaN(y)) return isNaN(x) ? 1 : -1;
    return sign * a.textContent.localeCompare(b.textContent);
  }).forEach((row) => body.append(row));
}));
""")
