"""Collect the runs of one model on one dataset and protocol into four tidy tables."""

from __future__ import annotations

import logging
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from vlmtsc.errors import InputError
from vlmtsc.files import read_json
from vlmtsc.reporting.calibration import RELIABILITY_COLUMNS, reliability_rows
from vlmtsc.reporting.costs import adapter_flops, job_seconds, run_costs
from vlmtsc.reporting.tables import (
    CONFUSION_COLUMNS,
    DONE,
    OVER_SEEDS,
    RUN_KEYS,
    confusion_rows,
    run_row,
    runs_table,
)
from vlmtsc.script import run_script
from vlmtsc.table_files import read_csv, write_csv

logger = logging.getLogger("vlmtsc.collect_runs")


def collect_runs(
    root: Path,
    model: str,
    dataset: str,
    protocol: str,
    runs: list[str],
    output: Path,
    training: Path,
    confusion: Path,
    reliability: Path,
    benchmarks: Path | None = None,
    log: Path | None = None,
) -> None:
    """Collect the runs of one model on one dataset and protocol into four tidy tables.

    A requested run without ``metrics.json`` and ``run_record.json`` gets a row with status "not run".

    Parameters
    ----------
    root : Path
        Folder of all runs; each lies in ``{model}/{dataset}/{protocol}/{scenario}/seed-{seed}``.
    model, dataset, protocol : str
        What the runs share.
    runs : list of str
        Requested runs as ``{scenario}/seed-{seed}``, in the order of the tables.
    output : Path
        CSV to write: one row a run, metrics and costs.
    training : Path
        CSV to write: the training logs, with the keys of the run in front.
    confusion : Path
        CSV to write: the confusion matrices in tidy form.
    reliability : Path
        CSV to write: the reliability curves in tidy form.
    benchmarks : Path, optional
        Folder of Snakemake's benchmarks of evaluations, laid out as `root`. Where a file is not there, the time of
        that evaluation stays empty.
    log : Path, optional
        File for messages.
    """
    rows: list[dict[str, Any]] = []
    right: dict[str, list[pd.Series]] = {}
    counts: list[dict[str, Any]] = []
    curves: list[dict[str, Any]] = []
    logs: list[pd.DataFrame] = []
    for run in runs:
        scenario, seed = parse_run(run)
        folder = root / model / dataset / protocol / run
        key = dict(zip(RUN_KEYS, [model, dataset, protocol, scenario, seed], strict=True))
        metrics_file, record_file = folder / "metrics.json", folder / "run_record.json"
        if not (metrics_file.exists() and record_file.exists()):
            logger.warning("%s: no metrics and run record, shown as not run", folder)
            rows.append(run_row(key, None, None))
            continue
        metrics, record = read_json(metrics_file), read_json(record_file)
        evaluation = (
            job_seconds(benchmarks / model / dataset / protocol / f"{run}.tsv") if benchmarks else None
        )
        costs = run_costs(record, adapter_flops(folder / "adapter"), evaluation)
        rows.append(run_row(key, metrics, record) | costs)
        curves.extend(reliability_rows(key, folder / "predictions.csv", metrics))
        counts.extend(confusion_rows(key, metrics))
        logs.append(read_csv(folder / "training_log.csv").assign(**key))
        right.setdefault(scenario, []).append(read_right(folder / "predictions.csv"))
    for scenario, seeds in right.items():
        if len(seeds) > 1:
            bounds = dict(zip(OVER_SEEDS, interval_over_seeds(seeds), strict=True))
            for row in rows:
                if row["scenario"] == scenario and row["status"] == DONE:
                    row.update(bounds)
    steps = pd.concat(logs, ignore_index=True) if logs else pd.DataFrame(columns=RUN_KEYS)
    steps = steps[RUN_KEYS + [name for name in steps if name not in RUN_KEYS]]
    for table, path in [
        (runs_table(rows), output),
        (steps, training),
        (pd.DataFrame(counts, columns=CONFUSION_COLUMNS), confusion),
        (pd.DataFrame(curves, columns=RELIABILITY_COLUMNS), reliability),
    ]:
        write_csv(path, table)
    logger.info("%s on %s (%s): %d of %d runs collected", model, dataset, protocol, len(logs), len(runs))


def read_right(predictions: Path) -> pd.Series:
    """Read where a run is right: bool, by id and true class, in the order of ids."""
    table = pd.read_csv(predictions, dtype=str, usecols=["id", "true", "predicted"], keep_default_na=False)
    return (table["true"] == table["predicted"]).set_axis([table["id"], table["true"]]).sort_index()


def interval_over_seeds(seeds: Sequence[pd.Series]) -> tuple[float, float]:
    """Return the 95% bootstrap interval of the mean accuracy, over seeds and over cases within each class.

    Parameters
    ----------
    seeds : sequence of Series of bool
        Of `read_right`.
    """
    from vlmtsc.evaluation.statistics import bootstrap_accuracies, interval

    if any(not one.index.equals(seeds[0].index) for one in seeds):
        raise InputError("seeds of one scenario were scored on different cases; allowed: the same test part")
    labels = pd.factorize(seeds[0].index.get_level_values(1))[0]
    [accuracies] = bootstrap_accuracies([np.stack([one.to_numpy() for one in seeds])], labels)
    return interval(accuracies)


def parse_run(run: str) -> tuple[str, int]:
    """Scenario and seed of a run written as ``{scenario}/seed-{seed}``."""
    found = re.fullmatch(r"([^/]+)/seed-(\d+)", run)
    if not found:
        raise InputError(f"--runs: found {run!r}, expected SCENARIO/seed-NUMBER, for example plot/seed-1")
    return found[1], int(found[2])


if __name__ == "__main__":
    run_script(collect_runs)
