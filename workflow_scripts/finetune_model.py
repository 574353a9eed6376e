"""Fine-tune a model on one scenario of one dataset."""

from __future__ import annotations

import hashlib
import logging
import shutil
from dataclasses import asdict, dataclass
from pathlib import Path

from vlmtsc.files import atomic_path, read_json, write_json
from vlmtsc.script import run_script
from vlmtsc.training.settings import FinetuneSettings

logger = logging.getLogger("vlmtsc.finetune_model")


@dataclass(frozen=True)
class RunName:
    """What identifies a run in records and tables.

    Attributes
    ----------
    model, dataset, protocol, scenario : str
    seed : int
    """

    model: str
    dataset: str
    protocol: str
    scenario: str
    seed: int

    def __str__(self) -> str:
        return f"{self.model}/{self.dataset}/{self.scenario}/seed-{self.seed}"


def finetune_model(
    run: RunName,
    model: Path,
    train: Path,
    validation: Path,
    representation: Path,
    settings: FinetuneSettings,
    checkpoints: Path,
    adapter: Path,
    parameters: Path,
    training_log: Path,
    run_record: Path,
    plots: Path | None = None,
    threads: int = 1,
    log: Path | None = None,
) -> None:
    """Fine-tune a model with LoRA on one scenario of one dataset.

    Parameters
    ----------
    run : RunName
        What the run is called.
    model : Path
        Checkpoint folder.
    train, validation, representation : Path
        Conversations (.json) and what made them.
    settings : FinetuneSettings
        The recipe and the seed.
    checkpoints : Path
        Folder for the state after each epoch; an interrupted run goes on from it, a finished one removes it.
    adapter : Path
        Adapter folder to write (safetensors).
    parameters : Path
        Resolved settings (.json) to write.
    training_log : Path
        Losses and rates (.csv) to write.
    run_record : Path
        Counts, costs, versions and hardware (.json) to write.
    plots : Path, optional
        Folder of plots.
    threads : int, default 1
        Threads of each tensor operation.
    log : Path, optional
        File for messages.
    """
    from vlmtsc.model.adapter import save_adapter
    from vlmtsc.representation.representation import Representation
    from vlmtsc.training.finetune import claim_checkpoints, finetune

    inputs = {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in (train, validation)}
    resolved = {
        "run": asdict(run),
        "finetune": asdict(settings),
        "representation": read_json(representation),
        "inputs": inputs,
    }
    claim_checkpoints(checkpoints, resolved | {"threads": threads})
    result = finetune(
        model,
        read_json(train),
        read_json(validation),
        Representation.load(representation),
        settings,
        plots=plots,
        checkpoints=checkpoints,
        name=str(run),
        threads=threads,
    )
    save_adapter(result.model, adapter, base=run.model)
    with atomic_path(training_log) as path:
        result.log.write_csv(path)
    write_json(parameters, resolved)
    write_json(run_record, asdict(run) | result.record)
    shutil.rmtree(checkpoints, ignore_errors=True)
    logger.info(
        "%s: %d steps in %.0f s, validation accuracy %.1f%%",
        run,
        result.record["steps"],
        result.record["wall_seconds"],
        100 * result.record["validation_accuracy"],
    )


if __name__ == "__main__":
    run_script(finetune_model)
