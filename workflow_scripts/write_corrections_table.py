"""Write the table of what each fault of the original changes in the accuracy."""

from __future__ import annotations

import logging
from functools import cache
from pathlib import Path
from typing import Any

import pandas as pd

from vlmtsc.corrections import MAY_CHANGE_NOTHING, Pair
from vlmtsc.errors import InputError
from vlmtsc.files import read_json
from vlmtsc.paths import Paths
from vlmtsc.reporting.corrections import (
    CORRECTION_COLUMNS,
    TEXT_COLUMNS,
    Scored,
    compare_inputs,
    correction_row,
    corrections_table,
)
from vlmtsc.reporting.pages import to_html
from vlmtsc.reporting.tables import to_latex, to_markdown
from vlmtsc.script import run_script
from vlmtsc.table_files import read_csv, write_files

logger = logging.getLogger("vlmtsc.write_corrections_table")


def write_corrections_table(pairs: list[Pair], results: Path, output: Path, log: Path | None = None) -> None:
    """Write the table of what each fault of the original changes in the accuracy.

    A run that was asked for and is not there is shown as not run.

    Parameters
    ----------
    pairs : list of Pair
        The rows.
    results : Path
        Folder of the workflow's results, with the runs and conversations of the pairs.
    output : Path
        Folder to write ``corrections.{csv,html,md,tex}`` to; other files in it are left alone.
    log : Path, optional
        File for messages.
    """
    if not pairs:
        raise InputError("corrections: none configured; allowed: one or more, as in config/corrections.yaml")

    @cache
    def conversations(folder: str) -> dict[str, Any]:
        return {
            part: read_json(results / folder / f"{part}.json") for part in ("train", "validation", "test")
        }

    rows, paths = [], Paths(str(results))
    for pair in pairs:
        scored = [read_scored(Path(paths.run(run))) if pair.run else None for run in pair.runs]
        compared = map(conversations, pair.conversations) if pair.switch in MAY_CHANGE_NOTHING else None
        inputs = compare_inputs(*compared) if compared else "different"
        rows.append(correction_row(pair.settings(), inputs, *scored))
    tidy = pd.DataFrame(rows, columns=CORRECTION_COLUMNS).convert_dtypes()
    table = corrections_table(tidy)
    write_files(
        output,
        {
            "corrections.csv": tidy,
            "corrections.md": to_markdown(table, TEXT_COLUMNS),
            "corrections.tex": to_latex(table, TEXT_COLUMNS, label="tab:corrections"),
            "corrections.html": to_html(table.cells, "Faults of the original", table.note, TEXT_COLUMNS),
        },
    )
    logger.info("%d of %d pairs of runs", (tidy["status"] == "done").sum(), len(tidy))


def read_scored(run: Path) -> Scored | None:
    """Read what the table needs of a run; None if it was not made."""
    if not ((run / "metrics.json").exists() and (run / "predictions.csv").exists()):
        logger.warning("%s: no metrics and predictions, shown as not run", run)
        return None
    return Scored(read_json(run / "metrics.json"), read_csv(run / "predictions.csv", dtype=str))


if __name__ == "__main__":
    run_script(write_corrections_table)
