"""The prediction of runs, from earlier ones."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from vlmtsc.planning.cost_model import LEFT_OUT, Error, learn_costs, spread_out
from vlmtsc.planning.history import EarlierRun
from vlmtsc.planning.work import STEPS, Length, Work, expected_epochs, planned_length, work_of


@dataclass(frozen=True)
class Prediction:
    """What a run is expected to cost.

    Attributes
    ----------
    work : Work
    at_most : Length
        How long training is without early stopping.
    epochs : float
        That are expected.
    seconds : dict of str to float
        Wall time by step.
    """

    work: Work
    at_most: Length
    epochs: float
    seconds: dict[str, float]

    @property
    def total(self) -> float:
        """Seconds of all steps."""
        return sum(self.seconds.values())


class Forecaster:
    """Predicts the runs of one model on one machine.

    Parameters
    ----------
    model : str
    earlier : sequence of EarlierRun
        Of any model.
    device : str, optional
        What will compute. Runs on another one are learnt from only where there are none on this.
    threads : int, optional
        Of each job; the same.
    """

    def __init__(
        self, model: str, earlier: Sequence[EarlierRun], device: str | None = None, threads: int | None = None
    ) -> None:
        self.model = model
        of_model = [run for run in earlier if run.model == model]
        alike = [
            run
            for run in of_model
            if (device is None or run.device == device) and (threads is None or run.threads == threads)
        ]
        self.earlier = alike or of_model
        #: Whether earlier runs were made on other hardware, or with other threads.
        self.elsewhere = bool(of_model) and not alike
        self.costs = learn_costs([run.measured() for run in self.earlier], STEPS)
        self._error: Error | None = None

    def predict(
        self,
        cases: Mapping[str, int],
        tokens: Mapping[str, float],
        recipe: Mapping[str, Any],
        *,
        temperature: bool,
        controls: int | None,
    ) -> Prediction:
        """Predict a run from the cases and tokens of one pass over its parts (see `work_of`) and its recipe."""
        at_most = planned_length(cases["train"], tokens["train"], recipe)
        epochs = expected_epochs(at_most, [run.done for run in self.earlier])
        work = work_of(cases, tokens, epochs, temperature=temperature, controls=controls)
        seconds = {
            step: float(self.costs[step] @ features)
            for step in STEPS
            if (features := work.features(step)) is not None
        }
        return Prediction(work, at_most, epochs, seconds)

    @property
    def error(self) -> Error:
        """How far off this is: earlier runs, each predicted from all others."""
        if self._error is None:
            rows = left_out(self.earlier)
            self._error = Error(tuple(sorted(row.ratio for row in rows)))
        return self._error


@dataclass(frozen=True)
class LeftOut:
    """An earlier run, predicted from all others of its model: seconds of its steps that were measured."""

    run: EarlierRun
    predicted: dict[str, float]

    @property
    def measured(self) -> dict[str, float]:
        """Seconds as measured, of the same steps."""
        return {step: self.run.seconds[step] for step in self.predicted}

    @property
    def ratio(self) -> float:
        """Measured seconds of all steps over predicted ones."""
        return sum(self.measured.values()) / sum(self.predicted.values())


def left_out(earlier: Sequence[EarlierRun], number: int = LEFT_OUT) -> list[LeftOut]:
    """Predict earlier runs of one model, each from all others, as if it had not been made.

    How long it trains is predicted too, not taken from what it did.

    Parameters
    ----------
    earlier : sequence of EarlierRun
    number : int
        Of runs that are left out in turn, spread over all.
    """
    rows: list[LeftOut] = []
    if len(earlier) < 2:
        return rows
    for index in spread_out(range(len(earlier)), number):
        run = earlier[index]
        others = [other for other in earlier if other is not run]
        costs = learn_costs([other.measured() for other in others], STEPS)
        epochs = expected_epochs(run.planned, [other.done for other in others])
        features = run.measured(epochs).features
        rows.append(
            LeftOut(
                run,
                {
                    step: float(np.dot(costs[step], features[step]))
                    for step in features
                    if step in run.seconds
                },
            )
        )
    return rows
