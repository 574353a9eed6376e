"""Write the provenance of all results, the methods as text, and the headline of the report."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

from vlmtsc.files import write_files, write_json
from vlmtsc.paths import Paths
from vlmtsc.reporting.controls import CONTROL_TYPES
from vlmtsc.reporting.evidence import headline, to_fragment
from vlmtsc.reporting.methods import read_references, write_methods
from vlmtsc.reporting.provenance import provenance_page, read_provenance
from vlmtsc.reporting.runs import COLUMN_TYPES, list_runs
from vlmtsc.reporting.tables import read_tables
from vlmtsc.script import run_script
from vlmtsc.training.record import git_revision

logger = logging.getLogger("vlmtsc.write_provenance")


def write_provenance(
    results: str,
    models: list[str],
    datasets: list[str],
    protocol: str,
    scenarios: list[str],
    seeds: list[int],
    baselines: list[str],
    citations: dict[str, str],
    configuration: dict[str, Any],
    references: Path,
) -> None:
    """Write the provenance of all results, the methods as text, and the headline of the report.

    Parameters
    ----------
    results : str
        Results folder with the tables of all runs; ``provenance/`` and ``methods/`` are written in it.
    models, datasets : list of str
        Finished runs, with `protocol`, `scenarios` and `seeds`: all combinations.
    protocol : str
        Split protocol.
    scenarios : list of str
        Scenarios.
    seeds : list of int
        Seeds.
    baselines : list of str
        Finished baselines of the datasets.
    citations : dict of str to str
        Citations of datasets.
    configuration : dict
        The resolved configuration: ``options``, and the rows of ``models``, ``scenarios`` and ``plots``.
    references : Path
        Works that can be cited (.bib).
    """
    paths = Paths(results)
    runs = list_runs(models, datasets, protocol, scenarios, seeds)
    revision = git_revision(Path(__file__).parent)
    provenance = read_provenance(paths, runs, baselines, citations, configuration, revision)
    controls = configuration["options"]["evaluate"]["controls"]
    table, what, note = headline(
        read_tables([Path(paths.table("runs.csv"))], COLUMN_TYPES),
        read_tables([Path(paths.table("methods.csv"))], {"method": "str", "dataset": "str"}),
        read_tables([Path(paths.table("controls.csv"))], CONTROL_TYPES) if controls else None,
    )
    texts = write_methods(provenance, read_references(references))
    write_json(Path(paths.provenance("provenance.json")), provenance)
    write_files(Path(paths.provenance("")), {"provenance.html": provenance_page(provenance)})
    write_files(Path(paths.methods("")), {**texts, "headline.html": to_fragment(table, what, note)})
    logger.info("%s", " ".join(provenance["summary"]))


if __name__ == "__main__":
    run_script(write_provenance)
