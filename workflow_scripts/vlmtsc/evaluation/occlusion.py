"""Explanations by occlusion: how much less likely an answer is without a part of the series."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from scipy.special import logsumexp, softmax

from vlmtsc.data.cleaning import fill_missing
from vlmtsc.errors import InputError
from vlmtsc.evaluation.new_series import score_cases, template_paragraphs
from vlmtsc.evaluation.predictor import Predictor
from vlmtsc.settings import OcclusionOptions

logger = logging.getLogger(__name__)

#: Share of the forward passes of a case that rate windows, each occluded in two ways; the others measure faithfulness.
RATING_SHARE = 2 / 3
#: Share of the explained cases that are errors, at most.
ERROR_SHARE = 1 / 3


@dataclass(frozen=True)
class Explanation:
    """Attribution of one answer to windows of time, and its faithfulness.

    Attributes
    ----------
    id : str
    predicted : int
        Index of the class whose answer is explained, the likeliest.
    probability : float
    edges : list of int
        First timepoint of each window, and the number of timepoints.
    attribution : list of float
        By window, the drop without it, in nats, of the answer's log-odds (log-likelihood against those of all other
        answers; probabilities close to 1 hardly move): the mean of both replacements.
    deletion_gain, insertion_gain : float
        In nats, the mean further drop where the windows of the highest attribution are replaced rather than random
        ones; and the mean lead where only they are shown. Positive: better than random occlusion.
    """

    id: str
    predicted: int
    probability: float
    edges: list[int]
    attribution: list[float]
    deletion_gain: float
    insertion_gain: float

    def by_timepoint(self) -> np.ndarray:
        """Return the attribution of each timepoint, float64 of shape (n_timepoints,)."""
        return np.repeat(self.attribution, np.diff(self.edges))


def occlude(case: np.ndarray, hidden: np.ndarray, mean: np.ndarray | None) -> np.ndarray:
    """Replace the timepoints `hidden` (bool) of a series, shape (n_channels, n_timepoints).

    By the values of `mean`, of the same shape; or if it is None by linear interpolation between the other timepoints,
    of which there is at least one.
    """
    return fill_missing(np.where(hidden, np.nan, case)) if mean is None else np.where(hidden, mean, case)


def explain_cases(
    predictor: Predictor,
    ids: Sequence[str],
    cases: np.ndarray,
    mean: np.ndarray,
    *,
    passes: int,
) -> tuple[list[Explanation], int]:
    """Explain the likeliest answers for prepared series; return the explanations and the number of forward passes.

    Windows of time are replaced in all channels at once, by interpolation and by the training set's mean; the series is
    drawn and written again each time.

    Parameters
    ----------
    cases : ndarray of float64, shape (n_cases, n_channels, n_timepoints)
    mean : ndarray of float64, shape (n_channels, n_timepoints)
        Mean of the training series of all classes.
    passes : int
        Maximum forward passes of one case, beside the one of the unchanged series.

    Raises
    ------
    InputError
        If questions contain descriptions that cannot be written again (`template_paragraphs`), or series have one
        timepoint.
    """
    n_timepoints = cases.shape[2]
    if n_timepoints < 2:
        raise InputError("series of one timepoint have no parts to explain; allowed: two timepoints or more")
    n_windows = min(n_timepoints, max(2, int(passes * RATING_SHARE / 2)))
    steps = max(1, (passes - 2 * n_windows) // 4)
    edges = np.linspace(0, n_timepoints, n_windows + 1).round().astype(int)
    window_of = np.repeat(np.arange(n_windows), np.diff(edges))
    counts = [max(1, round(n_windows * (step + 1) / (2 * steps))) for step in range(steps)]
    scenario = predictor.representation.scenario

    def score(variants: list[np.ndarray]) -> np.ndarray:
        paragraphs = template_paragraphs(variants, scenario, "explanation")
        names = [str(number) for number in range(len(variants))]
        stacked = np.stack(variants)
        return score_cases(predictor, names, stacked, paragraphs, slack=scenario.context_length)

    scores = score(list(cases))
    predicted = scores.argmax(axis=1)

    def log_odds(scores: np.ndarray) -> np.ndarray:
        """Return the log-odds of each case's answer; each case has equally many of the rows of scores."""
        answers = np.repeat(predicted, len(scores) // len(cases))
        own = np.eye(scores.shape[1], dtype=bool)[answers]
        others: np.ndarray = logsumexp(np.where(own, -np.inf, scores), axis=1)
        return (scores[own] - others).reshape(len(cases), -1)

    masks = [window_of == window for window in range(n_windows)]
    rated = [occlude(case, mask, fill) for case in cases for fill in (None, mean) for mask in masks]
    rest = log_odds(score(rated)).reshape(len(cases), 2, n_windows).mean(axis=1)
    attributions = log_odds(scores) - rest
    random = np.random.default_rng(0)
    curves = []
    for case, attribution in zip(cases, attributions, strict=True):
        best = np.argsort(-attribution, kind="stable")
        for count in counts:
            for windows in (best[:count], random.permutation(n_windows)[:count]):
                chosen = np.isin(window_of, windows)
                curves += [occlude(case, chosen, mean), occlude(case, ~chosen, mean)]
    # By case, step, best or random windows, deleted or inserted.
    measured = log_odds(score(curves)).reshape(len(cases), steps, 2, 2).mean(axis=1)
    gains = measured[:, 0] - measured[:, 1]
    probabilities = softmax(scores, axis=1)
    explanations = [
        Explanation(
            id=identity,
            predicted=int(predicted[row]),
            probability=float(probabilities[row].max()),
            edges=edges.tolist(),
            attribution=attributions[row].tolist(),
            deletion_gain=float(-gains[row, 0]),
            insertion_gain=float(gains[row, 1]),
        )
        for row, identity in enumerate(ids)
    ]
    return explanations, len(cases) + len(rated) + len(curves)


def choose_cases(
    values: np.ndarray, label_index: np.ndarray, scores: np.ndarray, limit: int
) -> list[tuple[int, str]]:
    """Choose up to `limit` test cases to explain: rows, each with its kind, ``error`` or ``typical``.

    Errors are the most confident ones; typical cases the nearest to the mean of their class, of each class in turn.
    """
    probabilities = softmax(scores, axis=1).max(axis=1)
    wrong = np.flatnonzero(scores.argmax(axis=1) != label_index)
    errors = wrong[np.argsort(-probabilities[wrong], kind="stable")][: int(limit * ERROR_SHARE)].tolist()
    ranked = []
    for label in np.unique(label_index).tolist():
        own = np.flatnonzero(label_index == label)
        distances = np.square(values[own] - values[own].mean(axis=0)).sum(axis=(1, 2))
        ranked += [(rank, label, row) for rank, row in enumerate(own[np.argsort(distances)].tolist())]
    typical = [row for _, _, row in sorted(ranked) if row not in errors][: limit - len(errors)]
    return [(row, "typical") for row in typical] + [(row, "error") for row in errors]


def explain_test_set(
    predictor: Predictor,
    test: Sequence[Mapping[str, Any]],
    values: np.ndarray,
    scores: np.ndarray,
    mean: np.ndarray,
    options: OcclusionOptions,
) -> dict[str, Any]:
    """Explain cases of a test set (`choose_cases`); return what `evaluate_model` writes.

    `values` are the series of the conversations `test`, `scores` their log-likelihoods. The result has ``cases``,
    fields of `Explanation` with ``kind`` and ``true``; ``passes`` and ``seconds``; and ``reason``, why there are none.
    """
    started = time.monotonic()
    label_index = np.array([record["label_index"] for record in test])
    chosen = choose_cases(values, label_index, scores, options.cases)
    rows = [row for row, _ in chosen]
    ids = [test[row]["id"] for row in rows]
    found: list[Explanation] = []
    passes, reason = 0, None
    try:
        found, passes = explain_cases(predictor, ids, values[rows], mean, passes=options.passes)
    except InputError as error:
        reason = str(error)
    seconds = round(time.monotonic() - started, 1)
    logger.info("%d cases explained with %d forward passes in %.1f s", len(found), passes, seconds)
    cases = [
        asdict(explanation) | {"kind": kind, "true": int(label_index[row])}
        for explanation, (row, kind) in zip(found, chosen, strict=False)
    ]
    return {"cases": cases, "passes": passes, "seconds": seconds, "reason": reason}
