"""Write the published results and ours side by side."""

from __future__ import annotations

import logging
from pathlib import Path

from vlmtsc.reporting.pages import to_html
from vlmtsc.reporting.paper import paper_tables, read_published
from vlmtsc.reporting.tables import COLUMN_TYPES, TEXT_COLUMNS, read_tables, to_latex, to_markdown
from vlmtsc.script import run_script
from vlmtsc.table_files import write_files

logger = logging.getLogger("vlmtsc.write_paper_table")


def write_paper_table(
    collected: list[Path],
    published: Path,
    models: list[str],
    datasets: list[str],
    scenarios: list[str],
    protocol: str,
    output: Path,
    log: Path | None = None,
) -> None:
    """Write the published results and ours side by side.

    Parameters
    ----------
    collected : list of Path
        Tables of runs that `collect_runs` wrote.
    published : Path
        Published accuracies (.tsv).
    models, datasets, scenarios : list of str
        The matrix; what was not run of it is shown as such.
    protocol : str
        Split protocol.
    output : Path
        Folder to write ``paper.{csv,md,tex,html}`` and ``paper_best.{csv,html}`` to; other files in it are left
        alone. Markdown and LaTeX hold both tables.
    log : Path, optional
        File for messages.
    """
    tables = paper_tables(
        read_tables(collected, COLUMN_TYPES),
        read_published(published),
        models=models,
        datasets=datasets,
        scenarios=scenarios,
        protocol=protocol,
    )
    best, every = tables.best, tables.scenarios
    write_files(
        output,
        {
            "paper.csv": tables.scenario_numbers,
            "paper_best.csv": tables.best_numbers,
            "paper.md": f"{to_markdown(best)}\n{to_markdown(every)}",
            "paper.tex": f"{to_latex(best, label='tab:best')}\n{to_latex(every, label='tab:paper')}",
            "paper.html": to_html(every.cells, "Published and ours", every.note, TEXT_COLUMNS, every.chosen),
            "paper_best.html": to_html(best.cells, "The published best and ours", best.note, TEXT_COLUMNS),
        },
    )
    done = int(tables.scenario_numbers["ours"].notna().sum())
    logger.info("%d of %d scenarios have a result", done, len(tables.scenario_numbers))


if __name__ == "__main__":
    run_script(write_paper_table)
