"""Write the table of what each fault of the original changes in the accuracy."""

from __future__ import annotations

import logging
from pathlib import Path

from vlmtsc.files import write_files
from vlmtsc.paths import Paths
from vlmtsc.planning import correction_pairs
from vlmtsc.reporting.corrections import correction_rows, corrections_table
from vlmtsc.script import run_script
from vlmtsc.settings import Correction

logger = logging.getLogger("vlmtsc.write_corrections_table")


def write_corrections_table(
    results: str,
    corrections: list[Correction],
    models: list[str],
    protocol: str,
    seeds: list[int],
    output: Path,
) -> None:
    """Write the table of what each fault of the original changes in the accuracy.

    Parameters
    ----------
    results : str
        Results folder.
    corrections : list of Correction
        As in the configuration.
    models : list of str
        Models.
    protocol : str
        Split protocol.
    seeds : list of int
        Seeds.
    output : Path
        Folder to write ``corrections.{csv,html,md,tex}`` to.
    """
    rows = correction_rows(Paths(results), correction_pairs(corrections, models, protocol, seeds))
    table = corrections_table(rows)
    write_files(output, table.files("corrections", "Faults of the original", rows, latex=True))
    logger.info("%d of %d pairs of runs", (rows["status"] == "done").sum(), len(rows))


if __name__ == "__main__":
    run_script(write_corrections_table)
