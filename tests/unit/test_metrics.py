"""Metrics, calibration, tables of predictions, intervals and tests: hand-computed values and other libraries."""

from __future__ import annotations

import io
import json
import warnings
from itertools import product
from math import comb
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from scipy.special import log_softmax
from scipy.stats import binom, rankdata, wilcoxon
from sklearn import metrics as sklearn_metrics

from vlmtsc.errors import InputError
from vlmtsc.evaluation.metrics import (
    INVALID,
    TEMPERATURES,
    calibration_metrics,
    compute_metrics,
    expected_calibration_error,
    fit_temperature,
    generation_metrics,
    log_loss,
    prediction_table,
    printable,
    read_predictions,
    reliability_curve,
    temperature_metrics,
)
from vlmtsc.evaluation.statistics import (
    accuracy_interval,
    bootstrap_accuracies,
    difference_interval,
    friedman_p_value,
    holm,
    mean_ranks,
    paired_test,
    signed_rank_p_value,
    signed_rank_tests,
    why_no_ranking,
)


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
    assert metrics["log_loss"] == pytest.approx(
        sklearn_metrics.log_loss(true, probabilities, labels=range(n_classes))
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert metrics["balanced_accuracy"] == pytest.approx(
            sklearn_metrics.balanced_accuracy_score(true, scores.argmax(axis=1))
        )


def test_a_score_that_is_not_finite_is_named() -> None:
    with pytest.raises(InputError, match="row 1 for class 'b' is nan"):
        compute_metrics(np.array([0, 1]), np.array([[0, 0], [0, np.nan]]), ["a", "b"])


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


def test_predictions_are_read_as_they_were_written(tmp_path: Path) -> None:
    scores, labels = np.array([[-1.5, -0.1], [-0.25, -3.0]]), np.array([1, 0])
    generated = (["NA", "it is\n1"], np.array([1, -1]))
    table = prediction_table(["a", "b"], scores, ["1", "NA"], labels, generated)
    assert table["generated_class"].tolist() == ["NA", ""]
    table.to_csv(tmp_path / "made.csv", index=False)
    ids, true, read = read_predictions(tmp_path / "made.csv")
    assert ids == ["a", "b"]
    np.testing.assert_array_equal(true, labels)
    np.testing.assert_array_equal(read, scores)
    table.drop(columns="true").to_csv(tmp_path / "unlabelled.csv", index=False)
    with pytest.raises(InputError, match="allowed: id, true, predicted and score_<class>"):
        read_predictions(tmp_path / "unlabelled.csv")
    table.assign(true="3").to_csv(tmp_path / "other.csv", index=False)
    with pytest.raises(InputError, match="true class '3'; allowed: 1, NA"):
        read_predictions(tmp_path / "other.csv")


def test_a_table_without_true_labels() -> None:
    table = prediction_table(["a", "b"], np.array([[-1.0, -2.0], [-3.0, -0.5]]), ["-1", "walk"])
    assert list(table) == ["id", "predicted", "score_-1", "score_walk"]
    assert table["predicted"].tolist() == ["-1", "walk"]


@given(st.text(max_size=8))
@example("a\rb")
@example('",\n\x85\u2028')
def test_any_generated_text_is_one_row(text: str) -> None:
    table = prediction_table(["a", "b"], np.zeros((2, 2)), ["1", "2"], None, ([text, "1"], np.array([-1, 0])))
    file = io.StringIO(table.to_csv(index=False))
    read = pd.read_csv(file, dtype=str, keep_default_na=False)
    assert read["id"].tolist() == ["a", "b"]
    assert read["generated"].tolist() == [printable(text), "1"]


def right(*counts: int) -> tuple[np.ndarray, np.ndarray]:
    """Cases that both, only the first, only the second and none of two methods have right."""
    both, first, second, none = counts
    one = [True] * (both + first) + [False] * (second + none)
    other = [True] * both + [False] * first + [True] * second + [False] * none
    return np.array(one), np.array(other)


@pytest.mark.parametrize(("first", "second"), [(6, 1), (30, 10), (400, 200)])
def test_mcnemar_is_the_binomial_test_however_many_cases_differ(first: int, second: int) -> None:
    test = paired_test(*right(10, first, second, 3))
    assert (test.only_first, test.only_second) == (first, second)
    tail = sum(comb(first + second, count) for count in range(second + 1))
    assert test.p_value == pytest.approx(2 * tail / 2 ** (first + second))


def test_methods_that_agree_do_not_differ() -> None:
    assert paired_test(*right(10, 0, 0, 3)).p_value == 1
    with pytest.raises(InputError, match="allowed: the same cases"):
        paired_test(np.array([True]), np.array([True, False]))


def test_holm_by_hand() -> None:
    # Sorted 0.01, 0.02, 0.04: times 3, 2, 1, never smaller than the one before.
    assert holm([0.04, 0.01, 0.02]).tolist() == pytest.approx([0.04, 0.03, 0.04])
    assert holm([]).size == 0


def test_bootstrap_keeps_the_class_balance_and_pairs_the_cases() -> None:
    labels = np.array([0] * 8 + [1] * 2)
    # Right exactly on the cases of one class: the balance of every resample makes the accuracy certain.
    of_class = (labels == 0)[None]
    random = np.random.default_rng(0).random((1, 10)) < 0.5
    certain, first, second = bootstrap_accuracies([of_class, random, random], labels, resamples=50)
    assert set(certain.round(12)) == {0.8}
    assert np.array_equal(first, second)
    assert first.std() > 0


def resampled_interval(*right: np.ndarray) -> tuple[float, float]:
    """Interval of the accuracy of one method, or of the difference of two; all cases are of one class."""
    draws = bootstrap_accuracies(right, np.zeros(right[0].shape[1], dtype=int))
    return (
        accuracy_interval(*right, *draws)
        if len(right) == 1
        else difference_interval(*right, draws[0] - draws[1])
    )


def test_the_bootstrap_is_near_the_binomial() -> None:
    seeds = np.stack([np.arange(400) < 320] * 2)
    low, high = np.quantile(bootstrap_accuracies([seeds], np.zeros(400, dtype=int))[0], [0.025, 0.975])
    spread = 1.96 * np.sqrt(0.8 * 0.2 / 400)
    assert (low, high) == pytest.approx((0.8 - spread, 0.8 + spread), abs=0.008)


def test_seeds_that_differ_widen_the_interval() -> None:
    seeds = np.stack([np.arange(200) < count for count in (120, 160, 200)])
    same = np.stack([np.arange(200) < 160] * 3)
    wide, narrow = resampled_interval(seeds), resampled_interval(same)
    assert wide[1] - wide[0] > narrow[1] - narrow[0] + 0.1
    assert wide[0] < 0.8 < wide[1]
    # Of the difference, too.
    assert np.ptp(resampled_interval(seeds, same)) > np.ptp(resampled_interval(same, same)) + 0.1
    with pytest.raises(InputError, match=r"allowed: \(seeds, 200\)"):
        bootstrap_accuracies([seeds[:, :9]], np.zeros(200, dtype=int))


@pytest.mark.parametrize("n_seeds", [1, 3])
def test_intervals_without_errors_are_as_wide_as_the_cases_are_few(n_seeds: int) -> None:
    right = np.ones((n_seeds, 40), dtype=bool)
    # The score interval at 100%: z**2 / (n + z**2) below.
    margin = 1.959964**2 / (40 + 1.959964**2)
    assert resampled_interval(right) == pytest.approx((1 - margin, 1))
    assert resampled_interval(right, right) == pytest.approx((-margin, margin))


@pytest.mark.parametrize(("accuracy", "n_cases"), [(0.97, 40), (0.99, 100), (0.8, 40)])
def test_the_interval_of_several_seeds_covers_the_accuracy(accuracy: float, n_cases: int) -> None:
    # Seeds that agree are no more than one: the distribution of the right cases is binomial.
    covered = 0.0
    for n_right in np.arange(n_cases + 1)[binom.pmf(range(n_cases + 1), n_cases, accuracy) > 1e-4]:
        low, high = resampled_interval(np.stack([np.arange(n_cases) < n_right] * 3))
        covered += binom.pmf(n_right, n_cases, accuracy) * (low <= accuracy <= high)
    assert covered > 0.945


@pytest.mark.parametrize(
    ("counts", "expected"),
    [
        ((36, 12, 2, 0), (0.0569, 0.3404)),
        ((18, 12, 2, 18), (0.0562, 0.3290)),
        ((53, 0, 0, 1), (-0.0729, 0.0729)),
        ((0, 30, 0, 0), (0.8395, 1)),
    ],
)
def test_intervals_of_differences_are_the_published_ones(
    counts: tuple[int, int, int, int], expected: tuple[float, float]
) -> None:
    # Examples of Newcombe (1998), method 10.
    one, other = (each[None] for each in right(*counts))
    assert resampled_interval(one, other) == pytest.approx(expected, abs=1e-4)
    low, high = resampled_interval(other, one)
    assert (-high, -low) == pytest.approx(expected, abs=1e-4)
    # Seeds that agree give the same, at least.
    low, high = resampled_interval(np.concatenate([one, one]), other)
    assert low <= expected[0] + 1e-4
    assert high >= expected[1] - 1e-4


def accuracies(n_datasets: int) -> pd.DataFrame:
    """Method a wins everywhere, b and c take turns."""
    turn = np.arange(n_datasets) % 2 / 100
    return pd.DataFrame(
        {"a": 0.9 + np.arange(n_datasets) / 1000, "b": 0.7 + turn, "c": 0.71 - turn},
        index=[f"set{number}" for number in range(n_datasets)],
    )


def test_signed_ranks_by_hand() -> None:
    table = signed_rank_tests(accuracies(6)).set_index(["first", "second"])
    # a beats b on all of 6: the smallest two-sided p-value that there is.
    assert table.loc[("a", "b"), ["wins", "ties", "losses"]].tolist() == [6, 0, 0]
    assert table.loc[("a", "b"), "p_value"] == pytest.approx(2 / 2**6)
    assert table.loc[("a", "b"), "p_holm"] == pytest.approx(3 * 2 / 2**6)
    assert table.loc[("b", "c"), ["wins", "ties", "losses"]].tolist() == [3, 0, 3]
    assert table.loc[("b", "c"), "p_value"] > 0.9


@pytest.mark.parametrize("n_zeros", [0, 9])
@pytest.mark.parametrize("n_differences", [5, 12, 40, 70])
def test_signed_ranks_without_ties_are_those_of_scipy(n_differences: int, n_zeros: int) -> None:
    difference = np.random.default_rng(n_differences).normal(0.3, 1, n_differences)
    expected = wilcoxon(difference, method="exact").pvalue
    assert signed_rank_p_value(np.append(difference, np.zeros(n_zeros))) == pytest.approx(expected)


@given(st.lists(st.integers(-4, 4), max_size=9))
def test_signed_ranks_are_exact_with_ties(differences: list[int]) -> None:
    # All signs of the differences, one by one.
    kept = np.array([each for each in differences if each])
    signs = np.array(list(product([1, -1], repeat=len(kept))))
    off = np.abs(signs @ rankdata(np.abs(kept)))
    observed = abs(np.sign(kept) @ rankdata(np.abs(kept)))
    assert signed_rank_p_value(np.array(differences)) == pytest.approx((off >= observed).mean())


def test_signed_ranks_of_equal_differences_are_the_sign_test() -> None:
    # Where scipy would take the normal distribution: ties in more than 13 differences.
    difference = np.array([0.01] * 13 + [-0.01] * 3)
    expected = 2 * sum(comb(16, count) for count in range(4)) / 2**16
    assert signed_rank_p_value(difference) == pytest.approx(expected)
    assert signed_rank_p_value(np.array([0.1, 0.2, 0.3, 0.4, 0.5] + [0.0] * 9)) == 2 / 2**5


def test_equal_methods_have_a_p_value() -> None:
    table = accuracies(6).assign(b=accuracies(6)["a"])
    assert signed_rank_tests(table).iloc[0]["p_value"] == 1
    assert friedman_p_value(table[["a", "b"]].assign(c=table["a"])) == 1


def test_ranks_and_friedman() -> None:
    ranks = mean_ranks(accuracies(8))
    assert ranks.to_dict() == {"a": 1, "b": 2.5, "c": 2.5}
    assert friedman_p_value(accuracies(8)) < 0.01


@pytest.mark.parametrize(("methods", "datasets"), [(2, 20), (3, 5)])
def test_too_little_for_a_ranking_is_said(methods: int, datasets: int) -> None:
    assert why_no_ranking(accuracies(6)) is None
    reason = why_no_ranking(accuracies(datasets).iloc[:, :methods])
    assert reason is not None
    assert f"there are {methods} and {datasets}" in reason


def test_an_invalid_answer_is_a_wrong_one() -> None:
    found = generation_metrics(np.array([0, 1, 1, 0, 2]), np.array([0, 1, 0, INVALID, INVALID]))
    assert found == {
        "generated_valid_rate": pytest.approx(3 / 5),
        "generated_accuracy_of_valid": pytest.approx(2 / 3),
        "generated_accuracy": pytest.approx(2 / 5),
    }
    nothing = generation_metrics(np.array([0, 1]), np.array([INVALID, INVALID]))
    assert nothing == {
        "generated_valid_rate": 0.0,
        "generated_accuracy_of_valid": None,
        "generated_accuracy": 0.0,
    }
