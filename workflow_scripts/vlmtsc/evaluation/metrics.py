"""Metrics of one run's predictions on its test part."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from sklearn.metrics import accuracy_score, confusion_matrix, f1_score, recall_score
from statsmodels.stats.proportion import proportion_confint

from vlmtsc.errors import InputError
from vlmtsc.evaluation.calibration import calibration_metrics, log_loss


def compute_metrics(label_index: np.ndarray, scores: np.ndarray, classes: Sequence[str]) -> dict[str, Any]:
    """Measure how well the class scores of a test part predict its labels.

    The predicted class is the one with the highest score (the first of them on a tie).

    Parameters
    ----------
    label_index : ndarray of int, shape (n_cases,)
        True class of each case, 0 to ``n_classes - 1``.
    scores : ndarray of float, shape (n_cases, n_classes)
        Log-likelihood in nats of each class's label text; need not be normalised.
    classes : sequence of str, length n_classes
        Original labels, in the order of the columns of `scores`.

    Returns
    -------
    dict
        JSON-ready. ``n_cases``; ``accuracy``; ``accuracy_interval_95``, its Wilson score interval [1]_
        as [low, high]; ``balanced_accuracy`` (mean recall over the classes that occur); ``macro_f1``
        (over the classes that occur or are predicted); ``log_loss`` in nats, of the softmax of the
        scores over the classes; ``majority_rate``, the share of the most frequent class of this test
        part; ``confusion_matrix``, counts with the true class in rows; ``classes``; and those of
        `calibration_metrics`.

    Raises
    ------
    InputError
        If shapes disagree, there is no case or only one class, a label is out of range, or a score is
        not finite.

    References
    ----------
    .. [1] E. B. Wilson, Probable inference, the law of succession, and statistical inference, Journal
       of the American Statistical Association 22 (1927) 209-212.
    """
    true = np.asarray(label_index)
    scores = np.asarray(scores, dtype=np.float64)
    check_predictions(true, scores, classes)
    predicted = scores.argmax(axis=1)
    n_cases, n_classes = scores.shape
    low, high = proportion_confint(int((predicted == true).sum()), n_cases, alpha=0.05, method="wilson")
    return {
        "n_cases": n_cases,
        "accuracy": float(accuracy_score(true, predicted)),
        "accuracy_interval_95": [float(low), float(high)],
        # balanced_accuracy_score is this, with a warning for every class that is predicted but absent
        "balanced_accuracy": float(
            recall_score(true, predicted, labels=np.unique(true), average="macro", zero_division=0)
        ),
        "macro_f1": float(f1_score(true, predicted, average="macro", zero_division=0)),
        "log_loss": log_loss(scores, true),
        "majority_rate": float(np.bincount(true).max() / n_cases),
        "confusion_matrix": confusion_matrix(true, predicted, labels=np.arange(n_classes)).tolist(),
        "classes": [str(name) for name in classes],
        **calibration_metrics(scores, true),
    }


def check_predictions(label_index: np.ndarray, scores: np.ndarray, classes: Sequence[str]) -> None:
    """Raise InputError unless labels, scores and classes fit one another (see `compute_metrics`)."""
    n_classes = len(classes)
    if label_index.ndim != 1 or not np.issubdtype(label_index.dtype, np.integer):
        raise InputError(
            "labels must be integers of shape (n_cases,), "
            f"found {label_index.dtype} of shape {label_index.shape}"
        )
    if len(label_index) == 0:
        raise InputError("no predictions to measure: the test part holds no case")
    if n_classes < 2:
        raise InputError(f"at least two classes are needed, found {n_classes}: {list(classes)}")
    if scores.shape != (len(label_index), n_classes):
        raise InputError(
            "scores must have shape (n_cases, n_classes) = "
            f"{(len(label_index), n_classes)}, found {scores.shape}"
        )
    outside = np.flatnonzero((label_index < 0) | (label_index >= n_classes))
    if len(outside):
        row = outside[0]
        raise InputError(f"label of row {row} is {label_index[row]}, allowed are 0 to {n_classes - 1}")
    not_finite = np.argwhere(~np.isfinite(scores))
    if len(not_finite):
        row, column = not_finite[0]
        raise InputError(
            f"score of row {row} for class {classes[column]!r} is {scores[row, column]}, it must be finite"
        )
