"""Which cases a reader is shown: a few of each class, and those that models have most confidently wrong."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.special import softmax

from vlmtsc.errors import InputError


def first_cases(label_index: np.ndarray, part: np.ndarray, n_classes: int, limit: int) -> list[list[int]]:
    """Return the first cases of each class, in the order of a part of the split.

    Parameters
    ----------
    label_index : ndarray of int64, shape (n_cases,)
        Class of each case of the dataset.
    part : ndarray of int64
        Positions of the part's cases. The split has put them into an order that knows nothing of the series.
    n_classes : int
    limit : int
        Cases of each class at most.

    Returns
    -------
    list of list of int
        Positions by class index; an empty list where the part has no case of a class.
    """
    classes = label_index[part]
    return [part[classes == index][:limit].tolist() for index in range(n_classes)]


@dataclass(frozen=True)
class ScoredRun:
    """The predictions of one run on the test part.

    Attributes
    ----------
    seed : int
    ids : sequence of str
        Cases, in the order of the test part.
    label_index : ndarray of int64, shape (n_cases,)
    scores : ndarray of float64, shape (n_cases, n_classes)
        Log-likelihoods of the classes' answers.
    """

    seed: int
    ids: Sequence[str]
    label_index: np.ndarray
    scores: np.ndarray


@dataclass(frozen=True)
class WrongCase:
    """A test case that a model has wrong, in the run that is surest of a wrong class.

    Attributes
    ----------
    id : str
    seed : int
        The run.
    true, predicted : int
        Class indices.
    scores, probabilities : ndarray of float64, shape (n_classes,)
        Log-likelihoods of the classes' answers, and their softmax.
    wrong_seeds : tuple of int
        All runs that have the case wrong.
    """

    id: str
    seed: int
    true: int
    predicted: int
    scores: np.ndarray
    probabilities: np.ndarray
    wrong_seeds: tuple[int, ...]


def confidence_order(runs: Sequence[ScoredRun]) -> list[WrongCase]:
    """Return the cases that runs have wrong, the highest probability of the predicted class first.

    Parameters
    ----------
    runs : sequence of ScoredRun
        Runs that differ in nothing but their seeds, on the same cases.

    Returns
    -------
    list of WrongCase
        Each case once. Cases of equal probability stay in the order of the test part, and of equal runs the first
        counts.

    Raises
    ------
    InputError
        If the runs have other cases.

    Notes
    -----
    What is compared is the odds against the predicted class: beside a probability that is rounded to 1, it still
    tells which of two is the surer.
    """
    found: dict[str, list[tuple[float, int, int, int]]] = {}
    for place, run in enumerate(runs):
        if list(run.ids) != list(runs[0].ids):
            raise InputError(
                f"seeds {runs[0].seed} and {run.seed} have predicted other cases; allowed: the same test part"
            )
        predicted = run.scores.argmax(axis=1)
        odds = odds_against_best(run.scores)
        for row in np.flatnonzero(predicted != run.label_index).tolist():
            found.setdefault(run.ids[row], []).append((float(odds[row]), row, place, int(predicted[row])))
    cases = []
    for identity, entries in found.items():
        against, row, place, predicted_class = min(entries, key=lambda entry: (entry[0], entry[2]))
        run = runs[place]
        case = WrongCase(
            id=identity,
            seed=run.seed,
            true=int(run.label_index[row]),
            predicted=predicted_class,
            scores=run.scores[row],
            probabilities=softmax(run.scores[row]),
            wrong_seeds=tuple(runs[entry[2]].seed for entry in entries),
        )
        cases.append((against, row, case))
    return [case for _, _, case in sorted(cases, key=lambda entry: entry[:2])]


def odds_against_best(scores: np.ndarray) -> np.ndarray:
    """Return the odds against the class with the highest score, under the softmax of the scores.

    Parameters
    ----------
    scores : ndarray of float64, shape (n_cases, n_classes)

    Returns
    -------
    ndarray of float64, shape (n_cases,)
    """
    relative = np.exp(scores - scores.max(axis=1, keepdims=True))
    relative[np.arange(len(scores)), scores.argmax(axis=1)] = 0.0
    total: np.ndarray = relative.sum(axis=1)
    return total


def classes_to_show(
    case_probabilities: np.ndarray, always: Sequence[int], limit: int
) -> tuple[list[int], int, float]:
    """Choose the classes whose probabilities are shown.

    Parameters
    ----------
    case_probabilities : ndarray of float64, shape (n_classes,)
    always : sequence of int
        Classes that are shown whatever their probability: the true one and the predicted one.
    limit : int
        Classes to show, if there are more than one beyond it: a lone class is shown rather than summed up.

    Returns
    -------
    shown : list of int
        Class indices, the likeliest first.
    n_left : int
        How many classes are left out.
    share : float
        Their probability in all.
    """
    order = np.argsort(-case_probabilities, kind="stable").tolist()
    if len(order) <= limit + 1:
        return order, 0, 0.0
    wanted = {*always}
    for index in order:
        if len(wanted) >= limit:
            break
        wanted.add(index)
    shown = [index for index in order if index in wanted]
    left = [index for index in order if index not in wanted]
    return shown, len(left), float(case_probabilities[left].sum())


def shortened(text: str, limit: int) -> tuple[str, int, str]:
    """Cut a long text in its middle.

    Parameters
    ----------
    text : str
    limit : int
        Characters to keep.

    Returns
    -------
    head : str
        The whole text if it is short enough.
    n_left : int
        Characters between `head` and `tail`.
    tail : str
    """
    if len(text) <= limit:
        return text, 0, ""
    tail = limit // 3  # the question is at the end, what the series looks like at the beginning
    head = limit - tail
    return text[:head], len(text) - limit, text[-tail:]
