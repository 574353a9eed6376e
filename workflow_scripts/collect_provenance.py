"""Collect where the results of one model on one dataset and protocol come from."""

from __future__ import annotations

import csv
import logging
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from vlmtsc.baselines.settings import BaselineKey
from vlmtsc.files import read_json, write_json
from vlmtsc.reporting.provenance import dataset_provenance
from vlmtsc.script import run_script

logger = logging.getLogger("vlmtsc.collect_provenance")


def collect_provenance(
    results: Path,
    model: str,
    dataset: str,
    protocol: str,
    runs: list[str],
    baselines: list[dict[str, str]],
    ledger: Path,
    output: Path,
    citation: str = "",
    log: Path | None = None,
) -> None:
    """Collect where the results of one model on one dataset and protocol come from.

    Parameters
    ----------
    results : Path
        Results folder.
    model, dataset, protocol : str
        What the runs share.
    runs : list of str
        Runs as ``{scenario}/seed-{seed}``, each with ``run_record.json`` and ``parameters.json``.
    baselines : list of dict
        Fields of `BaselineKey`, each with ``record.json``.
    ledger : Path
        Ledger of these scenarios (.csv).
    output : Path
        JSON to write.
    citation : str, default ""
        Whom to cite for the dataset.
    log : Path, optional
        File for messages.
    """
    place = results / "datasets" / dataset
    with ledger.open(encoding="utf-8", newline="") as file:
        costs = list(csv.DictReader(file))
    folder = results / "runs" / model / dataset / protocol
    content = dataset_provenance(
        {"model": model, "dataset": dataset, "protocol": protocol, "citation": citation},
        read_json(place / "source.json"),
        read_json(place / "facts.json"),
        read_json(place / protocol / "facts.json"),
        [told_run(folder / run, run) for run in runs],
        costs,
        [read_json(results / BaselineKey(**key).folder / "record.json") for key in baselines],
    )
    write_json(output, content)
    logger.info("%s on %s (%s): %d runs", model, dataset, protocol, len(runs))


def told_run(folder: Path, run: str) -> dict[str, Any]:
    """Read what one run's folder tells; it was finished when its record was written, in UTC."""
    scenario, _, seed = run.partition("/seed-")
    record = folder / "run_record.json"
    finished = datetime.fromtimestamp(record.stat().st_mtime, tz=UTC)
    return {
        "scenario": scenario,
        "seed": int(seed),
        "finished": finished.strftime("%Y-%m-%dT%H:%MZ"),
        "record": read_json(record),
        "representation": read_json(folder / "parameters.json")["representation"],
    }


if __name__ == "__main__":
    run_script(collect_provenance)
