"""Summary of one model on one dataset and protocol: tidy tables of its runs, and comparisons with baselines."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby
from pathlib import Path

import pandas as pd

from vlmtsc.files import read_csv, read_json
from vlmtsc.paths import BaselineKey, Paths, Run
from vlmtsc.reporting.calibration import RELIABILITY_COLUMNS, RELIABILITY_TYPES, reliability_rows
from vlmtsc.reporting.comparisons import (
    COMPARISON_COLUMNS,
    COMPARISON_TYPES,
    METHOD_COLUMNS,
    METHOD_TYPES,
    PLACE,
    compare_predictions,
    name_first_stages,
    read_aligned,
    read_method,
)
from vlmtsc.reporting.controls import CONTROL_COLUMNS, CONTROL_TYPES, control_rows
from vlmtsc.reporting.costs import adapter_flops, job_seconds, run_costs
from vlmtsc.reporting.runs import (
    BOUNDS,
    COLUMN_TYPES,
    CONFUSION_COLUMNS,
    CONFUSION_TYPES,
    OVER_SEEDS,
    RUN_KEYS,
    confusion_rows,
    list_runs,
    run_row,
    runs_table,
)
from vlmtsc.reporting.tables import read_tables


def summarise(
    paths: Paths, runs: Sequence[Run], baselines: Sequence[BaselineKey], controls: bool
) -> dict[str, pd.DataFrame]:
    """Return the tables of the finished runs of one model, dataset and protocol, by file name without suffix."""
    rows, logs, confusion, reliability, controlled = [], [], [], [], []
    scenarios = [list(group) for _, group in groupby(runs, key=lambda run: run.scenario)]
    methods = [read_method(paths, seeds) for seeds in scenarios]
    for run in runs:
        folder = Path(paths.run(run))
        metrics, record = read_json(folder / "metrics.json"), read_json(folder / "run_record.json")
        # Adapters and benchmarks are no inputs of the rule: they may be removed to save space.
        seconds = job_seconds(Path(paths.benchmark("evaluate_model", str(run))))
        costs = run_costs(record, adapter_flops(folder / "adapter"), seconds)
        rows.append(run_row(run, metrics, record) | costs)
        logs.append(read_csv(folder / "training_log.csv").assign(**vars(run)))
        confusion.extend(confusion_rows(run, metrics))
        reliability.extend(reliability_rows(run, folder / "predictions.csv", metrics))
        if controls:
            controlled.extend(control_rows(run, read_csv(folder / "controls.csv"), metrics))
    steps = pd.concat(logs, ignore_index=True)
    first_stages = (read_aligned(paths, seeds) for seeds in scenarios)
    methods += [found for found in first_stages if found is not None]
    methods += [read_method(paths, [key]) for key in baselines]
    measured, pairs = compare_predictions({name: getattr(runs[0], name) for name in PLACE}, methods)
    over_seeds = {
        method["method"]: dict(zip(OVER_SEEDS, map(method.get, BOUNDS), strict=True))
        for method in measured[: len(scenarios)]
        if method["seeds"] > 1
    }
    rows = [row | over_seeds.get(row["scenario"], {}) for row in rows]
    tables = {
        "runs": runs_table(rows),
        "training": steps[RUN_KEYS + [name for name in steps if name not in RUN_KEYS]],
        "confusion": pd.DataFrame(confusion, columns=CONFUSION_COLUMNS),
        "reliability": pd.DataFrame(reliability, columns=RELIABILITY_COLUMNS),
        "methods": pd.DataFrame(measured, columns=METHOD_COLUMNS),
        "comparisons": pd.DataFrame(pairs, columns=COMPARISON_COLUMNS),
    }
    if controls:
        tables["controls"] = pd.DataFrame(controlled, columns=CONTROL_COLUMNS).astype(CONTROL_TYPES)
    return tables


def read_summaries(
    paths: Paths, models: Sequence[str], datasets: Sequence[str], protocol: str, names: Sequence[str]
) -> dict[str, pd.DataFrame]:
    """Read these tables of `summarise`, each joined over models and datasets, with `name_first_stages`."""
    types = {"runs": COLUMN_TYPES, "methods": METHOD_TYPES, "comparisons": COMPARISON_TYPES, "training": {}}
    types |= {"controls": CONTROL_TYPES, "confusion": CONFUSION_TYPES, "reliability": RELIABILITY_TYPES}
    folders = [paths.summary(run) for run in list_runs(models, datasets, protocol, [""], [0])]
    tables = {
        name: read_tables([f"{folder}/{name}.csv" for folder in folders], types[name]) for name in names
    }
    return {name: name_first_stages(table) if name == "methods" else table for name, table in tables.items()}
