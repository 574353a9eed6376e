"""Results in the formats of other tools: predictions as tsml-eval reads them, accuracies as aeon does."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from scipy.special import softmax

from vlmtsc.errors import InputError

#: Names under which aeon knows baselines (`aeon.benchmarking.results_loaders.NAME_ALIASES`).
AEON_NAMES = {
    "euclidean_1nn": "1NN-ED",
    "dtw_1nn": "1NN-DTW",
    "minirocket": "MiniROCKET",
    "multirocket_hydra": "MR-Hydra",
    "fcn": "FCN",
}


def estimator_name(method: str, model: str, several: bool) -> str:
    """Name a method as a folder of results: aeon's name of a baseline, otherwise ours, with its model if needed."""
    name = AEON_NAMES.get(method, method)
    return f"{name}-{model}" if several and model else name


def class_probabilities(scores: np.ndarray, probabilistic: bool) -> np.ndarray:
    """Turn scores into probabilities; a method without them is certain of the class that it names.

    Parameters
    ----------
    scores : ndarray of float, shape (n_cases, n_classes)
        Log-likelihoods, not normalised.
    probabilistic : bool
    """
    return softmax(scores, axis=1) if probabilistic else np.eye(scores.shape[1])[scores.argmax(axis=1)]


def prediction_file(
    predictions: pd.DataFrame,
    metrics: Mapping[str, Any],
    *,
    dataset: str,
    estimator: str,
    seed: int,
    description: str,
    parameters: str,
    fit_seconds: float,
    memory_mb: float,
) -> str:
    """Write one run's predictions as tsml-eval writes a classifier's.

    Three lines of facts: dataset, estimator, TEST, number of the resample, unit of time, description; parameters;
    accuracy, times of fitting, predicting and a benchmark, memory in bytes, classes, three facts of an estimate on the
    training part. What is not known is -1. Then a line a case: index of the true and of the predicted class, nothing,
    the classes' probabilities.

    Parameters
    ----------
    predictions : DataFrame
        true, predicted as text; scores as ``score_<class>``.
    metrics : mapping
        Content of ``metrics.json``: accuracy, classes, and ``probabilistic`` if it is False.
    dataset, estimator : str
    seed : int
        Takes the place of the resample's number.
    description, parameters : str
        Without line breaks.
    fit_seconds, memory_mb : float

    Raises
    ------
    InputError
        If a label is none of the classes.
    """
    classes = [str(name) for name in metrics["classes"]]
    index = {name: number for number, name in enumerate(classes)}
    strange = sorted({*predictions["true"], *predictions["predicted"]} - set(index))
    if strange:
        raise InputError(f"{estimator}, {dataset}: label {strange[0]!r}; allowed: {', '.join(classes)}")
    scores = predictions[[f"score_{name}" for name in classes]].to_numpy(dtype=float)
    probabilities = class_probabilities(scores, metrics.get("probabilistic", True))
    lines = [
        f"{dataset},{estimator},TEST,{seed},MILLISECONDS,{description}",
        parameters,
        f"{metrics['accuracy']},{round(1000 * fit_seconds)},-1,-1,{round(memory_mb * 2**20)},{len(classes)},,-1,-1",
    ]
    for true, predicted, of_case in zip(
        predictions["true"], predictions["predicted"], probabilities.tolist(), strict=True
    ):
        lines.append(f"{index[true]},{index[predicted]},,{','.join(map(repr, of_case))}")
    return "\n".join(lines) + "\n"


def accuracy_files(rows: Sequence[Mapping[str, Any]]) -> dict[str, pd.DataFrame]:
    """Make aeon's tables of accuracies: one an estimator, datasets in rows, resamples in columns.

    Parameters
    ----------
    rows : sequence of mapping
        estimator, dataset, seed, accuracy.

    Returns
    -------
    dict of str to DataFrame
        By estimator; the first column is ``Resamples:``.
    """
    tables = {}
    tidy = pd.DataFrame(list(rows))
    for estimator, group in tidy.groupby("estimator", sort=False):
        wide = group.pivot_table(index="dataset", columns="seed", values="accuracy", sort=True)
        wide.columns = [str(seed) for seed in wide.columns]
        tables[str(estimator)] = wide.rename_axis("Resamples:").reset_index()
    return tables
