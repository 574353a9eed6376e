"""Compare the speed of fine-tuning LLaVA-1.5-7B on a GPU with the plain recipe.

    python benchmarks/gpu_llava.py [--size full] [--samples 8] [--rounds 3]

The model has LLaVA 1.5's configuration and random weights: nothing is downloaded. LoRA of rank 128 on every linear
layer of the language model, a trainable projector, samples of 576 image tokens and 2,048 others. The plain recipe is
transformers' Trainer over ``model(labels=...)`` with bfloat16, activation checkpointing and the logits of every
position. ``--size small``, the default without a GPU, takes a model of two layers: it shows that both sides run and
that their losses agree, and says nothing about speed.
"""

from __future__ import annotations

import gc
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from measuring import Row, interleaved, main, make_row, number
from trainers import Counted, Task, flops_per_token, our_side, plain_side, recipe_of
from transformers import (
    CLIPVisionConfig,
    LlamaConfig,
    LlavaConfig,
    LlavaForConditionalGeneration,
    Trainer,
    set_seed,
)

from vlmtsc.examples import Example, ExampleSet
from vlmtsc.model.architecture import find_architecture
from vlmtsc.model.checkpoint import attach, autocast, compute_device, convert_weights
from vlmtsc.model.vision import encode_pixels
from vlmtsc.reporting.costs import peak_rate
from vlmtsc.settings import FinetuneSettings

#: Supervised tokens of a sample: a class and the end token.
ANSWER = 3
#: By precision, the allowed relative difference of the losses of each step. With random weights, the losses of two
#: samples differ by half a percent: only float32 shows whether both sides see the same sample.
TOLERANCES = {"bf16": 0.02, "fp32": 1e-4}
#: LLaVA-1.5-7B, and a small model of the same kind: tower, language model, special tokens.
SIZES: dict[str, tuple[dict[str, Any], dict[str, Any], dict[str, Any]]] = {
    "full": (
        {"hidden_size": 1024, "intermediate_size": 4096, "num_hidden_layers": 24, "num_attention_heads": 16}
        | {"image_size": 336, "patch_size": 14, "projection_dim": 768},
        {"vocab_size": 32064, "hidden_size": 4096, "intermediate_size": 11008, "num_hidden_layers": 32}
        | {"num_attention_heads": 32, "max_position_embeddings": 4096, "rms_norm_eps": 1e-5},
        {"image_token_index": 32000, "pad_token_id": 32001},
    ),
    "small": (
        {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2}
        | {"image_size": 56, "patch_size": 14},
        {"vocab_size": 512, "hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 2}
        | {"num_attention_heads": 4, "max_position_embeddings": 512},
        {"image_token_index": 500, "image_seq_length": 16, "pad_token_id": 501},
    ),
}


def configuration(size: str) -> LlavaConfig:
    """Return the configuration of one of `SIZES`."""
    tower, language_model, tokens = SIZES[size]
    return LlavaConfig(
        vision_config=CLIPVisionConfig(**tower), text_config=LlamaConfig(**language_model), **tokens
    )


def recipe(size: str, micro_batch: int) -> FinetuneSettings:
    """Return the paper's recipe in steps of one micro batch, with the one rate that a plain Trainer has.

    Without dropout, which would make losses differ.
    """
    changed = {
        "lora_dropout": 0.0,
        "projector_learning_rate": 2e-4,
        "batch_size": micro_batch,
        "micro_batch_size": micro_batch,
        "precision": "bf16" if size == "full" else "fp32",
        "attention": "sdpa",
    }
    return FinetuneSettings(seed=0, **{**recipe_of("llava-1.5-7b"), **changed})


def random_samples(config: LlavaConfig, count: int, text_tokens: int) -> tuple[ExampleSet, torch.Tensor]:
    """Return samples that begin with an image, and the images, shape (count, 3, size, size)."""
    random = np.random.default_rng(0)
    side = config.vision_config.image_size
    image = [config.image_token_index] * (side // config.vision_config.patch_size) ** 2
    examples = []
    for index in range(count):
        text = random.integers(3, config.image_token_index, size=text_tokens).tolist()
        examples.append(Example([*image, *text[:-ANSWER]], text[-ANSWER:], 0, f"{index}.png"))
    images = torch.from_numpy(random.normal(size=(count, 3, side, side)).astype(np.float32))
    return ExampleSet(examples, range(count)), images


def build(config: LlavaConfig, device: torch.device) -> LlavaForConditionalGeneration:
    """Make a model with random weights, the same each time: bfloat16 on a GPU, float32 otherwise."""
    set_seed(0)
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.bfloat16 if device.type == "cuda" else torch.float32)
    try:
        with device:
            model = LlavaForConditionalGeneration._from_config(config, attn_implementation="sdpa")
    finally:
        torch.set_default_dtype(before)
    attach(model, find_architecture(model))
    return model.requires_grad_(False)


class RandomTask(Task):
    """A model with random weights, and samples that begin with an image."""

    def __init__(self, size: str, settings: FinetuneSettings, samples: int, text_tokens: int) -> None:
        self.settings, self.device = settings, compute_device()
        self.config = configuration(size)
        self.pad_token_id = self.config.pad_token_id
        self.examples, self.images = random_samples(self.config, samples, text_tokens)

    def load(self, precision: str) -> Any:
        base = build(self.config, self.device)
        convert_weights(base, precision, self.device)
        return base

    def load_plain(self) -> Any:
        return build(self.config, self.device)

    def vision(self, model: Any, precision: str) -> Any:
        @torch.no_grad()
        def inputs(positions: Sequence[int]) -> dict[str, torch.Tensor]:
            with autocast(precision, self.device):
                return {"vision_features": encode_pixels(model, self.images[list(positions)])}

        return SimpleNamespace(inputs=inputs)

    def pixels(self, positions: list[int]) -> torch.Tensor:
        return self.images[positions]


def plain_recipe(
    task: Task, settings: FinetuneSettings, folder: Path
) -> tuple[Any, Callable[[int], Trainer]]:
    """Return the plain recipe's model, and a function from steps to its trainer."""
    bf16 = settings.precision == "bf16"
    return plain_side(task, settings, folder, bf16=bf16, activation_checkpointing=True)


def measure(size: str, samples: int, text_tokens: int, rounds: int, micro_batch: int) -> list[Row]:
    """Train both sides in turns, and compare rates, losses and memory."""
    settings = recipe(size, micro_batch)
    task = RandomTask(size, settings, samples, text_tokens)
    cuda = task.device.type == "cuda"
    losses: dict[str, list[float]] = {}
    memory: dict[str, float] = {}
    flops: dict[str, float] = {}
    tokens: dict[str, int] = {}

    def seconds_of_a_token(name: str, side: Callable[..., Any]) -> float:
        # Two models of this size do not fit a GPU at once, so each turn builds its own.
        with tempfile.TemporaryDirectory() as folder:
            model, make = side(task, settings, Path(folder))
            make(1).train()  # warm-up
            trainer, counted = make(samples // micro_batch), Counted()
            counted.watch(trainer)
            if cuda:
                torch.cuda.reset_peak_memory_stats()
                torch.cuda.synchronize()
            started = time.perf_counter()
            trainer.train()
            if cuda:
                torch.cuda.synchronize()
                memory[name] = torch.cuda.max_memory_allocated() / 2**30
            seconds = time.perf_counter() - started
        losses[name], tokens[name], flops[name] = counted.losses, counted.tokens, flops_per_token(model)
        del model, make, trainer
        gc.collect()
        torch.cuda.empty_cache()
        return seconds / counted.tokens

    seconds = interleaved(
        rounds,
        ours=lambda: seconds_of_a_token("ours", our_side),
        reference=lambda: seconds_of_a_token("reference", plain_recipe),
    )
    worst = np.abs(np.divide(losses["ours"], losses["reference"]) - 1).max()
    tolerance = TOLERANCES[settings.precision]
    if worst > tolerance:
        raise SystemExit(f"losses differ by {worst:.1e}: {losses}")
    device = torch.cuda.get_device_name() if cuda else "CPU, which says nothing about a GPU"
    notes = f"{device}; {number(samples / tokens['ours'] / seconds['ours'])} samples/s; "
    notes += f"{number(flops['ours'] / 1e6)} MFLOP a token"
    if peak := peak_rate(device, settings.precision):
        used = {side: flops[side] / seconds[side] / peak for side in flops}
        notes += f"; {used['ours']:.0%} of the peak, plain {used['reference']:.0%}"
    if memory:
        notes += f"; {memory['ours']:.0f} GiB, plain {memory['reference']:.0f}"
    agreement = f"losses of each step within {worst:.0e} (allowed: {tolerance:g})"
    return [make_row(f"LLaVA-1.5-7B, random weights ({size})", seconds, "tokens/s", agreement, notes)]


if __name__ == "__main__":
    if torch.cuda.is_available():
        main(measure, __doc__, size="full", samples=8, text_tokens=2048, rounds=3, micro_batch=1)
    else:
        main(measure, __doc__, size="small", samples=8, text_tokens=48, rounds=1, micro_batch=2)
