"""Compare the speed of fine-tuning a small LLaVA on a CPU with transformers' Trainer as it comes.

    python benchmarks/finetune.py [--steps 12] [--rounds 3] [--round_steps 3]

Both sides train the same LoRA matrices and projector on the same conversations, with the recipe in config/models.yaml.
The reference is a Trainer over ``model(labels=...)``: float32, logits of every position, cases in random order, images
through the tower in every step, fused attention. First both train on the same batches without dropout, and their losses
are compared. Then they take turns with the recipe as it is.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from measuring import ROOT, Row, cpu_seconds, interleaved, main, make_row
from peft import get_peft_model
from torch.utils.data import SequentialSampler
from transformers import LlavaForConditionalGeneration, Trainer, set_seed
from transformers.trainer_callback import PrinterCallback
from transformers.trainer_utils import IntervalStrategy

from vlmtsc.configuration import load_configuration_files
from vlmtsc.examples import Collator, image_paths, index_images, make_examples
from vlmtsc.files import read_json
from vlmtsc.model.adapter import add_adapter, lora_config, parameter_groups
from vlmtsc.model.checkpoint import load_checkpoint
from vlmtsc.model.files import load_checked_processor
from vlmtsc.model.vision import VisionFeatures, load_pixels
from vlmtsc.representation.representation import Representation
from vlmtsc.settings import FinetuneSettings, MemorySettings
from vlmtsc.training.processes import Processes
from vlmtsc.training.schedule import Schedule
from vlmtsc.training.trainer import AnswerTrainer, training_arguments

#: By our precision, the allowed difference of losses from the reference's float32, as a share of the first loss.
#: AdamW's first steps follow the signs of gradients, and bfloat16 turns those of the smallest ones.
TOLERANCES = {"fp32": 0.001, "bf16": 0.05}
#: Inputs that `make bench` builds.
INPUTS = {
    "model": ROOT / "results/models/embedded",
    "conversations": ROOT / "results/conversations/embedded/ItalyPowerDemand/pooled/plot_and_numbers",
    "plots": ROOT / "results/plots/ItalyPowerDemand/line",
}
CPU = torch.device("cpu")


class StoredTask:
    """A checkpoint, and the training set of a scenario."""

    def __init__(self, model: Path, conversations: Path, plots: Path, recipe: Mapping[str, Any]) -> None:
        self.checkpoint = model
        self.processor = load_checked_processor(model)
        self.pad_token_id = int(self.processor.tokenizer.pad_token_id)
        self.representation = Representation.load(conversations / "representation.json")
        records = read_json(conversations / "train.json")
        examples = make_examples(records, self.representation, self.processor.tokenizer)
        self.examples = index_images([examples])[0]
        self.paths = image_paths([examples], plots)
        self.settings = FinetuneSettings(seed=0, **recipe)

    def load(self, precision: str) -> Any:
        """Load the model as the workflow does."""
        return load_checkpoint(
            self.checkpoint,
            precision=precision,
            attention=self.settings.attention,
            context_length=self.representation.scenario.context_length,
        )

    def load_plain(self) -> Any:
        """Load the model as transformers does by itself."""
        return LlavaForConditionalGeneration.from_pretrained(self.checkpoint, dtype=torch.float32).eval()

    def vision(self, model: Any, precision: str) -> VisionFeatures:
        """Return the features of the model's tower, of which none is computed yet."""
        cache_mb = MemorySettings().vision_cache_mb
        return VisionFeatures(model, self.processor, self.paths, precision=precision, cache_mb=cache_mb)

    def pixels(self, positions: list[int]) -> torch.Tensor:
        """Return images, shape (n, 3, size, size)."""
        return load_pixels([self.paths[position] for position in positions], self.processor)


def recipe_of(model: str) -> dict[str, Any]:
    """Return a model's recipe from the project's table of models."""
    return load_configuration_files([], ROOT).model_table[model].recipe.model_dump()


def watch(trainer: Trainer) -> tuple[list[float], list[int]]:
    """Return lists to which a trainer appends the loss and the tokens of each step."""
    compute, losses, tokens = trainer.compute_loss, list[float](), list[int]()

    def watched(model: Any, inputs: Mapping[str, torch.Tensor], *rest: Any, **names: Any) -> Any:
        tokens.append(int(inputs["attention_mask"].sum()))
        loss = compute(model, inputs, *rest, **names)
        losses.append(float(loss.detach()))
        return loss

    trainer.compute_loss = watched
    return losses, tokens


def trainer_arguments(settings: FinetuneSettings, steps: int, folder: Path) -> Any:
    """Return the recipe's arguments of a Trainer, for a few steps without validations and checkpoints."""
    schedule = Schedule(steps, steps, settings.batch_size // settings.micro_batch_size, "epochs")
    found = training_arguments(settings, schedule, CPU, folder, has_images=True)
    found.eval_strategy = found.save_strategy = IntervalStrategy.NO
    found.load_best_model_at_end = False
    return found


def our_side(task: StoredTask, settings: FinetuneSettings, folder: Path) -> Callable[[int], Trainer]:
    """Return a function from a number of steps to the workflow's trainer, which encodes its images each time."""
    base = task.load(settings.precision)
    set_seed(settings.seed)
    model = add_adapter(base, settings)

    def make(steps: int) -> Trainer:
        trainer = AnswerTrainer(
            model,
            trainer_arguments(settings, steps, folder),
            train_dataset=task.examples,
            settings=settings,
            answers=[],
            vision=task.vision(model.get_base_model(), settings.precision),
            pad_token_id=task.pad_token_id,
            evaluation_batch_size=1,
            processes=Processes(),
        )
        trainer.remove_callback(PrinterCallback)
        return trainer

    return make


def plain_side(task: StoredTask, settings: FinetuneSettings, folder: Path) -> Callable[[int], Trainer]:
    """Return a function from a number of steps to the reference's trainer: optimizer, rates and batches as ours."""
    base = task.load_plain().requires_grad_(False)
    set_seed(settings.seed)
    model = get_peft_model(base, lora_config(settings))
    collator = Collator(task.pad_token_id)

    def collate(features: Sequence[Mapping[str, Any]]) -> dict[str, torch.Tensor]:
        batch = collator(features)
        return batch | {"pixel_values": task.pixels(batch.pop("image_index").tolist()).to(base.dtype)}

    def make(steps: int) -> Trainer:
        optimizer = torch.optim.AdamW(parameter_groups(model, settings), betas=(0.9, settings.adam_beta2))
        trainer = Trainer(
            model,
            trainer_arguments(settings, steps, folder),
            train_dataset=task.examples,
            data_collator=collate,
            optimizers=(optimizer, None),
        )
        trainer.remove_callback(PrinterCallback)
        return trainer

    return make


def compare_losses(task: StoredTask, steps: int, folder: Path) -> dict[str, float]:
    """Train both sides on the same batches, in the order of the cases and without dropout.

    Returns
    -------
    dict of str to float
        By our precision, the largest difference of two losses as a share of the first loss. More than `TOLERANCES`
        ends the program.
    """
    settings = task.settings.changed(lora_dropout=0.0)
    sides = {side: our_side(task, settings.changed(precision=side), folder) for side in TOLERANCES}
    curves = {}
    for side, make in {"plain": plain_side(task, settings, folder), **sides}.items():
        trainer = make(steps)
        trainer._get_train_sampler = lambda dataset=None: SequentialSampler(task.examples)
        losses, _ = watch(trainer)
        trainer.train()
        curves[side] = np.array(losses)
    plain = curves.pop("plain")
    worst = {side: float(np.abs(losses - plain).max() / plain[0]) for side, losses in curves.items()}
    for side, difference in worst.items():
        if difference > TOLERANCES[side]:
            raise SystemExit(
                f"{side}: losses differ by {difference:.1%} of the first: {curves[side]}, {plain}"
            )
    return worst


def measure(task: StoredTask, steps: int, rounds: int, round_steps: int) -> Row:
    """Compare the losses of `steps` steps, then let both sides train `round_steps` steps in turns."""
    with tempfile.TemporaryDirectory() as name:
        worst = compare_losses(task, steps, Path(name))
        ours, plain = (side(task, task.settings, Path(name)) for side in (our_side, plain_side))

        def seconds_of_a_token(make: Callable[[int], Trainer]) -> float:
            trainer = make(round_steps)
            _, tokens = watch(trainer)
            return cpu_seconds(trainer.train) / sum(tokens)

        seconds = interleaved(
            rounds, ours=lambda: seconds_of_a_token(ours), reference=lambda: seconds_of_a_token(plain)
        )
    agreement = f"losses of {steps} steps within {worst['fp32']:.0e} of the first in float32, "
    agreement += f"{worst['bf16']:.1%} in bfloat16"
    name = f"fine-tuning, {task.representation.scenario.name}"
    return make_row(name, seconds, "tokens/s", agreement, "images encoded in both")


def measure_stored(model: Path, conversations: Path, plots: Path, **options: Any) -> list[Row]:
    """Measure on files of the results folder."""
    torch.set_num_threads(1)
    return [measure(StoredTask(model, conversations, plots, recipe_of("embedded")), **options)]


if __name__ == "__main__":
    main(measure_stored, __doc__, **INPUTS, steps=12, rounds=3, round_steps=3)
