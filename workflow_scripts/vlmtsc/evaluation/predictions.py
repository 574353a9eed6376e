"""Predictions as a table."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd


def prediction_table(
    ids: Sequence[str], scores: np.ndarray, classes: Sequence[str], labels: np.ndarray | None = None
) -> pd.DataFrame:
    """Return one row a case.

    Parameters
    ----------
    ids : sequence of str
    scores : ndarray of float64, shape (n_cases, n_classes)
        Log-likelihoods of the classes' answers.
    classes : sequence of str
        The archive's labels, by class index.
    labels : ndarray of int64, shape (n_cases,), optional
        True class indices.

    Returns
    -------
    pandas.DataFrame
        Columns id, true (if known), predicted, and ``score_<class>`` for each class.
    """
    names = np.asarray(classes)
    columns: dict[str, object] = {"id": list(ids)}
    if labels is not None:
        columns["true"] = names[labels]
    columns["predicted"] = names[scores.argmax(axis=1)]
    columns |= {f"score_{name}": scores[:, index] for index, name in enumerate(classes)}
    return pd.DataFrame(columns)
