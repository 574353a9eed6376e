"""Reuse of an identical training: runs with the same inputs, settings and code train once, and never again."""

from __future__ import annotations

import hashlib
import json
import logging
import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import asdict
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from vlmtsc.files import atomic_path, digest_of_files, exclusive, link_or_copy, read_json, write_json
from vlmtsc.model.checkpoint import check_kernels, choose_attention, compute_device
from vlmtsc.model.devices import claim_gpus, list_gpus, name_gpu
from vlmtsc.paths import Run
from vlmtsc.representation.conversations import input_digest
from vlmtsc.representation.plot_files import plots_in
from vlmtsc.representation.representation import Representation
from vlmtsc.settings import FinetuneSettings, LaunchSettings
from vlmtsc.training.checkpoints import claim_checkpoints, fault_of_file, fault_of_folder
from vlmtsc.training.finetune import TrainingJob, train, train_in_processes
from vlmtsc.training.progress import check_trackers
from vlmtsc.training.record import kernels, package_versions

logger = logging.getLogger(__name__)

#: Outputs in a run's folder that can be reused, and its record.
ADAPTER, LOG, RECORD = "adapter", "training_log.csv", "run_record.json"


def train_or_reuse(
    job: TrainingJob,
    parameters: Path,
    run_record: Path,
    *,
    code: str,
    worker: Path,
    gpus: int = 0,
    launch: LaunchSettings | None = None,
    shared: Path | None = None,
) -> dict[str, Any]:
    """Train, or reuse the outputs of an identical training; write parameters and record, and return the record.

    Parameters
    ----------
    job : TrainingJob
        Name and identity of its tracking are set here.
    parameters, run_record : Path
        Files to write: resolved settings, and counts, costs and provenance.
    code : str
        Digest of the code that trains.
    worker : Path
        As for `train_in_processes`.
    gpus : int
        GPUs to reserve while training.
    launch : LaunchSettings, optional
        Train in several processes.
    shared : Path, optional
        Folder of `SharedRuns`; without it every run trains.
    """
    settings = job.settings
    check_trackers(job.tracking.trackers)
    check_kernels(
        attention=settings.attention,
        quantization=settings.quantization,
        precision=settings.precision,
        has_gpu=bool(list_gpus()),
    )
    records = {"train": read_json(job.train), "validation": read_json(job.validation)}
    representation = Representation.load(job.representation)
    digest = training_digest(
        job.model,
        records,
        representation,
        settings,
        plots=job.plots,
        threads=job.threads,
        code=code,
        launch=launch,
    )
    job = job.changed(tracking=job.tracking.changed(name=str(job.run), identity=digest[:32]))
    resolved = {
        "run": asdict(job.run),
        "finetune": settings.model_dump(),
        "representation": representation.to_json(),
    }
    runs = SharedRuns(shared) if shared is not None else None
    if shared is not None:
        job = job.changed(alignments=shared / "alignments")
    # A job left behind by a killed workflow may still be training the same run.
    with (
        exclusive(job.checkpoints),
        runs.claim(digest) if runs is not None else nullcontext() as source,
    ):
        if source is None:
            claim_checkpoints(job.checkpoints, {"run": asdict(job.run), "training": digest})
            with claim_gpus(gpus):
                record = train(job) if launch is None else train_in_processes(job, launch, worker)
            record |= {"shared_with": None, "training_digest": digest}
        else:
            copy_outputs(source, job.adapter, job.training_log)
            record = read_json(source / RECORD)
            trained = record["shared_with"] or str(Run(**{name: record[name] for name in asdict(job.run)}))
            record["shared_with"] = None if trained == str(job.run) else trained
            logger.info("%s: reuses the identical training of %s", job.run, trained)
        record |= asdict(job.run)
        write_json(parameters, resolved)
        write_json(run_record, record)
        if runs is not None:
            runs.add(digest, str(job.run), run_record.parent)
        shutil.rmtree(job.checkpoints, ignore_errors=True)
    return record


def training_digest(
    checkpoint: Path,
    records: Mapping[str, Sequence[Mapping[str, Any]]],
    representation: Representation,
    settings: FinetuneSettings,
    *,
    plots: Path | None,
    threads: int,
    code: str,
    launch: LaunchSettings | None = None,
) -> str:
    """Return a SHA-256 of everything that determines the result of a training.

    These are all files of the checkpoint, the conversations (`records`, of train and validation set), their plots, the
    settings, device, kernels, versions and code, and the threads and processes, which determine the order of sums.
    Names of scenarios and context lengths do not count, except for the attention kernel that follows from them.
    """
    device = compute_device()
    images = sorted({record["image"] for part in records.values() for record in part if "image" in record})
    drawn = ""
    if plots is not None:
        store = plots_in(plots)
        drawn = digest_of_files(store / name for name in images)
    files = [path for path in checkpoint.rglob("*") if path.is_file() and not path.name.startswith(".")]
    content = {
        "inputs": input_digest(records, representation, drawn),
        "model": digest_of_files(sorted(files)),
        "settings": settings.model_dump(),
        "attention": choose_attention(settings.attention, device, representation.scenario.context_length),
        "device": name_gpu() if device.type == "cuda" else device.type,
        "threads": threads,
        "code": code,
        "versions": package_versions(),
        "kernels": kernels(),
        "launch": None if launch is None else launch.model_dump(),
    }
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


class SharedRuns:
    """The result of each run's latest training, and an index of them.

    Snakemake removes the outputs of a job before it runs again, for instance when removed conversations are rebuilt.
    ``runs/`` has links to them, for each run; a subfolder ``DIGEST/`` has the list of those with that result, and a
    lock.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @contextmanager
    def claim(self, digest: str) -> Iterator[Path | None]:
        """Wait until no other run trains the same, and yield the folder of a run with the result, or None."""
        (self.folder / digest).mkdir(parents=True, exist_ok=True)
        lock = FileLock(self.folder / digest / "lock")
        try:
            lock.acquire(blocking=False)
        except Timeout:
            logger.info("waits for a run with the same inputs and settings")
            lock.acquire()
        try:
            yield next((run for run in self._runs(digest) if has_result(run, digest)), None)
        finally:
            lock.release()

    def add(self, digest: str, name: str, outputs: Path) -> None:
        """Add the outputs of a run, in place of those of its last training; for the holder of the claim."""
        kept = self.folder / "runs" / name
        with atomic_path(kept) as temporary:
            copy_outputs(outputs, temporary / ADAPTER, temporary / LOG)
            shutil.copyfile(outputs / RECORD, temporary / RECORD)
        runs = [kept, *(known for known in self._runs(digest) if has_result(known, digest))]
        relative = dict.fromkeys(os.path.relpath(path, self.folder) for path in runs)
        write_json(self.folder / digest / "runs.json", list(relative))

    def _runs(self, digest: str) -> list[Path]:
        known = self.folder / digest / "runs.json"
        if not known.exists() or fault_of_file(known):  # written again with the next result
            return []
        return [self.folder / path for path in read_json(known)]


def has_result(run: Path, digest: str) -> bool:
    """Whether a run folder has the intact result of this training."""
    record = run / RECORD
    if not (record.is_file() and (run / LOG).is_file() and (run / ADAPTER).is_dir()):
        return False
    fault = fault_of_file(record) or fault_of_folder(run / ADAPTER, ("adapter_model.safetensors",))
    if fault is not None:
        logger.warning("%s: not reused: %s", run, fault)
        return False
    return read_json(record).get("training_digest") == digest


def copy_outputs(source: Path, adapter: Path, training_log: Path) -> None:
    """Copy adapter and log from another folder, the adapter's files as hard links where possible."""
    with atomic_path(adapter) as temporary:
        shutil.copytree(
            source / ADAPTER, temporary, copy_function=link_or_copy, ignore=shutil.ignore_patterns(".*")
        )
    with atomic_path(training_log) as temporary:
        shutil.copyfile(source / LOG, temporary)
