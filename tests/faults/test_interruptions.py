"""Signals in each rule, at random moments: the next run completes, and its results equal an undisturbed run's."""

from __future__ import annotations

import random
import signal
import time
from pathlib import Path

import pytest
from workflow_runs import CAUSES, OUTPUTS, TARGETS, Running, complete, duration, outcome

SIGNALS = (signal.SIGKILL, signal.SIGTERM, signal.SIGINT)
VICTIMS = ("job", "snakemake", "all")
#: From here on everything that follows is cheap enough to be compared in a sample, too.
LATE = (
    "finetune_model",
    "evaluate_model",
    "collect_runs",
    "write_tables",
    "write_paper_table",
    "draw_figures",
)


@pytest.mark.fault_grid(sample=2)
@pytest.mark.parametrize("number", SIGNALS, ids=lambda number: number.name)
@pytest.mark.parametrize("rule", OUTPUTS)
def test_an_interrupted_run_goes_on_and_ends_as_if_undisturbed(
    rule: str,
    number: signal.Signals,
    disturbed: Path,
    undisturbed: Path,
    moment: random.Random,
    running: list[Running],
    pytestconfig: pytest.Config,
) -> None:
    whole = rule in LATE or pytestconfig.getoption("--faults") == "all"
    targets = TARGETS if whole else (f"results/{OUTPUTS[rule][0]}",)
    victim = moment.choice(VICTIMS)
    (disturbed / CAUSES[rule]).touch()
    workflow = Running(disturbed, *targets)
    running.append(workflow)
    assert workflow.until_in(rule), workflow.text
    time.sleep(moment.uniform(0, 1.2 * duration(undisturbed, rule)))
    workflow.send(number, victim, rule)
    # Jobs that a killed Snakemake leaves behind go on beside the next run; of any other nothing is left.
    if not (victim == "snakemake" and number == signal.SIGKILL):
        workflow.end(rule)
    else:
        workflow.process.wait()
    text = complete(disturbed, *targets)
    workflow.end(rule)
    rules = tuple(OUTPUTS) if whole else (rule,)
    assert outcome(disturbed, rules=rules) == outcome(undisturbed, rules=rules), f"{victim}: {text}"
    assert not (disturbed / "results/.workflow.lock").exists()
