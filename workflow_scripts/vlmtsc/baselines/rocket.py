"""Random convolutional kernels with a ridge classifier: aeon's MiniRocket and MultiRocket-Hydra."""

from __future__ import annotations

from typing import Any

import numpy as np

from vlmtsc.baselines.cases import BaselineData, BaselineResult, one_hot
from vlmtsc.settings import BASELINE_SEED

#: Timepoints of a kernel, and so of the shortest series.
KERNEL = 9
#: Cases that are transformed at a time: Hydra holds 512 responses for each timepoint of each.
BLOCK = 256


def fit_minirocket(data: BaselineData, threads: int = 1) -> BaselineResult:
    """Fit MiniRocket [1]_: about 10,000 features, a ridge classifier with its penalty by cross-validation on train.

    References
    ----------
    .. [1] A. Dempster, D. F. Schmidt and G. I. Webb, MiniRocket: a very fast (almost) deterministic transform for time
       series classification, KDD 2021, 248-257.
    """
    from aeon.classification.convolution_based import MiniRocketClassifier

    return _fit(data, MiniRocketClassifier(n_jobs=threads, random_state=BASELINE_SEED), KERNEL)


def fit_multirocket_hydra(data: BaselineData, threads: int = 1) -> BaselineResult:
    """Fit MultiRocket-Hydra [1]_, one of the most accurate fast methods of the archive's comparisons.

    References
    ----------
    .. [1] A. Dempster, D. F. Schmidt and G. I. Webb, Hydra: competing convolutional kernels for fast and accurate time
       series classification, Data Mining and Knowledge Discovery 37 (2023) 1779-1805.
    """
    from aeon.classification.convolution_based import MultiRocketHydraClassifier

    # Its kernels are laid on the first differences too, which are one timepoint shorter.
    return _fit(data, MultiRocketHydraClassifier(n_jobs=threads, random_state=BASELINE_SEED), KERNEL + 1)


def _fit(data: BaselineData, classifier: Any, shortest: int) -> BaselineResult:
    """Fit a classifier of aeon's on the training part, and let it answer."""
    classifier.fit(long_enough(data.train, shortest), data.train_labels)
    scores = []
    for part in (data.validation, data.test):
        series = long_enough(part, shortest)
        blocks = [series[start : start + BLOCK] for start in range(0, len(series), BLOCK)]
        answers = np.concatenate([classifier.predict(block) for block in blocks])
        scores.append(one_hot(answers.astype(np.int64), data.n_classes))
    chosen = {"padded_to": shortest} if data.train.shape[-1] < shortest else {}
    return BaselineResult(scores[0], scores[1], False, chosen)


def long_enough(series: np.ndarray, shortest: int) -> np.ndarray:
    """Put zeros behind series that are shorter than `shortest` timepoints, as aeon advises.

    Parameters
    ----------
    series : ndarray of float64, shape (n_cases, n_channels, n_timepoints)
    shortest : int
    """
    missing = max(0, shortest - series.shape[-1])
    return np.pad(series, ((0, 0), (0, 0), (0, missing)))
