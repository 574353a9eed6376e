"""How much work a run is, counted before it is done."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

#: The steps of one run, in their order.
STEPS = ("finetune_model", "evaluate_model", "evaluate_controls")


@dataclass(frozen=True)
class Work:
    """What the steps of one run have to look at.

    Attributes
    ----------
    train_samples, train_tokens : float
        Shown in training, each epoch counted.
    validation_tokens : float
        Of all validation passes in training.
    attended : float
        Pairs of tokens in one case that attention has to compare: a token of a long case costs more. Those of training
        passes, and half of those of validation passes.
    evaluation_tokens : float
        Of the test part, and of the validation part where a temperature is fitted.
    control_tokens : float or None
        Of the controls; 0 where their questions are those of the evaluation; None where there are no controls.
    """

    train_samples: float
    train_tokens: float
    validation_tokens: float
    attended: float
    evaluation_tokens: float
    control_tokens: float | None

    def features(self, step: str) -> tuple[float, ...] | None:
        """What the seconds of a step are proportional to, 1 for its start first; None if there is no such step."""
        if step == "finetune_model":
            return 1.0, self.train_tokens, self.validation_tokens, self.attended
        if step == "evaluate_model":
            return 1.0, self.evaluation_tokens
        return None if self.control_tokens is None else (1.0, self.control_tokens)


@dataclass(frozen=True)
class Length:
    """How long a training was or will be, counted for early stopping.

    Attributes
    ----------
    epochs : float
    patience : int
        Epochs without progress after which it stops; 0 for never.
    stopped : bool
        Whether early stopping ended it. Otherwise something else did, and it might have gone on.
    """

    epochs: float
    patience: int
    stopped: bool = False


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


def planned_length(cases: int, tokens: float, recipe: Mapping[str, Any]) -> Length:
    """Return how long a training is at most.

    Parameters
    ----------
    cases : int
        Of the training part.
    tokens : float
        Of an epoch.
    recipe : mapping
        Fine-tuning settings: ``epochs``, ``token_budget`` (training tokens at most; absent or 0: no bound),
        ``batch_size``, ``early_stopping_patience`` and ``early_stopping_steps``.
    """
    epochs = float(recipe.get("epochs") or 1)
    if budget := float(recipe.get("token_budget") or 0):
        epochs = min(epochs, budget / max(1.0, tokens))
    patience = int(recipe.get("early_stopping_patience") or 0)
    if patience:
        steps_per_epoch = math.ceil(cases / max(1, int(recipe.get("batch_size") or 1)))
        granted = int(recipe.get("early_stopping_steps") or 0)
        patience = max(patience, math.ceil(granted / max(1, steps_per_epoch)))
    return Length(epochs, patience)


def expected_epochs(planned: Length, earlier: Sequence[Length]) -> float:
    """Return how many epochs a training is expected to last, given that early stopping has ended earlier ones.

    Kaplan and Meier's survival function [1]_, integrated up to the planned end; durations are counted in patiences.
    A training that its token budget or its last epoch ended is censored: it might have gone on. Without an earlier one
    that was stopped, a training lasts as planned.

    References
    ----------
    .. [1] E. L. Kaplan and P. Meier, Nonparametric estimation from incomplete observations, Journal of the American
       Statistical Association 53 (1958) 457-481.
    """
    patient = [length for length in earlier if length.patience]
    durations = np.array([length.epochs / length.patience for length in patient])
    stopped = np.array([length.stopped for length in patient], dtype=bool)
    if not planned.patience or not stopped.any():
        return planned.epochs
    end = planned.epochs / planned.patience
    expected, survival, before = 0.0, 1.0, 0.0
    for time in np.unique(durations[stopped]):
        if time >= end:
            break
        expected += survival * (time - before)
        survival *= 1 - (durations[stopped] == time).sum() / (durations >= time).sum()
        before = float(time)
    return (expected + survival * (end - before)) * planned.patience


def work_of(
    cases: Mapping[str, int],
    tokens: Mapping[str, float],
    epochs: float,
    *,
    temperature: bool,
    controls: int | None,
) -> Work:
    """Count the work of a run.

    Parameters
    ----------
    cases, tokens : mapping
        Of one pass over train, validation and test; image tokens included.
    epochs : float
        Of training; the validation part is passed at the end of each, and at the end of the last.
    temperature : bool
        Whether the evaluation passes the validation part, too.
    controls : int or None
        Passes over the test part that the controls take; None for no controls.
    """
    lengths = {part: tokens[part] / max(1, cases[part]) for part in ("train", "validation")}
    train_tokens = tokens["train"] * epochs
    # Counts of epochs are rounded to three decimals in records.
    validation_tokens = tokens["validation"] * math.ceil(round(epochs, 3))
    return Work(
        train_samples=cases["train"] * epochs,
        train_tokens=train_tokens,
        validation_tokens=validation_tokens,
        attended=train_tokens * lengths["train"] + validation_tokens * lengths["validation"] / 2,
        evaluation_tokens=tokens["test"] + (tokens["validation"] if temperature else 0),
        control_tokens=None if controls is None else tokens["test"] * controls,
    )
