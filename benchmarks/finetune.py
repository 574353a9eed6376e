"""Compare the speed of fine-tuning a small LLaVA on a CPU with transformers' Trainer as it comes.

    python benchmarks/finetune.py [--steps 12] [--rounds 3] [--round_steps 3]

Both sides train the same LoRA matrices and projector on the same conversations, with the recipe in config/models.yaml.
The reference is a Trainer over ``model(labels=...)``: float32, logits of every position, cases in random order, images
through the tower in every step, fused attention. First both train on the same batches without dropout, and their losses
are compared. Then they take turns with the recipe as it is. Last, the operations a second of steps on numbers are
compared with those of a matrix product alone.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from measuring import ROOT, Row, cpu_seconds, interleaved, main, make_row
from peft.tuners.lora import LoraLayer
from torch.nn.functional import linear
from torch.utils.data import SequentialSampler
from trainers import Counted, Task, flops_per_token, our_side, plain_side, recipe_of
from transformers import AutoModelForImageTextToText, Trainer

from vlmtsc.examples import image_paths, index_images, make_examples
from vlmtsc.files import read_json
from vlmtsc.model.checkpoint import load_checkpoint
from vlmtsc.model.files import load_checked_processor
from vlmtsc.model.vision import VisionFeatures, load_pixels
from vlmtsc.representation.representation import Representation
from vlmtsc.settings import FinetuneSettings, MemorySettings

#: By our precision, the allowed difference of losses from the reference's float32, as a share of the first loss.
#: AdamW's first steps follow the signs of gradients, and bfloat16 turns those of the smallest ones.
TOLERANCES = {"fp32": 0.001, "bf16": 0.05}
#: Inputs that `make bench` builds.
INPUTS = {
    "model": ROOT / "results/models/embedded",
    "conversations": ROOT / "results/conversations/embedded/ItalyPowerDemand/pooled/plot_and_numbers",
    "plots": ROOT / "results/plots/ItalyPowerDemand/line",
}
NUMBERS = ROOT / "results/conversations/embedded/ItalyPowerDemand/pooled/numbers"
#: Products in one measurement.
PRODUCTS = 100


class StoredTask(Task):
    """A checkpoint, and the training set of a scenario."""

    device = torch.device("cpu")

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
        return load_checkpoint(
            self.checkpoint,
            precision=precision,
            attention=self.settings.attention,
            context_length=self.representation.scenario.context_length,
        )

    def load_plain(self) -> Any:
        return AutoModelForImageTextToText.from_pretrained(self.checkpoint, dtype=torch.float32).eval()

    def vision(self, model: Any, precision: str) -> VisionFeatures | None:
        if not self.paths:
            return None
        cache_mb = MemorySettings().vision_cache_mb
        return VisionFeatures(model, self.processor, self.paths, precision=precision, cache_mb=cache_mb)

    def pixels(self, positions: list[int]) -> torch.Tensor:
        return load_pixels([self.paths[position] for position in positions], self.processor)


def compare_losses(task: Task, steps: int, folder: Path) -> dict[str, float]:
    """Train both sides on the same batches, in the order of the cases and without dropout.

    Returns
    -------
    dict of str to float
        By our precision, the largest difference of two losses as a share of the first loss. More than `TOLERANCES`
        ends the program.
    """
    curves = {}
    for side in ("plain", *TOLERANCES):
        settings = task.settings.changed(lora_dropout=0.0)
        if side == "plain":
            _, make = plain_side(task, settings, folder)
        else:
            _, make = our_side(task, settings.changed(precision=side), folder)
        trainer, counted = make(steps), Counted()
        trainer._get_train_sampler = lambda dataset=None: SequentialSampler(task.examples)
        counted.watch(trainer)
        trainer.train()
        curves[side] = np.array(counted.losses)
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
        _, ours = our_side(task, task.settings, Path(name))
        _, plain = plain_side(task, task.settings, Path(name))

        def seconds_of_a_token(make: Callable[[int], Trainer]) -> float:
            trainer, counted = make(round_steps), Counted()
            counted.watch(trainer)
            return cpu_seconds(trainer.train) / counted.tokens

        seconds = interleaved(
            rounds, ours=lambda: seconds_of_a_token(ours), reference=lambda: seconds_of_a_token(plain)
        )
    agreement = f"losses of {steps} steps within {worst['fp32']:.0e} of the first in float32, "
    agreement += f"{worst['bf16']:.1%} in bfloat16"
    name = f"fine-tuning, {task.representation.scenario.name}"
    return make_row(name, seconds, "tokens/s", agreement, "images encoded in both")


def measure_share(task: StoredTask, rounds: int, steps: int) -> Row:
    """Compare the operations a second of our steps with those of one product of matrices.

    The product is that of all tokens of a step with the largest adapted matrix, in the type of the matrix.
    """
    with tempfile.TemporaryDirectory() as name:
        model, make = our_side(task, task.settings, Path(name))
        layers = [layer for layer in model.modules() if isinstance(layer, LoraLayer)]
        matrix = max((layer.get_base_layer().weight for layer in layers), key=torch.Tensor.numel)
        tokens = round(task.settings.batch_size * np.mean([case.tokens for case in task.examples.examples]))
        inputs = torch.randn(tokens, matrix.shape[1], dtype=matrix.dtype)

        def multiply() -> None:
            for _ in range(PRODUCTS):
                linear(inputs, matrix)

        def of_steps() -> float:
            trainer, counted = make(steps), Counted()
            counted.watch(trainer)
            return cpu_seconds(trainer.train) / (counted.tokens * flops_per_token(model))

        def of_products() -> float:
            return cpu_seconds(multiply) / (PRODUCTS * 2 * tokens * matrix.numel())

        seconds = interleaved(rounds, ours=of_steps, reference=of_products)
    return make_row(
        f"operations of a step, {task.representation.scenario.name}",
        {side: 1e9 * value for side, value in seconds.items()},
        "GFLOP/s",
        "not compared",
        f"reference: a product of {tokens} x {matrix.shape[1]} x {matrix.shape[0]} alone, "
        f"{str(matrix.dtype).removeprefix('torch.')}",
    )


def measure_stored(
    model: Path, conversations: Path, plots: Path, numbers: Path, steps: int, rounds: int, round_steps: int
) -> list[Row]:
    """Measure on files of the results folder."""
    torch.set_num_threads(1)
    shown, read = (
        StoredTask(model, folder, plots, recipe_of("embedded")) for folder in (conversations, numbers)
    )
    return [measure(shown, steps, rounds, round_steps), measure_share(read, rounds, steps)]


if __name__ == "__main__":
    main(measure_stored, __doc__, **INPUTS, numbers=NUMBERS, steps=12, rounds=3, round_steps=3)
