"""Whether class probabilities mean what they say: calibration of the scores, before and after one temperature."""

from __future__ import annotations

import numpy as np
from scipy.optimize import minimize_scalar
from scipy.special import log_softmax, softmax
from sklearn.calibration import calibration_curve
from sklearn.metrics import brier_score_loss

#: Bins of equal width over [0, 1], as in Guo et al. (2017).
BINS = 15
#: A temperature is looked for between these. A validation part without any error would be fitted best by 0.
TEMPERATURES = (0.05, 20.0)


def log_loss(scores: np.ndarray, label_index: np.ndarray) -> float:
    """Return the mean negative log-likelihood in nats of the true classes, of the softmax of the scores.

    From the log-softmax itself: scikit-learn's log_loss takes probabilities and has to clip those that underflow.

    Parameters
    ----------
    scores : ndarray of float64, shape (n_cases, n_classes)
    label_index : ndarray of int, shape (n_cases,)
    """
    return float(-log_softmax(scores, axis=1)[np.arange(len(label_index)), label_index].mean())


def reliability_curve(
    probabilities: np.ndarray, label_index: np.ndarray, bins: int = BINS
) -> list[dict[str, float]]:
    """Return how often the top class is right, by how likely the model says that is.

    Parameters
    ----------
    probabilities : ndarray of float64, shape (n_cases, n_classes)
    label_index : ndarray of int, shape (n_cases,)
    bins : int
        Bins of equal width, closed at the right.

    Returns
    -------
    list of dict
        For each bin that holds a case, from the lowest: ``confidence``, the mean probability of the top class;
        ``accuracy``, the share of right ones; ``cases``.
    """
    confidence = probabilities.max(axis=1).clip(0, 1)
    right = probabilities.argmax(axis=1) == label_index
    accuracies, confidences = calibration_curve(right, confidence, pos_label=True, n_bins=bins)
    inner_edges = np.linspace(0, 1, bins + 1)[1:-1]
    counts = np.bincount(np.searchsorted(inner_edges, confidence))
    return [
        {"confidence": float(said), "accuracy": float(found), "cases": int(count)}
        for said, found, count in zip(confidences, accuracies, counts[counts > 0], strict=True)
    ]


def expected_calibration_error(curve: list[dict[str, float]]) -> float:
    """Return the mean distance of accuracy from confidence, weighted by cases [1]_.

    Parameters
    ----------
    curve : list of dict
        Of `reliability_curve`: the error is that of the top class, in its bins.

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
        the true class over all classes, 0 to 2 as Brier [1]_ defines it (with two classes twice what is often
        called so); ``reliability_curve``.

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
    """Return the temperature by which scores have to be divided for the lowest log-loss.

    Parameters
    ----------
    scores : ndarray of float64, shape (n_cases, n_classes)
        Of the validation part, never of the test part.
    label_index : ndarray of int, shape (n_cases,)

    Returns
    -------
    float
        Within `TEMPERATURES`. The log-loss is convex in the inverse temperature, so there is one minimum.
    """
    low, high = (1 / bound for bound in reversed(TEMPERATURES))
    fitted = minimize_scalar(
        lambda inverse: log_loss(scores * inverse, label_index), bounds=(low, high), method="bounded"
    )
    return float(1 / fitted.x)


def temperature_metrics(
    validation: tuple[np.ndarray, np.ndarray], test: tuple[np.ndarray, np.ndarray]
) -> dict[str, float]:
    """Fit a temperature on the validation part, and measure what it changes on the test part.

    Parameters
    ----------
    validation, test : tuple of ndarray
        Scores, float64 of shape (n_cases, n_classes), and labels, int of shape (n_cases,).

    Returns
    -------
    dict
        ``temperature``; ``temperature_cases`` of the validation part; ``log_loss_at_temperature`` in nats and
        ``expected_calibration_error_at_temperature`` of the test part. No prediction changes.
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
