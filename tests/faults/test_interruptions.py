"""Signals in each rule, at random moments: the next run completes, and its results equal an undisturbed run's."""

from __future__ import annotations

import os
import random
import shutil
import signal
import time
from pathlib import Path

import further_rules
import pytest
from workflow_runs import CAUSES, OUTPUTS, TARGETS, TIMED, Running, complete, duration, outcome

SIGNALS = (signal.SIGKILL, signal.SIGTERM, signal.SIGINT)
#: On a busy machine a short job may have ended before it is seen; then the same once more.
ATTEMPTS = 5
#: Scripts that are not called like their rule.
SCRIPTS = {
    "render_scenario_plots": "render_plots",
    "download_model_parts": "download_model",
    "request_descriptions": "describe_series",
    **dict.fromkeys(
        ("write_baselines_table", "write_paper_table", "write_corrections_table"), "write_tables"
    ),
    "collect_paper": "export_results",
}
VICTIMS = ("job", "snakemake", "all")
#: From here on everything that follows is cheap enough to be compared in a sample, too.
LATE = (
    "finetune_model",
    "evaluate_model",
    "summarise_dataset",
    "write_tables",
    "write_paper_table",
    "draw_figures",
)
#: Those from which results are made. What the others make, nothing or little is made from: it is asked for alone.
CHAIN = ("download_dataset", "preprocess_dataset", "split_dataset", "describe_series", "render_plots")
CHAIN += ("render_scenario_plots", "build_conversations", "write_ledger", *LATE)


def again(project: Path, rule: str) -> None:
    """Have a rule of the tiny workflow run again."""
    (project / CAUSES[rule]).touch()


@pytest.mark.fault_grid(sample=2)
@pytest.mark.parametrize("number", SIGNALS, ids=lambda number: number.name)
@pytest.mark.parametrize("rule", [*CAUSES, *further_rules.OUTPUTS])
def test_an_interrupted_run_goes_on_and_ends_as_if_undisturbed(
    rule: str,
    number: signal.Signals,
    tmp_path: Path,
    undisturbed: Path,
    moment: random.Random,
    running: list[Running],
    request: pytest.FixtureRequest,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    whole = rule in (CHAIN if request.config.getoption("--faults") == "all" else LATE)
    finished, cause, rules = undisturbed, again, {**OUTPUTS, **TIMED}
    if rule in further_rules.OUTPUTS:
        made: further_rules.Further = request.getfixturevalue("further")
        finished, cause, rules = made.project, further_rules.undo, further_rules.OUTPUTS
        for name, value in made.environment.items():
            monkeypatch.setenv(name, value)
    disturbed = shutil.copytree(finished, tmp_path / "project")
    targets = TARGETS if whole else (f"results/{rules[rule][0]}",)
    victim, script = moment.choice(VICTIMS), SCRIPTS.get(rule, rule)
    for _ in range(ATTEMPTS):
        cause(disturbed, rule)
        workflow = Running(disturbed, *targets)
        running.append(workflow)
        if workflow.until_in(script):
            break
    else:
        pytest.fail(f"{rule} was never seen at work: {workflow.text}")
    time.sleep(moment.uniform(0, 1.2 * duration(finished, rule)))
    workflow.send(number, victim, script)
    # Jobs that a killed Snakemake leaves behind go on beside the next run; of any other nothing is left.
    if not (victim == "snakemake" and number == signal.SIGKILL):
        workflow.end(script)
    else:
        workflow.process.wait()
    text = complete(disturbed, *targets)
    workflow.end(script)
    compared = rules if whole else {rule: rules[rule]}
    assert outcome(disturbed, rules=compared) == outcome(finished, rules=compared), f"{victim}: {text}"
    # A run that finds nothing to do takes no lock, and leaves the file of the dead one, which holds nobody up.
    assert "Nothing to be done" in text or not (disturbed / "results/.workflow.lock").exists()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_signal_while_jobs_are_selected_ends_the_run(
    number: signal.Signals,
    disturbed: Path,
    undisturbed: Path,
    tmp_path: Path,
    running: list[Running],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    solver = tmp_path / "bin" / "cbc"
    solver.parent.mkdir()
    # Says when it is asked, and takes its time; Snakemake then selects in another way.
    solver.write_text(f"#!/bin/sh\ntouch {tmp_path}/asked\nsleep 3\nexit 1\n")
    solver.chmod(0o755)
    monkeypatch.setenv("PATH", f"{solver.parent}{os.pathsep}{os.environ['PATH']}")
    (disturbed / CAUSES["write_ledger"]).touch()
    handler = signal.signal(number, signal.SIG_DFL)  # nohup lets its commands, these tests too, ignore SIGHUP
    workflow = Running(disturbed, "write_ledger", "--scheduler-ilp-solver", "COIN_CMD")
    signal.signal(number, handler)
    running.append(workflow)
    workflow.until((tmp_path / "asked").exists, "the selection of jobs")
    workflow.send(number, "snakemake", "write_ledger")
    workflow.process.wait(timeout=120)
    assert "Will exit after finishing currently running jobs" in workflow.text
    complete(disturbed, "write_ledger")
    ledger = {"write_ledger": OUTPUTS["write_ledger"]}
    assert outcome(disturbed, rules=ledger) == outcome(undisturbed, rules=ledger)
