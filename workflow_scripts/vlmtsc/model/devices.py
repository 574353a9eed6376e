"""Exclusive GPUs for concurrent jobs on one machine."""

from __future__ import annotations

import contextlib
import logging
import os
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from vlmtsc.errors import InputError

logger = logging.getLogger(__name__)

_POLL_SECONDS = 1.0
VISIBLE = "CUDA_VISIBLE_DEVICES"


def list_gpus() -> list[str]:
    """List the GPUs visible to this process, named as in ``CUDA_VISIBLE_DEVICES``; empty without a driver."""
    if VISIBLE in os.environ:
        return [name.strip() for name in os.environ[VISIBLE].split(",") if name.strip()]
    return _query("--query-gpu=uuid").split()


def name_gpu() -> str:
    """Return the product name of the first visible GPU, without initialising CUDA (see `claim_gpus`)."""
    return _query("--query-gpu=name", f"--id={list_gpus()[0]}").strip() or "GPU"


def _query(*options: str) -> str:
    """Return the answer of the driver's tool; empty if it fails or is missing."""
    command = ["nvidia-smi", options[0], "--format=csv,noheader", *options[1:]]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout
    except (FileNotFoundError, subprocess.CalledProcessError):
        return ""


@contextmanager
def claim_gpus(count: int, locks: Path | None = None) -> Iterator[None]:
    """Reserve `count` free GPUs of this machine, and hide all others from this process and its children.

    Waits until that many are free. Has to precede the first use of CUDA. Does nothing if `count` is 0; under SLURM,
    which has allocated GPUs already; and on a machine without GPUs, where the job runs on the CPU. `locks` is the
    folder of lock files, by default one for each user in the machine's temporary folder. InputError if the machine
    has fewer GPUs.
    """
    if count == 0 or "SLURM_JOB_ID" in os.environ:
        yield
        return
    gpus = list_gpus()
    if not gpus:
        logger.warning("gpu=%d requested, but this machine has no GPU: running on the CPU", count)
        yield
        return
    if len(gpus) < count:
        raise InputError(f"gpu={count}; allowed on this machine: up to {len(gpus)} ({', '.join(gpus)})")
    folder = locks or Path(tempfile.gettempdir()) / f"vlmtsc-gpus-{os.getuid()}"
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    with _lock(gpus, count, folder) as mine:
        before = os.environ.get(VISIBLE)
        os.environ[VISIBLE] = ",".join(mine)
        logger.info("uses GPU %s of %d", ", ".join(mine), len(gpus))
        try:
            yield
        finally:
            if before is None:
                del os.environ[VISIBLE]
            else:
                os.environ[VISIBLE] = before


@contextmanager
def _lock(gpus: list[str], count: int, folder: Path) -> Iterator[list[str]]:
    """Lock `count` of the GPUs, all at once or none, so that two jobs cannot deadlock."""
    waiting = False
    while True:
        with ExitStack() as held:
            mine = []
            for gpu in gpus:
                with contextlib.suppress(Timeout):
                    # The kernel releases it when the process ends, however it ends.
                    held.enter_context(FileLock(folder / f"{gpu}.lock", timeout=0))
                    mine.append(gpu)
                if len(mine) == count:
                    yield mine
                    return
        if not waiting:
            logger.info("waiting for %d free of %d GPUs", count, len(gpus))
            waiting = True
        time.sleep(_POLL_SECONDS)
