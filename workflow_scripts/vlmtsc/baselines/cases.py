"""What a baseline is given, and what it gives back. No test label is among it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from vlmtsc.errors import InputError

#: Log-probability of a class that the training part does not hold.
ABSENT = -50.0


@dataclass(frozen=True)
class BaselineData:
    """The cases of one split: labels of train and validation only.

    Attributes
    ----------
    train, validation, test : ndarray of float, shape (n_cases, ...)
        Series of shape (n_channels, n_timepoints), or features of shape (n_features,).
    train_labels, validation_labels : ndarray of int64, shape (n_cases,)
        Class indices.
    n_classes : int
        Classes of the whole dataset; one may be absent from the training part.
    """

    train: np.ndarray
    train_labels: np.ndarray
    validation: np.ndarray
    validation_labels: np.ndarray
    test: np.ndarray
    n_classes: int


@dataclass(frozen=True)
class BaselineResult:
    """Scores of a fitted baseline; the class with the highest one is predicted.

    Attributes
    ----------
    validation_scores, test_scores : ndarray of float64, shape (n_cases, n_classes)
        Log-probabilities in nats; of a method without probabilities 1 for the predicted class and 0 for others.
    probabilistic : bool
        Whether the scores are log-probabilities.
    chosen : dict
        Settings that were chosen on the validation part, and limits that were reached; JSON-ready.
    """

    validation_scores: np.ndarray
    test_scores: np.ndarray
    probabilistic: bool
    chosen: dict[str, Any]


def take_parts(
    values: np.ndarray, label_index: np.ndarray, parts: dict[str, np.ndarray], n_classes: int
) -> BaselineData:
    """Divide the cases of a dataset by a split.

    Parameters
    ----------
    values : ndarray of float, shape (n_cases, ...)
    label_index : ndarray of int64, shape (n_cases,)
    parts : dict of str to ndarray of int64
        Case indices of ``train``, ``validation``, ``test``.
    n_classes : int

    Raises
    ------
    InputError
        If a part is empty.
    """
    for name, cases in parts.items():
        if len(cases) == 0:
            raise InputError(f"the {name} part has no case; allowed: at least one")
    return BaselineData(
        values[parts["train"]],
        label_index[parts["train"]],
        values[parts["validation"]],
        label_index[parts["validation"]],
        values[parts["test"]],
        n_classes,
    )


def one_hot(predicted: np.ndarray, n_classes: int) -> np.ndarray:
    """Return scores of a method that only names a class: 1 for it, 0 for the others."""
    return np.eye(n_classes)[predicted]


def all_classes(log_probabilities: np.ndarray, present: np.ndarray, n_classes: int) -> np.ndarray:
    """Give classes that a method has not seen in training the log-probability `ABSENT`.

    Parameters
    ----------
    log_probabilities : ndarray of float, shape (n_cases, n_present)
        Values below `ABSENT` are raised to it, so that none is infinite.
    present : ndarray of int, shape (n_present,)
        Class index of each column.
    n_classes : int
    """
    scores = np.full((len(log_probabilities), n_classes), ABSENT)
    scores[:, present] = np.maximum(log_probabilities, ABSENT)
    return scores
