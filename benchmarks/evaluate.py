"""Compare the speed of scoring classes with a forward pass for each case and each class.

    python benchmarks/evaluate.py [--cases 64] [--few 8] [--classes 60] [--rounds 3]

The reference puts each answer behind each question, gives the model one such text and its image at a time, in float32
and with the logits of every position, and adds up the log-probabilities of the answer's tokens; it scores `few` cases.
The second row compares many answers (60: as many as the archive's largest dataset) scored as trees with the same
answers, one in each pass.
"""

from __future__ import annotations

from copy import copy
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import torch
from finetune import INPUTS, StoredTask
from measuring import Row, cpu_seconds, interleaved, main, make_row
from trainers import recipe_of

from vlmtsc import scoring
from vlmtsc.examples import scored_tokens

#: Allowed differences of log-likelihoods in nats.
TOLERANCES = {"bf16": 0.25, "fp32": 1e-3}
#: Cases in one forward pass.
BATCH = 32


def our_scores(model: Any, task: StoredTask, precision: str, cases: int) -> np.ndarray:
    """Score the first cases as evaluate_model does; each call encodes its images."""
    return scoring.score_examples(
        model,
        task.examples.examples[:cases],
        scored_tokens(task.processor.tokenizer, task.representation),
        features=task.vision(model, precision),
        image_indices=task.examples.image_indices[:cases],
        pad_token_id=task.pad_token_id,
        batch_size=BATCH,
        precision=precision,
    )


@torch.no_grad()
def plain_scores(model: Any, task: StoredTask, cases: int) -> np.ndarray:
    """Score the first cases one by one, class by class."""
    answers = scored_tokens(task.processor.tokenizer, task.representation)
    scores = np.empty((cases, len(answers)))
    for row in range(cases):
        prompt = task.examples.examples[row].prompt
        for column, answer in enumerate(answers):
            pixels = task.pixels([task.examples.image_indices[row]])
            logits = model(input_ids=torch.tensor([[*prompt, *answer]]), pixel_values=pixels).logits[0]
            likelihoods = logits.double().log_softmax(dim=-1)[len(prompt) - 1 :]
            scores[row, column] = likelihoods[range(len(answer)), answer].sum()
    return scores


def difference(ours: np.ndarray, reference: np.ndarray, precision: str) -> float:
    """Return the largest difference in nats; more than allowed ends the program."""
    worst = float(np.abs(ours - reference).max())
    if worst > TOLERANCES[precision]:
        raise SystemExit(f"{precision}: scores differ by {worst} nats")
    return worst


def measure(task: StoredTask, cases: int, few: int, rounds: int) -> Row:
    """Score cases with both sides in turns; the reference scores `few` of them."""
    precision = task.settings.precision
    models = {each: task.load(each) for each in {*TOLERANCES, precision}}
    plain = task.load_plain()
    expected = plain_scores(plain, task, few)
    worst = {
        each: difference(our_scores(models[each], task, each, few), expected, each) for each in TOLERANCES
    }
    seconds = interleaved(
        rounds,
        ours=lambda: cpu_seconds(lambda: our_scores(models[precision], task, precision, cases)) / cases,
        reference=lambda: cpu_seconds(lambda: plain_scores(plain, task, few)) / few,
    )
    name = f"evaluation, {task.representation.scenario.name}, {len(task.representation.classes)} classes"
    agreement = f"log-likelihoods within {worst['fp32']:.0e} nats in float32, {worst['bf16']:.2f} in bfloat16"
    return make_row(name, seconds, "cases/s", agreement, f"batches of {BATCH}; images encoded in both")


def measure_trees(task: StoredTask, cases: int, classes: int, rounds: int) -> Row:
    """Score many classes, with answers in trees, and with a pass for each answer, in turns."""
    names = tuple(str(number + 1) for number in range(classes))
    many = copy(task)
    many.representation = replace(task.representation, classes=names, label_texts=names)
    model, found = task.load("fp32"), {}

    def score(side: str, logit_bytes: int) -> float:
        def work() -> None:
            found[side] = our_scores(model, many, "fp32", cases)

        with patch.object(scoring, "LOGIT_BYTES", logit_bytes):
            return cpu_seconds(work) / cases

    seconds = interleaved(
        rounds, ours=lambda: score("ours", scoring.LOGIT_BYTES), reference=lambda: score("reference", 0)
    )
    agreement = f"log-likelihoods within {difference(found['ours'], found['reference'], 'fp32'):.0e} nats"
    name = f"answers as trees, {task.representation.scenario.name}, {classes} classes"
    notes = "reference: one answer in a pass; prompts and images are computed once in both"
    return make_row(name, seconds, "cases/s", agreement, notes)


def measure_stored(
    model: Path, conversations: Path, plots: Path, cases: int, few: int, classes: int, rounds: int
) -> list[Row]:
    """Measure on files of the results folder."""
    torch.set_num_threads(1)
    task = StoredTask(model, conversations, plots, recipe_of("embedded"))
    return [measure(task, cases, few, rounds), measure_trees(task, few, classes, rounds)]


if __name__ == "__main__":
    main(measure_stored, __doc__, **INPUTS, cases=64, few=8, classes=60, rounds=3)
