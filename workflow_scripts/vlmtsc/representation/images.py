"""A series as a picture that is not a plot: a tile for each channel, coloured by a perceptually uniform map.

Time goes from left to right, and in the two pictures that compare timepoints from bottom to top as well.

References
----------
.. [1] Z. Wang and T. Oates, "Imaging time-series to improve classification and imputation", IJCAI 2015.
.. [2] J.-P. Eckmann et al., "Recurrence plots of dynamical systems", Europhysics Letters 4, 1987.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
from matplotlib import colormaps
from PIL import Image

from vlmtsc.representation.downsampling import uniform_downsample

#: Every colour of the map, ndarray of uint8, shape (256, 3).
COLOURS = np.round(colormaps["viridis"](np.arange(256))[:, :3] * 255).astype(np.uint8)
#: White pixels between two tiles.
GAP = 4
#: What a spectrogram shows of the power below its largest, in decibels.
FLOOR = 60.0

#: From a channel on a scale from 0 to 1, shape (n_timepoints,), the pixels of a tile's longer side, and whether that
#: scale is shared by all series, to an image with values from 0 to 1, shape (height, width), bottom row first.
Picture = Callable[[np.ndarray, int, bool], np.ndarray]


class TilePlotter:
    """Draws an image of each channel, all in one picture.

    Parameters
    ----------
    picture : Picture
        A value of `PICTURES`.
    height, width : int
        Pixels of the whole picture.
    n_channels : int
    limits : (low, high), optional
        What is 0 and what is 1 in each channel, each of shape (n_channels,); values outside are clipped. Without,
        the extremes of each channel of each series.
    """

    def __init__(
        self,
        picture: Picture,
        height: int,
        width: int,
        n_channels: int,
        limits: tuple[np.ndarray, np.ndarray] | None = None,
    ) -> None:
        self._picture, self._limits = picture, limits
        rows, columns = grid(n_channels, 1)
        gap = min(GAP, height // (4 * rows), width // (4 * columns))
        self._shape = (height, width, 3)
        self._tiles = [
            (
                slice(*_span(channel // columns, rows, height, gap)),
                slice(*_span(channel % columns, columns, width, gap)),
            )
            for channel in range(n_channels)
        ]

    def render(self, values: np.ndarray) -> np.ndarray:
        """Return the picture of one series.

        Parameters
        ----------
        values : ndarray of float64, shape (n_channels, n_timepoints)

        Returns
        -------
        ndarray of uint8, shape (height, width, 3)
        """
        low, high = self._limits or (values.min(axis=1), values.max(axis=1))
        pixels = np.full(self._shape, 255, dtype=np.uint8)
        for tile, channel, bottom, top in zip(self._tiles, values, low, high, strict=True):
            part = pixels[tile]
            longer = max(part.shape[:2])
            image = self._picture(scale(channel, bottom, top), longer, self._limits is not None)
            levels = np.rint(np.clip(image, 0, 1) * 255).astype(np.uint8)[::-1]
            size = (part.shape[1], part.shape[0])
            part[:] = COLOURS[np.asarray(Image.fromarray(levels).resize(size, _resampling(levels, part)))]
        return pixels


def _resampling(levels: np.ndarray, part: np.ndarray) -> Image.Resampling:
    """Average where pixels are fewer than values, repeat values where they are more."""
    smaller = levels.shape[0] > part.shape[0] or levels.shape[1] > part.shape[1]
    return Image.Resampling.BOX if smaller else Image.Resampling.NEAREST


def grid(n_channels: int, shape: float) -> tuple[int, int]:
    """Return rows and columns for panels or tiles at most about `shape` times as wide as high, in a square."""
    columns = math.ceil(math.sqrt(n_channels / shape))
    return -(-n_channels // columns), columns


def _span(index: int, count: int, pixels: int, gap: int) -> tuple[int, int]:
    """Return the first pixel of part `index` of `count`, and the one after its last; `gap` pixels lie between parts."""
    room = pixels + gap
    return index * room // count, (index + 1) * room // count - gap


def shorten(channel: np.ndarray, length: int) -> np.ndarray:
    """Return at most `length` timepoints of a channel, averaged: more of them than pixels would be lost anyway."""
    factor = -(-len(channel) // length)
    return channel if factor == 1 else uniform_downsample(channel, factor)


def scale(channel: np.ndarray, low: float, high: float) -> np.ndarray:
    """Map `low` to 0 and `high` to 1, and clip what lies outside; to 1/2 where they are equal."""
    span = high / 2 - low / 2  # in halves, which do not overflow
    if not span > 0:
        return np.full(channel.shape, 0.5)
    return np.clip((channel / 2 - low / 2) / span, 0, 1)


def gramian_field(channel: np.ndarray, pixels: int, shared: bool) -> np.ndarray:
    """Return the Gramian angular summation field [1]_, ``cos(phi_i + phi_j)`` with ``cos(phi)`` the value.

    Parameters
    ----------
    channel : ndarray of float64, shape (n_timepoints,)
        From 0 to 1.
    pixels : int
        Timepoints that can be seen; of more than that, averages are compared.
    shared : bool
        Not used: the scale is in the values.

    Returns
    -------
    ndarray of float64, shape (n, n)
        From 0 to 1, where 1/2 is a cosine of 0.

    Notes
    -----
    The same as pyts' ``GramianAngularField(sample_range=None)``, whose import compiles for half a minute in each
    process.
    """
    cosine = 2 * shorten(channel, pixels) - 1
    sine = np.sqrt(np.clip(1 - cosine**2, 0, None))
    return (np.outer(cosine, cosine) - np.outer(sine, sine) + 1) / 2


def recurrence(channel: np.ndarray, pixels: int, shared: bool) -> np.ndarray:
    """Return how near to each other the values of any two timepoints are: a recurrence plot [2]_ in grades.

    Parameters
    ----------
    channel : ndarray of float64, shape (n_timepoints,)
        From 0 to 1.
    pixels : int
        Timepoints that can be seen; of more than that, averages are compared.
    shared : bool
        Not used: the scale is in the values.

    Returns
    -------
    ndarray of float64, shape (n, n)
        1 where the values are equal, 0 where they are as far apart as the scale goes.

    Notes
    -----
    1 minus pyts' ``RecurrencePlot(threshold=None)``; see `gramian_field`.
    """
    channel = shorten(channel, pixels)
    return 1 - np.abs(channel[:, None] - channel[None, :])


def power(channel: np.ndarray, pixels: int, shared: bool) -> np.ndarray:
    """Return the power in short windows by frequency and time, in decibels below the largest.

    Windows (Hann) have about twice the square root of the length, a power of two, so that time and frequency are
    resolved alike; ends are reflected, so that the windows' middles cover the whole series.

    Parameters
    ----------
    channel : ndarray of float64, shape (n_timepoints,)
        From 0 to 1.
    pixels : int
        Not used: windows follow from the length.
    shared : bool
        Whether 1 stands for the power of a sine wave over the whole scale, or for the largest power of this channel.

    Returns
    -------
    ndarray of float64, shape (n_frequencies, n_windows)
        1 at the largest power, 0 at 60 dB less; frequency 0 first. Of a constant channel all 0.
    """
    from scipy.signal import spectrogram  # half a second, which a line plot need not wait for

    n_timepoints = len(channel)
    window = min(n_timepoints, max(4, 2 ** round(math.log2(2 * math.sqrt(n_timepoints)))))
    padded = (
        np.pad(channel - channel.mean(), window // 2, mode="reflect") if n_timepoints > 1 else channel * 0
    )
    hop = max(1, window // 16)
    _, _, found = spectrogram(
        padded,
        window="hann",
        nperseg=window,
        noverlap=window - hop,
        detrend=False,
        scaling="spectrum",
        mode="psd",
    )
    largest = 1 / 8 if shared else found.max()
    if np.ptp(channel) == 0:
        return np.zeros_like(found)
    return np.clip(1 + 10 * np.log10(np.maximum(found, 1e-300) / largest) / FLOOR, 0, 1)


#: By the style of `PlotSettings`.
PICTURES: dict[str, Picture] = {"gaf": gramian_field, "recurrence": recurrence, "spectrogram": power}
