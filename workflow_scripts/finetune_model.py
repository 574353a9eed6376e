"""Fine-tune a model on one scenario of one dataset."""

from __future__ import annotations

import logging
from pathlib import Path

from vlmtsc.code_digest import code_digest
from vlmtsc.script import paused_collection, run_script
from vlmtsc.settings import LaunchSettings

with paused_collection():
    from vlmtsc.training.finetune import TrainingJob
    from vlmtsc.training.sharing import train_or_reuse

SCRIPTS = Path(__file__).parent

logger = logging.getLogger("vlmtsc.finetune_model")


def finetune_model(
    job: TrainingJob,
    parameters: Path,
    run_record: Path,
    shared: Path | None = None,
    gpus: int = 0,
    launch: LaunchSettings | None = None,
) -> None:
    """Fine-tune a model with LoRA on one scenario of one dataset, or reuse an identical training.

    Parameters
    ----------
    job : TrainingJob
        Inputs and outputs of the training.
    parameters : Path
        Resolved settings to write (.json).
    run_record : Path
        Counts, costs and provenance to write (.json), of the training run if `shared_with` names one.
    shared : Path, optional
        Index of trainings that may be reused; without it every run trains.
    gpus : int, default 0
        GPUs to reserve; 0: no reservation.
    launch : LaunchSettings, optional
        Train in several processes.
    """
    record = train_or_reuse(
        job,
        parameters,
        run_record,
        code=code_digest(Path(__file__), SCRIPTS),
        worker=SCRIPTS / "train_adapter.py",
        gpus=gpus,
        launch=launch,
        shared=shared,
    )
    logger.info(
        "%s: %d steps in %.0f s, validation accuracy %.1f%%",
        job.run,
        record["steps"],
        record["wall_seconds"],
        100 * record["validation_accuracy"],
    )


if __name__ == "__main__":
    run_script(finetune_model)
