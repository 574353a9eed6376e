"""Figures of what downsampling leaves of a series."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from vlmtsc.reporting.style import figure_style
from vlmtsc.representation.downsampling import downsample

#: Channels of a series that a figure shows at most, the first ones.
MAX_CHANNELS = 3
#: Values of a channel beyond which they are not marked one by one.
MAX_MARKED = 150
#: inches
PANEL_WIDTH, PANEL_HEIGHT, LINE_HEIGHT = 2.9, 1.6, 0.17
#: Letters of a title's line to an inch.
LETTERS = 12
# Of ticks.
STEPS = [1, 2, 5, 10]


def downsampled_forms(
    series: np.ndarray, methods: Sequence[str], factor: int
) -> list[tuple[str, np.ndarray]]:
    """Return a series and what each method keeps of it, with their names.

    Parameters
    ----------
    series : ndarray of float64, shape (n_channels, n_timepoints)
    methods : sequence of str
    factor : int
        With 1 nothing is left out, and there is nothing but the series.

    Returns
    -------
    list of (str, ndarray of float64, shape (n_channels, n_kept))
    """
    kept = [(method, downsample(series, method, factor)) for method in methods] if factor > 1 else []
    return [("series", series), *kept]


def draw_kept(axes: Axes, name: str, values: np.ndarray, *, marked: bool) -> None:
    """Draw the values of one channel at equal distances, as a prompt lists them.

    Parameters
    ----------
    axes : Axes
    name : str
        What they are, for the title.
    values : ndarray of float64, shape (n_kept,)
    marked : bool
        Whether a mark stands at each value.
    """
    axes.plot(np.arange(1, len(values) + 1), values, marker="." if marked else None, linewidth=1, color="C0")
    axes.set_title(f"{name}, {len(values)} values")


def draw_downsampling(title: str, notes: Sequence[str], forms: Sequence[tuple[str, np.ndarray]]) -> Figure:
    """Draw forms of one series beside one another, a row for each of its first channels.

    Parameters
    ----------
    title : str
    notes : sequence of str
        Sentences below it. What is left out of the figure is added to them.
    forms : sequence of (str, ndarray of float64, shape (n_channels, n_kept))
        As `downsampled_forms` gives them: the series first.

    Returns
    -------
    Figure
        The panels of a row share their vertical axis.
    """
    n_channels = len(forms[0][1])
    shown = min(n_channels, MAX_CHANNELS)
    width = PANEL_WIDTH * max(len(forms), 2)
    left_out = [f"{shown} of {n_channels} channels, the first ones"] if shown < n_channels else []
    lines = [
        line for text in (title, *notes, *left_out) for line in textwrap.wrap(text, int(width * LETTERS))
    ]
    with figure_style():
        figure = Figure(
            figsize=(width, PANEL_HEIGHT * shown + 0.4 + LINE_HEIGHT * len(lines)), layout="constrained"
        )
        axes = figure.subplots(shown, len(forms), squeeze=False, sharey="row")
        for row, channel in zip(axes, range(shown), strict=True):
            for panel, (name, values) in zip(row, forms, strict=True):
                marked = (name != forms[0][0] or len(forms) == 1) and values.shape[1] <= MAX_MARKED
                draw_kept(panel, name, values[channel], marked=marked)
                panel.xaxis.set_major_locator(MaxNLocator(5, integer=True, steps=STEPS))
                panel.yaxis.set_major_locator(MaxNLocator(4, steps=STEPS))
                if channel:
                    panel.set_title("")
                if channel == shown - 1:
                    panel.set_xlabel("timepoint" if name == forms[0][0] else "value of the list")
            row[0].set_ylabel("value" if n_channels == 1 else f"channel {channel + 1}")
        figure.suptitle("\n".join(lines), x=0.01, ha="left", fontsize=10, parse_math=False)
    return figure
