"""Fine-tune a model on one scenario of one dataset."""

from __future__ import annotations

import logging
import shutil
from contextlib import nullcontext
from dataclasses import asdict, dataclass
from pathlib import Path

from vlmtsc.code_digest import code_digest
from vlmtsc.files import atomic_path, digest_of_files, exclusive, read_json, write_json
from vlmtsc.model.devices import claim_gpus
from vlmtsc.script import heavy_imports, run_script
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
    shared: Path | None = None,
    threads: int = 1,
    gpus: int = 0,
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
        Counts, costs, versions and hardware (.json) to write; those of the run that trained, which
        `shared_with` names if it is another one.
    plots : Path, optional
        Folder of plots.
    shared : Path, optional
        Folder that says which runs have trained what. A run that would repeat another one's training takes its
        outputs, and waits for them if it is still going on. Without this folder every run trains.
    threads : int, default 1
        Threads of each tensor operation.
    gpus : int, default 0
        GPUs to take for this run alone; 0: whatever PyTorch sees.
    log : Path, optional
        File for messages.
    """
    with heavy_imports():
        from vlmtsc.model.adapter import save_adapter
        from vlmtsc.representation.representation import Representation
        from vlmtsc.training.finetune import claim_checkpoints, finetune
        from vlmtsc.training.sharing import SharedRuns, take_outputs, training_digest

    parts = {"train": read_json(train), "validation": read_json(validation)}
    fitted = Representation.load(representation)
    code = code_digest(Path(__file__), Path(__file__).parent)
    digest = training_digest(model, parts, fitted, settings, plots=plots, threads=threads, code=code)
    resolved = {
        "run": asdict(run),
        "finetune": asdict(settings),
        "representation": read_json(representation),
        "inputs": {path.name: digest_of_files([path]) for path in (train, validation)},
    }
    runs = SharedRuns(shared) if shared is not None else None
    # A job left behind by a killed workflow may still be training the same run.
    with (
        exclusive(checkpoints),
        runs.claim(digest, run_record.parent) if runs is not None else nullcontext() as source,
    ):
        if source is None:
            claim_checkpoints(checkpoints, resolved | {"threads": threads})
            with claim_gpus(gpus):
                result = finetune(
                    model,
                    parts["train"],
                    parts["validation"],
                    fitted,
                    settings,
                    plots=plots,
                    checkpoints=checkpoints,
                    name=str(run),
                    threads=threads,
                )
            save_adapter(result.model, adapter, base=run.model)
            with atomic_path(training_log) as path:
                result.log.write_csv(path)
            record = result.record | {"shared_with": None, "training_digest": digest}
        else:
            record = take_outputs(source, adapter, training_log)
            logger.info(
                "%s: has the inputs and settings of %s and takes its outputs", run, record["shared_with"]
            )
        write_json(parameters, resolved)
        write_json(run_record, record | asdict(run))
        if runs is not None:
            runs.add(digest, run_record.parent)
        shutil.rmtree(checkpoints, ignore_errors=True)
    logger.info(
        "%s: %d steps in %.0f s, validation accuracy %.1f%%",
        run,
        record["steps"],
        record["wall_seconds"],
        100 * record["validation_accuracy"],
    )


if __name__ == "__main__":
    run_script(finetune_model)
