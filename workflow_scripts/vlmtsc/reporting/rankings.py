"""Figures of how methods rank over datasets, drawn by aeon."""

from __future__ import annotations

import pandas as pd
from aeon.visualisation import create_multi_comparison_matrix, plot_critical_difference
from matplotlib.figure import Figure

from vlmtsc.evaluation.statistics import ALPHA
from vlmtsc.reporting.style import figure_style


def critical_difference(accuracies: pd.DataFrame) -> Figure:
    """Draw mean ranks, and bars that join methods without a significant difference [1]_.

    The bars come from aeon: one-sided signed-rank tests at 0.05 divided by the number of methods less one. The exact
    p-values, two-sided and with Holm's correction for all pairs, stand in ``rankings.csv``.

    Parameters
    ----------
    accuracies : DataFrame of float
        Datasets in rows, methods in columns.

    References
    ----------
    .. [1] J. Demsar, Statistical comparisons of classifiers over multiple data sets, Journal of Machine Learning
       Research 7 (2006) 1-30.
    """
    longest = max(map(len, accuracies.columns))
    margin = max(1.5, 0.125 * longest)
    with figure_style():
        figure, _ = plot_critical_difference(
            accuracies.to_numpy(dtype=float).round(12),
            list(accuracies.columns),
            alpha=ALPHA,
            width=4 + 2 * margin,
            textspace=margin,
        )
    return figure


def multi_comparison_matrix(accuracies: pd.DataFrame) -> Figure:
    """Draw all pairs: mean difference, wins, ties and losses, p-value of the two-sided signed-rank test [1]_.

    The p-values are not corrected; bold are those below 0.05 after Holm's correction for all pairs, as in
    ``rankings.csv``.

    Parameters
    ----------
    accuracies : DataFrame of float
        Datasets in rows, methods in columns.

    References
    ----------
    .. [1] A. Ismail-Fawaz et al., An approach to multiple comparison benchmark evaluations that is stable under
       manipulation of the comparate set, arXiv:2305.11921.
    """
    n_methods = accuracies.shape[1]
    with figure_style():
        return create_multi_comparison_matrix(
            accuracies.round(12),
            # A cell as large as its three lines; aeon's own size is made for a wall.
            fig_size=(1.5 * n_methods + 3, 0.7 * n_methods + 1),
            font_size=9,
            statistic_name="Accuracy",
            pvalue_test_params={"zero_method": "wilcox", "alternative": "two-sided"},
            pvalue_correction="Holm",
            pvalue_threshold=ALPHA,
        )
