"""An undisturbed run, which disturbed ones are compared with."""

from __future__ import annotations

import random
import shutil
from collections.abc import Iterator
from pathlib import Path

import fault_sample
import pytest
from conftest import SharedFolder
from further_rules import Further, make_further, servers
from model_parts import parts_wheel
from tiny_project import tiny_project
from workflow_runs import BASELINES, SCENARIO, SCENARIO_ROW, TARGETS, Running, run


@pytest.fixture(scope="session")
def configured(tiny_checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give a project with two epochs, so that an interrupted training has a state to go on from."""
    folder = tmp_path_factory.mktemp("faults") / "project"
    options = {"baselines": list(BASELINES)}
    project = tiny_project(folder, tiny_checkpoint, [SCENARIO], {"epochs": 2}, options=options)
    with (project / "config/scenarios.tsv").open("a") as table:
        table.write(SCENARIO_ROW)
    return project


@pytest.fixture(scope="session")
def undisturbed(configured: Path, shared_folder: SharedFolder) -> Path:
    """Return a project in which the workflow has run. No test may change it."""

    def fill(folder: Path) -> None:
        done = run(shutil.copytree(configured, folder), *TARGETS)
        assert done.returncode == 0, done.stdout + done.stderr

    return shared_folder("undisturbed", fill)


@pytest.fixture(scope="session")
def further(
    undisturbed: Path, tiny_checkpoint: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Further]:
    """Give the same of the rules that the tiny workflow does not ask for."""
    wheel = parts_wheel(tmp_path_factory.mktemp("parts"))
    folder = tmp_path_factory.mktemp("further") / "project"
    with servers(tiny_checkpoint, wheel) as variables:
        with pytest.MonkeyPatch.context() as patch:
            for name, value in variables.items():
                patch.setenv(name, value)
            made = make_further(undisturbed, folder, variables, wheel)
        yield made


@pytest.fixture
def disturbed(undisturbed: Path, tmp_path: Path) -> Path:
    """Give a copy of the finished project that a test may damage, in which what runs again also trains again."""
    without = shutil.ignore_patterns("shared_runs")
    return shutil.copytree(undisturbed, tmp_path / "project", ignore=without)


@pytest.fixture
def moment(request: pytest.FixtureRequest) -> random.Random:
    """Give random numbers that the seed in the header decides on."""
    return fault_sample.moments(request)


@pytest.fixture
def running() -> Iterator[list[Running]]:
    """Give a list for the workflows that a test starts; what is left of them is killed at its end."""
    started: list[Running] = []
    yield started
    for workflow in started:
        workflow.stop()
