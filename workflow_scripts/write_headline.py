"""Write the outcome of a run at a glance, for the report's first page."""

from __future__ import annotations

import logging
from pathlib import Path

from vlmtsc.files import atomic_path
from vlmtsc.reporting.controls import CONTROL_TYPES
from vlmtsc.reporting.headline import headline, to_fragment
from vlmtsc.reporting.tables import COLUMN_TYPES, read_tables
from vlmtsc.script import run_script

logger = logging.getLogger("vlmtsc.write_headline")


def write_headline(
    runs: Path, methods: Path, output: Path, controls: Path | None = None, log: Path | None = None
) -> None:
    """Write the outcome of a run at a glance, for the report's first page.

    Parameters
    ----------
    runs, methods : Path
        The tidy table of runs, and that of methods (.csv).
    output : Path
        Piece of HTML to write.
    controls : Path, optional
        The tidy table of controls (.csv).
    log : Path, optional
        File for messages.
    """
    table, what, note = headline(
        read_tables([runs], COLUMN_TYPES),
        read_tables([methods], {"method": "str", "dataset": "str"}),
        None if controls is None else read_tables([controls], CONTROL_TYPES),
    )
    with atomic_path(output) as temporary:
        temporary.write_text(to_fragment(table, what, note), encoding="utf-8")
    logger.info("%d rows in %s", len(table), output)


if __name__ == "__main__":
    run_script(write_headline)
