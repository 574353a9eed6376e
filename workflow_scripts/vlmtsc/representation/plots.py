"""A series as a picture: plots. Pictures that are not plots are in `vlmtsc.representation.images`."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Protocol

import matplotlib.path as mpath
import numpy as np
from isal import isal_zlib
from matplotlib import rc_context, rcParamsDefault
from matplotlib.axes import Axes
from matplotlib.backend_bases import GraphicsContextBase
from matplotlib.backends.backend_agg import FigureCanvasAgg, RendererAgg
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from vlmtsc.representation.images import PICTURES, TilePlotter, grid
from vlmtsc.settings import PlotSettings

#: Of ISA-L's levels, the fastest with files no larger than Pillow's.
COMPRESS_LEVEL = 1
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
    costs new limits, and paths drawn onto white. Nothing else is there to be drawn, and looking for it in the figure
    takes longer than a line; so does telling a line its new data. The lines stay empty, and only say how to draw.
    """

    def __init__(self, settings: PlotSettings, n_channels: int, limits: Limits | None = None) -> None:
        with rc_context(rcParamsDefault):  # a user's own matplotlibrc must not change the pixels
            self._figure, self._axes = _figure(settings)
            self._canvas = FigureCanvasAgg(self._figure)
            self._lines = [self._axes.plot([], [])[0] for _ in range(n_channels)]
            self._styles = [_line_style(line, self._canvas.get_renderer()) for line in self._lines]
            self._length = 0  # timepoints that the horizontal limits are for
            if limits is not None:
                _fix_limits(self._axes, limits[0].min(), limits[1].max())

    def render(self, values: np.ndarray) -> np.ndarray:
        """Return the picture of one series: see `Plotter`."""
        length = values.shape[1]
        # What `relim` finds, once for all lines.
        self._axes.dataLim.set_points(np.array([[0, values.min()], [length - 1, values.max()]]))
        self._axes.autoscale_view(scalex=length != self._length)
        self._length = length
        renderer = self._canvas.get_renderer()
        np.asarray(renderer.buffer_rgba())[:] = 255
        to_pixels = self._axes.transData.get_affine()
        for style, channel in zip(self._styles, values, strict=True):
            renderer.draw_path(style, mpath.Path(np.column_stack((np.arange(length), channel))), to_pixels)
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
        self._canvas.draw()
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
        self._canvas.draw()
        return _pixels(self._canvas)


def _figure(settings: PlotSettings) -> tuple[Figure, Axes]:
    """Return a figure as large as the tight box of the paper's figure, and the bare axes that fill it."""
    whole = Figure(figsize=(settings.inches, settings.inches), dpi=settings.dpi)
    box = whole.add_subplot().get_position()
    figure = Figure(figsize=(settings.inches * box.width, settings.inches * box.height), dpi=settings.dpi)
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set_axis_off()
    return figure, axes


def _line_style(line: Line2D, renderer: RendererAgg) -> GraphicsContextBase:
    """Return how a line is drawn, as it tells the renderer itself."""
    style = renderer.new_gc()
    style.set_clip_rectangle(line.get_clip_box())
    style.set_foreground(line.get_color())
    style.set_antialiased(line.get_antialiased())
    style.set_linewidth(line.get_linewidth())
    style.set_joinstyle(line.get_solid_joinstyle())
    style.set_capstyle(line.get_solid_capstyle())
    style.set_snap(line.get_snap())
    return style


def _fix_limits(axes: Axes, low: float, high: float) -> None:
    """Set the limits that a line from `low` to `high` would get, and keep them."""
    axes.update_datalim([(0, low), (0, high)])
    axes.autoscale_view(scalex=False)
    axes.set_autoscaley_on(False)


def _drawable(values: np.ndarray) -> np.ndarray:
    """Return a series that a line can show: a lone timepoint twice."""
    return np.repeat(values, 2, axis=1) if values.shape[1] == 1 else values


def _pixels(canvas: FigureCanvasAgg) -> np.ndarray:
    """Return what is drawn on a canvas, without opacity."""
    drawn = np.asarray(canvas.buffer_rgba())
    pixels = np.empty((*drawn.shape[:2], 3), dtype=np.uint8)
    for colour in range(3):  # four times as fast as a copy of the slice
        pixels[..., colour] = drawn[..., colour]
    return pixels


def encode_png(pixels: np.ndarray) -> bytes:
    """Encode pixels, uint8 of shape (height, width, 3), as a PNG file [1]_.

    Rows as they are, compressed by Intel's ISA-L. Pillow looks for the best filter of each row and compresses with
    zlib, which takes many times as long and makes files of about the same size: a plot is white for the most part.

    References
    ----------
    .. [1] ISO/IEC 15948, Portable Network Graphics.
    """
    height, width, _ = pixels.shape
    rows = np.zeros((height, 1 + 3 * width), dtype=np.uint8)  # the first byte of a row: no filter
    rows[:, 1:] = pixels.reshape(height, -1)
    # Eight bits a channel, RGB, and the only methods that there are; not interlaced.
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    chunks = [
        (b"IHDR", header),
        (b"IDAT", isal_zlib.compress(rows.data, COMPRESS_LEVEL)),
        (b"IEND", b""),
    ]
    parts = [b"\x89PNG\r\n\x1a\n"]
    for kind, content in chunks:
        checksum = isal_zlib.crc32(kind + content)
        parts.append(struct.pack(">I", len(content)) + kind + content + struct.pack(">I", checksum))
    return b"".join(parts)


def write_png(pixels: np.ndarray, path: Path) -> None:
    """Write pixels, uint8 of shape (height, width, 3), to a PNG file."""
    path.write_bytes(encode_png(pixels))
