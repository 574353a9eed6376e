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


def finite_scores(scores: np.ndarray, classes: Sequence[str]) -> np.ndarray:
    """Return scores as float64; InputError if one is not finite, since no class would be the most likely."""
    scores = np.asarray(scores, dtype=np.float64)
    if len(not_finite := np.argwhere(~np.isfinite(scores))):
        row, column = not_finite[0]
        raise InputError(
            f"score of row {row} for class {classes[column]!r} is {scores[row, column]}, it must be finite"
        )
    return scores


def prediction_table(
    ids: Sequence[str],
    scores: np.ndarray,
    classes: Sequence[str],
    labels: np.ndarray | None = None,
    generated: tuple[Sequence[str], np.ndarray] | None = None,
    aligned: np.ndarray | None = None,
) -> pd.DataFrame:
    """Return one row for each case.

    `scores` are log-likelihoods of the classes' answers, float64 of shape (n_cases, n_classes); `classes` the
    archive's labels; `labels` true class indices; `generated` texts with the indices of the classes that they name,
    or `INVALID`; `aligned` the scores of the aligned projector alone. Columns: id, true (if known), predicted,
    ``score_<class>`` for each class, with `aligned` its predictions; with generated texts also ``generated``, escaped
    by `printable`, and ``generated_class``, empty where the text is invalid.
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
    """Read identifiers, true class indices and scores from a table of `prediction_table` with true classes.

    Indices, int64 of shape (n_cases,), follow the order of the score columns; scores are float64 of shape (n_cases,
    n_classes). InputError if columns are missing, or a true class has no score column.
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


def compute_metrics(
    label_index: np.ndarray, scores: np.ndarray, classes: Sequence[str], valid: np.ndarray | None = None
) -> dict[str, Any]:
    """Measure how well class scores predict the labels of a test set.

    The class with the highest score is predicted, the first on a tie. InputError if a score is not finite.

    Parameters
    ----------
    label_index : ndarray of int, shape (n_cases,)
        True class of each case, 0 to ``n_classes - 1``.
    scores : ndarray of float, shape (n_cases, n_classes)
        Log-likelihood in nats of each class's answer; need not be normalised.
    classes : sequence of str, length n_classes
        Original labels, in the order of the columns of `scores`.
    valid : ndarray of bool, shape (n_cases,), optional
        Cases with a prediction at all; the others are wrong, and in no column of the confusion matrix.

    Returns
    -------
    dict
        JSON-ready. ``n_cases``; ``accuracy``; ``accuracy_interval_95``, its interval [low, high] (E. B. Wilson,
        Probable inference, the law of succession, and statistical inference, Journal of the American Statistical
        Association 22 (1927) 209-212); ``balanced_accuracy`` (mean recall over the classes that occur); ``macro_f1``
        (over the classes that occur or are predicted); ``log_loss`` in nats, of the softmax of the scores;
        ``majority_rate``, the share of the most frequent class; ``confusion_matrix``, counts with the true class in
        rows; ``classes``; and those of `calibration_metrics`.
    """
    true, scores = np.asarray(label_index), finite_scores(scores, classes)
    predicted = scores.argmax(axis=1)
    if valid is not None:
        predicted[~valid] = INVALID
    occurring = np.setdiff1d([*true, *predicted], INVALID)
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
        "macro_f1": float(f1_score(true, predicted, labels=occurring, average="macro", zero_division=0)),
        "log_loss": log_loss(scores, true),
        "majority_rate": float(np.bincount(true).max() / n_cases),
        "confusion_matrix": confusion_matrix(true, predicted, labels=np.arange(n_classes)).tolist(),
        "classes": [str(name) for name in classes],
        **calibration_metrics(scores, true),
    }


def log_loss(scores: np.ndarray, label_index: np.ndarray) -> float:
    """Return the mean negative log-likelihood in nats of the true classes, of the softmax of the scores.

    scikit-learn's log_loss takes probabilities and has to clip those that underflow. Scores are float64 of shape
    (n_cases, n_classes).
    """
    return float(-log_softmax(scores, axis=1)[np.arange(len(label_index)), label_index].mean())


def reliability_curve(
    probabilities: np.ndarray, label_index: np.ndarray, bins: int = BINS
) -> list[dict[str, float]]:
    """Return the accuracy of the most likely class by its probability.

    Probabilities are float64 of shape (n_cases, n_classes); `bins` have equal width and are closed on the right. For
    each bin that is not empty, in ascending order: ``confidence``, the mean probability of the most likely class;
    ``accuracy``; ``cases``.
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
    """Return the mean distance of accuracy from confidence in the bins of `reliability_curve`, weighted by cases.

    C. Guo et al., On calibration of modern neural networks, ICML 2017.
    """
    cases = sum(point["cases"] for point in curve)
    return sum(point["cases"] * abs(point["accuracy"] - point["confidence"]) for point in curve) / cases


def calibration_metrics(scores: np.ndarray, label_index: np.ndarray) -> dict[str, object]:
    """Measure the calibration of the softmax of class scores.

    ``expected_calibration_error``; ``brier_score``, the mean squared distance from the true class over all classes, 0
    to 2 as G. W. Brier defines it (Verification of forecasts expressed in terms of probability, Monthly Weather
    Review 78 (1950) 1-3; with two classes twice the value that is often given this name); ``reliability_curve``.
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

    Scores, float64 of shape (n_cases, n_classes), are those of the validation set, never of the test set.
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

    `validation` and `test` are scores, float64 of shape (n_cases, n_classes), and labels. Returned are
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
    """Measure generated answers, given as class indices or `INVALID`.

    ``generated_valid_rate``, the share of cases with a valid answer; ``generated_accuracy_of_valid``, the accuracy on
    those (None if there are none); ``generated_accuracy``, in which an invalid answer is wrong.
    """
    valid = generated_index != INVALID
    right = generated_index == label_index
    return {
        "generated_valid_rate": float(valid.mean()),
        "generated_accuracy_of_valid": float(right[valid].mean()) if valid.any() else None,
        "generated_accuracy": float(right.mean()),
    }
