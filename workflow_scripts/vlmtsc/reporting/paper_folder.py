"""A folder with the tables, figures, methods and references of finished runs, for a paper."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path

from vlmtsc.files import atomic_path

DOCUMENT = r"""% All tables and figures of this folder: pdflatex paper
% In your own paper: \input{{tables/accuracy}}, \includegraphics{{figures/controls}}; packages booktabs and graphicx.
% Methods: pandoc methods.md --citeproc --bibliography references.bib -o methods.pdf (or .docx; --natbib for .tex)
\documentclass[a4paper]{{article}}
\usepackage[T1]{{fontenc}}
\usepackage[margin=2cm]{{geometry}}
\usepackage{{booktabs, graphicx}}
% Wide tables are scaled to the width of the text.
\newsavebox{{\tablebox}}
\let\wide\tabular \let\endwide\endtabular
\renewenvironment{{tabular}}[1]{{\begin{{lrbox}}{{\tablebox}}\wide{{#1}}}}{{\endwide\end{{lrbox}}%
  \ifdim\wd\tablebox>\textwidth\resizebox{{\textwidth}}{{!}}{{\usebox{{\tablebox}}}}\else\usebox{{\tablebox}}\fi}}
\begin{{document}}
{tables}
\clearpage
{figures}
\end{{document}}
"""
FIGURE = r"""\begin{{figure}}[htbp]\centering
\includegraphics[width=\textwidth, height=0.75\textheight, keepaspectratio]{{{name}}}
\caption{{\detokenize{{{name}}}}}
\end{{figure}}"""


def collect_paper(results: Path, parts: Sequence[str], output: Path) -> None:
    """Copy tables, figures, methods and references, and write ``paper.tex``, which includes the tables and figures.

    Parameters
    ----------
    results : Path
        Results folder.
    parts : sequence of str
        Files below it: ``tables/...`` (.csv, .tex), ``figures/...`` (.pdf), ``methods/...`` (.md, .bib).
    output : Path
        Folder to replace. Tables and figures keep their paths.
    """
    with atomic_path(output) as folder:
        for part in parts:
            place = folder / part.removeprefix("methods/")
            place.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(results / part, place)
        tables = sorted(path.stem for path in folder.glob("tables/*.tex"))
        figures = [
            FIGURE.format(name=path.relative_to(folder).with_suffix("").as_posix())
            # LaTeX can defer only a limited number of figures.
            + (r"\clearpage" if number % 10 == 0 else "")
            for number, path in enumerate(sorted(folder.glob("figures/**/*.pdf")), 1)
        ]
        text = DOCUMENT.format(
            tables="\n".join(rf"\input{{tables/{name}}}" for name in tables), figures="\n".join(figures)
        )
        (folder / "paper.tex").write_text(text, encoding="utf-8")
