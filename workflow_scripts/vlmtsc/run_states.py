"""States of runs after a call of Snakemake in which jobs failed, with the reasons."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from vlmtsc.paths import Run

DONE, FAILED, NOT_RUN = "done", "failed", "not run"
#: Time and level of a message in a script's log.
_STAMP = re.compile(r"^\d\d:\d\d:\d\d (DEBUG|INFO|WARNING|ERROR|CRITICAL) ")


def run_states(dag: Any, failed: Iterable[Any], runs: Iterable[Run]) -> list[dict[str, Any]]:
    """Return each run's key, status, and of a failed one the rule that failed before it and the reason.

    Parameters
    ----------
    dag : snakemake.dag.DAG
    failed : iterable of jobs
        Failed jobs and groups of jobs, which fail as a whole.
    runs : iterable of Run
    """
    causes = {job: job for entry in failed for job in getattr(entry, "jobs", [entry])}
    evaluations = {
        Run(**{**job.wildcards_dict, "seed": int(job.wildcards.seed)}): job
        for job in dag.jobs
        if job.rule.name == "evaluate_model"
    }

    def cause(job: Any) -> Any:
        # The failed job that a job has waited for, if any. Each job is visited once.
        if job not in causes:
            before = () if dag.noneedrun_finished(job) else dag.dependencies[job]
            causes[job] = next(filter(None, map(cause, before)), None)
        return causes[job]

    states, reasons = [], {}
    for run in runs:
        state = {**vars(run), "status": DONE, "step": "", "reason": ""}
        job = evaluations.get(Run(**vars(run)))
        if job is not None and not dag.noneedrun_finished(job):
            state["status"] = NOT_RUN
            if first := cause(job):
                # Many runs may wait for one job: its log is read once.
                if first not in reasons:
                    reasons[first] = last_line(Path(first.log[0])) if first.log else ""
                state |= {"status": FAILED, "step": first.rule.name, "reason": reasons[first]}
        states.append(state)
    return states


def last_line(log: Path) -> str:
    """Return a log's last line that is not empty, without time and level; say so if there is none or it is no error."""
    try:
        lines = log.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return f"no log {log}"
    written = [line.strip() for line in lines if line.strip()]
    if not written:
        return f"empty log {log}"
    stamp, message = _STAMP.match(written[-1]), _STAMP.sub("", written[-1])
    # Killed by a limit of time or memory, or by the end of the whole call.
    return f"ended without an error, after: {message}" if stamp and stamp[1] in ("DEBUG", "INFO") else message
