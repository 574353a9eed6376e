"""A LaTeX document that shows all tables and figures of a paper's folder."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from vlmtsc.reporting.text_forms import escape_latex, latex_text

_HEAD = r"""% Shows what this folder holds: pdflatex paper; bibtex paper; pdflatex paper; pdflatex paper.
% A part of it in a paper of your own: \input{tables/accuracy}, \includegraphics{figures/controls}, \input{methods}.
\documentclass[a4paper]{article}
\usepackage[T1]{fontenc}
\usepackage[utf8]{inputenc}
\usepackage[margin=2cm]{geometry}
\usepackage{booktabs}
\usepackage{graphicx}
\usepackage{hyperref}
\begin{document}
\section{Methods}
\input{methods}

\section{Tables}
% Wide tables are scaled to the width of the text.
\newsavebox{\tablebox}
\let\wide\tabular \let\endwide\endtabular
\renewenvironment{tabular}[1]{\begin{lrbox}{\tablebox}\wide{#1}}{\endwide\end{lrbox}%
  \ifdim\wd\tablebox>\textwidth\resizebox{\textwidth}{!}{\usebox{\tablebox}}\else\usebox{\tablebox}\fi}
"""


def document(tables: Sequence[str], figures: Mapping[str, str]) -> str:
    r"""Write the document.

    Parameters
    ----------
    tables : sequence of str
        Names of files in ``tables/``, without ``.tex``; each is a ``table`` with its caption.
    figures : mapping of str to str
        Captions in reStructuredText, by paths below the folder, which end in ``.pdf``; empty where there is none.
    """
    parts = [rf"\input{{tables/{name}}}" for name in tables]
    parts += [r"\clearpage", r"\section{Figures}"] if figures else []
    for number, (path, text) in enumerate(figures.items(), 1):
        name = path.removesuffix(".pdf")
        parts += [
            r"\begin{figure}[htbp]",
            r"\centering",
            rf"\includegraphics[width=\textwidth, height=0.75\textheight, keepaspectratio]{{{name}}}",
            rf"\caption{{{caption(text) or escape_latex(_plain(name))}}}",
            r"\end{figure}",
        ]
        # LaTeX holds only so many figures back.
        parts += [r"\clearpage"] if number % 10 == 0 else []
    tail = [r"\clearpage", r"\bibliographystyle{plain}", r"\bibliography{references}", r"\end{document}"]
    return _HEAD + "\n".join([*parts, *tail]) + "\n"


def caption(text: str) -> str:
    """Write the report's caption of a figure in LaTeX; nothing if it has more than words in it, such as a template."""
    if re.search(r"\{[{%]|^\.\. |`_", text, re.MULTILINE):
        return ""
    words = re.sub(r"\*{1,2}([^*]+)\*{1,2}", r"\1", " ".join(text.split()))
    return latex_text(words.replace("``", "`"))


def _plain(name: str) -> str:
    return name.removeprefix("figures/").replace("_", " ").replace("/", ", ")
