"""Print tables and the paths of the results."""

from __future__ import annotations

from pathlib import Path

from vlmtsc.errors import InputError
from vlmtsc.script import run_script

#: Tables of targets that need no run.
WITHOUT_RUNS = {"ledger", "baselines"}


def print_summary(results: Path = Path("results"), tables: list[str] | None = None) -> None:
    """Print tables and the paths of the results.

    Parameters
    ----------
    results : Path
        Results folder.
    tables : list of str, optional
        Names of tables in the order of printing; by default that of accuracies.
    """
    names = tables or ["accuracy"]
    files = [results / "tables" / f"{name}.md" for name in names]
    for table in files:
        if not table.exists():
            raise InputError(
                f"{table}: not found; run the workflow first (make results, or snakemake --cores all)"
            )
        print(f"\n{table.read_text(encoding='utf-8')}")
    forms = [
        sorted(path.suffix for path in file.parent.glob(f"{file.stem}.*") if path != file) for file in files
    ]
    places = {
        "Table": ", ".join(
            f"{file} (also {', '.join(also)})" for file, also in zip(files, forms, strict=True)
        )
    }
    if not WITHOUT_RUNS.issuperset(names):
        report = results / "report.html"
        places |= {
            "All runs": str(results / "tables" / "runs.csv"),
            "Figure": f"{results / 'figures' / 'accuracy_heatmap.png'} (and others in this folder)",
            "Report": f"{report} (make results writes it; without make: snakemake --report {report})",
        }
    for name, place in places.items():
        print(f"{name + ':':<10}{place}")


if __name__ == "__main__":
    run_script(print_summary)
