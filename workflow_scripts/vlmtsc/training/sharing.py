"""Runs that would train on the same inputs in the same way train once."""

from __future__ import annotations

import hashlib
import json
import logging
import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from vlmtsc.files import atomic_path, digest_of_files, read_json, write_json
from vlmtsc.model.checkpoint import choose_attention, compute_device
from vlmtsc.model.devices import name_gpu
from vlmtsc.representation.conversations import input_digest
from vlmtsc.representation.plot_files import plots_in
from vlmtsc.representation.representation import Representation
from vlmtsc.settings import FinetuneSettings, LaunchSettings
from vlmtsc.training.record import package_versions
from vlmtsc.training.states import fault_of_file, fault_of_folder

logger = logging.getLogger(__name__)

#: What a run leaves that another can take as it is, beside its record.
ADAPTER, LOG, RECORD = "adapter", "training_log.csv", "run_record.json"


def training_digest(
    checkpoint: Path,
    parts: Mapping[str, Sequence[Mapping[str, Any]]],
    representation: Representation,
    settings: FinetuneSettings,
    *,
    plots: Path | None,
    threads: int,
    code: str,
    launch: LaunchSettings | None = None,
) -> str:
    """Return a digest of everything that decides what a training gives.

    Names of scenarios and context lengths do not count, but for the attention kernel that follows from them.

    Parameters
    ----------
    checkpoint : Path
        Checkpoint folder; every file counts.
    parts : mapping of str to sequence of mapping
        Conversations of train and validation.
    representation : Representation
        The one stored beside them.
    settings : FinetuneSettings
    plots : Path or None
        Folder of plots.
    threads : int
        Threads of each tensor operation: they decide on the order of sums.
    code : str
        Digest of the code that trains.
    launch : LaunchSettings, optional
        Processes that train together: they decide on the order of sums too.

    Returns
    -------
    str
        64 hexadecimal digits.
    """
    device = compute_device()
    images = sorted({record["image"] for part in parts.values() for record in part if "image" in record})
    drawn = ""
    if plots is not None:
        place = plots_in(plots)
        drawn = digest_of_files(place / name for name in images)
    files = [path for path in checkpoint.rglob("*") if path.is_file() and not path.name.startswith(".")]
    context = representation.scenario.context_length
    content = {
        "inputs": input_digest(parts, representation, drawn),
        "model": digest_of_files(sorted(files)),
        "settings": settings.model_dump(),
        "attention": choose_attention(settings.attention, device, context),
        "device": name_gpu() if device.type == "cuda" else device.type,
        "threads": threads,
        "code": code,
        "versions": package_versions(),
        "launch": None if launch is None else launch.model_dump(),
    }
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


class SharedRuns:
    """Which run folders hold the outcome of which training.

    A folder ``DIGEST/`` holds a list of run folders and a lock. Outputs stay in the run folders, so that nothing
    is kept that no run shows.

    Parameters
    ----------
    folder : Path
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @contextmanager
    def claim(self, digest: str, own: Path) -> Iterator[Path | None]:
        """Wait until nobody else trains the same, and yield another run's folder that has the outcome, or None."""
        (self.folder / digest).mkdir(parents=True, exist_ok=True)
        lock = FileLock(self.folder / digest / "lock")
        try:
            lock.acquire(blocking=False)
        except Timeout:
            logger.info("waits for a run with the same inputs and settings")
            lock.acquire()
        try:
            others = (run for run in self._runs(digest) if run.resolve() != own.resolve())
            yield next((run for run in others if holds(run, digest)), None)
        finally:
            lock.release()

    def add(self, digest: str, run: Path) -> None:
        """Say that the folder of a run has the outcome; for the holder of the claim."""
        runs = [*(known for known in self._runs(digest) if holds(known, digest)), run]
        relative = dict.fromkeys(os.path.relpath(path, self.folder) for path in runs)
        write_json(self.folder / digest / "runs.json", list(relative))

    def _runs(self, digest: str) -> list[Path]:
        known = self.folder / digest / "runs.json"
        if not known.exists() or fault_of_file(known):  # it is made anew with the next outcome
            return []
        return [self.folder / path for path in read_json(known)]


def holds(run: Path, digest: str) -> bool:
    """Whether a run folder is complete and has the outcome of this training."""
    record = run / RECORD
    if not (record.is_file() and (run / LOG).is_file() and (run / ADAPTER).is_dir()):
        return False
    fault = fault_of_file(record) or fault_of_folder(run / ADAPTER, ("adapter_model.safetensors",))
    if fault is not None:
        logger.warning("%s: its outcome is not taken: %s", run, fault)
        return False
    return read_json(record).get("training_digest") == digest


def take_outputs(source: Path, adapter: Path, training_log: Path) -> dict[str, Any]:
    """Give a run the outputs of another one with the same training.

    Parameters
    ----------
    source : Path
        Folder of the run that has them.
    adapter, training_log : Path
        Folder and file to write. Weights become hard links where the file system has them.

    Returns
    -------
    dict
        Record of the other run, with the name of the run that trained in `shared_with`.
    """
    with atomic_path(adapter) as temporary:
        shutil.copytree(source / ADAPTER, temporary, copy_function=_link, ignore=shutil.ignore_patterns(".*"))
    with atomic_path(training_log) as temporary:
        shutil.copyfile(source / LOG, temporary)
    record = read_json(source / RECORD)
    trained = "{model}/{dataset}/{protocol}/{scenario}/seed-{seed}".format(**record)
    return {**record, "shared_with": record["shared_with"] or trained}


def _link(source: str, target: str) -> None:
    try:
        os.link(source, target)
    except OSError:  # another file system, or one without hard links
        shutil.copyfile(source, target)
