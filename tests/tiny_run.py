"""The tiny workflow, run once for all tests that look at what it leaves."""

from __future__ import annotations

from pathlib import Path

import pytest
from conftest import SharedFolder, SnakemakeRunner
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
def tiny_run(tiny_checkpoint: Path, shared_folder: SharedFolder, snakemake: SnakemakeRunner) -> Path:
    """Give a project, configured for the tiny model and nothing that needs a network, in which the workflow has run.

    No test may change it.
    """

    def fill(folder: Path) -> None:
        project = tiny_project(folder, tiny_checkpoint, SCENARIOS)
        done = snakemake(project, *RUN, *REPORT, timeout=1800)
        assert done.returncode == 0, done.stdout + done.stderr
        (project / "stdout.txt").write_text(done.stdout)

    return shared_folder("tiny_run", fill)
