"""Write results for tsml-eval and aeon, or for a paper."""

from __future__ import annotations

import logging
from itertools import product
from pathlib import Path

from vlmtsc.paths import Paths
from vlmtsc.reporting import export
from vlmtsc.reporting.baselines import baseline_key
from vlmtsc.reporting.runs import list_runs
from vlmtsc.script import run_script

logger = logging.getLogger("vlmtsc.export_results")


def export_results(
    results: str,
    models: list[str],
    datasets: list[str],
    scenarios: list[str],
    seeds: list[int],
    baselines: list[str],
    protocol: str,
    output: Path,
) -> None:
    """Write predictions in the format of tsml-eval and accuracies in that of aeon.

    Parameters
    ----------
    results : str
        Results folder.
    models, datasets, scenarios : list of str
        All combinations of these and the seeds are exported.
    seeds : list of int
    baselines : list of str
        Baselines on the same datasets.
    protocol : str
        Split protocol.
    output : Path
        Folder to replace.
    """
    names = product(datasets, baselines, models)
    keys = dict.fromkeys(baseline_key(name, model, dataset, protocol) for dataset, name, model in names)
    runs = list_runs(models, datasets, protocol, scenarios, seeds)
    n_methods = export.export_results(Paths(results), runs, list(keys), output)
    logger.info("%d methods in %s", n_methods, output)


def collect_paper(results: Path, parts: list[str], output: Path) -> None:
    """Collect tables, figures, methods and references of finished runs in a folder for a paper.

    Parameters
    ----------
    results : Path
        Results folder.
    parts : list of str
        Files below it to collect.
    output : Path
        Folder to replace.
    """
    export.collect_paper(results, parts, output)
    logger.info("%s: %d files collected", output, len(parts))


if __name__ == "__main__":
    run_script(export_results, collect_paper)
