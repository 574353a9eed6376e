"""Write the tidy table of all runs, the table of datasets by scenarios, and that of costs."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path

from vlmtsc.files import atomic_path
from vlmtsc.reporting.costs import TEXT_COLUMNS as COST_TEXTS
from vlmtsc.reporting.costs import costs_table
from vlmtsc.reporting.html_tables import to_html
from vlmtsc.reporting.tables import (
    COLUMN_TYPES,
    TEXT_COLUMNS,
    accuracy_table,
    read_tables,
    to_latex,
    to_markdown,
    to_sortable,
)
from vlmtsc.script import run_script

logger = logging.getLogger("vlmtsc.write_tables")


def write_tables(collected: list[Path], output: Path, log: Path | None = None) -> None:
    """Write the tidy table of all runs, the table of datasets by scenarios, and that of costs.

    Parameters
    ----------
    collected : list of Path
        Tables of runs that `collect_runs` wrote, in the order of the rows.
    output : Path
        Folder to write ``runs.csv``, ``runs.html``, ``accuracy.{csv,html,md,tex}`` and ``costs.{html,md}`` to; other
        files in it are left alone.
    log : Path, optional
        File for messages.
    """
    runs = read_tables(collected, COLUMN_TYPES)
    table, costs = accuracy_table(runs), costs_table(runs)
    sortable = to_sortable(table)
    texts = [*TEXT_COLUMNS, "chosen on validation"]
    marks = table.chosen.assign(**{"chosen on validation": False})
    writers: dict[str, Callable[[Path], object]] = {
        "runs.csv": lambda path: runs.to_csv(path, index=False),
        "runs.html": lambda path: path.write_text(
            to_html(runs, "All runs", "One row a run; shares between 0 and 1.", TEXT_COLUMNS),
            encoding="utf-8",
        ),
        "accuracy.csv": lambda path: sortable.to_csv(path, index=False),
        "accuracy.html": lambda path: path.write_text(
            to_html(sortable, "Test accuracy", table.note, texts, marks), encoding="utf-8"
        ),
        "accuracy.md": lambda path: path.write_text(to_markdown(table), encoding="utf-8"),
        "costs.md": lambda path: path.write_text(to_markdown(costs, COST_TEXTS), encoding="utf-8"),
        "costs.html": lambda path: path.write_text(
            to_html(costs.cells, "What runs cost", costs.note, COST_TEXTS), encoding="utf-8"
        ),
        "accuracy.tex": lambda path: path.write_text(to_latex(table), encoding="utf-8"),
    }
    for name, write in writers.items():
        with atomic_path(output / name) as temporary:
            write(temporary)
    logger.info("%d runs in %d rows of %s", len(runs), len(table.cells), output / "accuracy.md")


if __name__ == "__main__":
    run_script(write_tables)
