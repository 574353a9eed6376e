"""Collect the provenance of one model, dataset and protocol."""

from __future__ import annotations

import logging
from pathlib import Path

from vlmtsc.files import write_json
from vlmtsc.paths import BaselineKey, Paths, Run
from vlmtsc.reporting.provenance import collect_provenance as collect
from vlmtsc.script import run_script

logger = logging.getLogger("vlmtsc.collect_provenance")


def collect_provenance(
    results: str,
    model: str,
    dataset: str,
    protocol: str,
    runs: list[str],
    baselines: list[BaselineKey],
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
    output : Path
        JSON to write.
    citation : str, default ""
        Citation of the dataset.
    log : Path, optional
        File for messages.
    """
    pairs = (run.split("/seed-") for run in runs)
    keys = [Run(model, dataset, protocol, scenario, int(seed)) for scenario, seed in pairs]
    content = collect(Paths(results), keys, baselines, citation)
    write_json(output, content)
    logger.info("%s: %d runs, %d baselines", output, len(runs), len(baselines))


if __name__ == "__main__":
    run_script(collect_provenance)
