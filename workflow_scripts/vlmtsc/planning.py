"""What a configuration would run, and an estimate of what it costs."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from vlmtsc.configuration import Run

#: Training tokens a second assumed while no earlier run tells: the embedded model on two CPU cores.
DEFAULT_TOKENS_PER_SECOND = 1500.0
#: A forward pass alone costs about a third of a training step.
EVALUATION_SPEEDUP = 3.0


@dataclass(frozen=True)
class Cost:
    """Estimate of one run.

    Attributes
    ----------
    train_samples : int
        Samples shown in training, each epoch counted.
    train_tokens : int
        Their tokens.
    evaluation_tokens : int
        Tokens of all validation passes and of the test.
    minutes : float
        Fine-tuning and evaluation; start-up and the steps before them not counted.
    bounded : bool
        Whether `token_budget` ends training before its epochs do.
    """

    train_samples: int
    train_tokens: int
    evaluation_tokens: int
    minutes: float
    bounded: bool


def part_sizes(row: Mapping[str, Any], protocol: str, validation_share: float) -> dict[str, int] | None:
    """Sizes of train, validation and test that a row of the dataset table implies; None if it has no sizes."""
    if "train_size" not in row or "test_size" not in row:
        return None
    train, test = int(row["train_size"]), int(row["test_size"])
    if protocol == "pooled":  # 60/20/20, rounded as train_test_split does
        total = train + test
        test = -(-total // 5)
        validation = -(-(total - test) // 4)
        return {"train": total - test - validation, "validation": validation, "test": test}
    validation = math.ceil(train * validation_share)  # as train_test_split does
    return {"train": train - validation, "validation": validation, "test": test}


def control_passes(modality: str) -> int:
    """Passes over the test part that the controls of a scenario take: equal questions are asked once."""
    return {"plot": 0, "numbers": 1, "both": 4}[modality]


def estimate(
    sizes: Mapping[str, int],
    tokens_per_sample: float,
    recipe: Mapping[str, Any],
    tokens_per_second: float,
    *,
    further_passes: Mapping[str, int] | None = None,
) -> Cost:
    """Estimate the cost of fine-tuning and evaluating one run.

    Parameters
    ----------
    sizes : mapping
        Cases of the parts train, validation and test.
    tokens_per_sample : float
        Mean tokens of a sample, image tokens included.
    recipe : mapping
        Fine-tuning settings: ``epochs``, and ``token_budget`` (training tokens at most; absent or None: no bound).
    tokens_per_second : float
        Speed of training.
    further_passes : mapping, optional
        By part, passes beside those of validation in training and of the test part once.
    """
    further = further_passes or {}
    epochs = float(recipe.get("epochs") or 1)
    samples = sizes["train"] * epochs
    budget = recipe.get("token_budget")
    bounded = bool(budget) and samples * tokens_per_sample > float(budget or 0)
    if bounded:
        samples = float(budget or 0) / tokens_per_sample
    passes = max(1.0, samples / max(1, sizes["train"]))
    train_tokens = samples * tokens_per_sample
    passes_of = {"validation": passes + further.get("validation", 0), "test": 1 + further.get("test", 0)}
    evaluation_tokens = sum(number * sizes[part] for part, number in passes_of.items()) * tokens_per_sample
    seconds = (train_tokens + evaluation_tokens / EVALUATION_SPEEDUP) / tokens_per_second
    return Cost(round(samples), round(train_tokens), round(evaluation_tokens), seconds / 60, bounded)


def plan_table(rows: Sequence[tuple[Run, str, Cost | None]]) -> str:
    """Lay out runs, what is done, and the estimates as text in columns, with a sum of what is to do."""
    header = ["model", "dataset", "protocol", "scenario", "seed", "state", "samples", "tokens", "minutes"]
    lines = [header]
    for run, state, cost in rows:
        known = cost is not None and state != "done"
        figures = (
            [f"{cost.train_samples}", f"{cost.train_tokens}", f"{cost.minutes:.1f}"] if known and cost else []
        )
        shown = figures or (["", "", ""] if state == "done" else ["?", "?", "?"])
        lines.append([run.model, run.dataset, run.protocol, run.scenario, str(run.seed), state, *shown])
    todo = [cost for _, state, cost in rows if cost is not None and state != "done"]
    total = ["to do", "", "", "", "", f"{sum(state != 'done' for _, state, _ in rows)} runs"]
    total += [f"{sum(c.train_samples for c in todo)}", f"{sum(c.train_tokens for c in todo)}"]
    total += [f"{sum(c.minutes for c in todo):.1f}"]
    lines.append(total)
    widths = [max(len(line[column]) for line in lines) for column in range(len(header))]
    return "\n".join(
        "  ".join(
            cell.rjust(width) if column >= 6 else cell.ljust(width)
            for column, (cell, width) in enumerate(zip(line, widths, strict=True))
        ).rstrip()
        for line in lines
    )
