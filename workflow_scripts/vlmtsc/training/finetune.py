"""One fine-tuning: from a checkpoint and conversations to an adapter, a log and a record."""

from __future__ import annotations

import logging
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from peft import PeftModel
from transformers import TrainerCallback, set_seed
from transformers.trainer_callback import PrinterCallback

from vlmtsc.errors import InputError
from vlmtsc.examples import Example, image_paths, index_images, make_examples, scored_tokens
from vlmtsc.files import read_json, write_json
from vlmtsc.model.adapter import add_adapter
from vlmtsc.model.checkpoint import count_parameters, load_checkpoint
from vlmtsc.model.files import load_checked_processor
from vlmtsc.model.vision_features import VisionFeatures
from vlmtsc.representation.representation import Representation
from vlmtsc.settings import FinetuneSettings, MemorySettings
from vlmtsc.training.averaging import AveragingTrainer
from vlmtsc.training.compilation import compile_layers, set_activation_checkpointing
from vlmtsc.training.processes import Processes, join_processes
from vlmtsc.training.progress import TrainingLog
from vlmtsc.training.record import (
    git_revision,
    hardware,
    package_versions,
    peak_gpu_memory_mb,
    peak_memory_mb,
)
from vlmtsc.training.schedule import Schedule, plan_schedule
from vlmtsc.training.state_files import StateSums, Stopwatch
from vlmtsc.training.states import agreed_state, fault_of_file
from vlmtsc.training.stopping import PatientEarlyStopping, chance_loss, patience_in_epochs
from vlmtsc.training.trainer import AnswerTrainer, training_arguments

logger = logging.getLogger(__name__)

#: What to do where the GPU's memory is too small.
HINT = (
    "activation_checkpointing: true, a smaller micro_batch_size, a shorter context, quantization=nf4 or a smaller "
    "vision_cache_mb may help"
)


@dataclass(frozen=True)
class Finetuned:
    """A finished run.

    Attributes
    ----------
    model : PeftModel
        With its adapter.
    log : TrainingLog
        A row for each log of the Trainer.
    record : dict
        Counts, costs and provenance.
    processes : Processes
        Those that trained.
    """

    model: PeftModel
    log: TrainingLog
    record: dict[str, Any]
    processes: Processes


def padded_images(train: Sequence[Example], representation: Representation) -> range:
    """Return which images of `image_paths` are padded to squares: none.

    With the switch `padding_in_training_only`, those of the training part, which come first.
    """
    if not representation.scenario.restores("padding_in_training_only"):
        return range(0)
    return range(sum(example.image is not None for example in train))


def finetune(
    checkpoint: Path,
    train: Sequence[Mapping[str, Any]],
    validation: Sequence[Mapping[str, Any]],
    representation: Representation,
    settings: FinetuneSettings,
    *,
    plots: Path | None,
    checkpoints: Path,
    name: str,
    threads: int = 1,
    memory: MemorySettings = MemorySettings(),  # noqa: B008 (frozen)
    trackers: Sequence[TrainerCallback] = (),
) -> Finetuned:
    """Fine-tune a model on the answers of conversations.

    Under `accelerate launch`, every process calls this and gets the same; only the main one (`is_main`) writes.

    Parameters
    ----------
    checkpoint : Path
        LLaVA checkpoint folder.
    train, validation : sequence of mapping
        Conversations.
    representation : Representation
        The one stored beside them.
    settings : FinetuneSettings
    plots : Path or None
        Folder of plots, if the scenario has an image.
    checkpoints : Path
        Folder for the state after each epoch. If it holds a state of the same run, the run goes on from it.
    name : str
        Name of the run in messages.
    threads : int
        Threads of each tensor operation, in each process.
    memory : MemorySettings
        Changes nothing of the result.
    trackers : sequence of TrainerCallback
        Where losses and rates also go.

    Raises
    ------
    InputError
        If checkpoint, conversations and plots do not fit each other, the machine lacks what the recipe needs, a
        batch does not fit its memory, or the loss is no longer finite.
    """
    stopwatch = Stopwatch()
    processes = join_processes()
    torch.set_num_threads(threads)
    set_seed(settings.seed)
    processor = load_checked_processor(checkpoint)
    examples = [make_examples(part, representation, processor.tokenizer) for part in (train, validation)]
    answers = scored_tokens(processor.tokenizer, representation)
    schedule = plan_schedule([example.tokens for example in examples[0]], settings, processes.count)
    base = load_checkpoint(
        checkpoint,
        precision=settings.precision,
        attention=settings.attention,
        context_length=representation.scenario.context_length,
        quantization=settings.quantization,
    )
    paths = image_paths(examples, plots)
    vision = (
        VisionFeatures(
            base,
            processor,
            paths,
            precision=settings.precision,
            cache_mb=memory.vision_cache_mb,
            padded=padded_images(examples[0], representation),
        )
        if paths
        else None
    )
    parts = index_images(examples)
    model = add_adapter(base, settings)
    if settings.torch_compile:
        compile_layers(model)
    per_step = sum(example.tokens for example in examples[0]) / schedule.steps_per_epoch
    log = TrainingLog(
        name,
        per_step,
        len(examples[0]) / schedule.steps_per_epoch,
        vocabulary=base.config.text_config.vocab_size,
    )
    trainer = (AveragingTrainer if settings.ema_decay else AnswerTrainer)(
        model,
        training_arguments(settings, schedule, base.device, checkpoints, has_images=vision is not None),
        train_dataset=parts[0],
        eval_dataset=parts[1],
        callbacks=[
            log,
            stopwatch,
            StateSums(),
            *_early_stopping(settings, examples[1], schedule.steps_per_epoch),
            *trackers,
        ],
        settings=settings,
        answers=answers,
        vision=vision,
        pad_token_id=processor.tokenizer.pad_token_id,
        evaluation_batch_size=memory.evaluation_batch_size,
        processes=processes,
    )
    set_activation_checkpointing(model, memory.activation_checkpointing)
    if processes.count > 1:
        torch.manual_seed(settings.seed + processes.rank)  # so that the dropout of each process is its own
    try:
        _run(trainer, log, stopwatch, checkpoints)
    except torch.OutOfMemoryError as error:
        raise InputError(f"{name}: the GPU's memory is used up; {HINT}") from error
    record = _record(trainer, log, schedule, settings, len(examples[0]), per_step, stopwatch.seconds)
    details = {
        "processes": processes.count,
        "hardware": hardware(threads),
        "activation_checkpointing": memory.activation_checkpointing,
    }
    return Finetuned(model, log, record | details, processes)


def _early_stopping(
    settings: FinetuneSettings, validation: Sequence[Example], steps_per_epoch: int
) -> list[PatientEarlyStopping]:
    if not settings.early_stopping_patience:
        return []
    chance = chance_loss([example.label_index for example in validation])
    patience = patience_in_epochs(
        settings.early_stopping_patience, settings.early_stopping_steps, steps_per_epoch
    )
    return [PatientEarlyStopping(patience, settings.early_stopping_threshold, chance)]


def _run(trainer: AnswerTrainer, log: TrainingLog, stopwatch: Stopwatch, checkpoints: Path) -> None:
    """Train, from the last state in `checkpoints` if there is one, and validate the final state.

    Where the best adapter is kept, the Trainer has put it back in place at the end.
    """
    trainer.remove_callback(PrinterCallback)  # `log` says more
    last = agreed_state(
        checkpoints,
        trainer.processes,
        keep_best=trainer.args.load_best_model_at_end,
        divided=trainer.is_fsdp_enabled,
    )
    if last is not None:
        logger.info("goes on from %s", last)
        log.restore(read_json(last / "trainer_state.json")["log_history"])
        stopwatch.restore(last)
    trainer.train(resume_from_checkpoint=None if last is None else str(last))
    if (
        not log.rows
        or log.rows[-1]["validation_loss"] is None
        or log.rows[-1]["step"] != trainer.state.global_step
    ):
        trainer.evaluate()


def claim_checkpoints(folder: Path, identity: Mapping[str, Any]) -> None:
    """Make a folder of states this run's: empty it if the states are of a run with other inputs.

    Parameters
    ----------
    folder : Path
    identity : mapping
        What a state depends on: settings and digests of the inputs.
    """
    marker = folder / "identity.json"
    whole = marker.is_file() and fault_of_file(marker) is None
    if whole and read_json(marker) == dict(identity):
        return
    shutil.rmtree(folder, ignore_errors=True)
    write_json(marker, dict(identity))


def _record(
    trainer: AnswerTrainer,
    log: TrainingLog,
    schedule: Schedule,
    settings: FinetuneSettings,
    cases: int,
    tokens_per_step: float,
    wall_seconds: float,
) -> dict[str, Any]:
    parameters = count_parameters(trainer.model)
    steps = trainer.state.global_step
    samples = steps * cases / schedule.steps_per_epoch
    tokens = round(steps * tokens_per_step)
    validated = [row for row in log.rows if row["validation_accuracy"] is not None]
    kept = validated[-1]
    if settings.keep == "best":
        as_good = min(row["validation_loss"] for row in validated) + settings.early_stopping_threshold
        kept = [row for row in validated if row["validation_loss"] <= as_good][-1]
    return {
        "wall_seconds": round(wall_seconds, 1),
        "train_samples": round(samples),
        "train_tokens": tokens,
        "token_budget": settings.token_budget or None,
        "epochs_done": round(steps / schedule.steps_per_epoch, 3),
        "steps": steps,
        "stopped_by": schedule.stopped_by if steps == schedule.steps else "early_stopping",
        "tokens_per_second": round(tokens / wall_seconds, 1),
        "samples_per_second": round(samples / wall_seconds, 2),
        "peak_memory_mb": peak_memory_mb(),
        "peak_gpu_memory_mb": peak_gpu_memory_mb(),
        "trainable_parameters": parameters["trainable"],
        "total_parameters": parameters["total"],
        "kept_step": kept["step"],  # whose adapter the next two figures are of
        "validation_accuracy": kept["validation_accuracy"],
        "validation_loss": kept["validation_loss"],
        "versions": package_versions(),
        "git_revision": git_revision(Path(__file__).parent),
        "settings": settings.model_dump(),
    }
