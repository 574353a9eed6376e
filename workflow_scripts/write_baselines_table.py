"""Write the table of baselines, with the best finished fine-tuned run of each dataset beside them."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd

from vlmtsc.baselines.settings import BaselineKey
from vlmtsc.files import atomic_path, read_json
from vlmtsc.reporting.baselines import (
    COLUMNS,
    TEXT_COLUMNS,
    baseline_row,
    baselines_table,
    best_run_rows,
    published_rows,
    read_published,
)
from vlmtsc.reporting.html_tables import to_html
from vlmtsc.reporting.tables import RUN_KEYS, run_row, runs_table, to_latex, to_markdown
from vlmtsc.script import run_script

logger = logging.getLogger("vlmtsc.write_baselines_table")


def write_baselines_table(
    results: Path,
    baselines: list[BaselineKey],
    runs: list[str],
    published: Path,
    output: Path,
    log: Path | None = None,
) -> None:
    """Write the table of baselines, with the best finished fine-tuned run of each dataset beside them.

    Parameters
    ----------
    results : Path
        Folder of the workflow's results.
    baselines : list of BaselineKey
        The baselines, in the order of rows and columns.
    runs : list of str
        Folders of finished fine-tuned runs below `results`; may be empty.
    published : Path
        Accuracies published on the archive's own split (.tsv); shown for the protocol ``official`` only.
    output : Path
        Folder to write ``baselines.{csv,html,md,tex}`` to; other files in it are left alone.
    log : Path, optional
        File for messages.
    """
    rows = []
    for key in baselines:
        folder = results / key.folder
        rows.append(
            baseline_row(vars(key), read_json(folder / "metrics.json"), read_json(folder / "record.json"))
        )
    datasets = list(dict.fromkeys(key.dataset for key in baselines))
    protocol = baselines[0].protocol
    if runs:
        rows += best_run_rows(runs_table([_read_run(results, run) for run in runs]))
    rows += published_rows(read_published(published), datasets, protocol)
    table = baselines_table(rows, datasets, protocol)
    tidy = pd.DataFrame(rows, columns=COLUMNS)
    writers: dict[str, Callable[[Path], object]] = {
        "baselines.csv": lambda path: tidy.to_csv(path, index=False),
        "baselines.html": lambda path: path.write_text(
            to_html(table.cells, "Simple methods", table.note, TEXT_COLUMNS, table.chosen), encoding="utf-8"
        ),
        "baselines.md": lambda path: path.write_text(to_markdown(table, TEXT_COLUMNS), encoding="utf-8"),
        "baselines.tex": lambda path: path.write_text(
            to_latex(table, TEXT_COLUMNS, "tab:baselines"), encoding="utf-8"
        ),
    }
    for name, write in writers.items():
        with atomic_path(output / name) as temporary:
            write(temporary)
    logger.info("%d baselines and %d runs in %s", len(baselines), len(runs), output / "baselines.md")


def _read_run(results: Path, run: str) -> dict[str, Any]:
    folder = results / run
    record = read_json(folder / "run_record.json")
    return run_row({name: record[name] for name in RUN_KEYS}, read_json(folder / "metrics.json"), record)


if __name__ == "__main__":
    run_script(write_baselines_table)
