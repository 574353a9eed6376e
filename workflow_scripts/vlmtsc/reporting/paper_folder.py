"""A folder with the tables, figures, methods and references of finished runs, for a paper."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from pathlib import Path

from vlmtsc.files import atomic_path
from vlmtsc.reporting import comparisons, controls
from vlmtsc.reporting.tables import AccuracyTable, read_tables, to_latex

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
        Folder to replace. Tables and figures keep their paths. A table without LaTeX gets it.
    """
    with atomic_path(output) as folder:
        for part in parts:
            place = folder / part.removeprefix("methods/")
            place.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(results / part, place)
        for name, to_text in LATEX.items():
            source = folder / f"tables/{name}.csv"
            if source.is_file() and (text := to_text(source)):
                source.with_suffix(".tex").write_text(text, encoding="utf-8")
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


def controls_latex(path: Path) -> str:
    """Write the table of controls in LaTeX."""
    table = controls.controls_table(read_tables([path], controls.CONTROL_TYPES))
    return to_latex(table, controls.TEXT_COLUMNS, "tab:controls")


def methods_latex(path: Path) -> str:
    """Write the table of all methods in LaTeX."""
    rows = read_tables([path], {"method": "str", "dataset": "str"})
    return to_latex(comparisons.methods_table(rows), comparisons.TEXT_COLUMNS, "tab:methods")


def comparisons_latex(path: Path) -> str:
    """Write the paired tests in LaTeX; empty without pairs."""
    rows = read_tables([path], {"first": "str", "second": "str", "dataset": "str"})
    rows["p_holm"] = rows["p_holm"].astype(float)
    if rows.empty:
        return ""
    return to_latex(comparisons.pairs_table(rows), comparisons.TEXT_COLUMNS, "tab:comparisons")


def rankings_latex(path: Path) -> str:
    """Write the comparison over datasets in LaTeX; empty if there are too few datasets or methods."""
    rows = read_tables([path.with_name("methods.csv")], {"method": "str", "dataset": "str"})
    _, table = comparisons.ranking_table(comparisons.accuracies_by_dataset(rows))
    if not isinstance(table, AccuracyTable):
        return ""
    return to_latex(table, comparisons.TEXT_COLUMNS, "tab:rankings")


#: Tables whose rules write no LaTeX.
LATEX: dict[str, Callable[[Path], str]] = {
    "controls": controls_latex,
    "methods": methods_latex,
    "comparisons": comparisons_latex,
    "rankings": rankings_latex,
}
