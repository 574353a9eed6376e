"""Collect the provenance of one model, dataset and protocol."""

from __future__ import annotations

import logging
from pathlib import Path

from vlmtsc.files import write_json
from vlmtsc.paths import BaselineKey, Paths, Run
from vlmtsc.reporting.provenance import collect_provenance as collect
from vlmtsc.script import run_script
from vlmtsc.table_files import read_csv

logger = logging.getLogger("vlmtsc.collect_provenance")


def collect_provenance(
    results: str,
    model: str,
    dataset: str,
    protocol: str,
    runs: list[str],
    baselines: list[BaselineKey],
    ledger: Path,
    output: Path,
    citation: str = "",
    log: Path | None = None,
) -> None:
    """Collect the provenance of one model, dataset and protocol.

    Parameters
    ----------
    results : str
        Results folder.
    model, dataset, protocol : str
        Common to the runs.
    runs : list of str
        Finished runs as ``{scenario}/seed-{seed}``.
    baselines : list of BaselineKey
        Finished baselines of the dataset.
    ledger : Path
        Token usage of the scenarios (.csv).
    output : Path
        JSON to write.
    citation : str, default ""
        Citation of the dataset.
    log : Path, optional
        File for messages.
    """
    usage = read_csv(ledger, dtype=str, keep_default_na=False).to_dict("records")
    pairs = (run.split("/seed-") for run in runs)
    keys = [Run(model, dataset, protocol, scenario, int(seed)) for scenario, seed in pairs]
    content = collect(Paths(results), keys, baselines, usage, citation)
    write_json(output, content)
    logger.info("%s: %d runs, %d baselines", output, len(runs), len(baselines))


if __name__ == "__main__":
    run_script(collect_provenance)
