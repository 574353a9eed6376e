"""Collect the controls of one model on one dataset and protocol into a table."""

from __future__ import annotations

import logging
from pathlib import Path

import pandas as pd

from collect_runs import parse_run
from vlmtsc.files import read_json
from vlmtsc.reporting.controls import CONTROL_COLUMNS, CONTROL_TYPES, control_rows
from vlmtsc.reporting.tables import RUN_KEYS
from vlmtsc.script import run_script
from vlmtsc.table_files import write_csv

logger = logging.getLogger("vlmtsc.collect_controls")


def collect_controls(
    root: Path,
    model: str,
    dataset: str,
    protocol: str,
    runs: list[str],
    output: Path,
    log: Path | None = None,
) -> None:
    """Collect the controls of one model on one dataset and protocol into a table.

    Parameters
    ----------
    root : Path
        Folder of all runs; each lies in ``{model}/{dataset}/{protocol}/{scenario}/seed-{seed}``.
    model, dataset, protocol : str
        What the runs share.
    runs : list of str
        Runs as ``{scenario}/seed-{seed}``, in the order of the table; each with ``controls.csv`` and ``metrics.json``.
    output : Path
        CSV to write: one row for each run and control.
    log : Path, optional
        File for messages.
    """
    rows = []
    for run in runs:
        scenario, seed = parse_run(run)
        folder = root / model / dataset / protocol / run
        key = dict(zip(RUN_KEYS, [model, dataset, protocol, scenario, seed], strict=True))
        rows += control_rows(key, pd.read_csv(folder / "controls.csv"), read_json(folder / "metrics.json"))
    table = pd.DataFrame(rows, columns=CONTROL_COLUMNS).astype(CONTROL_TYPES)
    write_csv(output, table)
    logger.info("%s on %s (%s): controls of %d runs", model, dataset, protocol, len(runs))


if __name__ == "__main__":
    run_script(collect_controls)
