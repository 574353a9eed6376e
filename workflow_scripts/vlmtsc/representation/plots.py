"""A series as a picture: plots. Pictures that are not plots are in `vlmtsc.representation.images`."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Protocol

import numpy as np
from matplotlib import rc_context, rcParamsDefault
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from PIL import Image

from vlmtsc.representation.images import PICTURES, TilePlotter, grid
from vlmtsc.representation.settings import PlotSettings

#: Measured on GunPoint / BasicMotions: run lengths alone (zlib's Z_RLE) write 8.3 / 53 kB in 2.0 / 3.3 ms, the
#: default strategy at level 1 9.5 / 53 kB in 2.1 / 4.7 ms, at level 6 7.7 / 47 kB in 2.8 / 11 ms.
Z_RLE, COMPRESS_LEVEL = 3, 1
#: Panels are about this many times as wide as high.
PANEL_SHAPE = 4
#: Opacity of the area under a lone line; of many, less, so that they show through each other.
AREA_OPACITY = 0.4

#: Lows and highs by channel, each ndarray of float64, shape (n_channels,).
Limits = tuple[np.ndarray, np.ndarray]


class Plotter(Protocol):
    """What draws series, all of the same number of channels."""

    def render(self, values: np.ndarray) -> np.ndarray:
        """Return the picture of one series.

        Parameters
        ----------
        values : ndarray of float64, shape (n_channels, n_timepoints)

        Returns
        -------
        ndarray of uint8, shape (height, width, 3)
            (308, 310, 3) with the paper's settings, whatever the style.
        """


def make_plotter(settings: PlotSettings, n_channels: int, limits: Limits | None = None) -> Plotter:
    """Return what draws series in the style of `settings`.

    Parameters
    ----------
    settings : PlotSettings
    n_channels : int
    limits : (low, high), optional
        Axis limits of each channel; needed, and used, if they are shared.
    """
    if (limits is None) == (settings.axis_limits == "shared"):
        raise ValueError(f"axis_limits={settings.axis_limits!r} with limits={limits!r}")
    if settings.style in PICTURES:
        figure, _ = _figure(settings)
        width, height = FigureCanvasAgg(figure).get_width_height()
        return TilePlotter(PICTURES[settings.style], height, width, n_channels, limits)
    if settings.style == "panels":
        return PanelPlotter(settings, n_channels, limits)
    if settings.style == "area":
        return AreaPlotter(settings, n_channels, limits)
    return LinePlotter(settings, n_channels, limits)


class LinePlotter:
    """Draws series as lines, one figure for all of them.

    Parameters
    ----------
    settings : PlotSettings
    n_channels : int
        Lines of every series.
    limits : (low, high), optional
        Axis limits of each channel, the axis goes from the lowest to the highest; without, they are fitted to
        each series. With matplotlib's margins around them in either case.

    Notes
    -----
    The pixels are those of the paper's plot: a figure of 4x4 inch, each channel drawn by ``plot``, no ticks,
    no spines, saved with ``bbox_inches="tight", pad_inches=0``. That tight box is the axes' own box, since
    lines are clipped to it. So the figure here is as large as that box and its axes fill it; a series then
    costs new line data, new limits and one drawing.
    """

    def __init__(self, settings: PlotSettings, n_channels: int, limits: Limits | None = None) -> None:
        with rc_context(rcParamsDefault):  # a user's own matplotlibrc must not change the pixels
            self._figure, self._axes = _figure(settings)
            self._canvas = FigureCanvasAgg(self._figure)
            self._lines = [self._axes.plot([], [])[0] for _ in range(n_channels)]
            if limits is not None:
                _fix_limits(self._axes, limits[0].min(), limits[1].max())

    def render(self, values: np.ndarray) -> np.ndarray:
        """Return the picture of one series: see `Plotter`."""
        timepoints = np.arange(values.shape[1])
        for line, channel in zip(self._lines, values, strict=True):
            line.set_data(timepoints, channel)
        self._axes.relim()
        self._axes.autoscale_view()
        return _pixels(self._canvas)


class AreaPlotter(LinePlotter):
    """Draws series as lines and fills the area from each down to the lower edge."""

    def __init__(self, settings: PlotSettings, n_channels: int, limits: Limits | None = None) -> None:
        super().__init__(settings, n_channels, limits)
        opacity = AREA_OPACITY / n_channels**0.5
        with rc_context(rcParamsDefault):
            self._areas = [
                self._axes.fill([], [], color=line.get_color(), alpha=opacity, linewidth=0)[0]
                for line in self._lines
            ]

    def render(self, values: np.ndarray) -> np.ndarray:
        """Return the picture of one series: see `Plotter`."""
        values = _drawable(values)
        timepoints = np.arange(values.shape[1])
        for line, area, channel in zip(self._lines, self._areas, values, strict=True):
            line.set_data(timepoints, channel)
            area.set_visible(False)  # the limits are those of the lines
        self._axes.relim(visible_only=True)
        self._axes.autoscale_view()
        bottom = self._axes.get_ylim()[0]
        for area, channel in zip(self._areas, values, strict=True):
            corners = ((timepoints[0], bottom), (timepoints[-1], bottom))
            area.set_xy([corners[0], *zip(timepoints, channel, strict=True), corners[1]])
            area.set_visible(True)
        return _pixels(self._canvas)


class PanelPlotter:
    """Draws each channel of a series in a panel of its own, in the colour that it has among lines.

    Panels are filled row by row. Their limits are fitted to each channel of each series, or are those that the
    channel has in `limits`.
    """

    def __init__(self, settings: PlotSettings, n_channels: int, limits: Limits | None = None) -> None:
        rows, columns = grid(n_channels, PANEL_SHAPE)
        with rc_context(rcParamsDefault):
            figure, whole = _figure(settings)
            figure.delaxes(whole)
            self._canvas = FigureCanvasAgg(figure)
            self._panels = []
            for channel in range(n_channels):
                row, column = divmod(channel, columns)
                panel = figure.add_axes((column / columns, 1 - (row + 1) / rows, 1 / columns, 1 / rows))
                panel.set_axis_off()
                line = panel.plot([], [], color=f"C{channel % 10}")[0]
                if limits is not None:
                    _fix_limits(panel, limits[0][channel], limits[1][channel])
                self._panels.append((panel, line))

    def render(self, values: np.ndarray) -> np.ndarray:
        """Return the picture of one series: see `Plotter`."""
        values = _drawable(values)
        timepoints = np.arange(values.shape[1])
        for (panel, line), channel in zip(self._panels, values, strict=True):
            line.set_data(timepoints, channel)
            panel.relim()
            panel.autoscale_view()
        return _pixels(self._canvas)


def _figure(settings: PlotSettings) -> tuple[Figure, Axes]:
    """Return a figure as large as the tight box of the paper's figure, and the bare axes that fill it."""
    whole = Figure(figsize=(settings.inches, settings.inches), dpi=settings.dpi)
    box = whole.add_subplot().get_position()
    figure = Figure(figsize=(settings.inches * box.width, settings.inches * box.height), dpi=settings.dpi)
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set_axis_off()
    return figure, axes


def _fix_limits(axes: Axes, low: float, high: float) -> None:
    """Set the limits that a line from `low` to `high` would get, and keep them."""
    axes.update_datalim([(0, low), (0, high)])
    axes.autoscale_view(scalex=False)
    axes.set_autoscaley_on(False)


def _drawable(values: np.ndarray) -> np.ndarray:
    """Return a series that a line can show: a lone timepoint twice."""
    return np.repeat(values, 2, axis=1) if values.shape[1] == 1 else values


def _pixels(canvas: FigureCanvasAgg) -> np.ndarray:
    canvas.draw()
    return np.asarray(canvas.buffer_rgba())[..., :3].copy()


def encode_png(pixels: np.ndarray) -> bytes:
    """Encode pixels, uint8 of shape (height, width, 3), as a PNG file."""
    content = io.BytesIO()
    Image.fromarray(pixels).save(content, format="PNG", compress_type=Z_RLE, compress_level=COMPRESS_LEVEL)
    return content.getvalue()


def write_png(pixels: np.ndarray, path: Path) -> None:
    """Write pixels, uint8 of shape (height, width, 3), to a PNG file."""
    path.write_bytes(encode_png(pixels))
