"""Measure how fast classes are scored, against a forward pass for each case and each class.

    python benchmarks/evaluate.py [--cases 8] [--rounds 3]

The other side puts each answer behind each question, gives the model one such text and its image at a time, in float32
and with the logits of every position, and adds up the log-probabilities of the answer's tokens. The second row compares
many answers scored as trees with the same answers, one in each pass.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import torch
from finetune import BATCH, Material, read_material, recipe_of
from measuring import ROOT, Row, cpu_seconds, interleaved, load, parse, report
from transformers import LlavaForConditionalGeneration

from vlmtsc import scoring
from vlmtsc.examples import scored_tokens
from vlmtsc.model.checkpoint import load_checkpoint
from vlmtsc.model.vision_features import VisionFeatures, load_pixels
from vlmtsc.scoring import score_examples
from vlmtsc.settings import MemorySettings

#: Log-likelihoods may differ by this many nats in bfloat16, and by this many in float32.
TOLERANCES = {"bf16": 0.25, "fp32": 1e-3}


def our_scores(model: Any, material: Material, precision: str, cases: range) -> np.ndarray:
    """Score cases as evaluate_model does; each image is encoded anew in each call."""
    vision = VisionFeatures(
        model,
        material.processor,
        material.paths,
        precision=precision,
        cache_mb=MemorySettings().vision_cache_mb,
    )
    return score_examples(
        model,
        [material.part.examples[case] for case in cases],
        scored_tokens(material.processor.tokenizer, material.representation),
        features=vision,
        image_indices=[material.part.image_indices[case] for case in cases],
        pad_token_id=material.processor.tokenizer.pad_token_id,
        batch_size=BATCH,
        precision=precision,
    )


def plain_scores(model: Any, material: Material, cases: range) -> np.ndarray:
    """Score cases one by one, class by class."""
    answers = scored_tokens(material.processor.tokenizer, material.representation)
    scores = np.empty((len(cases), len(answers)))
    with torch.no_grad():
        for row, case in enumerate(cases):
            prompt = material.part.examples[case].prompt
            for column, answer in enumerate(answers):
                pixels = load_pixels([material.paths[material.part.image_indices[case]]], material.processor)
                logits = model(input_ids=torch.tensor([[*prompt, *answer]]), pixel_values=pixels).logits[0]
                likelihoods = logits.double().log_softmax(dim=-1)
                scores[row, column] = sum(
                    float(likelihoods[len(prompt) - 1 + place, token]) for place, token in enumerate(answer)
                )
    return scores


def our_model(material: Material, precision: str) -> Any:
    """Load the model as evaluate_model does, without an adapter."""
    return load_checkpoint(
        material.checkpoint,
        precision=precision,
        attention=material.settings.attention,
        context_length=material.representation.scenario.context_length,
    )


def measure(material: Material, cases: int, few: int, rounds: int) -> Row:
    """Score cases by both sides in turns; the other side scores `few` of them."""
    model = our_model(material, material.settings.precision)
    plain = LlavaForConditionalGeneration.from_pretrained(material.checkpoint, dtype=torch.float32).eval()
    expected = plain_scores(plain, material, range(few))
    worst = {
        "bf16": np.abs(our_scores(model, material, "bf16", range(few)) - expected).max(),
        "fp32": np.abs(
            our_scores(our_model(material, "fp32"), material, "fp32", range(few)) - expected
        ).max(),
    }
    for precision, difference in worst.items():
        if difference > TOLERANCES[precision]:
            raise SystemExit(f"{precision}: scores differ by {difference} nats")
    precision = material.settings.precision
    seconds = interleaved(
        {
            "ours": lambda: cpu_seconds(lambda: our_scores(model, material, precision, range(cases))) / cases,
            "other": lambda: cpu_seconds(lambda: plain_scores(plain, material, range(few))) / few,
        },
        rounds,
    )
    classes = len(material.representation.classes)
    return Row(
        claim=f"evaluation, {material.representation.scenario.name}, {classes} classes",
        unit="cases/s",
        ours=1 / seconds["ours"],
        other=1 / seconds["other"],
        ratio=seconds["other"] / seconds["ours"],
        aim="8x",
        agreement=f"log-likelihoods within {worst['fp32']:.0e} nats in float32, {worst['bf16']:.2f} in bfloat16",
        notes=f"batches of {BATCH}; images encoded in both",
        load=load(),
    )


def measure_trees(material: Material, cases: int, classes: int, rounds: int) -> Row:
    """Score many classes, with answers in trees, and with a pass for each answer, in turns."""
    names = tuple(str(number + 1) for number in range(classes))
    many = replace(
        material, representation=replace(material.representation, classes=names, label_texts=names)
    )
    model, precision = our_model(material, "fp32"), "fp32"
    found = {}

    def score(side: str, logit_bytes: int) -> float:
        def run() -> None:
            with patch.object(scoring, "LOGIT_BYTES", logit_bytes):
                found[side] = our_scores(model, many, precision, range(cases))

        return cpu_seconds(run) / cases

    seconds = interleaved(
        {"ours": lambda: score("ours", scoring.LOGIT_BYTES), "other": lambda: score("other", 0)}, rounds
    )
    worst = np.abs(found["ours"] - found["other"]).max()
    if worst > TOLERANCES[precision]:
        raise SystemExit(f"trees: scores differ by {worst} nats")
    return Row(
        claim=f"answers as trees, {material.representation.scenario.name}, {classes} classes",
        unit="cases/s",
        ours=1 / seconds["ours"],
        other=1 / seconds["other"],
        ratio=seconds["other"] / seconds["ours"],
        aim="",
        agreement=f"log-likelihoods within {worst:.0e} nats",
        notes="other: the same, one answer in a pass; prompts and images are computed once in both",
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
            "cases": (int, 64, "cases that we score"),
            "few": (int, 8, "cases that the other side scores"),
            "classes": (int, 60, "classes of the second row, as many as the archive's largest"),
            "rounds": (int, 3, "turns of each side"),
        },
    )
    torch.set_num_threads(1)
    material = read_material(options.model, options.conversations, options.plots, recipe_of("embedded"))
    report(
        [
            measure(material, options.cases, options.few, options.rounds),
            measure_trees(material, options.few, options.classes, options.rounds),
        ],
        options.output,
    )


if __name__ == "__main__":
    main()
