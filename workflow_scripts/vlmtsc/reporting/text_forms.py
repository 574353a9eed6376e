"""A text of methods as Markdown, LaTeX and HTML."""

from __future__ import annotations

import re
from collections.abc import Sequence

from markupsafe import Markup, escape

from vlmtsc.reporting.methods_text import MethodsText
from vlmtsc.reporting.pages import PAGES
from vlmtsc.reporting.references import CITATION, Reference

_CODE = re.compile(r"`([^`]+)`")
_LATEX = {
    **{character: f"\\{character}" for character in "&%$#_{}"},
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "±": r"$\pm$",
}
TABLE = "Datasets: cases of each part, channels, timepoints and classes."

PAGE = PAGES.from_string("""\
{% extends "frame.html" %}
{% block content %}
{% for title, paragraphs in sections %}
<h2>{{ title }}</h2>
{% for paragraph in paragraphs %}
<p>{{ paragraph }}</p>
{% endfor %}
{% if loop.first %}
<div class="scroll" tabindex="0"><table>
<thead><tr>{% for name in columns -%}
<th{% if loop.first %} class="text"{% endif %}>{{ name }}</th>
{%- endfor %}</tr></thead>
<tbody>
{% for row in rows %}
<tr>{% for cell in row %}<td{% if loop.first %} class="text"{% endif %}>{{ cell }}</td>{% endfor %}</tr>
{% endfor %}
</tbody></table></div>
<p>{{ caption }}</p>
{% endif %}
{% endfor %}
<h2>References</h2>
<ol>
{% for reference in references %}
<li id="{{ reference.key }}">{{ reference.text() }}
{%- if reference.link %}
 <a href="{{ reference.link }}" target="_blank" rel="noopener">{{ reference.link }}</a>
{%- endif %}</li>
{% endfor %}
</ol>
{% endblock %}
""")


def to_markdown(text: MethodsText, references: Sequence[Reference]) -> str:
    """Write Markdown for pandoc, whose citations look up ``references.bib``; the list of references stands below."""
    columns = list(text.datasets[0]) if text.datasets else []
    rows = [columns, ["---"] * len(columns), *([row[name] for name in columns] for row in text.datasets)]
    table = "\n".join(f"| {' | '.join(row)} |" for row in rows)
    parts = ["# Methods"]
    for number, (title, paragraphs) in enumerate(text.sections):
        parts += [f"## {title}", paragraphs]
        parts += [table, TABLE] if number == 0 else []
    listed = [f"- @{reference.key}: {reference.text()} {reference.link}".rstrip() for reference in references]
    return "\n\n".join([*parts, "## References", "\n".join(listed)]) + "\n"


def to_latex(text: MethodsText) -> str:
    r"""Write LaTeX to be ``\input`` into a paper: ``\subsection``, ``\cite`` and a table in the style of booktabs."""
    parts = [
        r"% Needs: \usepackage[T1]{fontenc}, \usepackage{booktabs}; citations: references.bib, which is UTF-8."
    ]
    for number, (title, paragraphs) in enumerate(text.sections):
        parts += [rf"\subsection{{{title}}}", latex_text(paragraphs)]
        parts += [_latex_table(text.datasets)] if number == 0 else []
    return "\n\n".join(parts).replace("(table of datasets)", r"(Table~\ref{tab:datasets})") + "\n"


def escape_latex(text: str) -> str:
    """Write plain text so that LaTeX shows it as it is."""
    return "".join(_LATEX.get(character, character) for character in text)


def latex_text(text: str) -> str:
    """Write text with `code` between backticks, and with citations, in LaTeX."""
    pieces = []
    for number, piece in enumerate(_CODE.split(text)):
        if number % 2:
            # A long name may break behind its separators; hexadecimal digits anywhere.
            marked = re.sub(r"([0-9a-f]{8})(?=[0-9a-f]{8})", "\\1\x00", piece)
            marked = re.sub(r"([/_.:=-])(?=\w)", "\\1\x00", marked)
            pieces.append(rf"\texttt{{{escape_latex(marked)}}}".replace("\x00", r"\allowbreak{}"))
        else:
            pieces.append(_latex_citations(piece))
    return "".join(pieces)


def _latex_citations(text: str) -> str:
    parts = CITATION.split(text)
    return "".join(
        rf"\cite{{{','.join(key.strip().removeprefix('@') for key in part.split(';'))}}}"
        if number % 2
        else escape_latex(part)
        for number, part in enumerate(parts)
    )


def _latex_table(rows: Sequence[dict[str, str]]) -> str:
    columns = list(rows[0]) if rows else []
    body = [" & ".join(_latex_citations(row[name]) for name in columns) + r" \\" for row in rows]
    return "\n".join(
        [
            r"\begin{table}",
            r"\centering",
            rf"\caption{{{TABLE}}}",
            r"\label{tab:datasets}",
            rf"\begin{{tabular}}{{l{'r' * (len(columns) - 1)}}}",
            r"\toprule",
            " & ".join(columns) + r" \\",
            r"\midrule",
            *body,
            r"\bottomrule",
            r"\end{tabular}",
            r"\end{table}",
        ]
    )


def to_html(text: MethodsText, references: Sequence[Reference]) -> str:
    """Write a page that needs nothing else; citations are numbers that lead to the list below."""
    numbers = {reference.key: number for number, reference in enumerate(references, 1)}
    sections = [
        (title, [_html_text(paragraph, numbers) for paragraph in paragraphs.split("\n\n")])
        for title, paragraphs in text.sections
    ]
    columns = list(text.datasets[0]) if text.datasets else []
    return PAGE.render(
        title="Methods",
        sections=sections,
        columns=columns,
        rows=[[_html_text(row[name], numbers) for name in columns] for row in text.datasets],
        caption=TABLE,
        references=references,
    )


def _html_text(text: str, numbers: dict[str, int]) -> Markup:
    def cite(found: re.Match[str]) -> str:
        keys = [key.strip().removeprefix("@") for key in found[1].split(";")]
        links = [f'<a href="#{key}">{numbers[key]}</a>' for key in keys]
        return f"[{', '.join(links)}]"

    marked = _CODE.sub(r"<code>\1</code>", str(escape(text)))
    return Markup(CITATION.sub(cite, marked))
