"""What all tests share."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
#: What a run of the workflow reads from the project's folder.
PARTS = ["Snakefile", "rules", "config", "envs", "profiles", "workflow_scripts"]

#: The tiny workflow's run. Of tests/faults: the options that choose among injected faults, and the run that they
#: disturb.
pytest_plugins = ["tiny_run", "fault_sample", "fault_fixtures"]

SnakemakeRunner = Callable[..., subprocess.CompletedProcess[str]]


def copy_project(copy: Path) -> Path:
    """Copy what a run of the workflow reads into a new folder."""
    copy.mkdir()
    for part in PARTS:
        source = ROOT / part
        if source.is_dir():
            shutil.copytree(source, copy / part, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy2(source, copy / part)
    return copy


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """Give a copy of the project that a test may change and run in."""
    return copy_project(tmp_path / "project")


@pytest.fixture(scope="session")
def snakemake() -> SnakemakeRunner:
    """Give a function that runs Snakemake in a folder and returns the finished process.

    It is the Snakemake of the interpreter that runs the tests, in an environment without the
    virtual environment's folder on PATH: rules have to find their Python themselves.
    """
    own = str(Path(sys.executable).parent)
    path = os.pathsep.join(part for part in os.environ["PATH"].split(os.pathsep) if part != own)

    def run(folder: Path, *arguments: str, timeout: float = 120) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "snakemake", *arguments],
            cwd=folder,
            env={**os.environ, "PATH": path},  # as it is now: a test may have set something in it
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
        )

    return run


@pytest.fixture(scope="session")
def tiny_checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give the folder of a random LLaVA whose tokenizer is byte-level and has no begin token."""
    from tiny_llava import write_checkpoint  # seconds of imports

    return write_checkpoint(tmp_path_factory.mktemp("byte_level"))


@pytest.fixture(scope="session")
def llama_checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give the folder of a random LLaVA whose tokenizer adds a begin token and writes blanks as metaspaces."""
    from tiny_llava import write_checkpoint

    return write_checkpoint(tmp_path_factory.mktemp("llama"), style="llama")
