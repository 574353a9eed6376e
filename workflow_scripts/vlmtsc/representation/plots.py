"""Drawing series: plots with matplotlib, PNG files, and all cases of a dataset."""

from __future__ import annotations

import logging
import struct
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import matplotlib.path as mpath
import numpy as np
from matplotlib import rc_context, rcParams, rcParamsDefault
from matplotlib.axes import Axes
from matplotlib.backend_bases import GraphicsContextBase
from matplotlib.backends.backend_agg import FigureCanvasAgg, RendererAgg
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from PIL import Image

from vlmtsc.data.series import CleanSeries
from vlmtsc.errors import InputError
from vlmtsc.files import atomic_path, digest_of_files, write_json
from vlmtsc.paths import plot_file_name
from vlmtsc.representation.images import TILE_IMAGES, TilePlotter, grid
from vlmtsc.representation.plot_files import PlotStore, fit_limits, plots_in, write_plots
from vlmtsc.representation.representation import Representation
from vlmtsc.script import Progress
from vlmtsc.settings import PlotSettings

logger = logging.getLogger(__name__)

#: Of zlib's levels, the one with the smallest files among the fastest.
COMPRESS_LEVEL = 3
#: Panels are about this many times as wide as high.
PANEL_SHAPE = 4
#: Opacity of the area under a single line; of several, less, so that they show through each other.
AREA_OPACITY = 0.4

#: Lows and highs by channel, each ndarray of float64, shape (n_channels,).
Limits = tuple[np.ndarray, np.ndarray]


@contextmanager
def default_style() -> Iterator[None]:
    """Draw with matplotlib's defaults, whatever a user's matplotlibrc says: it must not change the pixels."""
    if dict.__eq__(rcParams, rcParamsDefault):  # a context takes half as long as a plot
        yield
    else:
        with rc_context(rcParamsDefault):
            yield


@default_style()
def make_plotter(
    settings: PlotSettings, n_channels: int, limits: Limits | None = None
) -> LinePlotter | CanvasPlotter | TilePlotter:
    """Return the plotter of a style.

    Its method `render` returns the image of one series, float64 of shape (n_channels, n_timepoints), as uint8 of shape
    (height, width, 3): (308, 310, 3) with the paper's settings, whatever the style.

    Parameters
    ----------
    settings : PlotSettings
    n_channels : int
    limits : (low, high), optional
        Axis limits of each channel; required if they are shared, not allowed otherwise.
    """
    if (limits is None) == (settings.axis_limits == "shared"):
        raise ValueError(f"axis_limits={settings.axis_limits!r} with limits={limits!r}")
    if settings.style in TILE_IMAGES:
        width, height = plot_size(settings)
        return TilePlotter(settings.style, height, width, n_channels, limits)
    return (LinePlotter if settings.style in VIEWS else CanvasPlotter)(settings, n_channels, limits)


@default_style()
def plot_size(settings: PlotSettings) -> tuple[int, int]:
    """Return width and height of plots, in pixels."""
    return FigureCanvasAgg(_figure(settings)).get_width_height()


def first_difference(values: np.ndarray) -> np.ndarray:
    """Return the change of each channel since the timepoint before; of a single timepoint, 0."""
    return np.diff(values, axis=1) if values.shape[1] > 1 else np.zeros_like(values)


#: By style, what its panels show of a series, from top to bottom. They end at the same timepoint.
VIEWS: dict[str, tuple[Callable[[np.ndarray], np.ndarray], ...]] = {
    "line": (np.asarray,),
    "difference": (np.asarray, first_difference),
}


class LinePlotter:
    """Draws the styles `line` and `difference`, in one figure for all series.

    `line`: one axis with a line for each channel. `difference`: below it, such an axis for the first difference.

    Parameters
    ----------
    settings : PlotSettings
    n_channels : int
        Lines of every series.
    limits : (low, high), optional
        Limits of each channel; the axis of the series covers all of them. Default: the extremes of each series. Plus
        margins. Differences always have the extremes of each series.

    Notes
    -----
    The pixels of `line` are those of the paper's plot: a figure of 4x4 inch, each channel drawn by ``plot``, no ticks,
    no spines, saved with ``bbox_inches="tight", pad_inches=0``. That tight box is the box of the axes, to which lines
    are clipped. So the figure here is as large as that box and its axes fill it, and a series costs new limits and
    paths drawn onto white. The lines stay empty and only define the style: setting their data and drawing the figure
    would take longer than drawing the paths.
    """

    @default_style()
    def __init__(self, settings: PlotSettings, n_channels: int, limits: Limits | None = None) -> None:
        self._views = VIEWS[settings.style]
        figure = _figure(settings)
        self._canvas = FigureCanvasAgg(figure)
        self._panels = _panels(figure, len(self._views))
        renderer = self._canvas.get_renderer()
        self._styles = [
            [_line_style(axes.plot([], [])[0], renderer) for _ in range(n_channels)] for axes in self._panels
        ]
        self._length = 0  # timepoints that the horizontal limits are for
        if limits is not None:
            _fix_limits(self._panels[0], limits[0].min(), limits[1].max())

    @default_style()
    def render(self, values: np.ndarray) -> np.ndarray:
        """Return the image of one series (see `make_plotter`)."""
        length = values.shape[1]
        renderer = self._canvas.get_renderer()
        np.asarray(renderer.buffer_rgba())[:] = 255
        for view, axes, styles in zip(self._views, self._panels, self._styles, strict=True):
            channels = view(values)
            # The limits that `relim` would find, once for all lines.
            axes.dataLim.set_points(np.array([[0, channels.min()], [length - 1, channels.max()]]))
            axes.autoscale_view(scalex=length != self._length)
            to_pixels = axes.transData.get_affine()
            timepoints = np.arange(length - channels.shape[1], length)
            for style, channel in zip(styles, channels, strict=True):
                renderer.draw_path(style, mpath.Path(np.column_stack((timepoints, channel))), to_pixels)
        self._length = length
        return _pixels(self._canvas)


class CanvasPlotter:
    """Draws the styles `area` and `panels`, in one figure for all series; parameters as for `LinePlotter`.

    `area`: lines, filled down to the lower edge. `panels`: a panel with limits of its own for each channel.
    """

    @default_style()
    def __init__(self, settings: PlotSettings, n_channels: int, limits: Limits | None = None) -> None:
        self._filled = settings.style == "area"
        opacity = AREA_OPACITY / n_channels**0.5
        figure = _figure(settings)
        self._canvas = FigureCanvasAgg(figure)
        self._axes = _panels(figure, 1) * n_channels if self._filled else _panels(figure, n_channels)
        # Resolved here: a name such as "C0" is looked up in the style at drawing time.
        colours = [to_hex(f"C{channel % 10}") for channel in range(n_channels)]
        self._lines = [
            axes.plot([], [], color=colour)[0] for axes, colour in zip(self._axes, colours, strict=True)
        ]
        self._areas = [
            axes.fill([], [], color=colour, alpha=opacity, linewidth=0)[0]
            for axes, colour in zip(self._axes if self._filled else (), colours, strict=False)
        ]
        if limits is not None:
            for channel, axes in enumerate(self._axes):
                own = slice(None) if self._filled else channel
                _fix_limits(axes, limits[0][own].min(), limits[1][own].max())

    @default_style()
    def render(self, values: np.ndarray) -> np.ndarray:
        """Return the image of one series (see `make_plotter`)."""
        values = np.repeat(values, 2, axis=1) if values.shape[1] == 1 else values  # a line needs two points
        timepoints = np.arange(values.shape[1])
        for line, channel in zip(self._lines, values, strict=True):
            line.set_data(timepoints, channel)
        for area in self._areas:
            area.set_visible(False)  # limits are those of the lines
        for axes in dict.fromkeys(self._axes):
            axes.relim(visible_only=True)
            axes.autoscale_view()
        for axes, area, channel in zip(self._axes, self._areas, values, strict=False):
            bottom = axes.get_ylim()[0]
            corners = ((timepoints[0], bottom), (timepoints[-1], bottom))
            area.set_xy([corners[0], *zip(timepoints, channel, strict=True), corners[1]])
            area.set_visible(True)
        self._canvas.draw()
        return _pixels(self._canvas)


def _figure(settings: PlotSettings) -> Figure:
    """Return a figure as large as the tight box of the paper's figure."""
    whole = Figure(figsize=(settings.inches, settings.inches), dpi=settings.dpi)
    box = whole.add_subplot().get_position()
    return Figure(figsize=(settings.inches * box.width, settings.inches * box.height), dpi=settings.dpi)


def _panels(figure: Figure, count: int) -> list[Axes]:
    """Return `count` bare axes, which fill the figure row by row."""
    rows, columns = grid(count, PANEL_SHAPE)
    panels = []
    for row, column in (divmod(panel, columns) for panel in range(count)):
        panels.append(figure.add_axes((column / columns, 1 - (row + 1) / rows, 1 / columns, 1 / rows)))
        panels[-1].set_axis_off()
    return panels


def _line_style(line: Line2D, renderer: RendererAgg) -> GraphicsContextBase:
    """Return the style of a line as matplotlib passes it to the renderer."""
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


def _pixels(canvas: FigureCanvasAgg) -> np.ndarray:
    """Return the pixels of a canvas without opacity."""
    drawn = np.asarray(canvas.buffer_rgba())
    pixels = np.empty((*drawn.shape[:2], 3), dtype=np.uint8)
    for colour in range(3):  # four times as fast as a copy of the slice
        pixels[..., colour] = drawn[..., colour]
    return pixels


def encode_png(pixels: np.ndarray) -> bytes:
    """Encode pixels, uint8 of shape (height, width, 3), as a PNG file (ISO/IEC 15948).

    Each row is stored as its difference from the one above, most of which is zero in a plot: several times as fast as
    Pillow, which searches a filter for each row, and about as small.
    """
    height, width, _ = pixels.shape
    flat = pixels.reshape(height, -1)
    rows = np.full((height, 1 + 3 * width), 2, dtype=np.uint8)  # the first byte of a row: filter "up"
    rows[0, 1:] = flat[0]
    np.subtract(flat[1:], flat[:-1], out=rows[1:, 1:])
    # Eight bits a channel, RGB, the only defined methods, not interlaced.
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    chunks = [
        (b"IHDR", header),
        (b"IDAT", zlib.compress(rows.data, COMPRESS_LEVEL)),
        (b"IEND", b""),
    ]
    encoded = [b"\x89PNG\r\n\x1a\n"]
    for kind, content in chunks:
        checksum = zlib.crc32(kind + content)
        encoded.append(struct.pack(">I", len(content)) + kind + content + struct.pack(">I", checksum))
    return b"".join(encoded)


def write_png(pixels: np.ndarray, path: Path) -> None:
    """Write pixels, uint8 of shape (height, width, 3), to a PNG file."""
    path.write_bytes(encode_png(pixels))


def draw_dataset(
    series: CleanSeries,
    folder: Path,
    drawn_as: PlotSettings | Representation,
    *,
    store: PlotStore = "files",
) -> None:
    """Draw every case of a dataset once into a new folder, with manifest.json written last.

    Parameters
    ----------
    series : CleanSeries
    folder : Path
    drawn_as : PlotSettings or Representation
        The representation of a scenario is required for plots of downsampled series.
    store : {"files", "archive"}, default "files"

    Raises
    ------
    InputError
        If the scenario has no plot, or settings ask for downsampled series.
    """
    if isinstance(drawn_as, Representation):
        if drawn_as.plot is None:
            raise InputError(f"scenario {drawn_as.scenario.name} has no plot; allowed: one with a plot")
        values, settings, limits = drawn_as.values_to_draw(series.values), drawn_as.plot, drawn_as.plot_limits
    else:
        if drawn_as.series == "downsampled":
            raise InputError(
                "series='downsampled' without a scenario's representation; allowed: settings with series='full', or "
                "a representation"
            )
        shared = drawn_as.axis_limits == "shared"
        values, settings = series.values, drawn_as
        limits = fit_limits(series.values[: series.n_train]) if shared else None
    with atomic_path(folder) as temporary:
        temporary.mkdir()
        write_plots(temporary, store, render_all(values, settings, limits))
        files = [plots_in(temporary) / plot_file_name(case) for case in range(len(values))]
        with files[0].open("rb") as content, Image.open(content) as image:
            width, height = image.size
        manifest = {"settings": settings.model_dump(), "width": width, "height": height, "count": len(values)}
        write_json(temporary / "manifest.json", manifest | {"digest": digest_of_files(files)})


def render_all(values: np.ndarray, settings: PlotSettings, limits: Limits | None) -> Iterator[bytes]:
    """Yield the PNG file of each series of ``values``, shape (n_cases, n_channels, n_timepoints)."""
    plotter = make_plotter(settings, values.shape[1], limits)
    progress = Progress(logger, "rendering", len(values), "plots")
    for done, series in enumerate(values, start=1):
        yield encode_png(plotter.render(series))
        progress.update(done)
