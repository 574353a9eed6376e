"""Length of a training: epochs, token budget, early stopping."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from transformers import EarlyStoppingCallback, TrainerControl, TrainerState, TrainingArguments

from vlmtsc.settings import PLATEAU, FinetuneSettings, count_passes


@dataclass(frozen=True)
class Schedule:
    """Length of a run, fixed before its first step so that the learning rate can end at zero.

    `steps` are optimizer steps; `accumulation` counts the forward passes in one step, of each process; `stopped_by`
    is "epochs", "token_budget" or "cases", what limits the run; `token_budget` is 0 without limit.
    """

    steps: int
    steps_per_epoch: int
    accumulation: int
    stopped_by: str
    token_budget: int = 0


def plan_schedule(
    tokens: list[int],
    settings: FinetuneSettings,
    processes: int = 1,
    n_classes: int = 1,
    has_image: bool = False,
) -> Schedule:
    """Plan a run on training cases of these lengths: at least one step, within the budgets of tokens and cases.

    Both budgets depend on the number of classes; that of cases applies only with an image. InputError if the micro
    batches of all processes do not divide the batch.
    """
    accumulation = count_passes(settings.batch_size, settings.micro_batch_size, processes)
    steps_per_epoch = math.ceil(len(tokens) / settings.batch_size)
    limits = {"epochs": math.ceil(settings.epochs * steps_per_epoch)}
    if most_tokens := settings.most_tokens(n_classes):
        limits["token_budget"] = int(most_tokens * steps_per_epoch / sum(tokens))
    if has_image and (most_cases := settings.most_cases(n_classes)):
        limits["cases"] = most_cases // settings.batch_size
    stopped_by = min(limits, key=lambda name: limits[name])
    return Schedule(max(1, limits[stopped_by]), steps_per_epoch, accumulation, stopped_by, most_tokens)


def chance_loss(labels: Sequence[int]) -> float:
    """Return the cross-entropy, in nats, of always predicting the class frequencies of `labels`."""
    counts = [labels.count(label) for label in set(labels)]
    return -sum(count / len(labels) * math.log(count / len(labels)) for count in counts)


def patience_in_epochs(epochs: int, steps: int, steps_per_epoch: int) -> int:
    """Return the validations (one each epoch) without progress after which a run stops: at least `steps` steps."""
    return max(epochs, math.ceil(steps / steps_per_epoch))


class PatientEarlyStopping(EarlyStoppingCallback):
    """Early stopping after `patience` validations in a row that improve the best loss by less than `threshold` nats.

    Also where no such improvement is left: the loss is within `threshold` of the lowest possible one, the entropy of
    its targets.

    Validations before the loss is below 0.9 times `chance` (`chance_loss`) do not count: learning to read numbers
    begins with a plateau of about forty steps, several epochs of a small dataset.
    """

    def __init__(self, patience: int, threshold: float, chance: float) -> None:
        super().__init__(patience, threshold)
        self._chance = chance

    def on_evaluate(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        metrics: dict[str, float],
        **kwargs: Any,
    ) -> None:
        """Count a validation without progress, once any was below 0.9 times chance; stop where none is possible."""
        best = min(
            metrics["eval_selection_loss"], math.inf if state.best_metric is None else state.best_metric
        )
        if best <= PLATEAU * self._chance:
            super().on_evaluate(args, state, control, metrics, **kwargs)
        if metrics["eval_selection_loss"] < metrics["eval_lowest_loss"] + self.early_stopping_threshold:
            control.should_training_stop = True

    def state(self) -> dict[str, Any]:
        """Return what a checkpoint stores, so that a resumed run continues the count."""
        stored = super().state()
        names = {"early_stopping_patience": "patience", "early_stopping_threshold": "threshold"}
        arguments = {names[key]: value for key, value in stored["args"].items()}
        return stored | {"args": arguments | {"chance": self._chance}}
