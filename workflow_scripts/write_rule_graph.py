"""Put the graph of the rules into the README."""

from __future__ import annotations

import re
from pathlib import Path

from vlmtsc.reporting.sections import fill_section
from vlmtsc.script import run_script

BEGIN, END = "<!-- rulegraph:begin (make rulegraph) -->", "<!-- rulegraph:end -->"


def plain_graph(mermaid: str) -> str:
    """Return a graph of Snakemake with rules by name, in a fixed order, without colours.

    Parameters
    ----------
    mermaid : str
        Output of ``snakemake --rulegraph mermaid-js``.
    """
    names = dict(re.findall(r"^\s*(id\d+)\[(\w+)\]", mermaid, re.MULTILINE))
    edges = re.findall(r"^\s*(id\d+) --> (id\d+)", mermaid, re.MULTILINE)
    lines = sorted(f"    {names[start]} --> {names[end]}" for start, end in edges)
    return "\n".join(["```mermaid", "flowchart TB", *lines, "```"])


def write_rule_graph(graph: Path, readme: Path, log: Path | None = None) -> None:
    """Put the graph of the rules into the README.

    Parameters
    ----------
    graph : Path
        Output of ``snakemake --rulegraph mermaid-js``.
    readme : Path
        File with the two markers between which the graph stands.
    log : Path, optional
        File for messages.
    """
    fill_section(readme, BEGIN, END, plain_graph(graph.read_text(encoding="utf-8")))


if __name__ == "__main__":
    run_script(write_rule_graph)
