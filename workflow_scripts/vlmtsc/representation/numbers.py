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
    """Return the centre of each channel, and the distance from it that the largest integer stands for.

    The distance is the 99.5th percentile of all distances, so that a few outliers do not take most of the
    integers; the largest where nearly all values are the same, and one for a constant channel.

    Parameters
    ----------
    values : ndarray of float64, shape (n_cases, n_channels, n_timepoints)
        The training part alone.

    Returns
    -------
    centre, reach : ndarray of float64, shape (n_channels,)
        Means, and distances above zero.
    """
    by_channel = values.swapaxes(0, 1).reshape(values.shape[1], -1)
    centre = by_channel.mean(axis=1)
    distances = np.abs(by_channel - centre[:, None])
    reach = np.percentile(distances, 99.5, axis=1)
    # A channel that hardly ever leaves one value is not to be scaled by the rounding of its mean.
    usual = np.percentile(np.abs(by_channel - np.median(by_channel, axis=1)[:, None]), 99.5, axis=1)
    reach = np.where(usual == 0, distances.max(axis=1), reach)
    constant = by_channel.min(axis=1) == by_channel.max(axis=1)
    return np.where(constant, by_channel[:, 0], centre), np.where(constant, 1.0, reach)


def to_levels(values: np.ndarray, centre: np.ndarray, reach: np.ndarray, levels: int) -> np.ndarray:
    """Map values to integers -levels .. levels, clipped outside the scale.

    Signed, since a sign is a token of its own, which a model learns to read long before it reads digits.

    Parameters
    ----------
    values : ndarray of float64, shape (..., n_channels, n_timepoints)
    centre, reach : ndarray of float64, shape (n_channels,)
        Of `fit_scale`.
    levels : int
        The largest integer.

    Returns
    -------
    ndarray of int64, shape of `values`
    """
    scaled = (values - centre[:, None]) / reach[:, None] * levels
    return np.rint(np.clip(scaled, -levels, levels)).astype(np.int64)


def from_levels(level: np.ndarray, centre: np.ndarray, reach: np.ndarray, levels: int) -> np.ndarray:
    """Return the values that integers of `to_levels` stand for: within half a step of those on the scale.

    Parameters
    ----------
    level : ndarray of int64, shape (..., n_channels, n_timepoints)
    centre, reach : ndarray of float64, shape (n_channels,)
    levels : int
    """
    return centre[:, None] + level / levels * reach[:, None]


def format_levels(level: np.ndarray, separator: str) -> str:
    """Return the integers of one channel: ``-7 12 0``, in the style of LLMTime [1]_.

    Parameters
    ----------
    level : ndarray of int64, shape (n_timepoints,)
    separator : str
        What stands between two integers.

    References
    ----------
    .. [1] N. Gruver et al., "Large language models are zero-shot time series forecasters", NeurIPS 2023.
    """
    return separator.join(map(str, level.tolist()))


def describe_scale(centre: np.ndarray, reach: np.ndarray, levels: int) -> str:
    """Return the line that tells the scale: ``Scale 20: 0.02+-2.3`` (by channel, in order).

    It is the same for every case of a dataset, so it is short: it costs tokens in each of them.
    """
    spans = ", ".join(f"{middle:.2g}+-{most:.2g}" for middle, most in zip(centre, reach, strict=True))
    return f"Scale {levels}: {spans}"
