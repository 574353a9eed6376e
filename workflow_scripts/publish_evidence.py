"""Put what the runs are evidence of into the README."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Literal

from vlmtsc.errors import InputError
from vlmtsc.files import read_json
from vlmtsc.reporting.sections import describe_machine, fill_section
from vlmtsc.reporting.tables import COLUMN_TYPES, DONE, RUN_KEYS, read_tables, run_name
from vlmtsc.script import run_script

logger = logging.getLogger("vlmtsc.publish_evidence")

Section = Literal["evidence", "paper-evidence"]


def markers(section: Section) -> tuple[str, str]:
    """Return the lines of the README between which a section stands."""
    return f"<!-- {section}:begin (make publish-evidence) -->", f"<!-- {section}:end -->"


def publish_evidence(
    results: Path, readme: Path, command: str, section: Section = "evidence", log: Path | None = None
) -> None:
    """Put what the runs are evidence of into the README: sentences that count, and both tables.

    Parameters
    ----------
    results : Path
        Results folder with ``tables/evidence.md`` and ``tables/by_dataset``.
    readme : Path
        File with the two markers between which the section stands.
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
    text = f"{table.read_text(encoding='utf-8').strip()}\n\n*Command:* `{command}`. {origin(results)}"
    fill_section(readme, *markers(section), text)
    logger.info("%s: %s", readme, table)


def origin(results: Path) -> str:
    """Say how many runs, on what and of which revisions, the tables are made from."""
    runs = read_tables([results / "tables/runs.csv"], COLUMN_TYPES)
    done = runs[runs["status"] == DONE]
    names = [run_name(key) for key in done[RUN_KEYS].to_dict("records")]
    machines = {describe_machine(read_json(results / "runs" / name / "run_record.json")) for name in names}
    revision = ", ".join(sorted(set(done["git_revision"].str.slice(0, 12))))
    return f"*Runs:* {len(done)}, on {' and '.join(sorted(machines))}; revision {revision}."


if __name__ == "__main__":
    run_script(publish_evidence)
