"""Measure how fast a small LLaVA is fine-tuned on a CPU, against transformers' Trainer as it comes.

    python benchmarks/finetune.py [--steps 12] [--rounds 3] [--round_steps 3]

Both sides train the same LoRA matrices and projector on the same conversations, with the recipe in config/models.yaml.
The other side is a Trainer over ``model(labels=...)``: float32, logits of every position, cases in random order, images
through the tower in every step, fused attention. First both train the same batches without dropout, and their losses
are compared. Then they take turns with the recipe as it is. Needs the checkpoint and conversations of a run:
``snakemake --cores all --until render_plots build_conversations`` makes them.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from measuring import ROOT, Row, cpu_seconds, interleaved, load, number, parse, report
from peft import get_peft_model
from torch.utils.data import SequentialSampler
from transformers import LlavaForConditionalGeneration, Trainer, set_seed
from transformers.trainer_callback import PrinterCallback
from transformers.trainer_utils import IntervalStrategy

from vlmtsc.configuration import load_configuration_files
from vlmtsc.examples import Collator, ExampleSet, image_paths, index_images, make_examples
from vlmtsc.files import read_json
from vlmtsc.model.adapter import add_adapter, lora_config, parameter_groups
from vlmtsc.model.checkpoint import load_checkpoint
from vlmtsc.model.files import load_checked_processor
from vlmtsc.model.vision_features import VisionFeatures, load_pixels
from vlmtsc.reporting.costs import training_flops
from vlmtsc.representation.representation import Representation
from vlmtsc.settings import FinetuneSettings, MemorySettings
from vlmtsc.training.processes import Processes
from vlmtsc.training.schedule import Schedule
from vlmtsc.training.trainer import AnswerTrainer, training_arguments

#: By our precision, the share of the first loss by which losses may differ from the other side's, which are float32's.
#: AdamW's first steps follow the signs of gradients, and bfloat16 turns those of the smallest ones.
TOLERANCES = {"fp32": 0.001, "bf16": 0.05}

#: Cases in one forward pass of an evaluation.
BATCH = 32


@dataclass(frozen=True)
class Material:
    """What both sides train on."""

    checkpoint: Path
    processor: Any
    representation: Representation
    part: ExampleSet
    paths: list[Path]
    settings: FinetuneSettings


@dataclass
class Counted:
    """Losses and tokens of the steps of one side."""

    losses: list[float] = field(default_factory=list)
    tokens: int = 0

    def watch(self, trainer: Trainer) -> None:
        """Look at every loss that a trainer computes."""
        compute = trainer.compute_loss

        def watched(model: Any, inputs: Mapping[str, torch.Tensor], *rest: Any, **names: Any) -> Any:
            self.tokens += int(inputs["attention_mask"].sum())
            loss = compute(model, inputs, *rest, **names)
            self.losses.append(float(loss.detach()))
            return loss

        trainer.compute_loss = watched


def recipe_of(model: str) -> Mapping[str, Any]:
    """Return a model's recipe from the project's table of models, checked."""
    return load_configuration_files([], ROOT).model_table[model].recipe.model_dump()


def read_material(checkpoint: Path, conversations: Path, plots: Path, recipe: Mapping[str, Any]) -> Material:
    """Read the training part of a scenario."""
    processor = load_checked_processor(checkpoint)
    representation = Representation.load(conversations / "representation.json")
    examples = make_examples(read_json(conversations / "train.json"), representation, processor.tokenizer)
    paths = image_paths([examples], plots)
    return Material(
        checkpoint,
        processor,
        representation,
        index_images([examples])[0],
        paths,
        FinetuneSettings(seed=0, **recipe),
    )


def our_model(material: Material, settings: FinetuneSettings) -> tuple[Any, VisionFeatures]:
    """Load the model as `vlmtsc.training.finetune` does; and its tower's features, of which none is computed yet."""
    base = load_checkpoint(
        material.checkpoint,
        precision=settings.precision,
        attention=settings.attention,
        context_length=material.representation.scenario.context_length,
    )
    vision = fresh_features(base, material, settings)
    set_seed(settings.seed)
    return add_adapter(base, settings), vision


def fresh_features(base: Any, material: Material, settings: FinetuneSettings) -> VisionFeatures:
    """Return the features of a model's tower, with an empty cache."""
    return VisionFeatures(
        base,
        material.processor,
        material.paths,
        precision=settings.precision,
        cache_mb=MemorySettings().vision_cache_mb,
    )


def plain_model(material: Material, settings: FinetuneSettings) -> Any:
    """Load the model as transformers does by itself, in float32, with the LoRA layers that peft makes."""
    base = LlavaForConditionalGeneration.from_pretrained(material.checkpoint, dtype=torch.float32)
    base.requires_grad_(False)
    set_seed(settings.seed)
    return get_peft_model(base, lora_config(settings))


def our_trainer(
    model: Any,
    vision: VisionFeatures,
    material: Material,
    settings: FinetuneSettings,
    steps: int,
    folder: Path,
) -> AnswerTrainer:
    """Make the workflow's trainer, without validations and checkpoints."""
    return quiet(
        AnswerTrainer(
            model,
            arguments(settings, steps, folder),
            train_dataset=material.part,
            settings=settings,
            answers=[],
            vision=vision,
            pad_token_id=material.processor.tokenizer.pad_token_id,
            evaluation_batch_size=BATCH,
            processes=Processes(),
        )
    )


def plain_trainer(
    model: Any, material: Material, settings: FinetuneSettings, steps: int, folder: Path
) -> Trainer:
    """Make a Trainer as it comes; optimizer, rates and batches are those of the recipe."""
    collator = Collator(material.processor.tokenizer.pad_token_id)

    def collate(features: Sequence[Mapping[str, Any]]) -> dict[str, torch.Tensor]:
        batch = collator(features)
        images = batch.pop("image_index").tolist()
        return batch | {"pixel_values": load_pixels([material.paths[i] for i in images], material.processor)}

    optimizer = torch.optim.AdamW(parameter_groups(model, settings), betas=(0.9, settings.adam_beta2))
    return quiet(
        Trainer(
            model,
            arguments(settings, steps, folder),
            train_dataset=material.part,
            data_collator=collate,
            optimizers=(optimizer, None),
        )
    )


def arguments(settings: FinetuneSettings, steps: int, folder: Path) -> Any:
    """Return the recipe's arguments of a Trainer, for a few steps and nothing else."""
    schedule = Schedule(steps, steps, settings.batch_size // settings.micro_batch_size, "epochs")
    found = training_arguments(settings, schedule, torch.device("cpu"), folder, has_images=True)
    found.eval_strategy = found.save_strategy = IntervalStrategy.NO
    found.load_best_model_at_end = False
    return found


def quiet(trainer: Any) -> Any:
    """Take a trainer's printing away."""
    trainer.remove_callback(PrinterCallback)
    return trainer


def compare_losses(material: Material, steps: int, folder: Path) -> dict[str, float]:
    """Train both sides on the same batches, in the order of the cases and without dropout.

    Returns
    -------
    dict of str to float
        By our precision, the largest difference of two losses, as a share of the first loss.

    Raises
    ------
    SystemExit
        If that is more than `TOLERANCES`.
    """
    curves: dict[str, list[float]] = {}
    for side in ("plain", *TOLERANCES):
        settings = material.settings.changed(lora_dropout=0.0)
        if side == "plain":
            trainer = plain_trainer(plain_model(material, settings), material, settings, steps, folder)
        else:
            settings = settings.changed(precision=side)
            model, vision = our_model(material, settings)
            trainer = our_trainer(model, vision, material, settings, steps, folder)
        trainer._get_train_sampler = lambda dataset=None: SequentialSampler(material.part)
        counted = Counted()
        counted.watch(trainer)
        trainer.train()
        curves[side] = counted.losses
    plain = np.array(curves.pop("plain"))
    found = {side: float(np.abs(losses - plain).max() / plain[0]) for side, losses in curves.items()}
    for side, difference in found.items():
        if difference > TOLERANCES[side]:
            raise SystemExit(
                f"{side}: losses differ by {difference:.1%} of the first: {curves[side]} and {plain}"
            )
    return found


def flops_per_token(model: Any, *, whole: bool) -> float:
    """Return the floating-point operations of a training step for each token of a sequence.

    Counted as in the table of costs (`vlmtsc.reporting.costs.training_flops`): not embeddings, output layer,
    attention's products, projector, tower, activation functions.

    Parameters
    ----------
    model : PeftModel
    whole : bool
        Whether to count the last layer's output projection and MLP, which `vlmtsc.model.answer_rows` leaves out.
    """
    last = len(model.get_base_model().model.language_model.layers) - 1
    total = 0
    for name, layer in model.named_modules():
        left_out = f"layers.{last}." in name and ("o_proj" in name or "mlp" in name)
        if getattr(layer, "lora_A", None) and (whole or not left_out):
            matrices = [*layer.lora_A.values(), *layer.lora_B.values()]
            adapted = sum(matrix.weight.numel() for matrix in matrices)
            total += training_flops(layer.get_base_layer().weight.numel(), adapted)
    return total


def matrix_product_rate(size: int = 1024, repetitions: int = 8) -> float:
    """Return the floating-point operations a second of products of two bfloat16 matrices."""
    left, right = (torch.randn(size, size).to(torch.bfloat16) for _ in range(2))
    torch.mm(left, right)
    seconds = cpu_seconds(lambda: [torch.mm(left, right) for _ in range(repetitions)])
    return 2 * size**3 * repetitions / seconds


def measure(material: Material, steps: int, rounds: int, round_steps: int) -> Row:
    """Compare losses, then let both sides train in turns."""
    settings = material.settings
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        worst = compare_losses(material, steps, folder)
        model, _ = our_model(material, settings)
        plain = plain_model(material, settings)

        def our_turn() -> Trainer:
            # Each turn encodes its images: most cases of a run within a token budget are shown once.
            vision = fresh_features(model.get_base_model(), material, settings)
            return our_trainer(model, vision, material, settings, round_steps, folder)

        def rate(make: Callable[[], Trainer]) -> float:
            trainer, counted = make(), Counted()
            counted.watch(trainer)
            return cpu_seconds(trainer.train) / counted.tokens

        seconds = interleaved(
            {
                "ours": lambda: rate(our_turn),
                "other": lambda: rate(lambda: plain_trainer(plain, material, settings, round_steps, folder)),
                "product": lambda: 1 / matrix_product_rate(),
            },
            rounds,
        )
    share = flops_per_token(model, whole=False) / seconds["ours"] * seconds["product"]
    return Row(
        claim=f"fine-tuning, {material.representation.scenario.name}",
        unit="tokens/s",
        ours=1 / seconds["ours"],
        other=1 / seconds["other"],
        ratio=seconds["other"] / seconds["ours"],
        aim="4x",
        agreement=f"losses of {steps} steps within {worst['fp32']:.0e} of the first in float32, "
        f"{worst['bf16']:.1%} in bfloat16",
        notes=f"{share:.0%} (aim 55%) of the bfloat16 matrix-product rate, {number(1e-9 / seconds['product'])} "
        f"GFLOP/s; {number(flops_per_token(model, whole=False) / 1e6)} MFLOP a token; images encoded in both",
        load=load(),
    )


def main() -> None:
    """Print the table."""
    place = ROOT / "results/conversations/embedded/ItalyPowerDemand/pooled/plot_and_numbers"
    options = parse(
        __doc__,
        {
            "model": (Path, ROOT / "results/models/embedded", "checkpoint folder"),
            "conversations": (Path, place, "folder of conversations"),
            "plots": (Path, ROOT / "results/plots/ItalyPowerDemand/line", "folder of plots"),
            "steps": (int, 12, "steps of the comparison of losses"),
            "rounds": (int, 3, "turns of each side"),
            "round_steps": (int, 3, "steps of a turn"),
        },
    )
    torch.set_num_threads(1)
    material = read_material(options.model, options.conversations, options.plots, recipe_of("embedded"))
    report([measure(material, options.steps, options.rounds, options.round_steps)], options.output)


if __name__ == "__main__":
    main()
