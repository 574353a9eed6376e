"""Downsampling methods, so that a series fits the context.

Every method keeps exactly ``ceil(n_timepoints / factor)`` values of each channel, so that the cost of a scenario
depends on the factor and not on the method. Factor 1 keeps a series as it is.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from functools import partial

import numpy as np

from vlmtsc.data.cleaning import resample_case

# SciPy, tslearn and tsdownsample are imported where they are used: most scenarios need one of them or none.

#: Timepoints of a window of the adaptive method, as in the paper.
WINDOW = 100
#: Iterations in which the adaptive method adjusts its rates, and the step of each, as in the paper.
ROUNDS, STEP = 100, 0.1


def downsample(values: np.ndarray, method: str, factor: int) -> np.ndarray:
    """Keep ``ceil(n_timepoints / factor)`` values of each channel, by a method of `DOWNSAMPLERS`; factor 1 keeps all.

    `values` are finite float64 of shape (..., n_channels, n_timepoints), one series or several.
    """
    if factor < 1:
        raise ValueError(f"factor={factor}; allowed: 1 or more")
    return values if factor == 1 else DOWNSAMPLERS[method](values, factor)


def uniform_downsample(values: np.ndarray, factor: int) -> np.ndarray:
    """Smooth by a moving average of `factor` timepoints with reflected edges, then keep every `factor`-th.

    The paper's uniform downsampling, ``uniform_filter1d(x, size=f)[::f]``, along the last axis of any array.
    """
    from scipy.ndimage import uniform_filter1d

    return uniform_filter1d(values, size=factor, axis=-1)[..., ::factor]


def adaptive_downsample(values: np.ndarray, factor: int) -> np.ndarray:
    """Keep more values where a series varies more: the paper's adaptive downsampling, at any length.

    The series is divided into one segment per window of 100 timepoints. A segment's rate lies between a lowest and a
    highest one and decreases with the standard deviation of its window; the segment is downsampled uniformly by
    ``ceil(rate)``. Both bounds move until the length is within 1% of ``n_timepoints / factor``, or for 100 iterations.
    Surplus values are then removed at regular intervals.

    Notes
    -----
    The paper's algorithm is extended where it is undefined: windows that vary equally (a series of one window among
    them) all have the lowest rate; a result that is too short is lengthened by linear interpolation; all channels share
    the rates, from the mean of the channels' normalised deviations, so that they stay aligned in time.
    """
    kept = np.empty((*values.shape[:-1], -(-values.shape[-1] // factor)))
    for case in np.ndindex(values.shape[:-2]):
        kept[case] = _adaptive(values[case], factor)
    return kept


def _adaptive(series: np.ndarray, factor: int) -> np.ndarray:
    """Downsample one series, shape (n_channels, n_timepoints), adaptively."""
    n_timepoints = series.shape[-1]
    starts = range(0, n_timepoints, WINDOW)
    scaled = _scaled(series)
    deviations = [scaled[:, start : start + WINDOW].std(axis=1) for start in starts]
    variation = _normalised(_normalised(np.transpose(deviations)).mean(axis=0))
    bounds = np.arange(len(starts) + 1) * n_timepoints // len(starts)
    rates = _adaptive_rates(variation, np.diff(bounds), n_timepoints / factor, factor)
    pieces = [
        uniform_downsample(series[:, start:stop], rate)
        for start, stop, rate in zip(bounds[:-1], bounds[1:], rates.tolist(), strict=True)
    ]
    kept, length = np.concatenate(pieces, axis=1), -(-n_timepoints // factor)
    surplus = kept.shape[1] - length
    if surplus > 0:
        return np.delete(kept, np.arange(1, surplus + 1) * kept.shape[1] // (surplus + 1), axis=1)
    return resample_case(kept, length)


def _scaled(values: np.ndarray) -> np.ndarray:
    """Scale by a power of two: variances and areas of huge values are infinite."""
    return np.ldexp(values, -np.frexp(np.abs(values).max())[1])


def _normalised(values: np.ndarray) -> np.ndarray:
    """Map the last axis to 0..1; to 1, the lowest rate, where all values are equal."""
    low, high = values.min(axis=-1, keepdims=True), values.max(axis=-1, keepdims=True)
    span = high - low
    return np.where(span > 0, (values - low) / np.where(span > 0, span, 1), 1.0)


def _adaptive_rates(variation: np.ndarray, sizes: np.ndarray, target: float, factor: int) -> np.ndarray:
    """Return the integer rate of each segment, from its variation (0 to 1) and size, and the total length to reach."""
    lowest, highest = 1.0, 1.5 * factor
    for _ in range(ROUNDS):
        rates = np.ceil(highest - variation * (highest - lowest)).astype(np.int64)
        length = np.sum(-(-sizes // rates))
        if abs(length - target) <= 0.01 * target:
            break
        if length > target:
            lowest, highest = lowest + STEP, highest + STEP
        else:
            highest = max(highest - STEP, 1.0)
            lowest = min(lowest, highest)
    return rates


def paa_downsample(values: np.ndarray, factor: int) -> np.ndarray:
    """Replace every `factor` timepoints by their mean: tslearn's piecewise aggregate approximation.

    Where `factor` does not divide the length, tslearn omits the end of a series; here a shorter segment is added.
    """
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="h5py not installed")
        from tslearn.piecewise import PiecewiseAggregateApproximation

    *shape, n_timepoints = values.shape
    n_segments, rest = divmod(n_timepoints, factor)
    means = [values[..., -rest:].mean(axis=-1, keepdims=True)] if rest else []
    if n_segments:
        channels = values[..., : n_segments * factor].reshape(-1, n_segments * factor, 1)
        segments = PiecewiseAggregateApproximation(n_segments).fit_transform(channels)
        means.insert(0, segments.reshape(*shape, n_segments))
    return np.concatenate(means, axis=-1)


def lttb_timepoints(channel: np.ndarray, length: int) -> np.ndarray:
    """Return the timepoints, int64 and increasing, that span the largest triangles with their neighbours (LTTB).

    The first and the last are among them; a single one is the first.
    """
    from tsdownsample import LTTBDownsampler

    if length < 3:
        return np.array([0, len(channel) - 1][:length])
    kept = LTTBDownsampler().downsample(np.ascontiguousarray(_scaled(channel)), n_out=length)
    return _filled(kept, len(channel), length)


def minmax_timepoints(channel: np.ndarray, length: int) -> np.ndarray:
    """Return the timepoints, int64 and increasing, of the smallest and the largest value of equal segments.

    Where a segment is constant or `length` is odd, there are fewer extremes; others are added at regular intervals.
    """
    from tsdownsample import MinMaxDownsampler

    kept = np.array([], dtype=np.int64)
    if length > 1:
        kept = MinMaxDownsampler().downsample(np.ascontiguousarray(channel), n_out=length - length % 2)
    return _filled(kept, len(channel), length)


def _filled(kept: np.ndarray, n_timepoints: int, length: int) -> np.ndarray:
    """Return distinct timepoints in order, with others added at regular intervals up to `length`."""
    kept = np.unique(kept).astype(np.int64)
    others = np.setdiff1d(np.arange(n_timepoints), kept, assume_unique=True)
    missing = length - len(kept)
    chosen = others[np.arange(missing) * len(others) // max(missing, 1)]
    return np.sort(np.concatenate([kept, chosen]))


def _kept_by_channel(
    timepoints: Callable[[np.ndarray, int], np.ndarray], values: np.ndarray, factor: int
) -> np.ndarray:
    """Return the values at the timepoints that a method chooses in each channel."""
    length = -(-values.shape[-1] // factor)
    kept = np.empty((*values.shape[:-1], length))
    for place in np.ndindex(values.shape[:-1]):
        kept[place] = values[place][timepoints(values[place], length)]
    return kept


#: Methods by their name in `ScenarioSettings.downsampling`: values of shape (..., n_channels, n_timepoints), and a
#: factor of 2 or more.
DOWNSAMPLERS: dict[str, Callable[[np.ndarray, int], np.ndarray]] = {
    "uniform": uniform_downsample,
    "adaptive": adaptive_downsample,
    "paa": paa_downsample,
    "lttb": partial(_kept_by_channel, lttb_timepoints),
    "minmax": partial(_kept_by_channel, minmax_timepoints),
}
