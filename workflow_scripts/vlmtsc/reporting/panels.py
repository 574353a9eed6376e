"""Small multiples placed by hand: a layout engine takes a minute for a hundred panels."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FixedLocator, FuncFormatter, LogLocator, MultipleLocator, NullLocator

from vlmtsc.reporting.style import line_looks

#: Above the grid's lines, below what is drawn.
MAJORITY_LOOK: dict[str, Any] = {"color": "0.45", "linestyle": "--", "linewidth": 1, "zorder": 1.6}


@dataclass(frozen=True)
class Grid:
    """Panels of equal size in rows, filled from the left; sizes in inches.

    Attributes
    ----------
    count : int
        Panels.
    columns : int
        Panels in a row, at most.
    width, height : float
        Of a panel.
    gap_x, gap_y : float
        Between panels.
    """

    count: int
    columns: int
    width: float
    height: float
    gap_x: float
    gap_y: float

    @property
    def n_columns(self) -> int:
        """Panels in the first row."""
        return max(1, min(self.columns, self.count))

    @property
    def n_rows(self) -> int:
        """Rows of panels."""
        return max(1, math.ceil(self.count / self.n_columns))

    @property
    def size(self) -> tuple[float, float]:
        """Width and height of all panels; labels and legend lie outside, and saving fits the page to them."""
        return (
            self.n_columns * (self.width + self.gap_x) - self.gap_x,
            self.n_rows * (self.height + self.gap_y) - self.gap_y,
        )

    def figure(self) -> Figure:
        """Make the figure."""
        return Figure(figsize=self.size)

    def add(self, figure: Figure, index: int, bottom: float = 0.0, height: float | None = None) -> Axes:
        """Add the axes of a panel, or of a part of it.

        Parameters
        ----------
        figure : Figure
        index : int
            Of the panel.
        bottom, height : float
            Of the part, from the panel's lower edge.
        """
        width, total = self.size
        row, column = divmod(index, self.n_columns)
        left = column * (self.width + self.gap_x)
        base = total - self.height - row * (self.height + self.gap_y)
        tall = self.height if height is None else height
        return figure.add_axes((left / width, (base + bottom) / total, self.width / width, tall / total))

    def is_left(self, index: int) -> bool:
        """Tell whether a panel has none at its left."""
        return index % self.n_columns == 0

    def is_lowest(self, index: int) -> bool:
        """Tell whether a panel has none below it."""
        return index + self.n_columns >= self.count

    def add_legend(
        self, figure: Figure, handles: Sequence[Line2D], above: float = 0.3, column_width: float = 1.7
    ) -> None:
        """Put one legend above all panels.

        Parameters
        ----------
        figure : Figure
        handles : sequence of Line2D
        above : float
            Inches between the panels and the legend: room for titles.
        column_width : float
            Inches that an entry needs.
        """
        width, height = self.size
        figure.legend(
            handles=list(handles),
            loc="lower center",
            bbox_to_anchor=(0.5, 1 + above / height),
            ncols=max(1, min(len(handles), int(max(width, 4.5) / column_width))),
        )


def legend_width(names: Sequence[str]) -> float:
    """Return the inches that an entry with the longest of these names needs."""
    return 0.55 + 0.075 * max(map(len, names))


def title_room(runs: pd.DataFrame) -> float:
    """Return the inches that the titles of the first row of panels take: a second line names model and protocol."""
    return 0.45 if any(runs[name].nunique() > 1 for name in ("model", "protocol")) else 0.3


def scenario_looks(names: Sequence[str]) -> dict[str, dict[str, Any]]:
    """Colour and marker of each scenario, for points."""
    return {
        name: {part: look[part] for part in ("color", "marker")} for name, look in line_looks(names).items()
    }


def marker_entry(label: str, **look: Any) -> Line2D:
    """Return a legend's entry for points."""
    return Line2D([], [], linestyle="", markersize=5, label=label, **look)


def accuracy_floor(*accuracies: pd.Series) -> float:
    """Return where an axis of accuracies in percent begins: the ten below the lowest share."""
    lowest = min(float(values.min()) for values in accuracies if values.notna().any())
    return max(0.0, 10.0 * math.floor(10 * lowest - 0.2))


def accuracy_ticks(low: float) -> MultipleLocator:
    """Return ticks for an axis of accuracies in percent that begins at `low`: every 20 or 10, 100 among them."""
    return MultipleLocator(20 if low < 50 else 10)


def count_axis(axis: Axes, low: float, high: float) -> None:
    """Make the x axis logarithmic, with powers of two as its ticks: for tokens."""
    axis.set_xscale("log", base=2)
    axis.set_xlim(low, high)
    first, last = math.ceil(math.log2(low)), math.floor(math.log2(high))
    step = max(1, math.ceil((last - first + 1) / 5))
    axis.xaxis.set_major_locator(FixedLocator([2.0**power for power in range(first, last + 1, step)]))
    axis.xaxis.set_minor_locator(NullLocator())
    axis.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:.0f}"))


def decade_axis(axis: Axes, low: float, high: float) -> None:
    """Make the x axis logarithmic, with few ticks, written as plain numbers: for seconds."""
    axis.set_xscale("log")
    axis.set_xlim(low, high)
    decades = math.log10(high / low)
    subs = (1.0, 2.0, 5.0) if decades < 1.5 else (1.0, 3.0) if decades < 3 else (1.0,)
    axis.xaxis.set_major_locator(LogLocator(subs=subs, numticks=12))
    axis.xaxis.set_minor_locator(NullLocator())
    axis.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
