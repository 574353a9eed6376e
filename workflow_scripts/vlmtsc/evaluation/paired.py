"""Tests of two classifiers on the same cases."""

from __future__ import annotations

import numpy as np
from statsmodels.stats.contingency_tables import mcnemar


def mcnemar_p_value(one: np.ndarray, other: np.ndarray) -> float:
    """Return the p-value of the exact McNemar test that two classifiers are right equally often.

    Parameters
    ----------
    one, other : ndarray of bool, shape (n_cases,)
        Whether each is right, on the same cases in the same order.
    """
    table = np.array([[np.sum((one == a) & (other == b)) for b in (True, False)] for a in (True, False)])
    return float(mcnemar(table, exact=True).pvalue)
