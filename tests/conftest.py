"""What all tests share."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest
from filelock import FileLock

ROOT = Path(__file__).parents[1]
#: What a run of the workflow reads from the project's folder.
PARTS = ["Snakefile", "rules", "config", "envs", "profiles", "workflow_scripts"]

#: The tiny workflow's run. Of tests/faults: the options that choose among injected faults, and the run that they
#: disturb.
pytest_plugins = ["tiny_run", "fault_sample", "fault_fixtures"]

#: Values of matplotlib's parameters, of which nearly every one accepts one that is not its default.
STYLES = (
    *(
        "True",
        "False",
        "7",
        "0.37",
        "0.7, 0.8",
        "1, 100, 2",
        "round_numbers",
        "black",
        "cycler('color', 'rk')",
    ),
    *(
        "right",
        "top",
        "miter",
        "projecting",
        "both",
        "x",
        "stix",
        "cm",
        "nearest",
        "in",
        "path",
        "none",
        "tight",
    ),
    *(
        "round",
        "data",
        "landscape",
        "42",
        "concise",
        "sphere",
        "a4",
        "xpdf",
        "threaded",
        "pdflatex",
        "rm",
        "tab",
    ),
)

#: Options of a dry run that prints a table of jobs.
DRY = ("--dry-run", "--quiet", "host", "rules")
SnakemakeRunner = Callable[..., subprocess.CompletedProcess[str]]
#: Returns the folder of a name, which the function has filled.
SharedFolder = Callable[[str, Callable[[Path], object]], Path]


def job_counts(output: str) -> dict[str, int]:
    """Read the last table of jobs that Snakemake printed."""
    table = output.rsplit("Job stats:", 1)[-1]
    return {name: int(count) for name, count in re.findall(r"^(\w+) +(\d+)$", table, re.MULTILINE)}


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
def matplotlibrc() -> dict[str, str]:
    """Give the lines of a matplotlibrc that changes every parameter on which a picture may depend."""
    from matplotlib import rcParams, rcParamsDefault

    style = {}
    for name, validate in rcParams.validate.items():
        for value in STYLES:
            with suppress(ValueError, RuntimeError):
                if validate(value) != dict.get(rcParamsDefault, name):
                    style[name] = value
                    break
    assert len(style) > 0.95 * len(rcParamsDefault)
    return style


@pytest.fixture
def no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let requests to a server of a test go to it directly."""
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture(scope="session")
def shared_folder(tmp_path_factory: pytest.TempPathFactory) -> SharedFolder:
    """Return a function that fills a folder once for all processes of pytest-xdist. No test may change it."""
    root = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        root = root.parent

    def share(name: str, fill: Callable[[Path], object]) -> Path:
        folder, done = root / "shared" / name, root / f"shared_{name}.done"
        folder.parent.mkdir(exist_ok=True)
        with FileLock(root / f"shared_{name}.lock"):
            if not done.exists():
                fill(folder)
                done.touch()
        return folder

    return share


@pytest.fixture
def bfloat16_instructions(monkeypatch: pytest.MonkeyPatch) -> None:
    """Compute as on a processor with instructions for bfloat16, whether or not this one has them."""
    monkeypatch.setattr("vlmtsc.model.checkpoint.has_bfloat16_instructions", lambda: True)


@pytest.fixture(scope="session")
def tiny_checkpoint(shared_folder: SharedFolder) -> Path:
    """Give the folder of a random LLaVA whose tokenizer is byte-level and has no begin token."""
    from tiny_llava import write_checkpoint  # seconds of imports

    return shared_folder("byte_level", write_checkpoint)


@pytest.fixture(scope="session")
def llama_checkpoint(shared_folder: SharedFolder) -> Path:
    """Give the folder of a random LLaVA whose tokenizer adds a begin token and writes blanks as metaspaces."""
    from tiny_llava import write_checkpoint

    return shared_folder("llama", lambda folder: write_checkpoint(folder, style="llama"))
