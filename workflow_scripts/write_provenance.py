"""Write the provenance of all results, the methods as text, and the headline of the report."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

from vlmtsc.files import read_json, write_json
from vlmtsc.paths import Paths
from vlmtsc.reporting.controls import CONTROL_TYPES
from vlmtsc.reporting.headline import headline, to_fragment
from vlmtsc.reporting.methods import read_references, write_methods
from vlmtsc.reporting.provenance import merge_provenance, provenance_page
from vlmtsc.reporting.runs import COLUMN_TYPES
from vlmtsc.reporting.tables import read_tables
from vlmtsc.script import run_script
from vlmtsc.table_files import write_files
from vlmtsc.training.record import git_revision

logger = logging.getLogger("vlmtsc.write_provenance")


def write_provenance(
    results: str,
    collected: list[Path],
    models: dict[str, Path],
    configuration: dict[str, Any],
    references: Path,
    controls: Path | None = None,
    log: Path | None = None,
) -> None:
    """Write the provenance of all results, the methods as text, and the headline of the report.

    Parameters
    ----------
    results : str
        Results folder with the tables of runs and methods; ``provenance/`` and ``methods/`` are written in it.
    collected : list of Path
        Output of `collect_provenance`, in the order of the runs.
    models : dict of str to Path
        Output of `digest_model`, by model.
    configuration : dict
        The resolved configuration: ``options``, and the rows of ``models``, ``scenarios`` and ``plots``.
    references : Path
        Works that can be cited (.bib).
    controls : Path, optional
        The tidy table of controls (.csv).
    log : Path, optional
        File for messages.
    """
    paths = Paths(results)
    provenance = merge_provenance(
        [read_json(path) for path in collected],
        {name: read_json(path) for name, path in models.items()},
        configuration,
        git_revision(Path(__file__).parent),
    )
    table, what, note = headline(
        read_tables([Path(paths.table("runs.csv"))], COLUMN_TYPES),
        read_tables([Path(paths.table("methods.csv"))], {"method": "str", "dataset": "str"}),
        None if controls is None else read_tables([controls], CONTROL_TYPES),
    )
    texts = write_methods(provenance, read_references(references))
    write_json(Path(paths.provenance("provenance.json")), provenance)
    write_files(Path(paths.provenance("")), {"provenance.html": provenance_page(provenance)})
    write_files(Path(paths.methods("")), {**texts, "headline.html": to_fragment(table, what, note)})
    logger.info("%s", " ".join(provenance["summary"]))


if __name__ == "__main__":
    run_script(write_provenance)
