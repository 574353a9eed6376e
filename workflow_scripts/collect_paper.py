"""Collect tables, figures, methods and references of finished runs in one folder, for a paper in LaTeX."""

from __future__ import annotations

import logging
import shutil
from collections.abc import Callable
from pathlib import Path

from vlmtsc.files import atomic_path
from vlmtsc.reporting import comparisons, controls
from vlmtsc.reporting.manuscript import document
from vlmtsc.reporting.tables import AccuracyTable, read_tables, to_latex
from vlmtsc.script import run_script

logger = logging.getLogger("vlmtsc.collect_paper")


def collect_paper(
    results: Path, parts: list[str], captions: dict[str, Path], output: Path, log: Path | None = None
) -> None:
    r"""Collect tables, figures, methods and references of finished runs in one folder, for a paper in LaTeX.

    Parameters
    ----------
    results : Path
        Results folder.
    parts : list of str
        Files below it: ``tables/...`` (.csv, .tex), ``figures/...`` (.pdf), ``methods/...`` (.tex, .bib).
    captions : dict of str to Path
        Captions of figures (.rst), by their names in `parts`.
    output : Path
        Folder to write: tables and figures as they are named below `results`, ``methods.tex``, ``references.bib``, and
        ``paper.tex``, which shows them all. A table that has no LaTeX yet gets it.
    log : Path, optional
        File for messages.
    """
    with atomic_path(output) as folder:
        folder.mkdir()
        for part in parts:
            place = folder / part.removeprefix("methods/")
            place.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(results / part, place)
        for name, make in LATEX.items():
            source = folder / f"tables/{name}.csv"
            text = make(source) if source.is_file() else ""
            if text:
                source.with_suffix(".tex").write_text(text, encoding="utf-8")
        tables = sorted(path.stem for path in folder.glob("tables/*.tex"))
        places = sorted(path.relative_to(folder).as_posix() for path in folder.glob("figures/**/*.pdf"))
        figures = {
            place: captions[place].read_text(encoding="utf-8") if place in captions else ""
            for place in places
        }
        (folder / "paper.tex").write_text(document(tables, figures), encoding="utf-8")
    logger.info("%s: %d tables and %d figures", output, len(tables), len(figures))


def controls_latex(path: Path) -> str:
    """Write the table of controls in LaTeX."""
    table = controls.controls_table(read_tables([path], controls.CONTROL_TYPES))
    return to_latex(table, controls.TEXT_COLUMNS, "tab:controls")


def methods_latex(path: Path) -> str:
    """Write the table of all methods in LaTeX."""
    rows = read_tables([path], {"method": "str", "dataset": "str"})
    return to_latex(comparisons.methods_table(rows), comparisons.TEXT_COLUMNS, "tab:methods")


def comparisons_latex(path: Path) -> str:
    """Write the paired tests in LaTeX; nothing where there is no pair."""
    rows = read_tables([path], {"first": "str", "second": "str", "dataset": "str"})
    rows["p_holm"] = rows["p_holm"].astype(float)
    if rows.empty:
        return ""
    return to_latex(comparisons.pairs_table(rows), comparisons.TEXT_COLUMNS, "tab:comparisons")


def rankings_latex(path: Path) -> str:
    """Write the comparison over datasets in LaTeX; nothing where there is none."""
    methods = path.with_name("methods.csv")
    rows = read_tables([methods], {"method": "str", "dataset": "str"})
    _, table = comparisons.ranking_table(comparisons.accuracies_by_dataset(rows))
    if not isinstance(table, AccuracyTable):
        return ""
    return to_latex(table, comparisons.TEXT_COLUMNS, "tab:rankings")


#: Tables that their steps write as CSV, Markdown and HTML alone.
LATEX: dict[str, Callable[[Path], str]] = {
    "controls": controls_latex,
    "methods": methods_latex,
    "comparisons": comparisons_latex,
    "rankings": rankings_latex,
}


if __name__ == "__main__":
    run_script(collect_paper)
