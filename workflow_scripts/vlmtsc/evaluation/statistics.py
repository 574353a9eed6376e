"""Intervals and paired tests on finished predictions, and comparisons of methods over datasets."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
import pandas as pd
from scipy.stats import friedmanchisquare, rankdata
from statsmodels.stats.contingency_tables import mcnemar
from statsmodels.stats.multitest import multipletests
from statsmodels.stats.proportion import proportion_confint

from vlmtsc.errors import InputError
from vlmtsc.evaluation.constants import ALPHA, DATASETS_NEEDED, METHODS_NEEDED

#: Number of bootstrap resamples.
RESAMPLES = 2000


@dataclass(frozen=True)
class PairedTest:
    """McNemar's exact test that two methods are right equally often.

    `only_first` and `only_second` count the cases that only one of the two has right; `p_value` is two-sided, of the
    binomial test.
    """

    only_first: int
    only_second: int
    p_value: float


def paired_test(first: np.ndarray, second: np.ndarray) -> PairedTest:
    """Test whether two methods are right equally often, given whether each prediction on the same cases is right.

    Q. McNemar, Note on the sampling error of the difference between correlated proportions or percentages,
    Psychometrika 12 (1947) 153-157. InputError if the shapes differ.
    """
    if first.shape != second.shape or first.ndim != 1:
        raise InputError(f"paired test of {first.shape} and {second.shape} cases; allowed: the same cases")
    table = [[int((a & b).sum()) for b in (second, ~second)] for a in (first, ~first)]
    return PairedTest(table[0][1], table[1][0], float(mcnemar(np.array(table), exact=True).pvalue))


def holm(p_values: Sequence[float]) -> np.ndarray:
    """Return p-values adjusted for their number by Holm's step-down method.

    S. Holm, A simple sequentially rejective multiple test procedure, Scandinavian Journal of Statistics 6 (1979)
    65-70.
    """
    values = np.asarray(p_values, dtype=float)
    return multipletests(values, alpha=ALPHA, method="holm")[1] if len(values) else values


def bootstrap_accuracies(
    right: Sequence[np.ndarray], labels: np.ndarray, resamples: int = RESAMPLES
) -> list[np.ndarray]:
    """Return each method's mean accuracy in resamples of seeds and cases, drawn with replacement: shape (resamples,).

    Cases are drawn within each class, which keeps the class balance of the test set (stratified bootstrap), and are
    the same for all methods, so that differences are paired. Seeds are drawn for each method separately. `right`
    is whether each prediction of each method is right: bool, shape (n_seeds, n_cases).
    """
    for runs in right:
        if runs.ndim != 2 or runs.shape[1] != len(labels) or not len(runs):
            raise InputError(f"bootstrap of an array of shape {runs.shape}; allowed: (seeds, {len(labels)})")
    random = np.random.default_rng(0)
    strata = [np.flatnonzero(labels == label) for label in np.unique(labels)]
    accuracies = [np.empty(resamples) for _ in right]
    for draw in range(resamples):
        cases = np.concatenate([random.choice(stratum, len(stratum)) for stratum in strata])
        for runs, of_method in zip(right, accuracies, strict=True):
            seeds = random.integers(len(runs), size=len(runs))
            of_method[draw] = runs[np.ix_(seeds, cases)].mean()
    return accuracies


def accuracy_interval(right: np.ndarray, resampled: np.ndarray) -> tuple[float, float]:
    """Return the 95% interval of a method's mean accuracy over its seeds.

    Of one seed Wilson's score interval; of several the same interval at their mean accuracy, widened to contain the
    middle 95% of a bootstrap, which alone has width 0 where all seeds have all cases right. `right` is whether each
    prediction is right: bool, shape (n_seeds, n_cases); `resampled` is of `bootstrap_accuracies`: shape (resamples,).

    E. B. Wilson, Probable inference, the law of succession, and statistical inference, Journal of the American
    Statistical Association 22 (1927) 209-212.
    """
    score = proportion_confint(right.sum() / len(right), right.shape[1], alpha=ALPHA, method="wilson")
    return _widened(score, resampled, several=len(right) > 1)


def difference_interval(first: np.ndarray, second: np.ndarray, resampled: np.ndarray) -> tuple[float, float]:
    """Return the 95% interval of the difference of two methods' mean accuracies on the same cases.

    Of one seed each Newcombe's score interval for paired proportions (his method 10); of several the same interval of
    the mean table over pairs of seeds, widened as in `accuracy_interval`. `first` and `second` are whether each
    prediction is right: bool, shape (n_seeds, n_cases); `resampled` are differences of `bootstrap_accuracies`: shape
    (resamples,).

    R. G. Newcombe, Improved confidence intervals for the difference between binomial proportions based on paired
    data, Statistics in Medicine 17 (1998) 2635-2650.
    """
    shares, n_cases = np.stack([first.mean(axis=0), second.mean(axis=0)]), first.shape[1]
    right = shares.sum(axis=1)
    low, high = proportion_confint(right, n_cases, alpha=ALPHA, method="wilson")
    (below, below_second), (above, above_second) = right / n_cases - low, high - right / n_cases
    # Correlation of the two methods over the cases, a positive one with Newcombe's correction for continuity.
    shared = n_cases * (shares[0] @ shares[1]) - right[0] * right[1]
    shared = max(shared - n_cases / 2, min(shared, 0))
    spread = np.sqrt((right * (n_cases - right)).prod())
    correlation = shared / spread if spread else 0.0
    difference = (right[0] - right[1]) / n_cases
    score = (
        difference - np.sqrt(below**2 - 2 * correlation * below * above_second + above_second**2),
        difference + np.sqrt(above**2 - 2 * correlation * above * below_second + below_second**2),
    )
    return _widened(score, resampled, several=len(first) > 1 or len(second) > 1)


def _widened(score: tuple[float, float], resampled: np.ndarray, several: bool) -> tuple[float, float]:
    """Return the smallest interval with a score interval and, of several seeds, the middle 95% of a bootstrap."""
    low, high = np.quantile(resampled, [ALPHA / 2, 1 - ALPHA / 2]) if several else score
    return float(min(low, score[0])), float(max(high, score[1]))


def why_no_ranking(accuracies: pd.DataFrame) -> str | None:
    """Return the reason why methods (columns) cannot be ranked over these datasets (rows), or None."""
    datasets, methods = accuracies.shape
    if methods >= METHODS_NEEDED and datasets >= DATASETS_NEEDED:
        return None
    return (
        f"Methods are not ranked over datasets: that needs at least {METHODS_NEEDED} methods and {DATASETS_NEEDED} "
        f"datasets (with fewer no signed-rank test can reach {ALPHA}), and there are {methods} and {datasets}."
    )


def signed_rank_p_value(difference: np.ndarray) -> float:
    """Return the exact two-sided p-value of Wilcoxon's signed-rank test of paired differences, shape (n,).

    Zeros are left out, ties share their mean rank, and all signs are equally likely; 1 if all differences are zero.
    `scipy.stats.wilcoxon` approximates the p-value where there are ties or zeros in more than 13 differences.

    F. Wilcoxon, Individual comparisons by ranking methods, Biometrics Bulletin 1 (1945) 80-83.
    """
    difference = difference[difference != 0]
    # Twice the ranks, which are integers: a mean rank may end in a half.
    ranks = (2 * rankdata(np.abs(difference))).astype(int)
    # Probability of each sum of the ranks of positive differences: one after the other, each is positive or not.
    chances = np.ones(1)
    for rank in ranks:
        chances = (np.pad(chances, (0, rank)) + np.pad(chances, (rank, 0))) / 2
    smaller = min(ranks[difference > 0].sum(), ranks[difference < 0].sum())
    return min(1.0, 2 * float(chances[: smaller + 1].sum()))


def signed_rank_tests(accuracies: pd.DataFrame) -> pd.DataFrame:
    """Compare all pairs of methods (columns) over datasets (rows) by signed-rank tests with Holm's correction.

    Columns: first, second, wins, ties, losses (of the first), mean_difference, p_value (`signed_rank_p_value`),
    p_holm. See A. Benavoli, G. Corani and F. Mangili, Should we really use post-hoc tests based on
    mean-ranks?, Journal of Machine Learning Research 17 (2016) 1-10.
    """
    rows = []
    for first, second in combinations(accuracies, 2):
        # Rounded, since equal accuracies may differ in their last bit.
        difference = (accuracies[first] - accuracies[second]).to_numpy(dtype=float).round(12)
        rows.append(
            {
                "first": first,
                "second": second,
                "wins": int((difference > 0).sum()),
                "ties": int((difference == 0).sum()),
                "losses": int((difference < 0).sum()),
                "mean_difference": float(difference.mean()),
                "p_value": signed_rank_p_value(difference),
            }
        )
    table = pd.DataFrame(rows)
    return table.assign(p_holm=holm(table["p_value"].tolist()))


def mean_ranks(accuracies: pd.DataFrame) -> pd.Series:
    """Return each method's mean rank over datasets, 1 for the best; ties share their mean rank."""
    ranks = rankdata(-accuracies.to_numpy(dtype=float).round(12), axis=1)
    return pd.Series(ranks.mean(axis=0), index=accuracies.columns, name="mean_rank").sort_values(
        kind="stable"
    )


def friedman_p_value(accuracies: pd.DataFrame) -> float:
    """Return the p-value of Friedman's test that all methods have equal ranks; 1 if they are equal everywhere."""
    values = accuracies.to_numpy(dtype=float).round(12)
    if (values == values[:, :1]).all():
        return 1.0
    return float(friedmanchisquare(*values.T).pvalue)
