"""Put the graph of the rules into the README."""

from __future__ import annotations

import re
from pathlib import Path

from vlmtsc.errors import InputError
from vlmtsc.files import atomic_path
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
    text = readme.read_text(encoding="utf-8")
    if BEGIN not in text or END not in text:
        raise InputError(f"{readme}: the markers {BEGIN!r} and {END!r} are missing")
    before, after = text.partition(BEGIN)[0], text.partition(END)[2]
    drawn = plain_graph(graph.read_text(encoding="utf-8"))
    with atomic_path(readme) as path:
        path.write_text(f"{before}{BEGIN}\n{drawn}\n{END}{after}", encoding="utf-8")


if __name__ == "__main__":
    run_script(write_rule_graph)
