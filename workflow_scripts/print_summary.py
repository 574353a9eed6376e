"""Print the table of accuracies and where the results lie."""

from __future__ import annotations

from pathlib import Path

from vlmtsc.errors import InputError
from vlmtsc.script import run_script


def print_summary(results: Path = Path("results"), log: Path | None = None) -> None:
    """Print the table of accuracies and where table, figures and report lie.

    Parameters
    ----------
    results : Path
        Folder of the workflow's results.
    log : Path, optional
        File for messages.
    """
    table = results / "tables" / "accuracy.md"
    if not table.exists():
        raise InputError(
            f"{table}: not there; run the workflow first (make results, or snakemake --cores all)"
        )
    report = results / "report.html"
    places = {
        "Table": f"{table} (also .csv, .tex, .html)",
        "All runs": results / "tables" / "runs.csv",
        "Figure": f"{results / 'figures' / 'accuracy_heatmap.png'} (and others beside it)",
        "Report": report if report.exists() else f"not built yet: snakemake --report {report}",
    }
    print(f"\n{table.read_text(encoding='utf-8')}")
    for name, place in places.items():
        print(f"{name + ':':<10}{place}")


if __name__ == "__main__":
    run_script(print_summary)
