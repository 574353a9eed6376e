"""Calibration against cases that are counted by hand."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.special import log_softmax

from vlmtsc.evaluation.calibration import (
    TEMPERATURES,
    calibration_metrics,
    expected_calibration_error,
    fit_temperature,
    log_loss,
    reliability_curve,
    temperature_metrics,
)


def test_a_curve_counted_by_hand() -> None:
    probabilities = np.array([[0.9, 0.1], [0.2, 0.8], [0.85, 0.15], [0.45, 0.55], [0.6, 0.4]])
    # Right, right, wrong; right; wrong. With five bins: (0.4, 0.6] holds two cases, (0.8, 1] two, (0.6, 0.8] one.
    curve = reliability_curve(probabilities, np.array([0, 1, 1, 1, 1]), bins=5)
    assert [point["cases"] for point in curve] == [2, 1, 2]
    assert [point["confidence"] for point in curve] == pytest.approx([0.575, 0.8, 0.875])
    assert [point["accuracy"] for point in curve] == pytest.approx([0.5, 1.0, 0.5])
    assert expected_calibration_error(curve) == pytest.approx((2 * 0.075 + 0.2 + 2 * 0.375) / 5)


def test_brier_score_counted_by_hand() -> None:
    probabilities = np.array([[0.5, 0.3, 0.2], [0.1, 0.8, 0.1]])
    found = calibration_metrics(np.log(probabilities), np.array([0, 2]))
    first, second = 0.5**2 + 0.3**2 + 0.2**2, 0.1**2 + 0.8**2 + 0.9**2
    assert found["brier_score"] == pytest.approx((first + second) / 2)
    # A test part in which one class occurs alone.
    lone = calibration_metrics(np.log(probabilities[:1]), np.array([0]))
    assert lone["brier_score"] == pytest.approx(first)


@pytest.mark.parametrize(("label", "error"), [(0, 0.0), (1, 1.0)])
def test_certainty_is_the_best_or_the_worst(label: int, error: float) -> None:
    found = calibration_metrics(np.array([[0.0, -2000.0]] * 4), np.array([label] * 4))
    assert found["expected_calibration_error"] == pytest.approx(error)
    assert found["brier_score"] == pytest.approx(2 * error)
    assert found["reliability_curve"] == [{"confidence": 1.0, "accuracy": 1 - error, "cases": 4}]


def test_the_temperature_of_a_constant_margin_is_known() -> None:
    # Of ten cases with a margin of 6 nats eight are right: the best margin is log(8 / 2).
    scores = np.array([[6.0, 0.0]] * 10)
    labels = np.array([0] * 8 + [1] * 2)
    assert fit_temperature(scores, labels) == pytest.approx(6 / np.log(4), rel=1e-3)
    # Shifts of a case's scores change nothing.
    assert fit_temperature(scores + np.arange(10)[:, None], labels) == pytest.approx(6 / np.log(4), rel=1e-3)


def test_a_temperature_that_scores_were_made_with_is_found() -> None:
    generator = np.random.default_rng(0)
    scores = log_softmax(2 * generator.normal(size=(4000, 5)), axis=1)
    labels = np.array([generator.choice(5, p=np.exp(row)) for row in scores])
    assert fit_temperature(3 * scores, labels) == pytest.approx(3, rel=0.1)


def test_without_errors_the_temperature_is_the_lowest_allowed() -> None:
    scores = np.array([[1.0, 0.0], [0.0, 2.0]])
    assert fit_temperature(scores, np.array([0, 1])) == pytest.approx(TEMPERATURES[0], rel=1e-2)
    assert fit_temperature(scores, np.array([1, 0])) == pytest.approx(TEMPERATURES[1], rel=1e-2)


def test_the_temperature_is_of_the_validation_part_alone() -> None:
    scores = np.array([[6.0, 0.0]] * 10)
    validation = (scores, np.array([0] * 8 + [1] * 2))
    temperature = 6 / np.log(4)
    for test_labels in (np.array([0] * 9 + [1]), np.array([0] * 5 + [1] * 5)):
        found = temperature_metrics(validation, (scores, test_labels))
        assert found["temperature"] == pytest.approx(temperature, rel=1e-3)
        assert found["temperature_cases"] == 10
        share = test_labels.mean()
        expected = -(1 - share) * np.log(0.8) - share * np.log(0.2)
        assert found["log_loss_at_temperature"] == pytest.approx(expected, rel=1e-3)
        assert found["expected_calibration_error_at_temperature"] == pytest.approx(
            abs(1 - share - 0.8), abs=1e-3
        )


def test_log_loss_is_that_of_the_softmax() -> None:
    scores = np.log(np.array([[0.2, 0.8], [0.6, 0.4]])) + 5
    assert log_loss(scores, np.array([1, 1])) == pytest.approx(-(np.log(0.8) + np.log(0.4)) / 2)
