"""Write the table and draw the figure of controls at test time."""

from __future__ import annotations

import logging
from pathlib import Path

from vlmtsc.reporting.control_figures import draw_controls
from vlmtsc.reporting.controls import CONTROL_TYPES, TEXT_COLUMNS, controls_table
from vlmtsc.reporting.pages import to_html
from vlmtsc.reporting.style import save_png_and_pdf
from vlmtsc.reporting.tables import read_tables, to_markdown
from vlmtsc.script import run_script
from vlmtsc.table_files import write_files

logger = logging.getLogger("vlmtsc.report_controls")


def report_controls(collected: list[Path], tables: Path, figures: Path, log: Path | None = None) -> None:
    """Write the table and draw the figure of controls at test time.

    Parameters
    ----------
    collected : list of Path
        Tables that `collect_controls` wrote, in the order of the rows.
    tables : Path
        Folder to write ``controls.{csv,md,html}`` to; other files in it are left alone.
    figures : Path
        Folder to write ``controls.{png,pdf}`` to; other files in it are left alone.
    log : Path, optional
        File for messages.
    """
    rows = read_tables(collected, CONTROL_TYPES)
    table = controls_table(rows)
    figure = draw_controls(rows)
    write_files(
        tables,
        {
            "controls.csv": rows,
            "controls.md": to_markdown(table, TEXT_COLUMNS),
            "controls.html": to_html(table.cells, "Controls at test time", table.note, TEXT_COLUMNS),
        },
    )
    save_png_and_pdf(figure, figures, "controls")
    logger.info("%d rows in %s", len(table.cells), tables / "controls.md")


if __name__ == "__main__":
    run_script(report_controls)
