"""Write the table of baselines, with the best finished fine-tuned run of each dataset beside them."""

from __future__ import annotations

import logging
from itertools import product
from pathlib import Path

import pandas as pd

from vlmtsc.files import read_json
from vlmtsc.paths import BaselineKey, Paths, Run
from vlmtsc.reporting.baselines import (
    COLUMNS,
    TEXT_COLUMNS,
    baseline_row,
    baselines_table,
    best_run_rows,
    published_rows,
    read_published,
)
from vlmtsc.reporting.pages import to_html
from vlmtsc.reporting.tables import run_row, runs_table, to_latex, to_markdown
from vlmtsc.script import run_script
from vlmtsc.settings import PROBES
from vlmtsc.table_files import write_files

logger = logging.getLogger("vlmtsc.write_baselines_table")


def write_baselines_table(
    results: Path,
    models: list[str],
    datasets: list[str],
    scenarios: list[str],
    seeds: list[int],
    baselines: list[str],
    protocol: str,
    published: Path,
    output: Path,
    log: Path | None = None,
) -> None:
    """Write the table of baselines, with the best finished fine-tuned run of each dataset beside them.

    Parameters
    ----------
    results : Path
        Folder of the workflow's results.
    models, datasets : list of str
        Models whose features are probed or that are fine-tuned, and the rows.
    scenarios : list of str
        With `models`, `datasets` and `seeds`: the fine-tuned runs, of which those that are there count.
    seeds : list of int
    baselines : list of str
        The columns.
    protocol : str
    published : Path
        Accuracies published on the archive's own split (.tsv); shown for the protocol ``official`` only.
    output : Path
        Folder to write ``baselines.{csv,html,md,tex}`` to; other files in it are left alone.
    log : Path, optional
        File for messages.
    """
    rows, paths = [], Paths(str(results))
    for dataset, name in product(datasets, baselines):
        for model in models if name in PROBES else [""]:
            key = BaselineKey(name, dataset, protocol, model)
            metrics, record = (
                read_json(Path(paths.baseline(key), f"{file}.json")) for file in ("metrics", "record")
            )
            rows.append(baseline_row(vars(key), metrics, record))
    runs = []
    for values in product(models, datasets, [protocol], scenarios, seeds):
        run = Run(*values)
        files = [Path(paths.run(run), f"{name}.json") for name in ("metrics", "run_record")]
        if all(file.is_file() for file in files):
            runs.append(run_row(vars(run), *map(read_json, files)))
    if runs:
        rows += best_run_rows(runs_table(runs))
    rows += published_rows(read_published(published), datasets, protocol)
    table = baselines_table(rows, datasets, protocol)
    tidy = pd.DataFrame(rows, columns=COLUMNS)
    write_files(
        output,
        {
            "baselines.csv": tidy,
            "baselines.html": to_html(table.cells, "Simple methods", table.note, TEXT_COLUMNS, table.chosen),
            "baselines.md": to_markdown(table, TEXT_COLUMNS),
            "baselines.tex": to_latex(table, TEXT_COLUMNS, "tab:baselines"),
        },
    )
    logger.info("%d rows, %d runs looked at, in %s", len(rows), len(runs), output / "baselines.md")


if __name__ == "__main__":
    run_script(write_baselines_table)
