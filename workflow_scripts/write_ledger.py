"""Write the token-budget ledger of all datasets and scenarios."""

from __future__ import annotations

import logging
from pathlib import Path

from vlmtsc.reporting.ledger import COLUMN_TYPES, NOTE, TEXT_COLUMNS, ledger_markdown, shown_ledger
from vlmtsc.reporting.pages import to_html
from vlmtsc.reporting.tables import read_tables
from vlmtsc.script import run_script
from vlmtsc.table_files import write_files

logger = logging.getLogger("vlmtsc.write_ledger")


def write_ledger(collected: list[Path], output: Path, log: Path | None = None) -> None:
    """Write the token-budget ledger of all datasets and scenarios.

    Parameters
    ----------
    collected : list of Path
        Tables that `collect_ledger` wrote, in the order of the rows.
    output : Path
        Folder to write ``ledger.{csv,md,html}`` to; other files in it are left alone.
    log : Path, optional
        File for messages.
    """
    table = read_tables(collected, COLUMN_TYPES)
    cells = shown_ledger(table)
    write_files(
        output,
        {
            "ledger.csv": table,
            "ledger.md": ledger_markdown(cells),
            "ledger.html": to_html(cells, "Token-budget ledger", NOTE, TEXT_COLUMNS),
        },
    )
    logger.info("%d rows in %s", len(table), output / "ledger.md")


if __name__ == "__main__":
    run_script(write_ledger)
