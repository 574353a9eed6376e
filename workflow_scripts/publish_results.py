"""Fill generated sections of the documents: results of finished runs, the example figure, the graph of the rules."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Literal

from vlmtsc.reporting import publish
from vlmtsc.script import run_script

logger = logging.getLogger("vlmtsc.publish_results")


def publish_results(
    section: Literal[
        "results",
        "picture",
        "paper",
        "evidence",
        "paper-evidence",
        "pooled_2",
        "pooled_3",
        "unseen",
        "corrections",
        "ledger",
        "rulegraph",
    ],
    source: Path,
    page: Path = Path("docs/results.md"),
    readme: Path = Path("README.md"),
    command: str = "make results",
) -> None:
    """Fill generated sections of the documents: results of finished runs, the example figure, the graph of the rules.

    Parameters
    ----------
    section : str
        Section to fill; `picture` draws `example.png` into the folder of the page's figures instead.
    source : Path
        Results folder; for `rulegraph` a file with the output of ``snakemake --rulegraph mermaid-js``.
    page : Path
        Document with the sections; its figures go into a folder of the same name.
    readme : Path
        Document with the small tables of `results` and `paper`.
    command : str
        Command that made the results, to be shown.
    """
    match section:
        case "results":
            publish.publish_results(source, page, readme, command)
        case "picture":
            publish.draw_example(source, page.with_suffix("") / "example.png")
        case "paper":
            publish.publish_paper(source, page, readme, command)
        case "evidence" | "paper-evidence" | "pooled_2" | "pooled_3" | "unseen":
            publish.publish_evidence(source, page, section, command)
        case "corrections":
            publish.publish_corrections(source, page, command)
        case "ledger":
            publish.publish_ledger(source, page, command)
        case "rulegraph":
            publish.publish_rule_graph(source, page)
    logger.info("%s: %s from %s", page, section, source)


if __name__ == "__main__":
    run_script(publish_results)
