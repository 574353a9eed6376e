"""Write where results come from: data, models, code, settings and machines."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

from vlmtsc.files import atomic_path, read_json, write_json
from vlmtsc.reporting.provenance import merge_provenance
from vlmtsc.reporting.provenance_page import to_page
from vlmtsc.script import run_script
from vlmtsc.training.record import git_revision

logger = logging.getLogger("vlmtsc.write_provenance")


def write_provenance(
    collected: list[Path],
    models: dict[str, Path],
    configuration: dict[str, Any],
    output: Path,
    page: Path,
    log: Path | None = None,
) -> None:
    """Write where results come from: data, models, code, settings and machines.

    Parameters
    ----------
    collected : list of Path
        What `collect_provenance` wrote, in the order of the runs.
    models : dict of str to Path
        What `digest_model` wrote, by model.
    configuration : dict
        The resolved configuration: ``options``, and the rows of ``models``, ``scenarios`` and ``plots``.
    output, page : Path
        JSON and HTML to write.
    log : Path, optional
        File for messages.
    """
    provenance = merge_provenance(
        [read_json(path) for path in collected],
        {name: read_json(path) for name, path in models.items()},
        configuration,
        git_revision(Path(__file__).parent),
    )
    write_json(output, provenance)
    with atomic_path(page) as temporary:
        temporary.write_text(to_page(provenance), encoding="utf-8")
    logger.info("%s: %s", output, " ".join(provenance["summary"]))


if __name__ == "__main__":
    run_script(write_provenance)
