"""Measure how fast LLaVA-1.5-7B is fine-tuned on a GPU, against the plain recipe.

    python benchmarks/gpu_llava.py [--size full] [--samples 8] [--rounds 3]

The model has LLaVA 1.5's configuration and random weights, so that nothing is downloaded. LoRA of rank 128 on every
linear layer of the language model, a trainable projector, samples of 576 image tokens and 2,048 others. The plain
recipe is transformers' Trainer over ``model(labels=...)`` with bfloat16, activation checkpointing and the logits of
every position. ``--size small``, and a machine without a GPU, take a model of two layers: that shows that both sides
run, and that their losses agree, and says nothing about speed.
"""

from __future__ import annotations

import dataclasses
import gc
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from finetune import Counted, flops_per_token, quiet
from measuring import Row, interleaved, load, number, parse, report
from peft import get_peft_model
from transformers import (
    CLIPVisionConfig,
    LlamaConfig,
    LlavaConfig,
    LlavaForConditionalGeneration,
    Trainer,
    set_seed,
)
from transformers.trainer_utils import IntervalStrategy

from vlmtsc.examples import Collator, Example, ExampleSet
from vlmtsc.model.adapter import add_adapter, lora_config
from vlmtsc.model.checkpoint import autocast, compute_device, store
from vlmtsc.model.projection import project_in_forward
from vlmtsc.model.vision_features import encode_pixels
from vlmtsc.reporting.costs import peak_rate
from vlmtsc.settings import FinetuneSettings
from vlmtsc.training.processes import Processes
from vlmtsc.training.schedule import Schedule
from vlmtsc.training.trainer import AnswerTrainer, training_arguments

#: Supervised tokens of a sample: a class and the end token.
ANSWER = 3
#: By precision, the share by which the losses of each step may differ. Random weights give other samples other losses,
#: by half a percent: only float32 tells whether both sides see the same.
TOLERANCES = {"bf16": 0.02, "fp32": 1e-4}


def configuration(size: str) -> LlavaConfig:
    """Return LLaVA-1.5-7B's configuration (`full`), or a small one of the same kind."""
    if size == "full":
        return LlavaConfig(
            vision_config=CLIPVisionConfig(
                hidden_size=1024,
                intermediate_size=4096,
                num_hidden_layers=24,
                num_attention_heads=16,
                image_size=336,
                patch_size=14,
                projection_dim=768,
            ),
            text_config=LlamaConfig(
                vocab_size=32064,
                hidden_size=4096,
                intermediate_size=11008,
                num_hidden_layers=32,
                num_attention_heads=32,
                max_position_embeddings=4096,
                rms_norm_eps=1e-5,
            ),
            image_token_index=32000,
            pad_token_id=32001,
        )
    return LlavaConfig(
        vision_config=CLIPVisionConfig(
            hidden_size=32,
            intermediate_size=64,
            num_hidden_layers=2,
            num_attention_heads=2,
            image_size=56,
            patch_size=14,
        ),
        text_config=LlamaConfig(
            vocab_size=512,
            hidden_size=64,
            intermediate_size=128,
            num_hidden_layers=2,
            num_attention_heads=4,
            max_position_embeddings=512,
        ),
        image_token_index=500,
        image_seq_length=16,
        pad_token_id=501,
    )


def recipe(size: str, micro_batch: int) -> FinetuneSettings:
    """Return the paper's recipe, in steps of one micro batch; without dropout, which would make losses differ."""
    return FinetuneSettings(
        seed=0,
        lora_r=128 if size == "full" else 4,
        lora_alpha=256 if size == "full" else 8,
        lora_dropout=0.0,
        learning_rate=2e-4,
        projector_learning_rate=2e-4,  # the Trainer of the other side has one rate
        weight_decay=0.0,
        adam_beta2=0.999,
        warmup_ratio=0.03,
        batch_size=micro_batch,
        micro_batch_size=micro_batch,
        epochs=1,
        token_budget=0,
        early_stopping_patience=0,
        early_stopping_steps=0,
        early_stopping_threshold=0.0,
        keep="last",
        max_grad_norm=1.0,
        precision="bf16" if size == "full" else "fp32",
        attention="sdpa",
    )


def random_samples(config: LlavaConfig, count: int, text_tokens: int) -> tuple[list[Example], torch.Tensor]:
    """Return samples that begin with an image, and the images, shape (count, 3, size, size)."""
    random = np.random.default_rng(0)
    side = config.vision_config.image_size
    image_tokens = (side // config.vision_config.patch_size) ** 2
    examples = []
    for index in range(count):
        text = random.integers(3, config.image_token_index, size=text_tokens).tolist()
        prompt = [config.image_token_index] * image_tokens + text[:-ANSWER]
        examples.append(Example(prompt, text[-ANSWER:], 0, f"{index}.png"))
    return examples, torch.from_numpy(random.normal(size=(count, 3, side, side)).astype(np.float32))


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
    return model.requires_grad_(False)


class Tower:
    """The frozen tower's features of samples, computed without a graph: what `VisionFeatures` does with files."""

    def __init__(self, model: LlavaForConditionalGeneration, images: torch.Tensor, precision: str) -> None:
        self.model, self.images, self.precision = model, images, precision

    def __call__(self, indices: Sequence[int]) -> torch.Tensor:
        """Return features, shape (n, image_tokens, vision_hidden_size)."""
        with torch.no_grad(), autocast(self.precision, self.model.device):
            return encode_pixels(self.model, self.images[list(indices)])


def arguments(settings: FinetuneSettings, steps: int, device: torch.device, folder: Path) -> Any:
    """Return the arguments that both sides share."""
    found = training_arguments(settings, Schedule(steps, steps, 1, "epochs"), device, folder, has_images=True)
    found.eval_strategy = found.save_strategy = IntervalStrategy.NO
    found.load_best_model_at_end = False
    return found


def our_side(size: str, settings: FinetuneSettings, material: tuple[list[Example], torch.Tensor]) -> Any:
    """Return our model, and a function from steps and folder to its trainer."""
    device, (examples, images) = compute_device(), material
    base = build(configuration(size), device)
    store(base, settings.precision, device)
    project_in_forward(base)
    model = add_adapter(base, settings)
    part = ExampleSet(examples, range(len(examples)))
    tower = Tower(base, images, settings.precision)

    def make(steps: int, folder: Path) -> Trainer:
        return AnswerTrainer(
            model,
            arguments(settings, steps, device, folder),
            train_dataset=part,
            settings=settings,
            answers=[],
            vision=tower,
            pad_token_id=base.config.pad_token_id,
            evaluation_batch_size=1,
            processes=Processes(),
        )

    return model, make


def plain_side(size: str, settings: FinetuneSettings, material: tuple[list[Example], torch.Tensor]) -> Any:
    """Return the plain recipe's model, and a function from steps and folder to its trainer."""
    device, (examples, images) = compute_device(), material
    base = build(configuration(size), device)
    set_seed(settings.seed)
    model = get_peft_model(base, lora_config(settings))
    part = ExampleSet(examples, range(len(examples)))
    collator = Collator(base.config.pad_token_id)

    def collate(features: Sequence[Mapping[str, Any]]) -> dict[str, torch.Tensor]:
        batch = collator(features)
        return batch | {"pixel_values": images[batch.pop("image_index")].to(base.dtype)}

    def make(steps: int, folder: Path) -> Trainer:
        # Not set afterwards: the arguments work out what follows from them when they are made.
        shared = dataclasses.replace(
            arguments(settings, steps, device, folder),
            bf16=settings.precision == "bf16",
            activation_checkpointing=True,
        )
        return Trainer(model, shared, train_dataset=part, data_collator=collate)

    return model, make


def measure(size: str, samples: int, text_tokens: int, rounds: int, micro_batch: int) -> list[Row]:
    """Train both sides, one after the other in each round, and compare rates, losses and memory."""
    device = compute_device()
    config, settings = configuration(size), recipe(size, micro_batch)
    material = random_samples(config, samples, text_tokens)
    steps = samples // micro_batch
    losses: dict[str, list[float]] = {}
    memory: dict[str, float] = {}
    tokens: dict[str, int] = {}
    flops: dict[str, float] = {}

    def side(name: str, build_side: Callable[..., Any]) -> float:
        # Two models of this size do not fit a GPU at once, so each turn builds its own.
        model, make = build_side(size, settings, material)
        with tempfile.TemporaryDirectory() as folder:
            quiet(make(1, Path(folder))).train()  # warm-up
            trainer, counted = quiet(make(steps, Path(folder))), Counted()
            counted.watch(trainer)
            if device.type == "cuda":
                torch.cuda.reset_peak_memory_stats()
                torch.cuda.synchronize()
            started = time.perf_counter()
            trainer.train()
            if device.type == "cuda":
                torch.cuda.synchronize()
                memory[name] = torch.cuda.max_memory_allocated() / 2**30
            seconds = time.perf_counter() - started
        losses[name], tokens[name], flops[name] = (
            counted.losses,
            counted.tokens,
            flops_per_token(model, whole=True),
        )
        del model, make, trainer
        gc.collect()
        torch.cuda.empty_cache()
        return seconds / counted.tokens

    seconds = interleaved(
        {"ours": lambda: side("ours", our_side), "other": lambda: side("plain", plain_side)}, rounds
    )
    worst = np.abs(np.divide(losses["ours"], losses["plain"]) - 1).max()
    tolerance = TOLERANCES[settings.precision]
    if worst > tolerance:
        raise SystemExit(f"losses differ by {worst:.1e}: {losses}")
    device_name = (
        torch.cuda.get_device_name() if device.type == "cuda" else "CPU, which says nothing about a GPU"
    )
    peak = peak_rate(device_name, settings.precision)
    per_sample = tokens["ours"] / samples
    notes = f"{device_name}; {number(1 / seconds['ours'] / per_sample)} samples/s; "
    notes += f"{number(flops['ours'] / 1e6)} MFLOP a token"
    if peak:
        used = [f / seconds[s] / peak for s, f in (("ours", flops["ours"]), ("other", flops["plain"]))]
        notes += f"; {used[0]:.0%} of the peak, plain {used[1]:.0%} (aim 50%)"
    if memory:
        notes += f"; {memory['ours']:.0f} GiB, plain {memory['plain']:.0f}"
    return [
        Row(
            claim=f"LLaVA-1.5-7B, random weights ({size})",
            unit="tokens/s",
            ours=1 / seconds["ours"],
            other=1 / seconds["other"],
            ratio=seconds["other"] / seconds["ours"],
            aim="1.5x on an H100",
            agreement=f"losses of each step within {worst:.0e} (allowed: {tolerance:g})",
            notes=notes,
            load=load(),
        )
    ]


def main() -> None:
    """Print the table."""
    gpu = torch.cuda.is_available()
    options = parse(
        __doc__,
        {
            "size": (str, "full" if gpu else "small", "full or small"),
            "samples": (int, 8, "samples that a turn trains on"),
            "text_tokens": (int, 2048 if gpu else 48, "tokens of a sample beside its image"),
            "rounds": (int, 3 if gpu else 1, "turns of each side"),
            "micro_batch": (int, 1 if gpu else 2, "samples in a step"),
        },
    )
    rows = measure(options.size, options.samples, options.text_tokens, options.rounds, options.micro_batch)
    report(rows, options.output)


if __name__ == "__main__":
    main()
