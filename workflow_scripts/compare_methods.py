"""Compare the scenarios and baselines of one model, dataset and protocol on the same test cases."""

from __future__ import annotations

import logging
from pathlib import Path

import pandas as pd

from vlmtsc.files import read_json
from vlmtsc.paths import BaselineKey, Paths
from vlmtsc.reporting.comparisons import (
    BASELINE,
    COMPARISON_COLUMNS,
    FINE_TUNED,
    METHOD_COLUMNS,
    Method,
    compare_predictions,
)
from vlmtsc.script import run_script
from vlmtsc.table_files import write_csv

logger = logging.getLogger("vlmtsc.compare_methods")


def compare_methods(
    results: Path,
    model: str,
    dataset: str,
    protocol: str,
    runs: list[str],
    baselines: list[BaselineKey],
    methods: Path,
    comparisons: Path,
    log: Path | None = None,
) -> None:
    """Compare the scenarios and baselines of one model, dataset and protocol on the same test cases.

    Parameters
    ----------
    results : Path
        Folder of the workflow's results.
    model, dataset, protocol : str
        What the runs share.
    runs : list of str
        Fine-tuned runs as ``{scenario}/seed-{seed}``; the seeds of a scenario belong together.
    baselines : list of BaselineKey
        Baselines of the same dataset and protocol.
    methods : Path
        CSV to write: one row a method.
    comparisons : Path
        CSV to write: one row a pair of methods.
    log : Path, optional
        File for messages.
    """
    root = results / "runs" / model / dataset / protocol
    folders: dict[str, list[Path]] = {}
    for run in runs:
        folders.setdefault(run.rpartition("/")[0], []).append(root / run)
    found = [read_method(name, FINE_TUNED, seeds) for name, seeds in folders.items()]
    found += [
        read_method(key.baseline, BASELINE, [Path(Paths(str(results)).baseline(key))]) for key in baselines
    ]
    place = {"model": model, "dataset": dataset, "protocol": protocol}
    rows, pairs = compare_predictions(place, found)
    for path, table in (
        (methods, pd.DataFrame(rows, columns=METHOD_COLUMNS)),
        (comparisons, pd.DataFrame(pairs, columns=COMPARISON_COLUMNS)),
    ):
        write_csv(path, table)
    logger.info("%s: %d methods, %d pairs", dataset, len(rows), len(pairs))


def read_method(name: str, kind: str, folders: list[Path]) -> Method:
    """Read the predictions, metrics and cost of a method, one folder a seed."""
    columns = ["id", "true", "predicted"]
    predictions = [
        # Labels such as "NA" are labels.
        pd.read_csv(folder / "predictions.csv", dtype=str, usecols=columns, keep_default_na=False)
        for folder in folders
    ]
    record = "run_record.json" if kind == FINE_TUNED else "record.json"
    return Method(
        name,
        kind,
        predictions,
        metrics=[read_json(folder / "metrics.json") for folder in folders],
        seconds=[read_json(folder / record)["wall_seconds"] for folder in folders],
    )


if __name__ == "__main__":
    run_script(compare_methods)
