"""Compare the time that runs took with what was predicted before."""

from __future__ import annotations

import logging
from pathlib import Path

from vlmtsc.planning.outcome import read_stored
from vlmtsc.reporting.html_tables import to_html
from vlmtsc.reporting.predicted_time import TEXT_COLUMNS, draw_predicted_time, outcome_table, read_outcomes
from vlmtsc.reporting.style import save_png_and_pdf
from vlmtsc.reporting.tables import COLUMN_TYPES, RUN_KEYS, read_tables, run_name, to_markdown
from vlmtsc.script import run_script
from vlmtsc.table_files import write_files

logger = logging.getLogger("vlmtsc.report_predicted_time")


def report_predicted_time(
    results: Path,
    predicted: list[Path],
    collected: list[Path],
    tables: Path,
    figures: Path,
    log: Path | None = None,
) -> None:
    """Compare the time that runs took with what was predicted before.

    Parameters
    ----------
    results : Path
        Results folder.
    predicted : list of Path
        Stored predictions, as `predict_time` wrote them.
    collected : list of Path
        Tables of finished runs, in the order of the rows.
    tables : Path
        Folder to write ``predicted_time.{csv,md,html}`` to; other files in it are left alone.
    figures : Path
        Folder to write ``predicted_time.{png,pdf}`` to; other files in it are left alone.
    log : Path, optional
        File for messages.
    """
    runs = read_tables(collected, COLUMN_TYPES)
    names = [run_name(key) for key in runs[RUN_KEYS].to_dict("records")]
    rows = read_outcomes(results, [read_stored(path) for path in predicted], names)
    table = outcome_table(rows)
    figure = draw_predicted_time(rows)
    write_files(
        tables,
        {
            "predicted_time.csv": rows,
            "predicted_time.md": to_markdown(table, TEXT_COLUMNS),
            "predicted_time.html": to_html(
                table.cells, "Predicted and measured time", table.note, TEXT_COLUMNS
            ),
        },
    )
    save_png_and_pdf(figure, figures, "predicted_time")
    logger.info("%d rows in %s", len(rows), tables / "predicted_time.md")


if __name__ == "__main__":
    run_script(report_predicted_time)
