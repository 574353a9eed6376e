"""Write the tables of methods and of their differences, within each dataset and over all."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path

from vlmtsc.files import atomic_path
from vlmtsc.reporting.comparisons import (
    TEXT_COLUMNS,
    accuracies_by_dataset,
    methods_table,
    pairs_table,
    ranking_table,
)
from vlmtsc.reporting.html_tables import to_html
from vlmtsc.reporting.tables import read_tables, to_markdown
from vlmtsc.script import run_script

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
    writers: dict[str, Callable[[Path], object]] = {
        "methods.csv": lambda path: measured.to_csv(path, index=False),
        "rankings.csv": lambda path: rankings.to_csv(path, index=False),
        "comparisons.csv": lambda path: pairs.to_csv(path, index=False),
        "comparisons.md": lambda path: path.write_text("\n".join(parts), encoding="utf-8"),
        "comparisons.html": lambda path: path.write_text(
            to_html(shown.cells, "Paired comparisons", f"{shown.note} {note}", TEXT_COLUMNS, shown.chosen),
            encoding="utf-8",
        ),
    }
    for name, write in writers.items():
        with atomic_path(output / name) as temporary:
            write(temporary)
    logger.info("%d pairs in %s", len(pairs), output / "comparisons.md")


if __name__ == "__main__":
    run_script(write_comparisons)
