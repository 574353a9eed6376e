"""Logistic regression on features of a frozen model, its penalty chosen on validation."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from sklearn.decomposition import PCA
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss

from vlmtsc.baselines.cases import BaselineData, BaselineResult, all_classes
from vlmtsc.settings import BASELINE_SEED

#: Inverse penalties that are tried.
PENALTIES = (1e-4, 1e-3, 1e-2, 1e-1, 1.0, 10.0)
#: Principal components that are kept of features with more dimensions than `LARGE`, and cases that they are fitted on.
COMPONENTS, FITTED_CASES, LARGE = 300, 1200, 4096


def fit_logistic(data: BaselineData) -> BaselineResult:
    """Fit on the training part; take the penalty with the highest validation accuracy, on a tie the lowest loss.

    Parameters
    ----------
    data : BaselineData
        Features of shape (n_cases, n_features).
    """
    centre = data.train.mean(axis=0)
    # One scale for all features, so that directions with little variance stay small.
    scale = float(np.sqrt(((data.train - centre) ** 2).mean())) or 1.0
    train, validation, test = ((part - centre) / scale for part in (data.train, data.validation, data.test))
    tried: dict[float, tuple[float, float]] = {}
    models: dict[float, LogisticRegression] = {}
    for penalty in PENALTIES:
        models[penalty] = LogisticRegression(C=penalty, max_iter=500).fit(train, data.train_labels)
        scores = _scores(models[penalty], validation, data.n_classes)
        accuracy = float((scores.argmax(axis=1) == data.validation_labels).mean())
        loss = log_loss(data.validation_labels, np.exp(scores), labels=np.arange(data.n_classes))
        tried[penalty] = (accuracy, -float(loss))
    best = max(tried, key=lambda penalty: tried[penalty])
    results = [_scores(models[best], part, data.n_classes) for part in (validation, test)]
    chosen = {
        "inverse_penalty": best,
        "validation_accuracies": {str(penalty): accuracy for penalty, (accuracy, _) in tried.items()},
    }
    return BaselineResult(results[0], results[1], True, chosen)


def _scores(model: LogisticRegression, features: np.ndarray, n_classes: int) -> np.ndarray:
    return all_classes(model.predict_log_proba(features), model.classes_, n_classes)


def reduced_features(
    encode: Callable[[Sequence[int]], np.ndarray],
    train: np.ndarray,
    n_cases: int,
    *,
    batch_size: int = 64,
    progress: Callable[[int], None] | None = None,
) -> np.ndarray:
    """Encode all cases in batches, and keep principal components where features have very many dimensions.

    Parameters
    ----------
    encode : callable
        Gives the features of the cases at some indices, shape (n, n_features).
    train : ndarray of int64
        Cases of the training part. Components are fitted on the first `FITTED_CASES` of them.
    n_cases : int
        Cases of the dataset.
    batch_size : int, default 64
    progress : callable, optional
        Told how many cases are encoded.

    Returns
    -------
    ndarray of float32, shape (n_cases, n_components or n_features)
    """
    fitted, done = train[:FITTED_CASES], 0

    def batches(cases: np.ndarray, reduce: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
        nonlocal done
        reduced = []
        for start in range(0, len(cases), batch_size):
            some = [int(case) for case in cases[start : start + batch_size]]
            reduced.append(reduce(encode(some)))
            done += len(some)
            if progress is not None:
                progress(done)
        return np.concatenate(reduced)

    known = batches(fitted, np.asarray)
    reduce: Callable[[np.ndarray], np.ndarray] = np.asarray
    if known.shape[1] > LARGE:
        components = PCA(min(COMPONENTS, *known.shape), svd_solver="randomized", random_state=BASELINE_SEED)
        known = components.fit_transform(known)
        reduce = components.transform
    others = np.setdiff1d(np.arange(n_cases), fitted)
    result = np.empty((n_cases, known.shape[1]), dtype=np.float32)
    result[fitted] = known
    if len(others):
        result[others] = batches(others, reduce)
    return result
