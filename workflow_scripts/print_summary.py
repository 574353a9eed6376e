"""Print tables and where the results lie."""

from __future__ import annotations

from pathlib import Path

from vlmtsc.errors import InputError
from vlmtsc.script import run_script

OTHER_FORMS = {
    "accuracy": ".csv, .tex, .html",
    "paper": ".csv, .tex, .html",
    "controls": ".csv, .html",
    "baselines": ".csv, .tex, .html",
    "comparisons": ".csv, .html",
    "evidence": ".csv, .html",
    "ledger": ".csv, .html",
}
#: Tables that are made without the tables of accuracies.
WITHOUT_RUNS = {"ledger", "controls", "baselines"}


def print_summary(
    results: Path = Path("results"), tables: list[str] | None = None, log: Path | None = None
) -> None:
    """Print tables and where tables, figures and report lie.

    Parameters
    ----------
    results : Path
        Folder of the workflow's results.
    tables : list of str, optional
        Names of tables, the last one nearest to the end; that of accuracies if there is no other.
    log : Path, optional
        File for messages.
    """
    names = tables or ["accuracy"]
    files = [results / "tables" / f"{name}.md" for name in names]
    for table in files:
        if not table.exists():
            raise InputError(
                f"{table}: not there; run the workflow first (make results, or snakemake --cores all)"
            )
    report = results / "report.html"
    places = {
        "Table": ", ".join(
            f"{table} (also {OTHER_FORMS[name]})" for name, table in zip(names, files, strict=True)
        )
    }
    if not WITHOUT_RUNS.issuperset(names):
        places |= {
            "All runs": str(results / "tables" / "runs.csv"),
            "Figure": f"{results / 'figures' / 'accuracy_heatmap.png'} (and others beside it)",
            "Report": f"{report} (make results writes it; without make: snakemake --report {report})",
        }
    for table in files:
        print(f"\n{table.read_text(encoding='utf-8')}")
    for name, place in places.items():
        print(f"{name + ':':<10}{place}")


if __name__ == "__main__":
    run_script(print_summary)
