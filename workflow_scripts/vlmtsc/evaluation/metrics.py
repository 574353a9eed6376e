"""Predictions as a table, and metrics of a run on its test set: accuracy, calibration, generated answers."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from scipy.optimize import minimize_scalar
from scipy.special import log_softmax, softmax
from sklearn.calibration import calibration_curve
from sklearn.metrics import accuracy_score, brier_score_loss, confusion_matrix, f1_score, recall_score
from statsmodels.stats.proportion import proportion_confint

from vlmtsc.errors import InputError
from vlmtsc.evaluation.constants import ALIGNED

#: Class index of a generated text that is none of the answers.
INVALID = -1
#: Bins of equal width over [0, 1] for the expected calibration error, as in Guo et al. (2017).
BINS = 15
#: Range of fitted temperatures. A validation set without errors would be fitted best by 0.
TEMPERATURES = (0.05, 20.0)


def prediction_table(
    ids: Sequence[str],
    scores: np.ndarray,
    classes: Sequence[str],
    labels: np.ndarray | None = None,
    generated: tuple[Sequence[str], np.ndarray] | None = None,
    aligned: np.ndarray | None = None,
) -> pd.DataFrame:
    """Return one row for each case.

    Parameters
    ----------
    ids : sequence of str
    scores : ndarray of float64, shape (n_cases, n_classes)
        Log-likelihoods of the classes' answers.
    classes : sequence of str
        The archive's labels, by class index.
    labels : ndarray of int64, shape (n_cases,), optional
        True class indices.
    generated : tuple of sequence of str and ndarray of int64, shape (n_cases,), optional
        Generated texts, and the index of the class that each one names or `INVALID`.
    aligned : ndarray of float64, shape (n_cases, n_classes), optional
        Scores of the aligned projector alone; its predictions are a column of their own.

    Returns
    -------
    pandas.DataFrame
        Columns id, true (if known), predicted, and ``score_<class>`` for each class; with generated texts also
        ``generated``, escaped by `printable`, and ``generated_class``, empty where the text is invalid.
    """
    names = np.asarray(classes)
    columns: dict[str, object] = {"id": list(ids)}
    if labels is not None:
        columns["true"] = names[labels]
    columns["predicted"] = names[scores.argmax(axis=1)]
    columns |= {f"score_{name}": scores[:, index] for index, name in enumerate(classes)}
    if aligned is not None:
        columns[ALIGNED] = names[aligned.argmax(axis=1)]
    if generated is not None:
        texts, indices = generated
        columns["generated"] = [printable(text) for text in texts]
        columns["generated_class"] = [str(names[index]) if index >= 0 else "" for index in indices]
    return pd.DataFrame(columns)


def printable(text: str) -> str:
    r"""Escape unprintable characters, such as ``\r``, which pandas does not quote but reads as the end of a row."""
    return "".join(sign if sign.isprintable() else repr(sign)[1:-1] for sign in text)


def read_predictions(path: Path) -> tuple[list[str], np.ndarray, np.ndarray]:
    """Read a table of `prediction_table` with true classes.

    Returns
    -------
    ids : list of str
    label_index : ndarray of int64, shape (n_cases,)
        True classes, in the order of the score columns.
    scores : ndarray of float64, shape (n_cases, n_classes)

    Raises
    ------
    InputError
        If columns are missing, or a true class has no score column.
    """
    table = pd.read_csv(path, dtype={"id": str, "true": str, "predicted": str}, keep_default_na=False)
    columns = [name for name in table if name.startswith("score_")]
    missing = [name for name in ("id", "true") if name not in table]
    if missing or len(columns) < 2:
        raise InputError(
            f"{path}: columns {', '.join(table)}; allowed: id, true, predicted and score_<class> for each class"
        )
    position = {name.removeprefix("score_"): index for index, name in enumerate(columns)}
    unknown = sorted(set(table["true"]) - set(position))
    if unknown:
        raise InputError(f"{path}: true class {unknown[0]!r}; allowed: {', '.join(position)}")
    labels = np.array([position[name] for name in table["true"]], dtype=np.int64)
    return table["id"].tolist(), labels, table[columns].to_numpy(dtype=np.float64)


def compute_metrics(label_index: np.ndarray, scores: np.ndarray, classes: Sequence[str]) -> dict[str, Any]:
    """Measure how well class scores predict the labels of a test set.

    The class with the highest score is predicted, the first on a tie.

    Parameters
    ----------
    label_index : ndarray of int, shape (n_cases,)
        True class of each case, 0 to ``n_classes - 1``.
    scores : ndarray of float, shape (n_cases, n_classes)
        Log-likelihood in nats of each class's answer; need not be normalised.
    classes : sequence of str, length n_classes
        Original labels, in the order of the columns of `scores`.

    Returns
    -------
    dict
        JSON-ready. ``n_cases``; ``accuracy``; ``accuracy_interval_95``, its Wilson score interval [1]_
        as [low, high]; ``balanced_accuracy`` (mean recall over the classes that occur); ``macro_f1``
        (over the classes that occur or are predicted); ``log_loss`` in nats, of the softmax of the
        scores; ``majority_rate``, the share of the most frequent class; ``confusion_matrix``, counts
        with the true class in rows; ``classes``; and those of `calibration_metrics`.

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
    _check(true, scores, classes)
    predicted = scores.argmax(axis=1)
    n_cases, n_classes = scores.shape
    low, high = proportion_confint(int((predicted == true).sum()), n_cases, alpha=0.05, method="wilson")
    return {
        "n_cases": n_cases,
        "accuracy": float(accuracy_score(true, predicted)),
        "accuracy_interval_95": [float(low), float(high)],
        # balanced_accuracy_score without its warning for classes that are predicted but absent
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


def _check(label_index: np.ndarray, scores: np.ndarray, classes: Sequence[str]) -> None:
    """Raise InputError unless labels, scores and classes fit one another."""
    n_classes = len(classes)
    if label_index.ndim != 1 or not np.issubdtype(label_index.dtype, np.integer):
        raise InputError(
            f"labels must be integers of shape (n_cases,), found {label_index.dtype} of shape {label_index.shape}"
        )
    if len(label_index) == 0:
        raise InputError("no predictions to measure: the test set has no case")
    if n_classes < 2:
        raise InputError(f"at least two classes are needed, found {n_classes}: {list(classes)}")
    if scores.shape != (len(label_index), n_classes):
        expected = (len(label_index), n_classes)
        raise InputError(f"scores must have shape (n_cases, n_classes) = {expected}, found {scores.shape}")
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


def log_loss(scores: np.ndarray, label_index: np.ndarray) -> float:
    """Return the mean negative log-likelihood in nats of the true classes, of the softmax of the scores.

    scikit-learn's log_loss takes probabilities and has to clip those that underflow.

    Parameters
    ----------
    scores : ndarray of float64, shape (n_cases, n_classes)
    label_index : ndarray of int, shape (n_cases,)
    """
    return float(-log_softmax(scores, axis=1)[np.arange(len(label_index)), label_index].mean())


def reliability_curve(
    probabilities: np.ndarray, label_index: np.ndarray, bins: int = BINS
) -> list[dict[str, float]]:
    """Return the accuracy of the most likely class by its probability.

    Parameters
    ----------
    probabilities : ndarray of float64, shape (n_cases, n_classes)
    label_index : ndarray of int, shape (n_cases,)
    bins : int
        Bins of equal width, closed on the right.

    Returns
    -------
    list of dict
        For each bin that is not empty, in ascending order: ``confidence``, the mean probability of the most likely
        class; ``accuracy``; ``cases``.
    """
    confidence = probabilities.max(axis=1).clip(0, 1)
    right = probabilities.argmax(axis=1) == label_index
    accuracies, confidences = calibration_curve(right, confidence, pos_label=True, n_bins=bins)
    inner_edges = np.linspace(0, 1, bins + 1)[1:-1]
    counts = np.bincount(np.searchsorted(inner_edges, confidence))
    return [
        {"confidence": float(mean), "accuracy": float(accuracy), "cases": int(count)}
        for mean, accuracy, count in zip(confidences, accuracies, counts[counts > 0], strict=True)
    ]


def expected_calibration_error(curve: list[dict[str, float]]) -> float:
    """Return the mean distance of accuracy from confidence in the bins of `reliability_curve`, weighted by cases [1]_.

    References
    ----------
    .. [1] C. Guo et al., On calibration of modern neural networks, ICML 2017.
    """
    cases = sum(point["cases"] for point in curve)
    return sum(point["cases"] * abs(point["accuracy"] - point["confidence"]) for point in curve) / cases


def calibration_metrics(scores: np.ndarray, label_index: np.ndarray) -> dict[str, object]:
    """Measure the calibration of class scores.

    Returns
    -------
    dict
        Of the softmax of the scores: ``expected_calibration_error``; ``brier_score``, the mean squared distance from
        the true class over all classes, 0 to 2 as Brier [1]_ defines it (with two classes twice the value that is
        often given this name); ``reliability_curve``.

    References
    ----------
    .. [1] G. W. Brier, Verification of forecasts expressed in terms of probability, Monthly Weather Review 78
       (1950) 1-3.
    """
    probabilities = softmax(scores, axis=1)
    curve = reliability_curve(probabilities, label_index)
    return {
        "expected_calibration_error": expected_calibration_error(curve),
        "brier_score": float(
            brier_score_loss(label_index, probabilities, labels=range(scores.shape[1]), scale_by_half=False)
        ),
        "reliability_curve": curve,
    }


def fit_temperature(scores: np.ndarray, label_index: np.ndarray) -> float:
    """Return the temperature, within `TEMPERATURES`, that minimises the log-loss of the scores divided by it.

    Parameters
    ----------
    scores : ndarray of float64, shape (n_cases, n_classes)
        Of the validation set, never of the test set.
    label_index : ndarray of int, shape (n_cases,)
    """
    low, high = (1 / bound for bound in reversed(TEMPERATURES))
    # The log-loss is convex in the inverse temperature.
    fitted = minimize_scalar(
        lambda inverse: log_loss(scores * inverse, label_index), bounds=(low, high), method="bounded"
    )
    return float(1 / fitted.x)


def temperature_metrics(
    validation: tuple[np.ndarray, np.ndarray], test: tuple[np.ndarray, np.ndarray]
) -> dict[str, float]:
    """Fit a temperature on the validation set, and measure its effect on the test set; no prediction changes.

    Parameters
    ----------
    validation, test : tuple of ndarray
        Scores, float64 of shape (n_cases, n_classes), and labels, int of shape (n_cases,).

    Returns
    -------
    dict
        ``temperature``; ``temperature_cases``, of the validation set; ``log_loss_at_temperature`` in nats and
        ``expected_calibration_error_at_temperature`` of the test set.
    """
    temperature = fit_temperature(*validation)
    scores, labels = test
    curve = reliability_curve(softmax(scores / temperature, axis=1), labels)
    return {
        "temperature": temperature,
        "temperature_cases": len(validation[1]),
        "log_loss_at_temperature": log_loss(scores / temperature, labels),
        "expected_calibration_error_at_temperature": expected_calibration_error(curve),
    }


def generation_metrics(label_index: np.ndarray, generated_index: np.ndarray) -> dict[str, float | None]:
    """Measure generated answers.

    Parameters
    ----------
    label_index : ndarray of int, shape (n_cases,)
    generated_index : ndarray of int, shape (n_cases,)
        Class index of the generated text, or `INVALID`.

    Returns
    -------
    dict
        ``generated_valid_rate``, the share of cases with a valid answer; ``generated_accuracy_of_valid``, the
        accuracy on those (None if there are none); ``generated_accuracy``, in which an invalid answer is wrong.
    """
    valid = generated_index != INVALID
    right = generated_index == label_index
    return {
        "generated_valid_rate": float(valid.mean()),
        "generated_accuracy_of_valid": float(right[valid].mean()) if valid.any() else None,
        "generated_accuracy": float(right.mean()),
    }
