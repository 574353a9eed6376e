"""Both sides of the benchmarks of training: the workflow's trainer, and transformers' Trainer as it comes."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Protocol

import torch
from measuring import ROOT
from peft import get_peft_model
from transformers import Trainer, set_seed
from transformers.trainer_callback import PrinterCallback
from transformers.trainer_utils import IntervalStrategy

from vlmtsc.configuration import load_configuration_files
from vlmtsc.examples import Collator, ExampleSet
from vlmtsc.model.adapter import add_adapter, freeze_projector, lora_config, parameter_groups
from vlmtsc.model.architecture import find_architecture
from vlmtsc.reporting.costs import training_flops
from vlmtsc.settings import FinetuneSettings
from vlmtsc.training.processes import Processes
from vlmtsc.training.schedule import Schedule
from vlmtsc.training.trainer import AnswerTrainer, training_arguments


class Task(Protocol):
    """A model and examples to train it on.

    `load` returns the model as the workflow loads it, `load_plain` as transformers does by itself; `vision` returns the
    features of its tower, of which none is computed yet, and `pixels` images, shape (n, 3, size, size).
    """

    settings: FinetuneSettings
    examples: ExampleSet
    pad_token_id: int
    device: torch.device

    def load(self, precision: str) -> Any: ...
    def load_plain(self) -> Any: ...
    def vision(self, model: Any, precision: str) -> Any: ...
    def pixels(self, positions: list[int]) -> torch.Tensor: ...


@dataclass
class Counted:
    """Losses and tokens of a trainer's steps."""

    losses: list[float] = field(default_factory=list)
    tokens: int = 0

    def watch(self, trainer: Trainer) -> None:
        """Record every loss that a trainer computes."""
        compute = trainer.compute_loss

        def watched(model: Any, inputs: Mapping[str, torch.Tensor], *rest: Any, **names: Any) -> Any:
            self.tokens += int(inputs["attention_mask"].sum())
            loss = compute(model, inputs, *rest, **names)
            self.losses.append(float(loss.detach()))
            return loss

        trainer.compute_loss = watched


def recipe_of(model: str) -> dict[str, Any]:
    """Return a model's recipe from the project's table of models."""
    return load_configuration_files([], ROOT).model_table[model].recipe.model_dump()


def arguments(task: Task, settings: FinetuneSettings, steps: int, folder: Path) -> Any:
    """Return the recipe's arguments of a Trainer, for a few steps without validations and checkpoints."""
    schedule = Schedule(steps, steps, settings.batch_size // settings.micro_batch_size, "epochs")
    found = training_arguments(settings, schedule, task.device, folder, has_images=True)
    found.eval_strategy = found.save_strategy = IntervalStrategy.NO
    found.load_best_model_at_end = False
    return found


def flops_per_token(model: Any) -> float:
    """Return the floating-point operations of a training step for each token of a sequence.

    Counted as in the table of costs: without embeddings, output layer, attention's products, projector, tower.
    """
    total = 0.0
    for layer in model.modules():
        if getattr(layer, "lora_A", None):
            adapted = sum(m.weight.numel() for m in (*layer.lora_A.values(), *layer.lora_B.values()))
            total += training_flops(layer.get_base_layer().weight.numel(), adapted)
    return total


def our_side(task: Task, settings: FinetuneSettings, folder: Path) -> tuple[Any, Callable[[int], Trainer]]:
    """Return the workflow's model, and a function from a number of steps to its trainer.

    Each trainer encodes its images: most cases of a run within a token budget are shown once.
    """
    base = task.load(settings.precision)
    set_seed(settings.seed)
    model = add_adapter(base, settings)

    def make(steps: int) -> Trainer:
        trainer = AnswerTrainer(
            model,
            arguments(task, settings, steps, folder),
            train_dataset=task.examples,
            settings=settings,
            answers=[],
            vision=task.vision(model.get_base_model(), settings.precision),
            collator=Collator(task.pad_token_id),
            evaluation_batch_size=1,
            processes=Processes(),
        )
        trainer.remove_callback(PrinterCallback)
        return trainer

    return model, make


def plain_side(
    task: Task, settings: FinetuneSettings, folder: Path, **changes: Any
) -> tuple[Any, Callable[[int], Trainer]]:
    """Return the reference's model, and a function from a number of steps to its trainer.

    Optimizer, rates and batches are those of the recipe; `changes` are further arguments of the Trainer.
    """
    base = task.load_plain().requires_grad_(False)
    base.architecture = find_architecture(base)
    set_seed(settings.seed)
    model = get_peft_model(base, lora_config(settings, base))
    freeze_projector(model, settings)
    collator = Collator(task.pad_token_id)

    def collate(features: Sequence[Mapping[str, Any]]) -> dict[str, torch.Tensor]:
        batch = collator(features)
        return batch | {"pixel_values": task.pixels(batch.pop("image_index").tolist()).to(base.dtype)}

    def make(steps: int) -> Trainer:
        trainer = Trainer(
            model,
            # Replaced and not set: the arguments derive others from these when they are made.
            replace(arguments(task, settings, steps, folder), **changes),
            train_dataset=task.examples,
            data_collator=collate,
            optimizers=(
                torch.optim.AdamW(
                    parameter_groups(model, settings),
                    betas=(0.9, settings.adam_beta2),
                    fused=task.device.type == "cuda",
                ),
                None,
            ),
        )
        trainer.remove_callback(PrinterCallback)
        return trainer

    return model, make
