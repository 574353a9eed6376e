"""Axis limits that all series of a dataset share."""

from __future__ import annotations

import numpy as np

from vlmtsc.errors import InputError


def fit_limits(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the smallest and the largest value of each channel.

    Parameters
    ----------
    values : ndarray of float64, shape (n_cases, n_channels, n_timepoints)
        The cases of the archive's TRAIN file. They do not depend on the split, so that a plot is drawn once for all
        of them; in the pooled split some of these cases are tested, but what they add is one number a channel,
        and no label.

    Returns
    -------
    low, high : ndarray of float64, shape (n_channels,)

    Raises
    ------
    InputError
        If there is no case.
    """
    if len(values) == 0:
        raise InputError(
            "axis_limits='shared': no case of the archive's TRAIN file is left; allowed: per_series"
        )
    return values.min(axis=(0, 2)), values.max(axis=(0, 2))
