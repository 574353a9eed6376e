"""Majority class, and the nearest neighbour with Euclidean distance or dynamic time warping."""

from __future__ import annotations

import math
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from numba import njit
from scipy.ndimage import maximum_filter1d, minimum_filter1d
from scipy.spatial.distance import cdist

from vlmtsc.baselines.cases import BaselineData, BaselineResult, one_hot

#: Half-widths of the Sakoe-Chiba band that are tried, as shares of the length of a series.
WINDOWS = (0.0, 0.01, 0.03, 0.05, 0.1, 0.2)
#: Queries in one block of distances or one task of a thread: bounds memory.
BLOCK = 64
#: Early abandoning compares sums of the same numbers in another order: by how much they may differ.
SLACK = 1e-9


def fit_majority(data: BaselineData) -> BaselineResult:
    """Always answer the training part's most frequent class.

    The scores are the logarithms of the classes' frequencies, one case added to each (Laplace), so that a class without
    a case has a finite one.
    """
    counts = np.bincount(data.train_labels, minlength=data.n_classes) + 1
    scores = np.log(counts / counts.sum())
    validation, test = (np.tile(scores, (len(part), 1)) for part in (data.validation, data.test))
    return BaselineResult(validation, test, True, {})


def fit_euclidean_1nn(data: BaselineData) -> BaselineResult:
    """Answer the class of the nearest training case by Euclidean distance, over all channels and timepoints."""
    predicted = [
        data.train_labels[euclidean_neighbours(part, data.train)] for part in (data.validation, data.test)
    ]
    validation, test = (one_hot(classes, data.n_classes) for classes in predicted)
    return BaselineResult(validation, test, False, {})


def euclidean_neighbours(queries: np.ndarray, references: np.ndarray) -> np.ndarray:
    """Return the index of each query's nearest reference, the first of several that are equally near.

    Parameters
    ----------
    queries, references : ndarray of float64, shape (n, ...)

    Returns
    -------
    ndarray of int64, shape (n_queries,)
    """
    known = references.reshape(len(references), -1)
    blocks = [queries[start : start + BLOCK] for start in range(0, len(queries), BLOCK)]
    # cdist takes differences; the faster form by inner products loses digits where series are near each other.
    return np.concatenate(
        [cdist(block.reshape(len(block), -1), known, "sqeuclidean").argmin(axis=1) for block in blocks]
    )


def fit_dtw_1nn(data: BaselineData, threads: int = 1) -> BaselineResult:
    """Answer the class of the nearest training case by dynamic time warping, the band chosen on validation.

    The narrowest of the bands with the highest validation accuracy is taken [1]_. Channels are warped together.

    References
    ----------
    .. [1] C. A. Ratanamahatana and E. Keogh, Three myths about dynamic time warping data mining, SIAM International
       Conference on Data Mining 2005, 506-510.
    """
    n_timepoints = data.train.shape[-1]
    tried: dict[str, float | None] = {}
    width, answers = 0, np.empty(0, dtype=np.int64)
    fewest = len(data.validation) + 1
    for candidate in band_widths(n_timepoints):
        classes = _classes_if_better(data, candidate, fewest, threads)
        tried[str(candidate)] = None
        if classes is not None:
            width, answers = candidate, classes
            fewest = int((classes != data.validation_labels).sum())
            tried[str(candidate)] = 1 - fewest / len(classes)
    test = data.train_labels[dtw_neighbours(data.test, data.train, width, threads)]
    chosen = {
        "band_timepoints": width,
        "band_share": round(width / n_timepoints, 4),
        # None: given up, since not better than a narrower one
        "validation_accuracies": tried,
    }
    return BaselineResult(one_hot(answers, data.n_classes), one_hot(test, data.n_classes), False, chosen)


def _classes_if_better(data: BaselineData, width: int, fewest: int, threads: int) -> np.ndarray | None:
    """Return the classes of the validation cases; None once they cannot have less than `fewest` errors."""
    answers: list[np.ndarray] = []
    wrong, step = 0, BLOCK * threads
    for start in range(0, len(data.validation), step):
        if wrong >= fewest:
            return None
        queries = data.validation[start : start + step]
        answers.append(data.train_labels[dtw_neighbours(queries, data.train, width, threads)])
        wrong += int((answers[-1] != data.validation_labels[start : start + step]).sum())
    return np.concatenate(answers) if wrong < fewest else None


def band_widths(n_timepoints: int) -> list[int]:
    """Return the half-widths of the bands in timepoints, rounded up: different ones, the narrowest first."""
    # What binary fractions leave above a whole number is no timepoint more.
    return sorted({math.ceil(round(share * n_timepoints, 6)) for share in WINDOWS})


def dtw_neighbours(queries: np.ndarray, references: np.ndarray, width: int, threads: int = 1) -> np.ndarray:
    """Return the index of each query's nearest reference by dynamic time warping, the first on a tie.

    The result is that of all distances. Most are never computed: references are tried in the order of a lower bound
    [1]_, and a distance is given up once it cannot become the smallest [2]_.

    Parameters
    ----------
    queries, references : ndarray of float64, shape (n, n_channels, n_timepoints)
    width : int
        Half-width of the Sakoe-Chiba band in timepoints; 0 is the squared Euclidean distance.
    threads : int, default 1

    Returns
    -------
    ndarray of int64, shape (n_queries,)

    References
    ----------
    .. [1] E. Keogh and C. A. Ratanamahatana, Exact indexing of dynamic time warping, Knowledge and Information
       Systems 7 (2005) 358-386.
    .. [2] T. Rakthanmanon et al., Searching and mining trillions of time series subsequences under dynamic time
       warping, KDD 2012, 262-270.
    """
    known = np.ascontiguousarray(references, dtype=np.float64)
    asked = np.ascontiguousarray(queries, dtype=np.float64)
    # The edges are repeated outside of a series, which changes no extreme of a window that reaches there.
    upper, lower = (
        find(known, 2 * width + 1, mode="nearest") for find in (maximum_filter1d, minimum_filter1d)
    )
    blocks = [asked[start : start + BLOCK] for start in range(0, len(asked), BLOCK)]
    with ThreadPoolExecutor(threads) as pool:
        found = pool.map(lambda block: _neighbours(block, known, upper, lower, width), blocks)
        return np.concatenate(list(found))


@njit(nogil=True, cache=True)
def _neighbours(queries, references, upper, lower, width):  # type: ignore[no-untyped-def]  # compiled from its arguments
    """Return the nearest reference of each query."""
    n_references, n_channels, n_timepoints = references.shape
    nearest = np.empty(len(queries), dtype=np.int64)
    # Column 0 is the lower bound of a whole distance, column t what the timepoints from t on add to it at least.
    rest = np.zeros((n_references, n_timepoints + 1))
    for number in range(len(queries)):
        query = queries[number]
        for case in range(n_references):
            for time in range(n_timepoints - 1, -1, -1):
                cost = 0.0
                for channel in range(n_channels):
                    value = query[channel, time]
                    if value > upper[case, channel, time]:
                        cost += (value - upper[case, channel, time]) ** 2
                    elif value < lower[case, channel, time]:
                        cost += (value - lower[case, channel, time]) ** 2
                rest[case, time] = rest[case, time + 1] + cost
        best, found = np.inf, -1
        for case in np.argsort(rest[:, 0]):
            if rest[case, 0] * (1 - SLACK) > best:
                break
            distance = _dtw(query, references[case], width, best, rest[case])
            if distance < best or (distance == best and case < found):
                best, found = distance, case
        nearest[number] = found
    return nearest


@njit(nogil=True, cache=True)
def _dtw(query, reference, width, limit, rest):  # type: ignore[no-untyped-def]
    """Return the squared distance, or infinity once it is known to be above `limit`."""
    n_channels, n_timepoints = query.shape
    above = np.full(n_timepoints + 1, np.inf)
    row = np.full(n_timepoints + 1, np.inf)
    above[0] = 0.0
    for time in range(n_timepoints):
        first, last = max(0, time - width), min(n_timepoints, time + width + 1)
        row[first] = np.inf
        smallest = np.inf
        for other in range(first, last):
            cost = 0.0
            for channel in range(n_channels):
                cost += (query[channel, time] - reference[channel, other]) ** 2
            total = cost + min(above[other], above[other + 1], row[other])
            row[other + 1] = total
            smallest = min(smallest, total)
        if (smallest + rest[time + 1]) * (1 - SLACK) > limit:
            return np.inf
        above, row = row, above
    return above[n_timepoints]
