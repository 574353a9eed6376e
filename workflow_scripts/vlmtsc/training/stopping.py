"""When a run ends before its budget."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from transformers import EarlyStoppingCallback, TrainerControl, TrainerState, TrainingArguments

#: A loss above this share of chance's is still the plateau that training begins with.
PLATEAU = 0.9


def chance_loss(labels: Sequence[int]) -> float:
    """Return the cross-entropy, in nats, of always answering with the classes' frequencies.

    Parameters
    ----------
    labels : sequence of int
        Class index of each case.
    """
    counts = [labels.count(label) for label in set(labels)]
    return -sum(count / len(labels) * math.log(count / len(labels)) for count in counts)


def patience_in_epochs(epochs: int, steps: int, steps_per_epoch: int) -> int:
    """Return the validations without progress after which a run stops: at least `epochs`, and `steps` steps.

    Parameters
    ----------
    epochs, steps : int
        What a run is granted, counted in epochs (a validation each) and in optimiser steps.
    steps_per_epoch : int
        Optimiser steps of an epoch, at least 1.
    """
    return max(epochs, math.ceil(steps / steps_per_epoch))


class PatientEarlyStopping(EarlyStoppingCallback):
    """Stops a run that makes no more progress, but not one that has not begun to learn.

    Reading numbers begins with a plateau at chance, for about forty steps; in a small dataset these are several
    epochs. A validation on it does not count against the run.

    Parameters
    ----------
    patience : int
        Validations in a row without progress after which the run stops.
    threshold : float
        How far below the best loss, in nats, a loss is progress.
    chance : float
        `chance_loss` of the validation part.
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
        """Count a validation without progress, once any has been better than chance."""
        best = min(metrics["eval_loss"], math.inf if state.best_metric is None else state.best_metric)
        if best <= PLATEAU * self._chance:
            super().on_evaluate(args, state, control, metrics, **kwargs)

    def state(self) -> dict[str, Any]:
        """Return what a checkpoint keeps, so that an interrupted run goes on with its count."""
        kept = super().state()
        names = {"early_stopping_patience": "patience", "early_stopping_threshold": "threshold"}
        arguments = {names[key]: value for key, value in kept["args"].items()}
        return kept | {"args": arguments | {"chance": self._chance}}
