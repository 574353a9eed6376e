"""Tables of runs of which some have failed or have not been made."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from vlmtsc.reporting.tables import DONE, RUN_KEYS, run_name, run_row, runs_table

FAILED = "failed"
#: What a script's log puts before a message.
_STAMP = re.compile(r"^\d\d:\d\d:\d\d (DEBUG|INFO|WARNING|ERROR|CRITICAL) ")


def last_line(log: Path) -> str:
    """Return a log's last line that is not empty, without its time stamp; say so if it is no error, or not there."""
    try:
        lines = log.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return f"no log {log}"
    written = [line.strip() for line in lines if line.strip()]
    if not written:
        return f"empty log {log}"
    stamp, message = _STAMP.match(written[-1]), _STAMP.sub("", written[-1])
    # Killed by a limit of time or memory, or by whoever stopped the whole.
    return f"ended without an error, after: {message}" if stamp and stamp[1] in ("DEBUG", "INFO") else message


def incomplete_runs(
    states: Sequence[Mapping[str, Any]],
    reasons: Mapping[str, str],
    results: Mapping[str, tuple[Mapping[str, Any], Mapping[str, Any]]],
) -> pd.DataFrame:
    """Make the tidy table of runs, with what has failed and why.

    Parameters
    ----------
    states : sequence of mapping
        The selected runs in the order of the table: `RUN_KEYS`, status (`DONE`, `FAILED` or `NOT_RUN`), and of
        a failed run ``step``, the rule that failed.
    reasons : mapping of str to str
        By name of a failed run, why its step failed.
    results : mapping of str to (metrics, record)
        By name of a finished run.

    Returns
    -------
    DataFrame
        The table of `runs_table`, with ``step`` and ``reason`` after the status.
    """
    rows, steps, why = [], [], []
    for state in states:
        key = {name: state[name] for name in RUN_KEYS}
        name = run_name(key)
        metrics, record = results[name] if state["status"] == DONE else (None, None)
        rows.append(run_row(key, metrics, record) | {"status": state["status"]})
        steps.append(state.get("step") or "")
        why.append(reasons.get(name, ""))
    table = runs_table(rows)
    place = table.columns.get_loc("status") + 1
    table.insert(place, "step", steps)
    table.insert(place + 1, "reason", why)
    return table


def failures_text(runs: pd.DataFrame) -> str:
    """List what has failed, in Markdown: one line for each step of each dataset that failed for one reason."""
    failed = runs[runs["status"] == FAILED]
    lines = [
        f"- {dataset}, {step} ({len(group)} {'run' if len(group) == 1 else 'runs'}: "
        f"{', '.join(dict.fromkeys(group['scenario']))}): {reason}"
        for (dataset, step, reason), group in failed.groupby(["dataset", "step", "reason"], sort=False)
    ]
    done = int((runs["status"] == DONE).sum())
    counts = f"{done} of {len(runs)} runs have a result; {len(failed)} failed, the others were not run."
    return "\n".join([counts, "", *lines]) if lines else counts
