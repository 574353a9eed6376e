"""Write the methods of finished runs as text for a paper, with the works that it cites."""

from __future__ import annotations

import logging
from pathlib import Path

from vlmtsc.files import atomic_path, read_json
from vlmtsc.reporting.methods_text import write_methods
from vlmtsc.reporting.references import bibliography, read_references
from vlmtsc.reporting.text_forms import to_html, to_latex, to_markdown
from vlmtsc.script import run_script

logger = logging.getLogger("vlmtsc.write_methods_text")


def write_methods_text(provenance: Path, references: Path, output: Path, log: Path | None = None) -> None:
    """Write the methods of finished runs as text for a paper, with the works that it cites.

    Parameters
    ----------
    provenance : Path
        What `write_provenance` wrote.
    references : Path
        Works that can be cited (.bib).
    output : Path
        Folder to write ``methods.{md,tex,html}`` and ``references.bib`` to; other files in it are left alone.
    log : Path, optional
        File for messages.
    """
    known = read_references(references)
    text = write_methods(read_json(provenance), known)
    cited = bibliography(text.cited, {**known, **text.added})
    contents = {
        "methods.md": to_markdown(text, cited),
        "methods.tex": to_latex(text),
        "methods.html": to_html(text, cited),
        "references.bib": "\n".join(reference.bibtex() for reference in cited),
    }
    for name, content in contents.items():
        with atomic_path(output / name) as temporary:
            temporary.write_text(content, encoding="utf-8")
    logger.info("%s: %d sections, %d works cited", output / "methods.md", len(text.sections), len(cited))


if __name__ == "__main__":
    run_script(write_methods_text)
