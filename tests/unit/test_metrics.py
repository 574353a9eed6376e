"""Metrics of predictions: against the definitions, at the edges, and with bad input."""

from __future__ import annotations

import json
import warnings

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import balanced_accuracy_score, log_loss

from vlmtsc.errors import InputError
from vlmtsc.evaluation.metrics import compute_metrics


def scores_for(predicted: list[int], n_classes: int, margin: float = 2.0) -> np.ndarray:
    """Scores whose highest column is the predicted class."""
    return margin * np.eye(n_classes)[predicted] - 5.0


def test_metrics_of_a_small_example_equal_hand_computed_values() -> None:
    metrics = compute_metrics(np.array([0, 0, 0, 1]), scores_for([0, 0, 1, 1], 2), ["-1", "1"])
    assert metrics["n_cases"] == 4
    assert metrics["accuracy"] == 0.75
    assert metrics["balanced_accuracy"] == pytest.approx((2 / 3 + 1) / 2)
    assert metrics["macro_f1"] == pytest.approx((0.8 + 2 / 3) / 2)
    assert metrics["majority_rate"] == 0.75
    assert metrics["confusion_matrix"] == [[2, 1], [0, 1]]
    assert metrics["classes"] == ["-1", "1"]
    right, wrong = np.log1p(np.exp(-2.0)), np.log1p(np.exp(2.0))
    assert metrics["log_loss"] == pytest.approx((3 * right + wrong) / 4)


def test_wilson_interval_equals_its_published_formula() -> None:
    true = np.array([0] * 207 + [1] * 13)
    metrics = compute_metrics(true, scores_for([0] * 220, 2), ["a", "b"])
    z, n, p = 1.959963984540054, 220, 207 / 220
    centre = (p + z**2 / (2 * n)) / (1 + z**2 / n)
    half = z * np.sqrt(p * (1 - p) / n + z**2 / (4 * n**2)) / (1 + z**2 / n)
    assert metrics["accuracy_interval_95"] == pytest.approx([centre - half, centre + half])


def test_log_loss_stays_exact_and_finite_where_probabilities_underflow() -> None:
    metrics = compute_metrics(np.array([0, 1]), np.array([[-2000.0, 0.0], [-2000.0, 0.0]]), ["a", "b"])
    assert metrics["log_loss"] == pytest.approx(1000.0)


def test_a_class_that_the_test_part_lacks_counts_in_no_mean_and_warns_of_nothing() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        metrics = compute_metrics(np.array([0, 0, 1]), scores_for([0, 2, 1], 4), list("abcd"))
    assert metrics["balanced_accuracy"] == pytest.approx(0.75)
    assert np.shape(metrics["confusion_matrix"]) == (4, 4)


def test_shift_of_all_scores_of_a_case_changes_nothing() -> None:
    scores = np.random.default_rng(0).normal(size=(20, 12))
    true = np.arange(20) % 12
    shift = np.arange(20.0)[:, None] * 100
    names = [str(name) for name in range(12)]
    first, second = (compute_metrics(true, values, names) for values in (scores, scores + shift))
    for name in ("log_loss", "brier_score", "expected_calibration_error"):
        assert first.pop(name) == pytest.approx(second.pop(name))
    curves = [pd.DataFrame(metrics.pop("reliability_curve")) for metrics in (first, second)]
    pd.testing.assert_frame_equal(*curves)
    assert first == second


@given(st.data(), st.integers(2, 12), st.integers(1, 40))
def test_metrics_agree_with_scikit_learn_and_are_json(data: st.DataObject, n_classes: int, n: int) -> None:
    seed = data.draw(st.integers(0, 2**32 - 1))
    generator = np.random.default_rng(seed)
    true = generator.integers(n_classes, size=n)
    scores = generator.normal(size=(n, n_classes))
    metrics = compute_metrics(true, scores, [f"class {index}" for index in range(n_classes)])
    json.dumps(metrics, allow_nan=False)
    low, high = metrics["accuracy_interval_95"]
    assert 0 <= low <= metrics["accuracy"] + 1e-12
    assert metrics["accuracy"] - 1e-12 <= high <= 1
    assert np.sum(metrics["confusion_matrix"]) == n
    assert np.trace(metrics["confusion_matrix"]) == round(metrics["accuracy"] * n)
    probabilities = np.exp(scores) / np.exp(scores).sum(axis=1, keepdims=True)
    assert metrics["log_loss"] == pytest.approx(log_loss(true, probabilities, labels=range(n_classes)))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert metrics["balanced_accuracy"] == pytest.approx(
            balanced_accuracy_score(true, scores.argmax(axis=1))
        )


@pytest.mark.parametrize(
    ("true", "scores", "classes", "message"),
    [
        ([], np.zeros((0, 2)), ["a", "b"], "holds no case"),
        ([0], np.zeros((1, 1)), ["a"], "at least two classes"),
        ([0, 1], np.zeros((2, 3)), ["a", "b"], r"\(2, 2\), found \(2, 3\)"),
        ([0, 2], np.zeros((2, 2)), ["a", "b"], "label of row 1 is 2, allowed are 0 to 1"),
        ([0, -1], np.zeros((2, 2)), ["a", "b"], "label of row 1 is -1"),
        ([0, 1], [[0, 0], [0, np.nan]], ["a", "b"], "row 1 for class 'b' is nan"),
        ([0.0, 1.0], np.zeros((2, 2)), ["a", "b"], "must be integers"),
    ],
)
def test_bad_predictions_are_refused_in_one_clear_line(
    true: list, scores: np.ndarray, classes: list[str], message: str
) -> None:
    label_index = np.array(true, dtype=int) if not true else np.array(true)
    with pytest.raises(InputError, match=message):
        compute_metrics(label_index, scores, classes)
