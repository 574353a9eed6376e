"""Style of all figures, grids of panels, and the elements that several figures share."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib as mpl
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Colormap, Normalize
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, LogLocator, MultipleLocator, NullLocator

from vlmtsc.files import atomic_path

#: Columns that name a panel.
PLACE = ["model", "protocol", "dataset"]
# Light to dark with monotonic lightness: keeps its order in grey and with any colour blindness.
# With all its colours: a matplotlibrc can have fewer (image.lut), which counts when matplotlib is imported.
SEQUENTIAL = mpl.colormaps["YlGnBu"].resampled(256)
DASHES: list[tuple[float, ...]] = [(), (4, 1.5), (6, 1.5, 1, 1.5), (1, 1)]
MARKERS = ["o", "s", "^", "D", "v", "P", "X", "*"]
# seaborn's colour-blind palette without its pink and yellow, which are too light for lines on white.
LINE_COLOURS = [0, 1, 2, 3, 4, 5, 7, 9]
DPI = 200
# Matplotlib refuses images of 65,536 pixels or more, and no browser shows them.
MAX_PIXELS = 30_000
SETTINGS: dict[str, Any] = {
    "font.family": "DejaVu Sans",
    "font.size": 9,
    "axes.titlesize": 10,
    "axes.labelsize": 9,
    "legend.fontsize": 9,
    "legend.frameon": False,
    "xtick.labelsize": 8,
    "ytick.labelsize": 8,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.linewidth": 0.8,
    "axes.edgecolor": "0.3",
    "grid.color": "0.88",
    "grid.linewidth": 0.6,
    "lines.linewidth": 1.4,
    "figure.facecolor": "white",
    "savefig.dpi": DPI,
    # Searchable text in a PDF; journals refuse Type 3 fonts.
    "pdf.fonttype": 42,
}
#: Line of the majority class's rate: above the grid, below the data.
MAJORITY: dict[str, Any] = {"color": "0.45", "linestyle": "--", "linewidth": 1, "zorder": 1.6}


@contextmanager
def figure_style() -> Iterator[None]:
    """Apply `SETTINGS`, over matplotlib's defaults, to the figures drawn inside the block."""
    with mpl.rc_context(mpl.rcParamsDefault):
        sns.set_theme(style="ticks", rc=SETTINGS)
        yield


def line_looks(names: Sequence[str]) -> dict[str, dict[str, Any]]:
    """Return colour, dashes and marker of each name; no two of the first 64 names share all three."""
    palette = sns.color_palette("colorblind", 10)
    looks = {}
    for index, name in enumerate(names):
        # After one round of colours the styles move on by one, so that a colour returns in another style.
        shifted = index + index // len(LINE_COLOURS)
        looks[name] = {
            "color": palette[LINE_COLOURS[index % len(LINE_COLOURS)]],
            "dashes": DASHES[shifted % len(DASHES)],
            "marker": MARKERS[shifted % len(MARKERS)],
        }
    return looks


def marker_looks(names: Sequence[str]) -> dict[str, dict[str, Any]]:
    """Return colour and marker of each name, for points without a line."""
    return {
        name: {"color": look["color"], "marker": look["marker"], "linestyle": ""}
        for name, look in line_looks(names).items()
    }


def legend_entry(label: str, **look: Any) -> Line2D:
    """Return a legend's entry for a line or, with an empty line style, for points."""
    return Line2D([], [], label=label, **{"markersize": 5} | look)


def wrapped(name: str, width: int = 14) -> str:
    """Break a long name at its underscores, hyphens and spaces into lines of at most `width` characters."""
    spaced = name.replace("_", "_ ").replace("-", "- ")
    lines = textwrap.wrap(spaced, width, break_long_words=False, break_on_hyphens=False)
    return "\n".join(line.replace("_ ", "_").replace("- ", "-") for line in lines)


def panel_title(table: pd.DataFrame, model: str, protocol: str, dataset: str) -> str:
    """Return a panel's title: the dataset, and model and protocol where the table has several."""
    details = [
        value for name, value in [("model", model), ("protocol", protocol)] if table[name].nunique() > 1
    ]
    return "\n".join([dataset, ", ".join(details)]) if details else dataset


def fitting_size(text: str, inches: float, most: float) -> float:
    """Return a font size, at most `most`, with which the longest line of a text is about so many inches long."""
    return max(5.0, min(most, 72 * inches / (0.58 * max(map(len, text.split("\n"))))))


@dataclass(frozen=True)
class Panels:
    """Panels of equal size in rows, filled from the left; `axes` has the axes of each panel from top to bottom.

    The figure is as large as its panels; labels and legend lie outside, and saving fits the page to them.
    """

    figure: Figure
    axes: list[list[Axes]]
    n_columns: int

    def is_left(self, index: int) -> bool:
        """Return whether no panel stands to the left of this one."""
        return index % self.n_columns == 0

    def is_lowest(self, index: int) -> bool:
        """Return whether no panel stands below this one."""
        return index + self.n_columns >= len(self.axes)

    def set_titles(self, table: pd.DataFrame, keys: Iterable[Sequence[str]]) -> None:
        """Write above each panel its dataset, and model and protocol where the table has several."""
        for [axes, *_], key in zip(self.axes, keys, strict=True):
            title = panel_title(table, *key)
            width = axes.get_position().width * self.figure.get_figwidth()
            axes.set_title(title, fontsize=fitting_size(title, width + 0.2, 10))

    def label(self, x: str, y: Sequence[str], *, inner_ticks: bool = True) -> None:
        """Label the lowest x axes and the leftmost y axes; number the ticks there and, if wanted, of all x axes."""
        for index, parts in enumerate(self.axes):
            for axes, name in zip(parts, y, strict=True):
                lowest = self.is_lowest(index) and axes is parts[-1]
                axes.tick_params(axis="x", labelbottom=lowest or (inner_ticks and axes is parts[-1]))
                axes.tick_params(axis="y", labelleft=self.is_left(index))
                axes.set_xlabel(x if lowest else "")
                axes.set_ylabel(name if self.is_left(index) else "")
            if self.is_left(index):
                self.figure.align_ylabels(parts)

    def add_legend(self, handles: Sequence[Line2D], title: str = "") -> None:
        """Add one legend above all panels and their titles."""
        width, height = self.figure.get_size_inches()
        entry = 0.55 + 0.075 * max(len(str(handle.get_label())) for handle in handles)
        top = self.figure.get_tightbbox().y1
        self.figure.legend(
            handles=list(handles),
            loc="lower center",
            bbox_to_anchor=(0.5, (top + 0.08) / height),
            borderaxespad=0,
            ncols=max(1, min(len(handles), int(max(width, 4.5) / entry))),
            title="\n".join(textwrap.wrap(title, int(13 * max(width, 4.5)))) or None,
        )


def panel_grid(
    count: int,
    columns: int,
    size: tuple[float, float],
    gap: tuple[float, float],
    *,
    heights: Sequence[float] = (1.0,),
    inner_gap: float = 0.0,
) -> Panels:
    """Return a figure with empty panels, at most `columns` in a row.

    `size` and `gap` are width and height in inches, of a panel and of the space between panels; `heights` the
    relative heights of the axes of a panel, with `inner_gap` inches between them. Sizes are fixed and axes are not
    shared: a layout engine takes a minute for a hundred panels, shared axes longer.
    """
    n_columns = max(1, min(columns, count))
    n_rows = max(1, math.ceil(count / n_columns))
    (width, height), (gap_x, gap_y) = size, gap
    figure = Figure(figsize=(n_columns * (width + gap_x) - gap_x, n_rows * (height + gap_y) - gap_y))
    edges = {"left": 0, "right": 1, "bottom": 0, "top": 1}
    grid = figure.add_gridspec(n_rows, n_columns, wspace=gap_x / width, hspace=gap_y / height, **edges)
    average = (height - inner_gap * (len(heights) - 1)) / len(heights)
    rows: list[list[Axes]] = []
    for index in range(count):
        cell = grid[divmod(index, n_columns)].subgridspec(
            len(heights), 1, height_ratios=heights, hspace=inner_gap / average
        )
        rows.append([figure.add_subplot(cell[part]) for part in range(len(heights))])
    return Panels(figure, rows, n_columns)


def add_colour_bar(
    figure: Figure, scale: Normalize, label: str, height: float, colours: Colormap | str = SEQUENTIAL
) -> None:
    """Add a colour bar of so many inches to the right of the figure's upper edge."""
    width, total = figure.get_size_inches()
    axes = figure.add_axes((1 + 0.17 / width, 1 - height / total, 0.12 / width, height / total))
    bar = figure.colorbar(ScalarMappable(scale, colours), cax=axes)
    bar.outline.set_visible(False)
    bar.set_label(label)


def accuracy_floor(*shares: pd.Series) -> float:
    """Return where an axis of shares in percent begins: the ten below the lowest one; NaN is left out."""
    lowest = min(float(values.min()) for values in shares if values.notna().any())
    return max(0.0, 10.0 * math.floor(10 * lowest - 0.2))


def set_accuracy_axis(axes: Axes, along: str, low: float) -> None:
    """Have an axis in percent, "x" or "y", begin at `low` and end a little above 100, which is among its ticks."""
    axes.set(**{f"{along}lim": (low, 104)})
    getattr(axes, f"{along}axis").set_major_locator(MultipleLocator(20 if low < 50 else 10))


def set_log_axis(axes: Axes, low: float, high: float, base: int = 10) -> None:
    """Make the x axis logarithmic, with few ticks, written as plain numbers."""
    axes.set_xscale("log", base=base)
    axes.set_xlim(low, high)
    powers = math.log(high / low, base)
    subs = (1.0,) if base == 2 or powers > 3 else (1.0, 3.0) if powers > 1.5 else (1.0, 2.0, 5.0)
    axes.xaxis.set_major_locator(LogLocator(base, subs, numticks=12 if base == 10 else 5))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))


def draw_interval(
    axes: Axes,
    centre: float,
    place: float,
    bounds: tuple[float, float],
    look: Mapping[str, Any],
    *,
    along: str,
) -> None:
    """Draw a share in percent along "x" or "y", at a place of the other axis, with its bounds unless they are NaN."""
    low, high = (100 * bound for bound in bounds)
    errors = None if math.isnan(low) else [[max(0, 100 * centre - low)], [max(0, high - 100 * centre)]]
    x, y = (100 * centre, place) if along == "x" else (place, 100 * centre)
    options: dict[str, Any] = {f"{along}err": errors, "markersize": 5, "elinewidth": 1.2}
    axes.errorbar(x, y, **options | dict(look))


def save_figure(figure: Figure, path: Path, *, tight: bool = True) -> None:
    """Save a figure in the format of the path's suffix; the same figure gives the same bytes.

    With `tight`, the page is fitted to what is drawn; without, pixels stay where they are.
    """
    options: dict[str, Any] = {"bbox_inches": "tight", "pad_inches": 0.08} if tight else {}
    # A creation date would make two equal PDFs differ.
    metadata = {"CreationDate": None} if path.suffix == ".pdf" else {}
    dpi = min(DPI, MAX_PIXELS / max(figure.get_size_inches()))
    with figure_style():
        figure.savefig(path, dpi=dpi, metadata=metadata, **options)


def save_png_and_pdf(figure: Figure, folder: Path, name: str, *, tight: bool = True) -> None:
    """Save ``name.png``, for the screen, and ``name.pdf``, for print; other files in the folder are left alone."""
    for suffix in (".png", ".pdf"):
        with atomic_path(folder / f"{name}{suffix}") as temporary:
            save_figure(figure, temporary, tight=tight)
