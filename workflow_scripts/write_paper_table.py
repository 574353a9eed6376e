"""Write the table of published results and ours."""

from __future__ import annotations

import logging
from pathlib import Path

from vlmtsc.files import write_files
from vlmtsc.reporting.baselines import read_published
from vlmtsc.reporting.paper import paper_files
from vlmtsc.reporting.runs import COLUMN_TYPES, list_runs
from vlmtsc.reporting.tables import read_tables
from vlmtsc.script import run_script

logger = logging.getLogger("vlmtsc.write_paper_table")


def write_paper_table(
    runs: Path,
    published: Path,
    models: list[str],
    datasets: list[str],
    scenarios: list[str],
    protocol: str,
    output: Path,
) -> None:
    """Write the table of published results and ours.

    Parameters
    ----------
    runs : Path
        Tidy table of runs (.csv).
    published : Path
        Published accuracies (.tsv).
    models, datasets, scenarios : list of str
        All combinations; those without a run are shown as not run.
    protocol : str
        Split protocol.
    output : Path
        Folder to write ``paper.{csv,md,tex,html}`` and ``paper_best.{csv,html}`` to.
    """
    keys = list_runs(models, datasets, protocol, scenarios, [0])
    files = paper_files(read_tables([runs], COLUMN_TYPES), read_published(published, "scenario"), keys)
    write_files(output, files)
    logger.info("%d rows in %s", len(keys), output / "paper.csv")


if __name__ == "__main__":
    run_script(write_paper_table)
