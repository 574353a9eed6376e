"""The tiny workflow through profiles/slurm on a real SLURM, and what a cluster does to a workflow.

One story of three runs in one folder, beside an undisturbed run on this machine.
"""

from __future__ import annotations

import json
import math
import re
import signal
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
import pytest
from conftest import SnakemakeRunner
from slurm.cluster import NODES, Cluster, Job, why_not
from slurm.sessions import ONE_ATTEMPT, Session, running_cluster, start, started, use_up_memory
from tiny_project import CONFIGURATION, DATASET, tiny_project

pytestmark = pytest.mark.slurm

SCENARIOS = ("plot", "numbers")
#: Long enough to be caught in the middle, whatever the validation loss does.
RECIPE = {"epochs": 100, "early_stopping_patience": 0}
UNTIL = ("--until", "evaluate_model")
OUTAGE_SECONDS = 12


def run_folder(project: Path, scenario: str) -> Path:
    return project / f"results/runs/tiny/{DATASET}/pooled/{scenario}/seed-0"


def finetuning_log(project: Path, scenario: str) -> str:
    log = project / f"results/logs/finetune_model/tiny/{DATASET}/pooled/{scenario}/seed-0.log"
    return log.read_text() if log.is_file() else ""


def states(project: Path, scenario: str) -> list[Path]:
    """List the states that a fine-tuning has saved so far."""
    folder = project / f"results/checkpoints/runs/tiny/{DATASET}/pooled/{scenario}/seed-0"
    return [path for path in folder.glob("checkpoint-*") if (path / "trainer_state.json").is_file()]


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    """Give a running cluster; what it started is stopped at the end."""
    reason = why_not()
    if reason:
        pytest.skip(reason)
    with running_cluster() as running:
        yield running


@pytest.fixture(scope="module")
def local(
    tiny_checkpoint: Path, tmp_path_factory: pytest.TempPathFactory, snakemake: SnakemakeRunner
) -> Path:
    """Give the same project, run on this machine."""
    project = tiny_project(tmp_path_factory.mktemp("local") / "project", tiny_checkpoint, SCENARIOS, RECIPE)
    done = snakemake(project, "--cores", "2", "--configfile", CONFIGURATION, *UNTIL, timeout=1800)
    assert done.returncode == 0, done.stdout + done.stderr
    return project


@pytest.fixture(scope="module")
def project(tiny_checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give the project that runs on the cluster. Its model asks for a GPU."""
    resources = {"mem_mb": 2500, "gpu": 1}
    folder = tmp_path_factory.mktemp("slurm") / "pro ject $(touch pwned)"
    return tiny_project(folder, tiny_checkpoint, SCENARIOS, RECIPE, resources)


@dataclass
class Disturbed:
    """The first run, and what was done to it."""

    session: Session
    jobs: dict[str, Job]
    cancelled: str
    requeued: str
    state_at_requeue: int


@pytest.fixture(scope="module")
def disturbed(cluster: Cluster, project: Path) -> Disturbed:
    """Run up to the evaluations; cancel one job, requeue another while it trains, take the controller away."""
    session = start(cluster, project, "disturbed", *ONE_ATTEMPT, *UNTIL)
    victim = f"rule_build_conversations_wildcards_tiny_{DATASET}_pooled_numbers"
    started(session, lambda: cluster.running(victim), "the conversations of `numbers`")
    cancelled = cluster.running(victim)
    assert cancelled is not None
    cluster.ask("scancel", cancelled)
    started(session, lambda: states(project, "plot"), "a state of the fine-tuning")
    requeued = cluster.running("rule_finetune_model")
    assert requeued is not None
    cluster.ask("scontrol", "requeue", requeued)
    started(session, lambda: cluster.jobs()[requeued].state == "PENDING", "the requeued job")
    state = max(int(path.name.rpartition("-")[2]) for path in states(project, "plot"))
    started(session, lambda: "resumes from" in finetuning_log(project, "plot"), "the resumed fine-tuning")
    cluster.stop_controller()
    time.sleep(OUTAGE_SECONDS)
    cluster.start_controller()
    session.finish()
    return Disturbed(session, cluster.jobs(), cancelled, requeued, state)


@dataclass
class Orphaned:
    """The second run, killed, and the third, started beside what the second had left running."""

    killed: Session
    orphan: str
    locked: str
    final: Session
    jobs: dict[str, Job]


@pytest.fixture(scope="module")
def orphaned(cluster: Cluster, project: Path, disturbed: Disturbed, snakemake: SnakemakeRunner) -> Orphaned:
    """Run again, kill Snakemake in the middle of a fine-tuning, and run once more while that goes on."""
    killed = start(cluster, project, "killed", *ONE_ATTEMPT, *UNTIL)
    started(killed, lambda: states(project, "numbers"), "a state of the fine-tuning")
    orphan = cluster.running("rule_finetune_model")
    assert orphan is not None
    cluster.ask("scontrol", "suspend", orphan)  # so that it is still there when its double comes
    killed.process.send_signal(signal.SIGKILL)
    killed.process.wait()
    locked = start(cluster, project, "locked", *UNTIL).finish()
    unlocked = snakemake(project, "--unlock", "--configfile", CONFIGURATION)
    assert unlocked.returncode == 0, unlocked.stderr
    final = start(cluster, project, "final", *ONE_ATTEMPT, *UNTIL)
    started(final, lambda: "another process works in" in finetuning_log(project, "numbers"), "the double")
    cluster.ask("scontrol", "resume", orphan)
    final.finish()
    return Orphaned(killed, orphan, locked, final, cluster.jobs())


def test_every_job_runs_through_slurm(disturbed: Disturbed, orphaned: Orphaned) -> None:
    assert orphaned.final.process.returncode == 0, orphaned.final.text
    numbers = [
        number
        for session in (disturbed.session, orphaned.killed, orphaned.final)
        for number in session.submitted()
    ]
    assert set(numbers) == set(orphaned.jobs)
    rules = [job.name for job in orphaned.jobs.values()]
    # Of two conversations one was cancelled, of two fine-tunings one was orphaned: each once more.
    assert sorted(rules) == sorted(
        ["prepare_preprocess_dataset_split_dataset", "render_plots", "encode_plots"]
        + ["build_conversations"] * 3
        + ["finetune_model"] * 3
        + ["evaluate_model"] * 2
    )
    failed = {job.number for job in orphaned.jobs.values() if job.state != "COMPLETED"}
    assert failed == {disturbed.cancelled}


def test_downloads_run_where_snakemake_does(disturbed: Disturbed) -> None:
    assert re.search(r"^localrule download_dataset:", disturbed.session.text, re.MULTILINE)
    assert not any("download" in job.rule for job in disturbed.jobs.values())


def test_only_jobs_of_the_model_ask_for_a_gpu(orphaned: Orphaned) -> None:
    with_gpu = {job.name for job in orphaned.jobs.values() if job.gres}
    assert with_gpu == {"encode_plots", "finetune_model", "evaluate_model"}


def test_a_cancelled_job_is_noticed(disturbed: Disturbed) -> None:
    assert disturbed.session.process.returncode == 1
    message = re.search(
        rf"SLURM-job '{disturbed.cancelled}' failed, SLURM status is: 'CANCELLED'", disturbed.session.text
    )
    assert message, disturbed.session.text
    # What does not depend on it is done.
    assert (run_folder(disturbed.session.output.parent, "plot") / "metrics.json").is_file()


def test_a_requeued_fine_tuning_goes_on_from_its_checkpoint(disturbed: Disturbed, project: Path) -> None:
    assert disturbed.jobs[disturbed.requeued].restarts == 1
    found = re.search(r"resumes from \S+checkpoint-(\d+)", finetuning_log(project, "plot"))
    assert found
    assert int(found[1]) == disturbed.state_at_requeue


def test_a_controller_outage_loses_no_job(disturbed: Disturbed) -> None:
    after = disturbed.session.submitted()
    assert after.index(disturbed.requeued) < len(after) - 1  # the evaluation, submitted after the outage
    assert disturbed.jobs[after[-1]].state == "COMPLETED"


def test_a_killed_run_leaves_a_lock_and_says_so(orphaned: Orphaned) -> None:
    assert "--unlock" in orphaned.locked


def test_results_equal_an_undisturbed_run(orphaned: Orphaned, local: Path, project: Path) -> None:
    assert orphaned.jobs[orphaned.orphan].state == "COMPLETED"
    for scenario in SCENARIOS:
        ours, theirs = run_folder(project, scenario), run_folder(local, scenario)
        pd.testing.assert_frame_equal(
            pd.read_csv(ours / "predictions.csv"), pd.read_csv(theirs / "predictions.csv")
        )
        assert json.loads((ours / "metrics.json").read_text()) == json.loads(
            (theirs / "metrics.json").read_text()
        )
        left, right = (json.loads((run / "run_record.json").read_text()) for run in (ours, theirs))
        assert left["steps"] == right["steps"]
    assert not list((project / "results/checkpoints").rglob("checkpoint-*"))


def test_no_path_is_run_on_the_way_to_a_node(orphaned: Orphaned, project: Path) -> None:
    assert orphaned.jobs
    assert list(project.parent.rglob("pwned")) == []


def test_a_job_without_enough_memory_passes_with_more(
    cluster: Cluster, project: Path, orphaned: Orphaned
) -> None:
    script = project / "workflow_scripts/write_ledger.py"
    original = script.read_text()
    use_up_memory(script, 600)
    session = start(cluster, project, "memory", "--until", "write_ledger")
    output = session.finish()
    script.write_text(original)
    assert session.process.returncode == 0, output
    first, second = (cluster.jobs()[number] for number in session.submitted())
    assert (first.name, first.memory, first.state) == ("write_ledger", "500M", "FAILED")
    assert (second.name, second.memory, second.state) == ("write_ledger", "1000M", "COMPLETED")
    log = project / f".snakemake/slurm_logs/rule_write_ledger/{first.number}.log"
    assert str(log) in output
    assert re.search(r"exceeded memory limit \(\d+ > 524288000\), being killed", log.read_text())
    assert (project / "results/tables/ledger.csv").is_file()


def test_a_failing_job_is_reported_with_its_log(cluster: Cluster, project: Path, orphaned: Orphaned) -> None:
    changes = ("scenarios=[numbers]", "finetune={muon_learning_rate: 1e30, max_grad_norm: 1e30}")
    session = start(
        cluster, project, "failing", *ONE_ATTEMPT, "--until", "finetune_model", "--config", *changes
    )
    output = session.finish()
    assert session.process.returncode == 1
    (number,) = session.submitted()
    assert re.search(rf"SLURM-job '{number}' failed, SLURM status is: 'FAILED'", output)
    assert re.search(
        rf"ERROR tiny/{DATASET}/pooled/numbers/seed-0: the loss is (nan|inf) at step \d+", output
    )
    logs = (project / ".snakemake/slurm_logs/rule_finetune_model").rglob(f"{number}.log")
    assert [str(log) in output for log in logs] == [True]


def test_a_job_with_two_gpus_trains_in_two_processes(
    cluster: Cluster, project: Path, orphaned: Orphaned
) -> None:
    table = project / "config/tiny_models.yaml"
    models = json.loads(table.read_text())
    models["tiny"]["launch"] = {"strategy": "ddp"}
    models["tiny"]["resources"] |= {"gpu": 2, "threads": 2, "mem_mb": 6000}
    table.write_text(json.dumps(models))
    changes = ("scenarios=[numbers]", "finetune={epochs: 2, batch_size: 8, micro_batch_size: 2}")
    session = start(cluster, project, "pair", *ONE_ATTEMPT, "--until", "finetune_model", "--config", *changes)
    output = session.finish()
    assert session.process.returncode == 0, output
    job = cluster.jobs()[session.submitted()[-1]]
    assert (job.name, job.state) == ("finetune_model", "COMPLETED")
    assert (job.nodes, job.gres) == (1, "gres:gpu:2")
    assert [job.number in cluster.with_steps_on(node) for node in NODES].count(True) == 1
    record = json.loads((run_folder(project, "numbers") / "run_record.json").read_text())
    assert record["processes"] == 2
    # Batches of 8 cases, as in one process.
    cases = record["train_samples"] / record["epochs_done"]
    assert record["steps"] == 2 * math.ceil(cases / 8)
    assert "2 processes, config/accelerate/ddp.yaml" in finetuning_log(project, "numbers")
