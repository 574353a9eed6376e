"""Fewer timepoints, so that a series fits the context."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from scipy.ndimage import uniform_filter1d


def uniform_downsample(values: np.ndarray, factor: int) -> np.ndarray:
    """Average over a window of `factor` timepoints, then keep every `factor`-th.

    Parameters
    ----------
    values : ndarray of float64, shape (..., n_timepoints)
        Any number of leading axes: channels, or cases and channels.
    factor : int
        1 or more; 1 keeps every value as it is.

    Returns
    -------
    ndarray of float64, shape (..., ceil(n_timepoints / factor))

    Notes
    -----
    The paper's uniform downsampling, ``uniform_filter1d(x, size=f)[::f]`` with edges reflected.
    """
    if factor < 1:
        raise ValueError(f"factor={factor}; allowed: 1 or more")
    if factor == 1:
        return values
    return uniform_filter1d(values, size=factor, axis=-1)[..., ::factor]


#: Ways to downsample by a factor, by the name that `ScenarioSettings.downsampling` resolves to.
DOWNSAMPLERS: dict[str, Callable[[np.ndarray, int], np.ndarray]] = {"auto": uniform_downsample}
