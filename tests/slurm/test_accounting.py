"""profiles/slurm with an accounting database: what sacct tells the plugin, and the efficiency report."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pandas as pd
import pytest
from conftest import SnakemakeRunner
from slurm.accounting import AccountedCluster, why_no_accounting
from slurm.cluster import Cluster
from slurm.sessions import Session, running_cluster, start, use_up_memory
from tiny_project import CONFIGURATION, tiny_project

pytestmark = pytest.mark.slurm


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    """Give a running cluster with accounting; what it started is stopped at the end."""
    reason = why_no_accounting()
    if reason:
        pytest.skip(reason)
    with running_cluster(AccountedCluster) as running:
        yield running


@pytest.fixture(scope="module")
def session(
    cluster: Cluster,
    tiny_checkpoint: Path,
    tmp_path_factory: pytest.TempPathFactory,
    snakemake: SnakemakeRunner,
) -> Session:
    """Give a finished run of two branches, one of which needs more memory than it asks for at first."""
    folder = tmp_path_factory.mktemp("accounting") / "project"
    project = tiny_project(folder, tiny_checkpoint, ["numbers"], resources={"mem_mb": 2500, "gpu": 1})
    use_up_memory(project / "workflow_scripts/write_ledger.py", 600)
    done = snakemake(project, "--cores", "2", "--configfile", CONFIGURATION, "--until", "split_dataset")
    assert done.returncode == 0, done.stdout + done.stderr
    run = start(cluster, project, "accounted", "--until", "write_ledger", "finetune_model")
    run.finish()
    return run


def test_the_profile_runs_with_accounting(cluster: Cluster, session: Session) -> None:
    assert session.process.returncode == 0, session.text
    known = cluster.ask("sacct", "--allocations", "--noheader", "--format=JobIDRaw").split()
    assert sorted(known) == sorted(session.submitted())
    # The plugin has asked sacct from beginning to end.
    assert not re.search("Falling back|unavailable", session.text)


def test_a_job_without_enough_memory_is_submitted_anew(cluster: Cluster, session: Session) -> None:
    first, second = (job for job in cluster.jobs().values() if job.name == "write_ledger")
    assert (first.memory, second.memory) == ("500M", "1000M")
    question = (
        "sacct",
        "--allocations",
        "--noheader",
        "--format=State",
        f"--jobs={first.number},{second.number}",
    )
    assert cluster.ask(*question).split() == ["FAILED", "COMPLETED"]
    assert f"SLURM-job '{first.number}' failed, SLURM status is: 'FAILED'" in session.text
    assert (session.output.parent / "results/tables/ledger.csv").is_file()


def test_the_efficiency_report_has_a_row_for_each_job(session: Session) -> None:
    (path,) = (session.output.parent / "results/slurm_efficiency").glob("*.csv")
    report = pd.read_csv(path, dtype={"MainJobID": str})
    assert sorted(report["MainJobID"]) == sorted(session.submitted())
    used, asked = report["MaxRSS_MB"], report["RequestedMem_MB"]
    assert (used > 0).all()
    assert list((used / asked * 100).round(2)) == list(report["Memory Usage (%)"])
    by_rule = report.assign(rule=report["RuleName"].str.removeprefix("rule_").str.split("_wildcards").str[0])
    assert set(by_rule.loc[asked == 2500, "rule"]) == {"finetune_model"}
    # What was killed is in it too.
    ledger = by_rule["rule"] == "write_ledger"
    assert list(asked[ledger]) == [500, 1000]
    assert list(used[ledger] > asked[ledger]) == [True, False]
