"""GPUs: each job takes its own, and sees no other."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest

from vlmtsc.errors import InputError
from vlmtsc.model.devices import VISIBLE, claim_gpus, list_gpus, name_gpu

ROOT = Path(__file__).parents[2]
JOB = textwrap.dedent("""\
    import os, sys, time
    from pathlib import Path
    from vlmtsc.model.devices import claim_gpus
    with claim_gpus(int(sys.argv[1]), Path(sys.argv[2])):
        print(os.environ["CUDA_VISIBLE_DEVICES"], flush=True)
        sys.stdin.readline()
""")


@pytest.fixture(autouse=True)
def machine(monkeypatch: pytest.MonkeyPatch) -> None:
    """Play a machine with three GPUs, outside SLURM."""
    monkeypatch.delenv("SLURM_JOB_ID", raising=False)
    monkeypatch.setenv(VISIBLE, "0,1,2")
    monkeypatch.setenv("PYTHONPATH", str(ROOT / "workflow_scripts"))


def job(locks: Path, count: int = 1) -> subprocess.Popen[str]:
    """Start a job that takes GPUs, prints which, and holds them until its input ends."""
    return subprocess.Popen(
        [sys.executable, "-c", JOB, str(count), str(locks)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


def seen(process: subprocess.Popen[str]) -> set[str]:
    assert process.stdout is not None
    return set(process.stdout.readline().strip().split(","))


def test_jobs_side_by_side_see_different_gpus(tmp_path: Path) -> None:
    jobs = [job(tmp_path, count) for count in (1, 2)]
    try:
        first, second = (seen(process) for process in jobs)
        assert (len(first), len(second)) == (1, 2)
        assert first | second == {"0", "1", "2"}
    finally:
        for process in jobs:
            process.communicate("\n")


def test_a_job_waits_for_a_gpu_until_its_holder_is_killed(tmp_path: Path) -> None:
    holders = [job(tmp_path) for _ in range(3)]
    held = {frozenset(seen(process)) for process in holders}
    assert len(held) == 3
    late = job(tmp_path)
    try:
        time.sleep(1.5)
        assert late.poll() is None
        free = holders.pop()
        free.kill()
        free.wait()
        assert len(seen(late)) == 1
    finally:
        for process in (*holders, late):
            process.communicate("\n")


def test_the_environment_is_as_before_afterwards(tmp_path: Path) -> None:
    with claim_gpus(2, tmp_path):
        assert os.environ[VISIBLE] == "0,1"
    assert os.environ[VISIBLE] == "0,1,2"


def test_more_than_the_machine_has(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"gpu=4; allowed on this machine: up to 3"), claim_gpus(4, tmp_path):
        pass


def test_slurm_has_chosen_already(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SLURM_JOB_ID", "7")
    with claim_gpus(9, tmp_path):
        assert os.environ[VISIBLE] == "0,1,2"
    assert list(tmp_path.iterdir()) == []


def test_no_gpu_asked_for_or_none_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with claim_gpus(0, tmp_path):
        assert os.environ[VISIBLE] == "0,1,2"
    monkeypatch.delenv(VISIBLE)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert list_gpus() == []
    with claim_gpus(1, tmp_path):
        assert VISIBLE not in os.environ


def test_the_driver_names_the_gpus(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tool = tmp_path / "nvidia-smi"
    tool.write_text("#!/bin/sh\necho GPU-aa\necho GPU-bb\n")
    tool.chmod(0o755)
    monkeypatch.delenv(VISIBLE)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    with claim_gpus(1, tmp_path / "locks"):
        assert os.environ[VISIBLE] == "GPU-aa"
    assert VISIBLE not in os.environ


def test_the_driver_says_what_the_first_visible_gpu_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tool = tmp_path / "nvidia-smi"
    tool.write_text('#!/bin/sh\necho "name for $*"\n')
    tool.chmod(0o755)
    monkeypatch.setenv(VISIBLE, "GPU-bb,GPU-cc")
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    assert name_gpu() == "name for --query-gpu=name --format=csv,noheader --id=GPU-bb"
