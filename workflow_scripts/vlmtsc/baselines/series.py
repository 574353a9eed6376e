"""Baselines on the series alone: majority class, nearest neighbours, random convolutional kernels."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from scipy.ndimage import maximum_filter1d, minimum_filter1d
from scipy.spatial.distance import cdist

from vlmtsc.baselines.results import BaselineData, BaselineResult, one_hot
from vlmtsc.errors import InputError
from vlmtsc.settings import BASELINE_SEED, SERIES_BASELINES

#: Half-widths of the Sakoe-Chiba band that are tried, as shares of the length of a series.
WINDOWS = (0.0, 0.01, 0.03, 0.05, 0.1, 0.2)
#: Queries that are compared at a time: bounds memory.
BLOCK = 64
#: Relative rounding error by which a lower bound may exceed the distance that it bounds.
ROUNDING = 1e-9
#: Timepoints of a convolutional kernel.
KERNEL = 9
#: Cases that are transformed at a time: Hydra keeps 512 responses for each timepoint.
TRANSFORM_BLOCK = 256


def fit_series_baseline(baseline: str, data: BaselineData) -> BaselineResult:
    """Fit a baseline on series by its name, one of `SERIES_BASELINES`; raise InputError if it is unknown.

    With a single class in the training set, every baseline is the majority class.
    """
    if len(np.unique(data.train_labels)) == 1:
        baseline = "majority"
    match baseline:
        case "majority":
            return fit_majority(data)
        case "euclidean_1nn":
            return fit_euclidean_1nn(data)
        case "dtw_1nn":
            return fit_dtw_1nn(data)
        case "minirocket" | "multirocket_hydra":
            return fit_rocket(baseline, data)
        case "fcn":
            from vlmtsc.baselines.fcn import fit_fcn  # PyTorch takes seconds to import

            return fit_fcn(data)
    raise InputError(f"baseline {baseline!r}; allowed: {', '.join(SERIES_BASELINES)}")


def fit_majority(data: BaselineData) -> BaselineResult:
    """Predict the most frequent class of the training set.

    Scores are logarithms of class frequencies with one case added to each class (Laplace smoothing), so that all are
    finite.
    """
    counts = np.bincount(data.train_labels, minlength=data.n_classes) + 1
    scores = np.log(counts / counts.sum())
    validation, test = (np.tile(scores, (len(cases), 1)) for cases in (data.validation, data.test))
    return BaselineResult(validation, test, True, {})


def fit_euclidean_1nn(data: BaselineData) -> BaselineResult:
    """Predict the class of the nearest training case by Euclidean distance, over all channels and timepoints."""
    validation, test = (
        one_hot(data.train_labels[euclidean_neighbours(cases, data.train)], data.n_classes)
        for cases in (data.validation, data.test)
    )
    return BaselineResult(validation, test, False, {})


def euclidean_neighbours(queries: np.ndarray, references: np.ndarray) -> np.ndarray:
    """Return the index, int64, of each query's nearest reference, the first on a tie; arrays of shape (n, ...)."""
    known = references.reshape(len(references), -1)
    blocks = [queries[start : start + BLOCK] for start in range(0, len(queries), BLOCK)]
    # scikit-learn computes distances from inner products, which loses digits where series are close.
    return np.concatenate(
        [cdist(block.reshape(len(block), -1), known, "sqeuclidean").argmin(axis=1) for block in blocks]
    )


def fit_dtw_1nn(data: BaselineData) -> BaselineResult:
    """Predict the class of the nearest training case by dynamic time warping, the band chosen on validation.

    The narrowest of the bands with the highest validation accuracy is chosen [1]_. Channels are warped together.

    References
    ----------
    .. [1] C. A. Ratanamahatana and E. Keogh, Three myths about dynamic time warping data mining, SIAM International
       Conference on Data Mining 2005, 506-510.
    """
    n_timepoints = data.train.shape[-1]
    tried: dict[str, float | None] = {}
    width, answers = 0, None
    for candidate in band_widths(n_timepoints):
        found = _better_answers(data, candidate, answers)
        tried[str(candidate)] = None if found is None else float((found == data.validation_labels).mean())
        if found is not None:
            width, answers = candidate, found
    assert answers is not None, "the first band is always accepted"
    test = data.train_labels[dtw_neighbours(data.test, data.train, width)]
    chosen = {
        "band_timepoints": width,
        "band_share": round(width / n_timepoints, 4),
        # None: abandoned, not better than a narrower band
        "validation_accuracies": tried,
    }
    return BaselineResult(one_hot(answers, data.n_classes), one_hot(test, data.n_classes), False, chosen)


def _better_answers(data: BaselineData, width: int, best: np.ndarray | None) -> np.ndarray | None:
    """Return the predicted classes of the validation cases; None once they cannot have fewer errors than `best`.

    Cases that `best` has wrong are predicted first: a band that corrects none of them is abandoned at once.
    """
    wrong = np.ones(len(data.validation), bool) if best is None else best != data.validation_labels
    fewest = len(wrong) + 1 if best is None else wrong.sum()
    order = np.argsort(~wrong, kind="stable")
    answers = np.empty(len(order), dtype=np.int64)
    errors = 0
    for start in range(0, len(order), BLOCK):
        cases = order[start : start + BLOCK]
        if errors >= fewest:
            return None
        answers[cases] = data.train_labels[dtw_neighbours(data.validation[cases], data.train, width)]
        errors += (answers[cases] != data.validation_labels[cases]).sum()
    return answers if errors < fewest else None


def band_widths(n_timepoints: int) -> list[int]:
    """Return the distinct half-widths of the bands in timepoints, rounded up, in ascending order."""
    # Rounded first: what binary fractions leave above a whole number is no timepoint more.
    return sorted({math.ceil(round(share * n_timepoints, 6)) for share in WINDOWS})


def dtw_neighbours(queries: np.ndarray, references: np.ndarray, width: int) -> np.ndarray:
    """Return the index of each query's nearest reference by dynamic time warping, the first on a tie.

    References are compared in the order of a lower bound, LB_Keogh [1]_ in both directions, until it exceeds the
    smallest distance: the result is that of all distances.

    Parameters
    ----------
    queries, references : ndarray of float64, shape (n, n_channels, n_timepoints)
    width : int
        Half-width of the Sakoe-Chiba band in timepoints; 0 is the Euclidean distance.

    Returns
    -------
    ndarray of int64, shape (n_queries,)

    References
    ----------
    .. [1] E. Keogh and C. A. Ratanamahatana, Exact indexing of dynamic time warping, Knowledge and Information
       Systems 7 (2005) 358-386.
    """
    if width == 0:
        return euclidean_neighbours(queries, references)
    from tslearn.metrics import dtw

    envelopes = _envelope(references, width)
    nearest = np.empty(len(queries), dtype=np.int64)
    for number, query in enumerate(queries):
        bounds = np.maximum(_outside(query, *envelopes), _outside(references, *_envelope(query, width)))
        smallest = (np.inf, -1)
        for case in np.argsort(bounds):
            if bounds[case] * (1 - ROUNDING) > smallest[0] ** 2:
                break
            distance = dtw(query.T, references[case].T, sakoe_chiba_radius=width)
            smallest = min(smallest, (distance, int(case)))
        nearest[number] = smallest[1]
    return nearest


def _envelope(series: np.ndarray, width: int) -> tuple[np.ndarray, np.ndarray]:
    """Return minimum and maximum of the band around each timepoint."""
    size = 2 * width + 1
    # Repeated edges change no extreme of a band that reaches there.
    return minimum_filter1d(series, size, mode="nearest"), maximum_filter1d(series, size, mode="nearest")


def _outside(series: np.ndarray, lower: np.ndarray, upper: np.ndarray) -> np.ndarray:
    """Return LB_Keogh, squared: the distance of series from envelopes; shape (n,)."""
    return ((series - np.clip(series, lower, upper)) ** 2).sum(axis=(-2, -1))


def fit_rocket(baseline: str, data: BaselineData) -> BaselineResult:
    """Fit aeon's MiniRocket [1]_ or MultiRocket-Hydra [2]_: random convolutional kernels with a ridge classifier.

    References
    ----------
    .. [1] A. Dempster, D. F. Schmidt and G. I. Webb, MiniRocket: a very fast (almost) deterministic transform for time
       series classification, KDD 2021, 248-257.
    .. [2] A. Dempster, D. F. Schmidt and G. I. Webb, Hydra: competing convolutional kernels for fast and accurate time
       series classification, Data Mining and Knowledge Discovery 37 (2023) 1779-1805.
    """
    from aeon.classification import convolution_based  # takes seconds to import

    if baseline == "minirocket":
        classifier: Any = convolution_based.MiniRocketClassifier(random_state=BASELINE_SEED)
        shortest = KERNEL
    else:
        classifier = convolution_based.MultiRocketHydraClassifier(random_state=BASELINE_SEED)
        shortest = KERNEL + 1  # its kernels are applied to first differences too
    classifier.fit(padded(data.train, shortest), data.train_labels)
    scores = []
    for cases in (data.validation, data.test):
        series = padded(cases, shortest)
        blocks = [series[start : start + TRANSFORM_BLOCK] for start in range(0, len(series), TRANSFORM_BLOCK)]
        answers = np.concatenate([classifier.predict(block) for block in blocks])
        scores.append(one_hot(answers.astype(np.int64), data.n_classes))
    chosen = {"padded_to": shortest} if data.train.shape[-1] < shortest else {}
    return BaselineResult(scores[0], scores[1], False, chosen)


def padded(series: np.ndarray, shortest: int) -> np.ndarray:
    """Append zeros to series, shape (n_cases, n_channels, n_timepoints), up to `shortest` timepoints."""
    missing = max(0, shortest - series.shape[-1])
    return np.pad(series, ((0, 0), (0, 0), (0, missing)))
