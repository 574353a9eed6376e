"""One fine-tuning: from a checkpoint and conversations to an adapter, a log and a record."""

from __future__ import annotations

import copy
import logging
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch
from accelerate import PartialState
from peft import PeftModel
from transformers import PreTrainedModel, set_seed
from transformers.trainer_callback import PrinterCallback

from vlmtsc.environment import cleaned_environment
from vlmtsc.errors import InputError
from vlmtsc.examples import (
    Collator,
    Example,
    ExampleSet,
    answer_tokens,
    image_paths,
    index_images,
    make_examples,
    scored_tokens,
    shot_paths,
)
from vlmtsc.files import atomic_path, read_json, write_json
from vlmtsc.model.adapter import add_adapter, save_adapter
from vlmtsc.model.checkpoint import count_parameters, inner_model, load_checkpoint
from vlmtsc.model.files import load_checked_processor
from vlmtsc.model.vision import VisionFeatures, plot_images
from vlmtsc.paths import Run
from vlmtsc.representation.representation import Representation
from vlmtsc.settings import (
    UNTUNED,
    FinetuneSettings,
    LaunchSettings,
    MemorySettings,
    Settings,
    TrackingSettings,
)
from vlmtsc.training.alignment import (
    Labelled,
    ProjectorHead,
    SoftAnswers,
    align_projector,
    aligned_once,
    alignment_digest,
    class_codes,
    padded_answers,
)
from vlmtsc.training.checkpoints import CheckpointFiles, agreed_checkpoint
from vlmtsc.training.processes import (
    Processes,
    join_processes,
    launch_command,
    name_sharded_layers,
    run_command,
    trained_state,
)
from vlmtsc.training.progress import TrainingLog, discard_later_events, tracked
from vlmtsc.training.record import (
    git_revision,
    hardware,
    kernels,
    package_versions,
    peak_gpu_memory_mb,
    peak_memory_mb,
)
from vlmtsc.training.schedule import (
    PatientEarlyStopping,
    Schedule,
    chance_loss,
    patience_in_epochs,
    plan_schedule,
)
from vlmtsc.training.trainer import (
    AnswerTrainer,
    compile_layers,
    set_activation_checkpointing,
    training_arguments,
)

logger = logging.getLogger(__name__)

#: What helps where the GPU's memory is too small.
HINT = (
    "activation_checkpointing: true, a smaller micro_batch_size, a shorter context, quantization=nf4 or a smaller "
    "vision_cache_mb may help"
)


class TrainingJob(Settings):
    """Inputs and outputs of one training."""

    run: Run
    model: Path
    """Checkpoint folder."""
    train: Path
    """Conversations of the train set."""
    validation: Path
    """Conversations of the validation set."""
    representation: Path
    settings: FinetuneSettings
    checkpoints: Path
    """Folder of a checkpoint after each epoch, from which an interrupted run resumes."""
    adapter: Path
    """Folder to write."""
    training_log: Path
    """File to write."""
    plots: Path | None = None
    """Folder of plots, if the scenario has an image."""
    features: Path | None = None
    """Features of the plots (.npy), as `encode_plots` writes them; without, they are computed."""
    alignments: Path | None = None
    """Folder of alignments, which runs on the same images share; without, one is stored with the checkpoints."""
    threads: int = 1
    """Threads of each tensor operation, of all processes together."""
    memory: MemorySettings = MemorySettings()
    tracking: TrackingSettings = TrackingSettings()


@dataclass(frozen=True)
class Finetuned:
    """A finished fine-tuning.

    Attributes
    ----------
    model : PeftModel
        With its adapter.
    log : TrainingLog
    record : dict
        Counts, costs and provenance.
    processes : Processes
    """

    model: PeftModel
    log: TrainingLog
    record: dict[str, Any]
    processes: Processes


@cleaned_environment()
def train(job: TrainingJob) -> dict[str, Any]:
    """Fine-tune in this process alone, write adapter and log, and return the record."""
    return _train(job)


def _train(job: TrainingJob) -> dict[str, Any]:
    """Fine-tune, and write adapter and log; of several processes the main one writes."""
    result = finetune(job)
    state = trained_state(result.model)
    if result.processes.is_main:
        save_adapter(result.model, job.adapter, base=job.run.model, state=state)
        with atomic_path(job.training_log) as path:
            result.log.write_csv(path)
    return result.record


@cleaned_environment()
def train_in_processes(job: TrainingJob, launch: LaunchSettings, worker: Path) -> dict[str, Any]:
    """Fine-tune in several processes, and return the record.

    Parameters
    ----------
    job : TrainingJob
    launch : LaunchSettings
    worker : Path
        Script that every process runs: it passes its argument ``--job`` to `train_as_worker`.

    Raises
    ------
    InputError
        With the message of a process that found a fault of the input.
    RuntimeError
        If a process failed otherwise.
    """
    file, record, failure = _worker_files(job)
    failure.unlink(missing_ok=True)
    threads = max(1, job.threads // launch.processes)
    write_json(file, job.changed(threads=threads).model_dump(mode="json"))
    command = launch_command(launch, [str(worker), "--job", str(file)], threads=job.threads)
    logger.info("%s: %d processes, %s", job.run, launch.processes, launch.configuration)
    status = run_command(command)
    if status and failure.is_file():
        raise InputError(read_json(failure)["message"])
    if status:
        raise RuntimeError(f"{job.run}: a process of the training failed, status {status}; see above")
    return read_json(record)


def train_as_worker(file: Path, is_main: bool) -> None:
    """Fine-tune in one of the processes that `train_in_processes` starts, with the job in `file`."""
    job = TrainingJob(**read_json(file))
    _, record, failure = _worker_files(job)
    try:
        content = _train(job)
    except InputError as error:
        write_json(failure, {"message": str(error)})
        raise
    if is_main:
        write_json(record, content)


def _worker_files(job: TrainingJob) -> list[Path]:
    """Return the files by which processes communicate: job, record and failure."""
    return [job.checkpoints / name for name in ("job.json", "record.json", "failure.json")]


def finetune(job: TrainingJob) -> Finetuned:
    """Fine-tune a model on the answers of conversations; under `accelerate launch`, in every process.

    Raises
    ------
    InputError
        If checkpoint, conversations and plots do not fit together, the machine does not support the recipe, a batch
        does not fit the memory, or the loss is not finite.
    """
    settings, memory, name = job.settings, job.memory, str(job.run)
    files = CheckpointFiles()
    processes = join_processes()
    torch.set_num_threads(job.threads)
    set_seed(settings.seed)
    representation = Representation.load(job.representation)
    processor = load_checked_processor(job.model)
    tokenizer = processor.tokenizer
    examples = [
        make_examples(read_json(path), representation, tokenizer) for path in (job.train, job.validation)
    ]
    answers = scored_tokens(tokenizer, representation)
    tokens = [example.tokens for example in examples[0]]
    schedule = plan_schedule(
        tokens, settings, processes.count, len(representation.classes), representation.has_image
    )
    base = load_checkpoint(
        job.model,
        precision=settings.precision,
        attention=settings.attention,
        context_length=representation.scenario.context_length,
        quantization=settings.quantization,
    )
    paths = image_paths(examples, job.plots)
    vision = None
    if paths:
        vision = plot_images(
            base,
            processor,
            paths,
            representation,
            precision=settings.precision,
            cache_mb=memory.vision_cache_mb,
            padded=padded_images(examples[0], representation),
            stored=job.features,
            frozen=settings.vision_tuning == "frozen",
            shots=shot_paths(representation, job.plots),
        )
    sets = index_images(examples)
    alignment, soft_answers = None, None
    if isinstance(vision, VisionFeatures) and settings.align_steps:
        alignment, head = _align(base, answers, vision, sets, job, processes, files)
        if settings.soft_answers:
            whole = padded_answers(answer_tokens(tokenizer, representation)).to(base.device)
            soft_answers = SoftAnswers(head, settings.mixed_share, whole)
    if processes.count > 1:
        name_sharded_layers(base)
    model = add_adapter(base, settings)
    if settings.torch_compile:
        compile_layers(model)
    log = TrainingLog(
        name,
        sum(tokens) / schedule.steps_per_epoch,
        len(tokens) / schedule.steps_per_epoch,
        vocabulary=base.config.get_text_config().vocab_size,
    )
    stopping = _early_stopping(settings, examples[1], schedule.steps_per_epoch)
    has_images = vision is not None
    with tracked(job.tracking, settings.model_dump() | asdict(job.run)):
        trainer = AnswerTrainer(
            model,
            training_arguments(settings, schedule, base.device, job.checkpoints, has_images, job.tracking),
            train_dataset=sets[0],
            eval_dataset=sets[1],
            callbacks=[log, files, *stopping],
            settings=settings,
            answers=answers,
            vision=vision,
            collator=Collator(tokenizer.pad_token_id),
            soft_answers=soft_answers,
            evaluation_batch_size=memory.evaluation_batch_size,
            processes=processes,
        )
        set_activation_checkpointing(model, memory.activation_checkpointing)
        if processes.count > 1:
            torch.manual_seed(settings.seed + processes.rank)  # each process has its own dropout
        try:
            _run(trainer, log, files, job.checkpoints)
        except torch.OutOfMemoryError as error:
            raise InputError(f"{name}: the GPU's memory is used up; {HINT}") from error
    record = _record(trainer, log, schedule, tokens, alignment, settings, files.seconds) | {
        "processes": processes.count,
        "hardware": hardware(job.threads),
        "activation_checkpointing": memory.activation_checkpointing,
    }
    return Finetuned(model, log, record, processes)


def _align(
    base: PreTrainedModel,
    answers: Sequence[Sequence[int]],
    vision: VisionFeatures,
    sets: Sequence[ExampleSet],
    job: TrainingJob,
    processes: Processes,
    files: CheckpointFiles,
) -> tuple[dict[str, Any], ProjectorHead]:
    """Align a model's projector, in the main process, or take a stored alignment; return the record and the head."""
    settings, projector = job.settings, base.model.multi_modal_projector
    embeddings = base.get_input_embeddings().weight.detach()
    head = ProjectorHead(
        projector, class_codes(embeddings, answers), settings.align_margin, settings.precision
    )
    train, validation = (
        Labelled(part.image_indices, [example.label_index for example in part.examples]) for part in sets
    )
    inputs = (head, vision, train, validation, settings, float(embeddings.float().pow(2).mean().sqrt()))
    folder = (job.alignments or job.checkpoints / "alignments") / alignment_digest(*inputs)
    set_seed(settings.seed)  # the alignment depends on its inputs alone, not on what was drawn before
    if processes.count > 1 and not processes.is_main:
        PartialState().wait_for_everyone()
    record, stored = aligned_once(folder, projector, lambda: align_projector(*inputs))
    if stored:
        files.count_earlier(record["seconds"])
    if processes.count > 1 and processes.is_main:
        PartialState().wait_for_everyone()
    set_seed(settings.seed)  # what follows does not depend on whether this attempt aligned
    # A copy: the model's own may be sharded.
    return record, replace(head, projector=copy.deepcopy(projector))


def padded_images(train: Sequence[Example], representation: Representation) -> range:
    """Return which images of `image_paths` are padded to squares.

    None, but those of the train set, which come first, with the switch `padding_in_training_only`.
    """
    if not representation.scenario.restores("padding_in_training_only"):
        return range(0)
    return range(sum(example.image is not None for example in train))


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


def _run(trainer: AnswerTrainer, log: TrainingLog, files: CheckpointFiles, checkpoints: Path) -> None:
    """Train, from the latest checkpoint if there is one, and validate the final weights."""
    trainer.remove_callback(PrinterCallback)  # `log` prints more
    last = agreed_checkpoint(
        checkpoints,
        trainer.processes,
        keep_best=trainer.args.load_best_model_at_end,
        sharded=trainer.is_fsdp_enabled,
    )
    step = 0
    if last is not None:
        logger.info("resumes from %s", last)
        state = read_json(last / "trainer_state.json")
        step = state["global_step"]
        log.restore(state["log_history"])
        files.restore(last)
    if trainer.settings.method == "none":
        trainer.evaluate()
        return
    if trainer.processes.is_main:
        discard_later_events(trainer.callback_handler.callbacks, step)
    trainer.train(resume_from_checkpoint=None if last is None else str(last))
    validated = log.rows and log.rows[-1]["validation_loss"] is not None
    if not validated or log.rows[-1]["step"] != trainer.state.global_step:
        trainer.evaluate()


def _record(
    trainer: AnswerTrainer,
    log: TrainingLog,
    schedule: Schedule,
    tokens_of_cases: Sequence[int],
    alignment: dict[str, Any] | None,
    settings: FinetuneSettings,
    wall_seconds: float,
) -> dict[str, Any]:
    parameters = count_parameters(trainer.model)
    steps = trainer.state.global_step
    samples = steps * len(tokens_of_cases) / schedule.steps_per_epoch
    tokens = round(steps * (sum(tokens_of_cases) / schedule.steps_per_epoch))
    tuning_seconds = wall_seconds - (alignment["seconds"] if alignment else 0.0)
    validated = [row for row in log.rows if row["validation_accuracy"] is not None]
    kept = validated[-1]
    stopped_by = schedule.stopped_by if steps == schedule.steps else "early_stopping"
    if settings.method == "none":
        stopped_by = UNTUNED
    if settings.keep == "best":
        as_good = min(row["selection_loss"] for row in validated) + settings.early_stopping_threshold
        kept = [row for row in validated if row["selection_loss"] <= as_good][-1]
    return {
        "wall_seconds": round(wall_seconds, 1),
        "alignment": alignment,
        "train_samples": round(samples),
        "train_tokens": tokens,
        "token_budget": schedule.token_budget or None,
        "epochs_done": round(steps / schedule.steps_per_epoch, 3),
        "steps": steps,
        "stopped_by": stopped_by,
        "tokens_per_second": round(tokens / tuning_seconds, 1),
        "samples_per_second": round(samples / tuning_seconds, 2),
        "peak_memory_mb": peak_memory_mb(),
        "peak_gpu_memory_mb": peak_gpu_memory_mb(),
        "trainable_parameters": parameters["trainable"],
        "total_parameters": parameters["total"],
        "kept_step": kept["step"],  # of the adapter that the next two figures describe
        "validation_accuracy": kept["validation_accuracy"],
        "validation_loss": kept["validation_loss"],
        "used": _used(trainer),
        "versions": package_versions(),
        "git_revision": git_revision(Path(__file__).parent),
        "settings": settings.model_dump(),
    }


def _used(trainer: AnswerTrainer) -> dict[str, Any]:
    """Return precision, compiler, kernels and processes of a training, from the objects that trained."""
    accelerator, model = trainer.accelerator, inner_model(trainer.model)
    return {
        "weights": sorted({str(parameter.dtype).removeprefix("torch.") for parameter in model.parameters()}),
        "mixed_precision": accelerator.mixed_precision,
        "compiler": accelerator.state.dynamo_plugin.backend.value,
        "distributed": accelerator.distributed_type.value,
        "processes": accelerator.num_processes,
        "device": accelerator.device.type,
        "attention": model.config._attn_implementation,
        **kernels(),
    }
