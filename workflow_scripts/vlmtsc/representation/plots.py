"""A series as a picture."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from matplotlib import rc_context, rcParamsDefault
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from PIL import Image

from vlmtsc.representation.settings import PlotSettings

#: Measured on GunPoint / BasicMotions: run lengths alone (zlib's Z_RLE) write 8.3 / 53 kB in 2.0 / 3.3 ms, the
#: default strategy at level 1 9.5 / 53 kB in 2.1 / 4.7 ms, at level 6 7.7 / 47 kB in 2.8 / 11 ms.
Z_RLE, COMPRESS_LEVEL = 3, 1


class LinePlotter:
    """Draws series as lines, one figure for all of them.

    Parameters
    ----------
    settings : PlotSettings
    n_channels : int
        Lines of every series.

    Notes
    -----
    The pixels are those of the paper's plot: a figure of 4x4 inch, each channel drawn by ``plot``, no ticks,
    no spines, saved with ``bbox_inches="tight", pad_inches=0``. That tight box is the axes' own box, since
    lines are clipped to it. So the figure here is as large as that box and its axes fill it; a series then
    costs new line data, new limits and one drawing.
    """

    def __init__(self, settings: PlotSettings, n_channels: int) -> None:
        with rc_context(rcParamsDefault):  # a user's own matplotlibrc must not change the pixels
            whole = Figure(figsize=(settings.inches, settings.inches), dpi=settings.dpi)
            box = whole.add_subplot().get_position()
            self._figure = Figure(
                figsize=(settings.inches * box.width, settings.inches * box.height), dpi=settings.dpi
            )
            self._canvas = FigureCanvasAgg(self._figure)
            self._axes = self._figure.add_axes((0, 0, 1, 1))
            self._axes.set_axis_off()
            self._lines = [self._axes.plot([], [])[0] for _ in range(n_channels)]

    def render(self, values: np.ndarray) -> np.ndarray:
        """Return the picture of one series.

        Parameters
        ----------
        values : ndarray of float64, shape (n_channels, n_timepoints)

        Returns
        -------
        ndarray of uint8, shape (height, width, 3)
            (308, 310, 3) with the paper's settings. Limits are fitted to this series, with
            matplotlib's margins.
        """
        timepoints = np.arange(values.shape[1])
        for line, channel in zip(self._lines, values, strict=True):
            line.set_data(timepoints, channel)
        self._axes.relim()
        self._axes.autoscale_view()
        self._canvas.draw()
        return np.asarray(self._canvas.buffer_rgba())[..., :3].copy()


def write_png(pixels: np.ndarray, path: Path) -> None:
    """Write pixels, uint8 of shape (height, width, 3), to a PNG file."""
    Image.fromarray(pixels).save(path, format="PNG", compress_type=Z_RLE, compress_level=COMPRESS_LEVEL)
