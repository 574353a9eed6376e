"""One channel as text."""

from __future__ import annotations

import numpy as np


def format_decimals(values: np.ndarray, round_to: int) -> str:
    """Return the paper's list of decimals: ``[0.12, -1.05]``.

    Parameters
    ----------
    values : ndarray of float64, shape (n_timepoints,)
    round_to : int
        Decimals, rounded as numpy does; trailing zeros are not written.
    """
    return f"[{', '.join(map(str, np.round(values, round_to).tolist()))}]"


def fit_scale(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return what the lowest and the highest level of each channel stand for.

    The 0.5th and 99.5th percentile, so that a few outliers do not take most levels; the extremes where these
    two are equal.

    Parameters
    ----------
    values : ndarray of float64, shape (n_cases, n_channels, n_timepoints)
        The training part alone.

    Returns
    -------
    low, high : ndarray of float64, shape (n_channels,)
        Equal only for a channel that is constant over all cases.
    """
    by_channel = values.swapaxes(0, 1).reshape(values.shape[1], -1)
    low, high = np.percentile(by_channel, [0.5, 99.5], axis=1)
    narrow = low == high
    return np.where(narrow, by_channel.min(axis=1), low), np.where(narrow, by_channel.max(axis=1), high)


def to_levels(values: np.ndarray, low: np.ndarray, high: np.ndarray, levels: int) -> np.ndarray:
    """Map values to integers 0 .. levels-1, clipped outside the scale.

    Parameters
    ----------
    values : ndarray of float64, shape (..., n_channels, n_timepoints)
    low, high : ndarray of float64, shape (n_channels,)
        Values of the lowest and the highest level (`fit_scale`).
    levels : int
        2 or more.

    Returns
    -------
    ndarray of int64, shape of `values`
        A channel whose scale has no width gets the middle level.
    """
    low, high = low[:, None], high[:, None]
    width = np.where(high > low, high - low, 1.0)
    share = np.where(high > low, (np.clip(values, low, high) - low) / width, 0.5)
    return np.rint(share * (levels - 1)).astype(np.int64)


def from_levels(level: np.ndarray, low: np.ndarray, high: np.ndarray, levels: int) -> np.ndarray:
    """Return the values that integers of `to_levels` stand for: within half a level of those on the scale.

    Parameters
    ----------
    level : ndarray of int64, shape (..., n_channels, n_timepoints)
    low, high : ndarray of float64, shape (n_channels,)
    levels : int
    """
    return low[:, None] + level / (levels - 1) * (high - low)[:, None]


def format_levels(level: np.ndarray, levels: int, separator: str) -> str:
    """Return integers of one channel, zero-padded to the width of the largest: ``[07 99 41]``.

    Parameters
    ----------
    level : ndarray of int64, shape (n_timepoints,)
    levels : int
        How many there are; ``levels - 1`` is the largest.
    separator : str
        What stands between two integers; may be empty, since the width is fixed.
    """
    width = len(str(levels - 1))
    return f"[{separator.join(f'{value:0{width}d}' for value in level.tolist())}]"


def describe_scale(low: np.ndarray, high: np.ndarray, levels: int) -> str:
    """Return the line that tells the scale: ``Scale 0-99: -1.43 to 2.31`` (by channel, in order).

    It is the same for every case of a dataset, so it is short: it costs tokens in each of them.
    """
    spans = ", ".join(f"{lowest:.3g} to {highest:.3g}" for lowest, highest in zip(low, high, strict=True))
    return f"Scale 0-{levels - 1}: {spans}"
