"""Put what the runs are evidence of into the README."""

from __future__ import annotations

import logging
import os
import shutil
from pathlib import Path
from typing import Literal

from vlmtsc.errors import InputError
from vlmtsc.files import read_json
from vlmtsc.reporting.sections import describe_machine, fill_section
from vlmtsc.script import run_script
from vlmtsc.table_files import read_csv

logger = logging.getLogger("vlmtsc.publish_evidence")

RANKS = (
    "*Mean ranks of accuracies over the datasets, 1 is the best. A bar joins methods that are not significantly "
    "different (pairwise signed-rank tests, corrected for the number of methods); exact p-values of all pairs stand in "
    "`tables/rankings.csv`.*"
)
Section = Literal["evidence", "paper-evidence"]


def markers(section: Section) -> tuple[str, str]:
    """Return the lines of the README between which a section stands."""
    return f"<!-- {section}:begin (make publish-evidence) -->", f"<!-- {section}:end -->"


def publish_evidence(
    results: Path,
    readme: Path,
    figures: Path,
    command: str,
    section: Section = "evidence",
    log: Path | None = None,
) -> None:
    """Put what the runs are evidence of into the README: sentences that count, both tables, and ranks if there are.

    Parameters
    ----------
    results : Path
        Results folder with ``tables/evidence.md`` and what it is made from.
    readme : Path
        File with the two markers between which the section stands.
    figures : Path
        Folder for the figure of ranks, which the README shows.
    command : str
        What made the tables.
    section : {"evidence", "paper-evidence"}
        Which of the README's sections.
    log : Path, optional
        File for messages.
    """
    table = results / "tables/evidence.md"
    if not table.exists():
        raise InputError(f"{table}: not there; run make evidence first")
    parts = [table.read_text(encoding="utf-8").strip()]
    ranks = results / "figures/critical_difference.png"
    if ranks.exists():
        figures.mkdir(parents=True, exist_ok=True)
        shown = Path(shutil.copyfile(ranks, figures / f"{section}_{ranks.name}"))
        parts += [f"![Ranks of all methods]({Path(os.path.relpath(shown, readme.parent)).as_posix()})", RANKS]
    parts += [f"*Command:* `{command}`. {origin(results)}"]
    fill_section(readme, *markers(section), "\n\n".join(parts))
    logger.info("%s: %s", readme, table)


def origin(results: Path) -> str:
    """Say how many runs, on what and of which revisions, the tables are made from."""
    scenarios = read_csv(results / "tables/evidence_inputs.csv", dtype=str)
    folders = [
        results / "runs" / row["model"] / row["dataset"] / row["protocol"] / row["scenario"]
        for row in scenarios.to_dict("records")
    ]
    records = [
        read_json(run / "run_record.json")
        for folder in folders
        for run in sorted(folder.glob("seed-*"))
        if (run / "metrics.json").is_file()
    ]
    machines = sorted({describe_machine(record) for record in records})
    revisions = sorted({record["git_revision"][:12] for record in records})
    return f"*Runs:* {len(records)}, on {' and '.join(machines)}; revision {', '.join(revisions)}."


if __name__ == "__main__":
    run_script(publish_evidence)
