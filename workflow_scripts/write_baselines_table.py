"""Write the table of baselines, with the best finished fine-tuned run of each dataset."""

from __future__ import annotations

import logging
from pathlib import Path

import pandas as pd

from vlmtsc.files import write_files
from vlmtsc.paths import Paths
from vlmtsc.reporting.baselines import (
    COLUMNS,
    baseline_key,
    baselines_table,
    best_run_rows,
    published_rows,
    read_baseline,
    read_published,
)
from vlmtsc.reporting.runs import list_runs, read_run, runs_table
from vlmtsc.script import run_script

logger = logging.getLogger("vlmtsc.write_baselines_table")


def write_baselines_table(
    results: str,
    models: list[str],
    datasets: list[str],
    scenarios: list[str],
    seeds: list[int],
    baselines: list[str],
    protocol: str,
    published: Path,
    output: Path,
) -> None:
    """Write the table of baselines, with the best finished fine-tuned run of each dataset.

    Parameters
    ----------
    results : str
        Results folder.
    models, datasets, scenarios : list of str
        Fine-tuned runs, with `seeds`: all combinations, of which the finished ones count. Probes use these models.
    seeds : list of int
        Seeds.
    baselines : list of str
        The columns.
    protocol : str
        Split protocol.
    published : Path
        Accuracies published on the archive's own split (.tsv); shown for the protocol ``official`` only.
    output : Path
        Folder to write ``baselines.{csv,html,md,tex}`` to.
    """
    paths = Paths(results)
    keys = {
        baseline_key(name, model, dataset, protocol): None
        for dataset in datasets
        for name in baselines
        for model in models
    }
    runs = [read_run(paths, run) for run in list_runs(models, datasets, protocol, scenarios, seeds)]
    rows = [row for key in keys if (row := read_baseline(paths, key))]
    rows += best_run_rows(runs_table(runs))
    rows += published_rows(read_published(published, "method"), datasets, protocol)
    table, data = baselines_table(rows, datasets, protocol), pd.DataFrame(rows, columns=COLUMNS)
    write_files(output, table.files("baselines", "Baselines", data, latex=True))
    logger.info("%d rows in %s", len(rows), output / "baselines.md")


if __name__ == "__main__":
    run_script(write_baselines_table)
