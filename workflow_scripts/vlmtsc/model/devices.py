"""Which GPUs a job may use: its own, and no other job's."""

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
    """Name the GPUs that this process may use, as ``CUDA_VISIBLE_DEVICES`` does; empty without a driver."""
    if VISIBLE in os.environ:
        return [name.strip() for name in os.environ[VISIBLE].split(",") if name.strip()]
    command = ["nvidia-smi", "--query-gpu=uuid", "--format=csv,noheader"]
    try:
        found = subprocess.run(command, capture_output=True, text=True, check=True)
    except (FileNotFoundError, subprocess.CalledProcessError):
        return []
    return found.stdout.split()


def name_gpu() -> str:
    """Return the product name of the first GPU that this process may use.

    The driver's tool is asked and not PyTorch, which would take hold of a GPU: `claim_gpus` comes later.
    """
    command = ["nvidia-smi", "--query-gpu=name", "--format=csv,noheader", f"--id={list_gpus()[0]}"]
    found = subprocess.run(command, capture_output=True, text=True, check=False)
    return found.stdout.strip() or "GPU"


@contextmanager
def claim_gpus(count: int, locks: Path | None = None) -> Iterator[None]:
    """Take free GPUs of this machine, and hide all others from this process and its children.

    Has to come before CUDA is first used. Nothing is done for no GPU; under SLURM, which has chosen already; and
    on a machine without any, where the job runs on the processor.

    Parameters
    ----------
    count : int
        GPUs to take. Waits until so many are free.
    locks : Path, optional
        Folder of lock files; by default one for each user in the machine's own folder of temporary files.

    Raises
    ------
    InputError
        If the machine has fewer.
    """
    if count == 0 or "SLURM_JOB_ID" in os.environ:
        yield
        return
    gpus = list_gpus()
    if not gpus:
        logger.warning("gpu=%d was asked for and no GPU is here: running on the processor", count)
        yield
        return
    if len(gpus) < count:
        raise InputError(f"gpu={count}; allowed on this machine: up to {len(gpus)} ({', '.join(gpus)})")
    folder = locks or Path(tempfile.gettempdir()) / f"vlmtsc-gpus-{os.getuid()}"
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    with _hold(gpus, count, folder) as mine:
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
def _hold(gpus: list[str], count: int, folder: Path) -> Iterator[list[str]]:
    """Lock `count` of the GPUs, all or none at a time, so that two jobs never wait for each other's."""
    waiting = False
    while True:
        with ExitStack() as held:
            mine = []
            for gpu in gpus:
                with contextlib.suppress(Timeout):
                    # The kernel lets go of it when the process ends, whatever ended it.
                    held.enter_context(FileLock(folder / f"{gpu}.lock", timeout=0))
                    mine.append(gpu)
                if len(mine) == count:
                    yield mine
                    return
        if not waiting:
            logger.info("waiting for %d free of %d GPUs", count, len(gpus))
            waiting = True
        time.sleep(_POLL_SECONDS)
