"""Train one adapter; alone, or as one of the processes that `accelerate launch` starts."""

from __future__ import annotations

import logging
import os
from pathlib import Path
from typing import Any

from vlmtsc.errors import InputError
from vlmtsc.files import atomic_path, read_json, write_json
from vlmtsc.script import run_script
from vlmtsc.settings import FinetuneSettings, MemorySettings, TrackingSettings
from vlmtsc.training.launch import end_with_parent

logger = logging.getLogger("vlmtsc.train_adapter")


def train_adapter(
    name: str,
    base: str,
    model: Path,
    train: Path,
    validation: Path,
    representation: Path,
    settings: FinetuneSettings,
    checkpoints: Path,
    adapter: Path,
    training_log: Path,
    plots: Path | None = None,
    threads: int = 1,
    memory: MemorySettings = MemorySettings(),  # noqa: B008 (frozen)
    tracking: TrackingSettings = TrackingSettings(),  # noqa: B008 (frozen)
    description: dict[str, Any] | None = None,
    log: Path | None = None,
) -> dict[str, Any]:
    """Train one adapter; of several processes with the same arguments, the first writes.

    Parameters
    ----------
    name : str
        Name of the run in messages.
    base : str
        Name of the model, stored with the adapter.
    model : Path
        Checkpoint folder.
    train, validation, representation : Path
        Conversations (.json) and what made them.
    settings : FinetuneSettings
        The recipe and the seed.
    checkpoints : Path
        Folder for the state after each epoch; an interrupted run goes on from it.
    adapter : Path
        Adapter folder to write (safetensors).
    training_log : Path
        Losses and rates (.csv) to write.
    plots : Path, optional
        Folder of plots.
    threads : int, default 1
        Threads of each tensor operation.
    memory : MemorySettings
        What the process may hold in memory; changes nothing of the result.
    tracking : TrackingSettings
        Who follows the run; the first process tells them.
    description : dict, optional
        What they know the run by, beside its settings.
    log : Path, optional
        File for messages.

    Returns
    -------
    dict
        Record of the run.
    """
    from vlmtsc.model.adapter import save_adapter
    from vlmtsc.representation.representation import Representation
    from vlmtsc.training.finetune import finetune
    from vlmtsc.training.processes import trained_state
    from vlmtsc.training.tracking import followed

    with followed(tracking, settings.model_dump() | (description or {})) as callbacks:
        result = finetune(
            model,
            read_json(train),
            read_json(validation),
            Representation.load(representation),
            settings,
            plots=plots,
            checkpoints=checkpoints,
            name=name,
            threads=threads,
            memory=memory,
            trackers=callbacks,
        )
    state = trained_state(result.model)
    if result.processes.is_main:
        save_adapter(result.model, adapter, base=base, state=state)
        with atomic_path(training_log) as path:
            result.log.write_csv(path)
    return result.record


def train_adapter_together(record: Path, failure: Path, **arguments: Any) -> None:
    """Train one adapter in one of several processes; the first leaves the record in a file.

    Parameters
    ----------
    record : Path
        Record of the run (.json) to write.
    failure : Path
        What was wrong (.json) to write, if anything was wrong with the input.
    **arguments
        As for `train_adapter`.
    """
    end_with_parent()
    main = os.environ.get("RANK", "0") == "0"
    if not main:
        logging.getLogger("vlmtsc").setLevel(logging.ERROR)
    try:
        content = train_adapter(**arguments)
    except InputError as error:
        write_json(failure, {"message": str(error)})
        raise
    if main:
        write_json(record, content)


if __name__ == "__main__":
    run_script(train_adapter_together)
