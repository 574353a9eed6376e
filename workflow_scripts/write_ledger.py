"""Write the token-budget ledger of all datasets and scenarios."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path

from vlmtsc.files import atomic_path
from vlmtsc.reporting.html_tables import to_html
from vlmtsc.reporting.ledger import COLUMN_TYPES, NOTE, TEXT_COLUMNS, ledger_markdown, shown_ledger
from vlmtsc.reporting.tables import read_tables
from vlmtsc.script import run_script

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
    writers: dict[str, Callable[[Path], object]] = {
        "ledger.csv": lambda path: table.to_csv(path, index=False),
        "ledger.md": lambda path: path.write_text(ledger_markdown(cells), encoding="utf-8"),
        "ledger.html": lambda path: path.write_text(
            to_html(cells, "Token-budget ledger", NOTE, TEXT_COLUMNS), encoding="utf-8"
        ),
    }
    for name, write in writers.items():
        with atomic_path(output / name) as temporary:
            write(temporary)
    logger.info("%d rows in %s", len(table), output / "ledger.md")


if __name__ == "__main__":
    run_script(write_ledger)
