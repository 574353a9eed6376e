"""Runs of Snakemake on a cluster's login node, through profiles/slurm."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from slurm.cluster import Cluster, wait_for
from tiny_project import CONFIGURATION

#: The profile as it is, but for what a test has no time for.
PROFILE = ("--workflow-profile", "profiles/slurm", "--configfile", CONFIGURATION)
QUICK = ("--slurm-init-seconds-before-status-checks", "2", "--max-jobs-per-timespan", "100/1s")
ONE_ATTEMPT = ("--retries", "0")


@contextmanager
def running_cluster(kind: type[Cluster] = Cluster) -> Iterator[Cluster]:
    """Give a running cluster; what it started is stopped at the end, and its folder removed."""
    # Not in pytest's own folder, which others may not enter.
    folder = Path(tempfile.mkdtemp(prefix="vlmtsc-slurm-"))
    folder.chmod(0o711)
    cluster = kind(folder)
    try:
        cluster.start()
        yield cluster
    finally:
        cluster.stop()
        shutil.rmtree(folder)


@dataclass
class Session:
    """One run of Snakemake on the login node."""

    process: subprocess.Popen[bytes]
    output: Path

    def finish(self, seconds: float = 1800) -> str:
        """Wait for its end; return what it printed."""
        try:
            self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            self.process.kill()
            raise AssertionError(self.output.read_text()) from None
        return self.output.read_text()

    @property
    def text(self) -> str:
        return self.output.read_text()

    def submitted(self) -> list[str]:
        """List the numbers of the SLURM jobs that it submitted."""
        return re.findall(r"submitted with SLURM jobid (\d+)", self.text)


def start(cluster: Cluster, project: Path, name: str, *arguments: str) -> Session:
    """Start Snakemake through the profile."""
    output = project / f"{name}.txt"
    command = [sys.executable, "-m", "snakemake", *PROFILE, *QUICK, *cluster.options, *arguments]
    return Session(cluster.log_in(command, project, output), output)


def started(session: Session, condition: Callable[[], object], what: str) -> None:
    """Wait for something that happens while a session runs; say what it printed if it ends before."""

    def check() -> bool:
        assert session.process.poll() is None, f"ended before {what}:\n{session.text}"
        return bool(condition())

    wait_for(check, what, 900)


def use_up_memory(script: Path, megabytes: int) -> None:
    """Let a script hold so much memory for as long as SLURM, which looks once a second, takes to see it."""
    text = script.read_text()
    first = "from __future__ import annotations\n"
    assert first in text
    hold = f"import time\nheld = b'x' * {megabytes * 2**20}\ntime.sleep(3)\ndel held\n"
    script.write_text(text.replace(first, first + hold))
