"""Intervals and tests against hand-computed values and other libraries."""

from __future__ import annotations

from math import comb

import numpy as np
import pandas as pd
import pytest

from vlmtsc.errors import InputError
from vlmtsc.evaluation.statistics import (
    bootstrap_accuracies,
    friedman_p_value,
    holm,
    interval,
    mean_ranks,
    paired_test,
    signed_rank_tests,
    why_no_ranking,
)


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


def test_bootstrap_interval_is_near_that_of_a_binomial() -> None:
    one = (np.arange(400) < 320)[None]
    low, high = interval(bootstrap_accuracies([one], np.zeros(400, dtype=int))[0])
    spread = 1.96 * np.sqrt(0.8 * 0.2 / 400)
    assert (low, high) == pytest.approx((0.8 - spread, 0.8 + spread), abs=0.008)


def test_seeds_that_differ_widen_the_interval() -> None:
    labels = np.zeros(200, dtype=int)
    seeds = np.stack([np.arange(200) < count for count in (120, 160, 200)])
    same = np.stack([np.arange(200) < 160] * 3)
    wide, narrow = (interval(values) for values in bootstrap_accuracies([seeds, same], labels))
    assert wide[1] - wide[0] > narrow[1] - narrow[0] + 0.1
    assert wide[0] < 0.8 < wide[1]
    with pytest.raises(InputError, match=r"allowed: \(seeds, 200\)"):
        bootstrap_accuracies([seeds[:, :9]], labels)


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
