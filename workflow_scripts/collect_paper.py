"""Collect tables, figures, methods and references of finished runs in a folder for a paper."""

from __future__ import annotations

import logging
from pathlib import Path

from vlmtsc.reporting import paper_folder
from vlmtsc.script import run_script

logger = logging.getLogger("vlmtsc.collect_paper")


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
    paper_folder.collect_paper(results, parts, output)
    logger.info("%s: %d files collected", output, len(parts))


if __name__ == "__main__":
    run_script(collect_paper)
