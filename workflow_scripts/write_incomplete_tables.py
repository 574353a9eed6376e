"""Write tables of what is there after a run of the workflow in which something failed."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

from vlmtsc.files import read_json
from vlmtsc.reporting.incomplete import FAILED, failures_text, incomplete_runs, last_line
from vlmtsc.reporting.tables import (
    DONE,
    NOT_RUN,
    RUN_KEYS,
    accuracy_table,
    run_name,
    to_markdown,
    to_sortable,
)
from vlmtsc.script import run_script
from vlmtsc.table_files import write_files

logger = logging.getLogger("vlmtsc.write_incomplete_tables")


def write_incomplete_tables(root: Path, states: Path, output: Path, log: Path | None = None) -> None:
    """Write tables of what is there after a run of the workflow in which something failed, and print one.

    Parameters
    ----------
    root : Path
        Folder of all runs; each lies in ``{model}/{dataset}/{protocol}/{scenario}/seed-{seed}``.
    states : Path
        The selected runs (.json): what identifies them, status, and of a failed run the step and its log.
    output : Path
        Folder to write ``runs.csv`` and ``accuracy.{csv,md}`` to. No rule writes there.
    log : Path, optional
        File for messages.
    """
    selected = [settled(state, root) for state in read_json(states)]
    names = [run_name({key: state[key] for key in RUN_KEYS}) for state in selected]
    results = {
        name: (read_json(root / name / "metrics.json"), read_json(root / name / "run_record.json"))
        for name, state in zip(names, selected, strict=True)
        if state["status"] == DONE
    }
    # Many runs wait for one step: its log is read once.
    logs = {state["log"] for state in selected if state["status"] == FAILED}
    ends = {path: last_line(Path(path)) for path in sorted(logs)}
    reasons = {
        name: ends[state["log"]]
        for name, state in zip(names, selected, strict=True)
        if state["status"] == FAILED
    }
    runs = incomplete_runs(selected, reasons, results)
    table = accuracy_table(runs)
    text = f"{to_markdown(table)}\n{failures_text(runs)}\n"
    write_files(
        output,
        {
            "runs.csv": runs,
            "accuracy.csv": to_sortable(table),
            "accuracy.md": text,
        },
    )
    print(f"\n{text}\nIncomplete tables: {output}")


def settled(state: dict[str, Any], root: Path) -> dict[str, Any]:
    """Return a run's state, "not run" in place of "done" if its files are not there."""
    folder = root / run_name({key: state[key] for key in RUN_KEYS})
    there = (folder / "metrics.json").exists() and (folder / "run_record.json").exists()
    return state if there or state["status"] != DONE else state | {"status": NOT_RUN}


if __name__ == "__main__":
    run_script(write_incomplete_tables)
