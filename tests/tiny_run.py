"""The tiny workflow, run once for all tests that look at what it leaves."""

from __future__ import annotations

from pathlib import Path

import pytest
from conftest import SnakemakeRunner
from tiny_project import tiny_project

SCENARIOS = ("plot", "numbers", "plot_and_numbers")
RUN = ("--cores", "2", "--configfile", "config/tiny.yaml")
#: The report, as `make results` writes it.
REPORT = (
    "--report",
    "results/report.html",
    "--report-after-run",
    "--report-stylesheet",
    "rules/report/report.css",
)


@pytest.fixture(scope="session")
def tiny_run(
    tiny_checkpoint: Path, tmp_path_factory: pytest.TempPathFactory, snakemake: SnakemakeRunner
) -> Path:
    """Give a project, configured for the tiny model and nothing that needs a network, in which the workflow has run.

    Tests leave it as it is, but for the report, which a run without anything to do writes again.
    """
    project = tiny_project(tmp_path_factory.mktemp("tiny_run") / "project", tiny_checkpoint, SCENARIOS)
    done = snakemake(project, *RUN, *REPORT, timeout=1800)
    assert done.returncode == 0, done.stdout + done.stderr
    (project / "stdout.txt").write_text(done.stdout)
    return project
