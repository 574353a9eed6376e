"""Summarise the runs of one model on one dataset and protocol, and compare them with baselines."""

from __future__ import annotations

import logging
from pathlib import Path

from vlmtsc.files import write_csv
from vlmtsc.paths import Paths
from vlmtsc.reporting.baselines import baseline_key
from vlmtsc.reporting.runs import list_runs
from vlmtsc.reporting.summary import summarise
from vlmtsc.script import run_script

logger = logging.getLogger("vlmtsc.summarise_dataset")


def summarise_dataset(
    results: str,
    model: str,
    dataset: str,
    protocol: str,
    scenarios: list[str],
    seeds: list[int],
    baselines: list[str],
    controls: bool = False,
) -> None:
    """Summarise the runs of one model on one dataset and protocol, and compare them with baselines.

    Parameters
    ----------
    results : str
        Results folder.
    model, dataset, protocol : str
        Key of the runs.
    scenarios : list of str
        Scenarios, in the order of the rows.
    seeds : list of int
        Seeds of each scenario.
    baselines : list of str
        Baselines of the same dataset and protocol.
    controls : bool
        Whether the runs have controls.
    """
    paths = Paths(results)
    runs = list_runs([model], [dataset], protocol, scenarios, seeds)
    compared = [baseline_key(name, model, dataset, protocol) for name in baselines]
    tables = summarise(paths, runs, compared, controls)
    for name, table in tables.items():
        write_csv(Path(paths.summary(runs[0]), f"{name}.csv"), table)
    logger.info("%s on %s (%s): %d runs, %d baselines", model, dataset, protocol, len(runs), len(baselines))


if __name__ == "__main__":
    run_script(summarise_dataset)
