"""Put the paper's table, as a run has left it, into the README."""

from __future__ import annotations

import logging
from pathlib import Path

import pandas as pd

from vlmtsc.errors import InputError
from vlmtsc.files import read_json
from vlmtsc.reporting.sections import describe_machine, fill_section
from vlmtsc.reporting.tables import COLUMN_TYPES, DONE, RUN_KEYS, read_tables, run_name
from vlmtsc.script import run_script

logger = logging.getLogger("vlmtsc.publish_paper")

BEGIN, END = "<!-- paper:begin (make publish-paper) -->", "<!-- paper:end -->"
STEPS = ("finetune_model", "evaluate_model")


def publish_paper(results: Path, readme: Path, command: str, log: Path | None = None) -> None:
    """Put the paper's table, as a run has left it, into the README.

    Parameters
    ----------
    results : Path
        Results folder. If the last run failed in part, the table is that of ``incomplete/``.
    readme : Path
        File with the two markers between which the section stands.
    command : str
        What made the table.
    log : Path, optional
        File for messages.
    """
    folder = results / ("incomplete" if (results / "incomplete/paper.md").exists() else "tables")
    table = folder / "paper.md"
    if not table.exists():
        raise InputError(f"{table}: not there; run make paper-embedded first")
    runs = read_tables([folder / "runs.csv"], COLUMN_TYPES)
    section = f"{table.read_text(encoding='utf-8').strip()}\n\n*Command:* `{command}`. {costs(runs, results)}"
    fill_section(readme, BEGIN, END, section)
    logger.info("%s: %s", readme, table)


def costs(runs: pd.DataFrame, results: Path) -> str:
    """Say what the runs of a table took, and on what."""
    done = runs[runs["status"] == DONE]
    if done.empty:
        return "No run has a result."
    names = [run_name(key) for key in done[RUN_KEYS].to_dict("records")]
    minutes = [sum(seconds(results, step, name) for step in STEPS) / 60 for name in names]
    machines = {describe_machine(read_json(results / "runs" / name / "run_record.json")) for name in names}
    shared = int(done["shared_with"].notna().sum())
    trained = f"{len(done) - shared} fine-tunings" + (f" for {len(done)} results" if shared else "")
    revision = ", ".join(sorted(set(done["git_revision"].str.slice(0, 12))))
    return (
        f"*Run:* {trained}, {sum(minutes) / 60:.1f} hours of fine-tuning and evaluation in all, one job after the "
        f"other; the longest run {max(minutes):.0f} minutes; on {' and '.join(sorted(machines))}; revision {revision}."
    )


def seconds(results: Path, step: str, run: str) -> float:
    """Return the wall time of a step of a run, as Snakemake measured it."""
    table = pd.read_csv(results / "benchmarks" / step / f"{run}.tsv", sep="\t")
    return float(table["s"].iloc[0])


if __name__ == "__main__":
    run_script(publish_paper)
