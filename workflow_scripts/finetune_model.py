"""Fine-tune a model on one scenario of one dataset."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Literal

from vlmtsc.code_digest import code_digest
from vlmtsc.model.devices import list_gpus
from vlmtsc.paths import Run
from vlmtsc.script import heavy_imports, run_script
from vlmtsc.settings import FinetuneSettings, LaunchSettings, MemorySettings, TrackingSettings

logger = logging.getLogger("vlmtsc.finetune_model")


def finetune_model(
    run: Run,
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
    memory: MemorySettings = MemorySettings(),  # noqa: B008 (immutable)
    trackers: tuple[Literal["tensorboard", "wandb"], ...] = (),
    tracking: Path | None = None,
    launch: LaunchSettings | None = None,
    log: Path | None = None,
) -> None:
    """Fine-tune a model with LoRA on one scenario of one dataset, or reuse an identical training.

    Parameters
    ----------
    run : Run
        Model, dataset, protocol, scenario and seed, for records and messages.
    model : Path
        Checkpoint folder.
    train, validation, representation : Path
        Conversations and their representation (.json).
    settings : FinetuneSettings
        Recipe and seed.
    checkpoints : Path
        Folder of checkpoints, from which an interrupted run resumes; removed at the end.
    adapter : Path
        Adapter folder to write (safetensors).
    parameters : Path
        Resolved settings to write (.json).
    training_log : Path
        Losses and rates to write (.csv).
    run_record : Path
        Counts, costs and provenance to write (.json), of the training run if `shared_with` names one.
    plots : Path, optional
        Folder of plots.
    shared : Path, optional
        Index of trainings that may be reused; without it every run trains.
    threads : int, default 1
        CPU threads, of all processes together.
    gpus : int, default 0
        GPUs to reserve; 0: no reservation.
    memory : MemorySettings
        Limits that do not change the result.
    trackers : sequence of {"tensorboard", "wandb"}, default ()
        Trackers of the training.
    tracking : Path, optional
        Folder of the trackers' files; by default beside the checkpoints.
    launch : LaunchSettings, optional
        Train in several processes.
    log : Path, optional
        File for messages.
    """
    with heavy_imports():
        from vlmtsc.model.checkpoint import check_kernels
        from vlmtsc.training.finetune import TrainingJob
        from vlmtsc.training.progress import check_trackers
        from vlmtsc.training.sharing import train_or_reuse

    check_trackers(trackers)
    check_kernels(
        attention=settings.attention,
        quantization=settings.quantization,
        precision=settings.precision,
        has_gpu=bool(list_gpus()),
    )
    folder = str(tracking or checkpoints.parent)
    scripts = Path(__file__).parent
    record = train_or_reuse(
        TrainingJob(
            run=run,
            model=model,
            train=train,
            validation=validation,
            representation=representation,
            settings=settings,
            checkpoints=checkpoints,
            adapter=adapter,
            training_log=training_log,
            plots=plots,
            threads=threads,
            memory=memory,
            tracking=TrackingSettings(trackers=trackers, folder=folder, name=str(run)),
        ),
        parameters,
        run_record,
        code=code_digest(Path(__file__), scripts),
        worker=scripts / "train_adapter.py",
        gpus=gpus,
        launch=launch,
        shared=shared,
    )
    logger.info(
        "%s: %d steps in %.0f s, validation accuracy %.1f%%",
        run,
        record["steps"],
        record["wall_seconds"],
        100 * record["validation_accuracy"],
    )


if __name__ == "__main__":
    run_script(finetune_model)
