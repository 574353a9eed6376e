"""Images of series that are not plots: per channel a tile, coloured by a perceptually uniform map.

Time runs from left to right, and in the two images that compare timepoints also from bottom to top.

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
#: Range of a spectrogram below its largest power, in decibels.
FLOOR = 60.0

#: Function of a channel on a scale from 0 to 1, shape (n_timepoints,), the pixels of a tile's longer side, and whether
#: all series share that scale. Returns an image with values from 0 to 1, shape (height, width), bottom row first.
TileImage = Callable[[np.ndarray, int, bool], np.ndarray]


class TilePlotter:
    """Draws a tile for each channel.

    Parameters
    ----------
    style : {"gaf", "recurrence", "spectrogram"}
    height, width : int
        Pixels of the whole image.
    n_channels : int
    limits : (low, high), optional
        Values of each channel that become 0 and 1, each of shape (n_channels,); values outside are clipped. Default:
        the extremes of each channel of each series.
    """

    def __init__(
        self,
        style: str,
        height: int,
        width: int,
        n_channels: int,
        limits: tuple[np.ndarray, np.ndarray] | None = None,
    ) -> None:
        self._image, self._limits = TILE_IMAGES[style], limits
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
        """Return the image of one series, uint8 of shape (height, width, 3)."""
        low, high = self._limits or (values.min(axis=1), values.max(axis=1))
        pixels = np.full(self._shape, 255, dtype=np.uint8)
        for position, channel, bottom, top in zip(self._tiles, values, low, high, strict=True):
            tile = pixels[position]
            height, width, _ = tile.shape
            image = self._image(scale(channel, bottom, top), max(height, width), self._limits is not None)
            levels = np.rint(np.clip(image, 0, 1) * 255).astype(np.uint8)[::-1]
            # Average where pixels are fewer than values, repeat values where they are more.
            smaller = levels.shape[0] > height or levels.shape[1] > width
            method = Image.Resampling.BOX if smaller else Image.Resampling.NEAREST
            tile[:] = COLOURS[np.asarray(Image.fromarray(levels).resize((width, height), method))]
        return pixels


def grid(n_channels: int, shape: float) -> tuple[int, int]:
    """Return rows and columns that divide a square into tiles at most about `shape` times as wide as high."""
    columns = math.ceil(math.sqrt(n_channels / shape))
    return -(-n_channels // columns), columns


def _span(index: int, count: int, pixels: int, gap: int) -> tuple[int, int]:
    """Return the first pixel of tile `index` of `count` and the one after its last; `gap` pixels separate tiles."""
    room = pixels + gap
    return index * room // count, (index + 1) * room // count - gap


def shorten(channel: np.ndarray, length: int) -> np.ndarray:
    """Average a channel down to at most `length` timepoints: more than pixels cannot be seen."""
    factor = -(-len(channel) // length)
    return channel if factor == 1 else uniform_downsample(channel, factor)


def scale(channel: np.ndarray, low: float, high: float) -> np.ndarray:
    """Map `low` to 0 and `high` to 1 and clip values outside; to 1/2 where both are equal."""
    span = high / 2 - low / 2  # in halves, which do not overflow
    if not span > 0:
        return np.full(channel.shape, 0.5)
    return np.clip((channel / 2 - low / 2) / span, 0, 1)


def gramian_field(channel: np.ndarray, pixels: int, shared: bool) -> np.ndarray:
    """Return the Gramian angular summation field [1]_, ``cos(phi_i + phi_j)`` where ``cos(phi)`` is the value.

    A cosine of 0 becomes 1/2. Equal to ``GramianAngularField(sample_range=None)`` of pyts.
    """
    cosine = 2 * shorten(channel, pixels) - 1
    sine = np.sqrt(np.clip(1 - cosine**2, 0, None))
    return (np.outer(cosine, cosine) - np.outer(sine, sine) + 1) / 2


def recurrence(channel: np.ndarray, pixels: int, shared: bool) -> np.ndarray:
    """Return the similarity of the values at any two timepoints: a recurrence plot [2]_ without threshold.

    1 where they are equal, 0 where they differ by the whole scale: 1 minus ``RecurrencePlot(threshold=None)`` of pyts.
    """
    channel = shorten(channel, pixels)
    return 1 - np.abs(channel[:, None] - channel[None, :])


def power(channel: np.ndarray, pixels: int, shared: bool) -> np.ndarray:
    """Return a spectrogram, shape (n_frequencies, n_windows), from 1 at the largest power to 0 at 60 dB below it.

    Hann windows have about twice the square root of the length, a power of two, so that time and frequency are resolved
    alike; ends are reflected, so that the windows' centres cover the whole series. The largest power is this channel's,
    or with a shared scale that of a sine wave over the whole scale. A constant channel is 0.
    """
    from scipy.signal import spectrogram  # imported here: half a second, which line plots do not need

    n_timepoints = len(channel)
    window = min(n_timepoints, max(4, 2 ** round(math.log2(2 * math.sqrt(n_timepoints)))))
    padded = (
        np.pad(channel - channel.mean(), window // 2, mode="reflect") if n_timepoints > 1 else channel * 0
    )
    _, _, found = spectrogram(
        padded,
        window="hann",
        nperseg=window,
        noverlap=window - max(1, window // 16),
        detrend=False,
        scaling="spectrum",
        mode="psd",
    )
    if np.ptp(channel) == 0:
        return np.zeros_like(found)
    largest = 1 / 8 if shared else found.max()
    return np.clip(1 + 10 * np.log10(np.maximum(found, 1e-300) / largest) / FLOOR, 0, 1)


#: By the style of `PlotSettings`.
TILE_IMAGES: dict[str, TileImage] = {
    "gaf": gramian_field,
    "recurrence": recurrence,
    "spectrogram": power,
}
