"""Fewer timepoints, so that a series fits the context.

Every method keeps exactly ``ceil(n_timepoints / factor)`` values of each channel, whatever the series: what a
scenario costs depends on the factor, not on the method. Factor 1 keeps a series as it is.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

#: Timepoints of a window of the adaptive method, as in the paper.
WINDOW = 100
#: Rounds in which the adaptive method looks for its rates, and what they change by, as in the paper.
ROUNDS, STEP = 100, 0.1


def downsample(values: np.ndarray, method: str, factor: int) -> np.ndarray:
    """Keep ``ceil(n_timepoints / factor)`` values of each channel.

    Parameters
    ----------
    values : ndarray of float64, shape (..., n_channels, n_timepoints)
        One series, or cases of them; finite.
    method : str
        A key of `DOWNSAMPLERS`.
    factor : int
        1 or more; 1 returns `values` as they are.

    Returns
    -------
    ndarray of float64, shape (..., n_channels, ceil(n_timepoints / factor))
    """
    if factor < 1:
        raise ValueError(f"factor={factor}; allowed: 1 or more")
    if factor == 1:
        return values
    return DOWNSAMPLERS[method](values, factor)


def uniform_downsample(values: np.ndarray, factor: int) -> np.ndarray:
    """Average over a window of `factor` timepoints, then keep every `factor`-th.

    The paper's uniform downsampling, ``uniform_filter1d(x, size=f)[::f]`` with edges reflected.

    Parameters
    ----------
    values : ndarray of float64, shape (..., n_timepoints)
        Any number of leading axes: channels, or cases and channels.
    factor : int
    """
    from scipy.ndimage import uniform_filter1d

    return uniform_filter1d(values, size=factor, axis=-1)[..., ::factor]


def adaptive_downsample(values: np.ndarray, factor: int) -> np.ndarray:
    """Keep more of the parts of a series that vary more: the paper's adaptive downsampling, at any length.

    The series is cut into one segment for each window of 100 timepoints. A segment's rate lies between a
    lowest and a highest one, and is the higher the lower the standard deviation of its window; the segment is
    downsampled uniformly by ``ceil(rate)``. Both bounds move until the length is within 1% of
    ``n_timepoints / factor``, or for 100 rounds. Surplus values are then removed at regular intervals.

    Parameters
    ----------
    values : ndarray of float64, shape (..., n_channels, n_timepoints)
    factor : int

    Notes
    -----
    Where the paper's algorithm has no answer, this has one: windows that vary equally (a series of one window
    among them) all have the lowest rate; a length that comes out too short is made exact by linear
    interpolation; all channels of a series share their rates, which come from the mean of the channels'
    normalised deviations, so that they stay aligned in time.
    """
    n_timepoints = values.shape[-1]
    kept = np.empty((*values.shape[:-1], -(-n_timepoints // factor)))
    for case in np.ndindex(values.shape[:-2]):
        kept[case] = _adaptive(values[case], factor)
    return kept


def _adaptive(series: np.ndarray, factor: int) -> np.ndarray:
    """Downsample one series, shape (n_channels, n_timepoints), adaptively."""
    n_timepoints = series.shape[-1]
    starts = range(0, n_timepoints, WINDOW)
    # Scaled by a power of two, since huge values have infinite variances.
    scaled = np.ldexp(series, -np.frexp(np.abs(series).max())[1])
    deviations = [scaled[:, start : start + WINDOW].std(axis=1) for start in starts]
    variation = _normalised(_normalised(np.transpose(deviations)).mean(axis=0))
    bounds = np.arange(len(starts) + 1) * n_timepoints // len(starts)
    rates = _adaptive_rates(variation, np.diff(bounds), n_timepoints / factor, factor)
    pieces = [
        uniform_downsample(series[:, start:stop], rate)
        for start, stop, rate in zip(bounds[:-1], bounds[1:], rates.tolist(), strict=True)
    ]
    return _of_length(np.concatenate(pieces, axis=1), -(-n_timepoints // factor))


def _normalised(values: np.ndarray) -> np.ndarray:
    """Map the last axis to 0..1; to 1 where all values are equal, which gives them the lowest rate."""
    low, high = values.min(axis=-1, keepdims=True), values.max(axis=-1, keepdims=True)
    span = high - low
    return np.where(span > 0, (values - low) / np.where(span > 0, span, 1), 1.0)


def _adaptive_rates(variation: np.ndarray, sizes: np.ndarray, target: float, factor: int) -> np.ndarray:
    """Find the integer rate of each segment.

    Parameters
    ----------
    variation : ndarray of float64, shape (n_segments,)
        0 for the segment that varies least, 1 for the one that varies most.
    sizes : ndarray of int64, shape (n_segments,)
        Timepoints of each segment.
    target : float
        Length to come within 1% of.
    factor : int
    """
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


def _of_length(values: np.ndarray, length: int) -> np.ndarray:
    """Remove values at regular intervals, or interpolate, so that the last axis has exactly `length` of them."""
    found = values.shape[-1]
    if found > length:
        surplus = np.arange(1, found - length + 1) * found // (found - length + 1)
        return np.delete(values, surplus, axis=-1)
    if found < length:
        places = np.linspace(0, found - 1, length)
        return np.stack([np.interp(places, np.arange(found), channel) for channel in values])
    return values


def paa_downsample(values: np.ndarray, factor: int) -> np.ndarray:
    """Replace every `factor` timepoints by their mean: piecewise aggregate approximation.

    Parameters
    ----------
    values : ndarray of float64, shape (..., n_timepoints)
    factor : int

    Notes
    -----
    The same as tslearn's ``PiecewiseAggregateApproximation`` where `factor` divides the length. Where it does not,
    that leaves out the end of the series; here the last segment is a shorter one.
    """
    whole = values.shape[-1] // factor * factor
    segments = values[..., :whole].reshape(*values.shape[:-1], -1, factor)
    means = segments.mean(axis=-1)
    if whole == values.shape[-1]:
        return means
    return np.concatenate([means, values[..., whole:].mean(axis=-1, keepdims=True)], axis=-1)


def lttb_downsample(values: np.ndarray, factor: int) -> np.ndarray:
    """Keep the timepoints that span the largest triangles with their neighbours (LTTB).

    Parameters
    ----------
    values : ndarray of float64, shape (..., n_timepoints)
        Each channel keeps timepoints of its own, among them the first and the last.
    factor : int
    """
    return _kept_by_channel(values, factor, lttb_timepoints)


def minmax_downsample(values: np.ndarray, factor: int) -> np.ndarray:
    """Keep the smallest and the largest value of each of equal parts.

    Parameters
    ----------
    values : ndarray of float64, shape (..., n_timepoints)
        Each channel keeps timepoints of its own.
    factor : int
    """
    return _kept_by_channel(values, factor, minmax_timepoints)


def lttb_timepoints(channel: np.ndarray, length: int) -> np.ndarray:
    """Return the timepoints that LTTB keeps of a channel.

    Parameters
    ----------
    channel : ndarray of float64, shape (n_timepoints,)
    length : int
        How many to keep, at most n_timepoints. Of one, the first timepoint is kept, of two, the last one too.

    Returns
    -------
    ndarray of int64, shape (length,)
        Increasing.
    """
    from tsdownsample import LTTBDownsampler

    if length < 3:
        return np.array([0, len(channel) - 1][:length])
    # Scaled by a power of two, since triangles of huge values have infinite areas, all alike.
    scaled = np.ldexp(channel, -np.frexp(np.abs(channel).max())[1])
    kept = LTTBDownsampler().downsample(np.ascontiguousarray(scaled), n_out=length)
    return _filled(kept, len(channel), length)


def minmax_timepoints(channel: np.ndarray, length: int) -> np.ndarray:
    """Return the timepoints of the extremes of a channel's equal parts.

    Parameters
    ----------
    channel : ndarray of float64, shape (n_timepoints,)
    length : int
        How many to keep, at most n_timepoints.

    Returns
    -------
    ndarray of int64, shape (length,)
        Increasing. Where a part is constant or `length` is odd, there are fewer extremes than that; timepoints at
        regular intervals among the others make up for them.
    """
    from tsdownsample import MinMaxDownsampler

    kept = np.array([], dtype=np.int64)
    if length > 1:
        kept = MinMaxDownsampler().downsample(np.ascontiguousarray(channel), n_out=length - length % 2)
    return _filled(kept, len(channel), length)


def _filled(kept: np.ndarray, n_timepoints: int, length: int) -> np.ndarray:
    """Return distinct timepoints in order, with others at regular intervals up to `length` of them."""
    kept = np.unique(kept).astype(np.int64)
    others = np.setdiff1d(np.arange(n_timepoints), kept, assume_unique=True)
    missing = length - len(kept)
    chosen = others[np.arange(missing) * len(others) // max(missing, 1)]
    return np.sort(np.concatenate([kept, chosen]))


def _kept_by_channel(
    values: np.ndarray, factor: int, timepoints: Callable[[np.ndarray, int], np.ndarray]
) -> np.ndarray:
    """Return the values at the timepoints that a method chooses in each channel."""
    length = -(-values.shape[-1] // factor)
    kept = np.empty((*values.shape[:-1], length))
    for place in np.ndindex(values.shape[:-1]):
        kept[place] = values[place][timepoints(values[place], length)]
    return kept


#: Ways to downsample by a factor of two or more, by the name that `ScenarioSettings.downsampling` gives.
DOWNSAMPLERS: dict[str, Callable[[np.ndarray, int], np.ndarray]] = {
    "uniform": uniform_downsample,
    "adaptive": adaptive_downsample,
    "paa": paa_downsample,
    "lttb": lttb_downsample,
    "minmax": minmax_downsample,
}
