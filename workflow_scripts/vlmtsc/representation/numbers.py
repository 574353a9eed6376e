"""Number formats: one channel as text."""

from __future__ import annotations

import numpy as np


def format_decimals(values: np.ndarray, round_to: int) -> str:
    """Return the paper's list of decimals, ``[0.12, -1.05]``, rounded by NumPy and without trailing zeros.

    Parameters
    ----------
    values : ndarray of float64, shape (n_timepoints,)
    round_to : int
        Decimals.
    """
    return f"[{', '.join(map(str, np.round(values, round_to).tolist()))}]"


def fit_scale(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the centre of each channel, and the distance from it that the largest integer represents.

    The distance is the 99.5th percentile of all distances, so that few outliers do not use up most of the integers;
    the largest distance where nearly all values are equal, and 1 for a constant channel.

    Parameters
    ----------
    values : ndarray of float64, shape (n_cases, n_channels, n_timepoints)
        The training set alone.

    Returns
    -------
    centre, reach : ndarray of float64, shape (n_channels,)
        Means, and distances above zero.
    """
    by_channel = values.swapaxes(0, 1).reshape(values.shape[1], -1)
    centre = by_channel.mean(axis=1)
    distances = np.abs(by_channel - centre[:, None])
    reach = np.percentile(distances, 99.5, axis=1)
    # Where a channel rarely leaves one value, the percentile is only the rounding error of its mean.
    usual = np.percentile(np.abs(by_channel - np.median(by_channel, axis=1)[:, None]), 99.5, axis=1)
    reach = np.where(usual == 0, distances.max(axis=1), reach)
    constant = by_channel.min(axis=1) == by_channel.max(axis=1)
    return np.where(constant, by_channel[:, 0], centre), np.where(constant, 1.0, reach)


def to_levels(values: np.ndarray, centre: np.ndarray, reach: np.ndarray, levels: int) -> np.ndarray:
    """Map values (..., n_channels, n_timepoints) to int64 from -levels to levels on a `fit_scale`, clipped outside.

    Signed, since a sign is a token of its own, which a model learns to read long before digits.
    """
    scaled = (values - centre[:, None]) / reach[:, None] * levels
    return np.rint(np.clip(scaled, -levels, levels)).astype(np.int64)


def format_levels(level: np.ndarray, separator: str) -> str:
    """Return the integers of one channel as in LLMTime [1]_: ``-7 12 0``.

    References
    ----------
    .. [1] N. Gruver et al., "Large language models are zero-shot time series forecasters", NeurIPS 2023.
    """
    return separator.join(map(str, level.tolist()))


def describe_scale(centre: np.ndarray, reach: np.ndarray, levels: int) -> str:
    """Return the line that states each channel's scale, ``Scale 20: 0.02+-2.3``: short, as every prompt has it."""
    spans = ", ".join(f"{middle:.2g}+-{most:.2g}" for middle, most in zip(centre, reach, strict=True))
    return f"Scale {levels}: {spans}"
