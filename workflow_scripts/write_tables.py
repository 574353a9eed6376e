"""Write the tidy table of all runs, the table of datasets by scenarios, and that of costs."""

from __future__ import annotations

import logging
from pathlib import Path

from vlmtsc.reporting.costs import TEXT_COLUMNS as COST_TEXTS
from vlmtsc.reporting.costs import costs_table
from vlmtsc.reporting.pages import to_html
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
from vlmtsc.table_files import write_files

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
    write_files(
        output,
        {
            "runs.csv": runs,
            "runs.html": to_html(runs, "All runs", "One row a run; shares between 0 and 1.", TEXT_COLUMNS),
            "accuracy.csv": sortable,
            "accuracy.html": to_html(sortable, "Test accuracy", table.note, texts, marks),
            "accuracy.md": to_markdown(table),
            "costs.md": to_markdown(costs, COST_TEXTS),
            "costs.html": to_html(costs.cells, "What runs cost", costs.note, COST_TEXTS),
            "accuracy.tex": to_latex(table),
        },
    )
    logger.info("%d runs in %d rows of %s", len(runs), len(table.cells), output / "accuracy.md")


if __name__ == "__main__":
    run_script(write_tables)
