"""A small model of what a step costs: seconds for its start, and for each token."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np

Item = TypeVar("Item")

#: Seconds assumed while no earlier run tells: for a start, then for each unit of the other features (`Work.features`).
#: Roughly what the embedded model took on one core of a busy machine; attention as 6 layers of width 576 have it.
ASSUMED: dict[str, tuple[float, ...]] = {
    "finetune_model": (6.0, 1 / 1000, 1 / 2000, 1 / 3.5e6),
    "evaluate_model": (5.0, 1 / 2500),
    "evaluate_controls": (4.0, 1 / 2500),
    # Start, cases.
    "render_plots": (1.0, 0.01),
    "build_conversations": (2.0, 0.002),
    # Start alone.
    "download_model_parts": (10.0,),
    "assemble_model": (30.0,),
    "download_dataset": (3.0,),
    "preprocess_dataset": (1.0,),
    "split_dataset": (2.0,),
    "describe_series": (3.0,),
}
#: Standard deviations of the logarithms of what is fitted: noise of a measurement (other work on the machine), the
#: common factor of all costs of a step against those assumed, and each cost's own factor beside it.
NOISE, COMMON, OWN = 0.3, 2.0, 0.7
#: Earlier runs that are learnt from, and that are left out one by one to measure the error, at most.
LEARNT_FROM, LEFT_OUT = 100, 25
#: Earlier runs that a range needs.
FOR_A_RANGE = 5


@dataclass(frozen=True)
class Measured:
    """What a run cost, or would have cost.

    Attributes
    ----------
    features : mapping of str to tuple of float
        By step, what its seconds are proportional to.
    seconds : mapping of str to float
        By step, as measured; steps that were not measured are absent.
    """

    features: Mapping[str, tuple[float, ...]]
    seconds: Mapping[str, float]


def fit_costs(features: np.ndarray, seconds: np.ndarray, assumed: Sequence[float]) -> np.ndarray:
    """Fit positive costs of each feature to measured seconds.

    The most probable costs if logarithms of measurements are off by `NOISE`, with a loss that grows only linearly for
    those that are off by more, and costs differ from the assumed ones by a common factor and each by its own. So one
    measurement scales all of them, and many decide on each.

    Parameters
    ----------
    features : ndarray of float, shape (n_measured, n_features)
    seconds : ndarray of float, shape (n_measured,)
    assumed : sequence of float, length n_features

    Returns
    -------
    ndarray of float, shape (n_features,)
        Seconds for each unit of each feature; those assumed if there is no measurement.
    """
    from scipy.optimize import least_squares  # half a second, which a plan without earlier runs does without

    logarithms = np.log(np.asarray(assumed, dtype=float))

    def residuals(factors: np.ndarray) -> np.ndarray:
        costs = np.exp(logarithms + factors[0] + factors[1:])
        off = np.log(features @ costs / seconds) / NOISE
        # sqrt of SciPy's soft_l1, which would otherwise also apply to the priors below.
        robust = np.sign(off) * np.sqrt(2 * (np.sqrt(1 + off**2) - 1))
        return np.concatenate([robust, [factors[0] / COMMON], factors[1:] / OWN])

    found = least_squares(residuals, np.zeros(len(logarithms) + 1)).x
    return np.asarray(np.exp(logarithms + found[0] + found[1:]))


def learn_costs(earlier: Sequence[Measured], steps: Sequence[str]) -> dict[str, np.ndarray]:
    """Return the costs of each step, learnt from earlier runs that have it."""
    costs = {}
    for step in steps:
        rows = [
            (run.features[step], run.seconds[step])
            for run in earlier
            if step in run.seconds and step in run.features and run.seconds[step] > 0
        ]
        costs[step] = np.asarray(ASSUMED[step], dtype=float)
        if rows:
            features, seconds = zip(*rows, strict=True)
            costs[step] = fit_costs(np.array(features), np.array(seconds), ASSUMED[step])
    return costs


def spread_out(items: Sequence[Item], number: int) -> list[Item]:
    """Return `number` of the items at equal distances; all, if there are no more."""
    if len(items) <= number:
        return list(items)
    return [items[round(index)] for index in np.linspace(0, len(items) - 1, number)]


@dataclass(frozen=True)
class Error:
    """How far off predictions of earlier runs are, each made from the others.

    Attributes
    ----------
    ratios : tuple of float
        Measured seconds of a run over predicted ones, sorted.
    """

    ratios: tuple[float, ...]

    @property
    def bounds(self) -> tuple[float, float] | None:
        """What a prediction is multiplied by for its range: the middle 80% of the ratios; None for too few of them."""
        if len(self.ratios) < FOR_A_RANGE:
            return None
        low, high = np.quantile(self.ratios, [0.1, 0.9])
        return float(low), float(high)

    @property
    def median(self) -> float:
        """Median of the ratios."""
        return float(np.median(self.ratios))

    @property
    def factor(self) -> float:
        """Factor by which half of the predictions are off at most, in either direction."""
        return float(np.exp(np.median(np.abs(np.log(self.ratios)))))

    @property
    def worst(self) -> float:
        """The ratio that is farthest from 1."""
        return max(self.ratios, key=lambda ratio: abs(np.log(ratio)))
