"""Write the tables of methods and of their differences, within each dataset and over all."""

from __future__ import annotations

import logging
from pathlib import Path

from vlmtsc.reporting.comparisons import (
    TEXT_COLUMNS,
    accuracies_by_dataset,
    methods_table,
    pairs_table,
    ranking_table,
)
from vlmtsc.reporting.pages import to_html
from vlmtsc.reporting.tables import read_tables, to_markdown
from vlmtsc.script import run_script
from vlmtsc.table_files import write_files

logger = logging.getLogger("vlmtsc.write_comparisons")

#: Where there is one method alone.
NO_PAIR = "No two methods to compare: of a pair, one at least is a scenario."


def write_comparisons(
    methods: list[Path], comparisons: list[Path], output: Path, log: Path | None = None
) -> None:
    """Write the tables of methods and of their differences, within each dataset and over all.

    Parameters
    ----------
    methods, comparisons : list of Path
        Tables that `compare_methods` wrote, in the order of the rows.
    output : Path
        Folder to write ``methods.csv``, ``rankings.csv`` and ``comparisons.{csv,html,md}`` to; Markdown holds all
        three. Other files in it are left alone.
    log : Path, optional
        File for messages.
    """
    measured = read_tables(methods, {"method": "str", "dataset": "str"})
    pairs = read_tables(comparisons, {"first": "str", "second": "str", "dataset": "str"})
    pairs["p_holm"] = pairs["p_holm"].astype(float)
    rankings, ranked = ranking_table(accuracies_by_dataset(measured))
    compared = pairs_table(pairs) if len(pairs) else None
    parts = [to_markdown(methods_table(measured), TEXT_COLUMNS)]
    parts.append(to_markdown(compared, TEXT_COLUMNS) if compared else NO_PAIR + "\n")
    parts.append(ranked + "\n" if isinstance(ranked, str) else to_markdown(ranked, TEXT_COLUMNS))
    note = ranked if isinstance(ranked, str) else ""
    shown = compared or methods_table(measured)
    write_files(
        output,
        {
            "methods.csv": measured,
            "rankings.csv": rankings,
            "comparisons.csv": pairs,
            "comparisons.md": "\n".join(parts),
            "comparisons.html": to_html(
                shown.cells, "Paired comparisons", f"{shown.note} {note}", TEXT_COLUMNS, shown.chosen
            ),
        },
    )
    logger.info("%d pairs in %s", len(pairs), output / "comparisons.md")


if __name__ == "__main__":
    run_script(write_comparisons)
