"""Write predictions in the format of tsml-eval and accuracies in that of aeon."""

from __future__ import annotations

import logging
from itertools import product
from pathlib import Path

from vlmtsc.paths import BaselineKey, Paths, Run
from vlmtsc.reporting import export
from vlmtsc.script import run_script
from vlmtsc.settings import PROBES

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
    places = product(models, datasets, [protocol], scenarios, seeds)
    keys = [
        BaselineKey(name, dataset, protocol, model)
        for dataset, name in product(datasets, baselines)
        for model in (models if name in PROBES else [""])
    ]
    n_methods = export.export_results(Paths(results), [Run(*place) for place in places], keys, output)
    logger.info("%d methods in %s", n_methods, output)


if __name__ == "__main__":
    run_script(export_results)
