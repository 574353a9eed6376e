"""Figure of the values that downsampling keeps of a series."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from vlmtsc.data.series import CleanSeries
from vlmtsc.reporting.style import figure_style
from vlmtsc.representation.downsampling import downsample
from vlmtsc.representation.representation import Representation

#: The paper's methods, always shown.
METHODS = ("uniform", "adaptive")
#: Most channels of a figure, the first ones; most values of a channel that are marked one by one.
MAX_CHANNELS, MAX_MARKED = 3, 150
#: Inches; letters of a title to an inch.
PANEL_WIDTH, PANEL_HEIGHT, LINE_HEIGHT, LETTERS = 2.9, 1.6, 0.17, 12
TICK_STEPS = [1, 2, 5, 10]


def downsampled_forms(
    series: np.ndarray, methods: Sequence[str], factor: int
) -> list[tuple[str, np.ndarray]]:
    """Return a series and the values that each method keeps of it, with their names.

    Parameters
    ----------
    series : ndarray of float64, shape (n_channels, n_timepoints)
    methods : sequence of str
    factor : int
        With 1 nothing is left out, and only the series is returned.

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
        Whether each value has a mark.
    """
    axes.plot(np.arange(1, len(values) + 1), values, marker="." if marked else None, linewidth=1, color="C0")
    axes.set_title(f"{name}, {len(values)} values")


def draw_downsampling(
    dataset: str, series: CleanSeries, case: int, representations: Mapping[str, Representation]
) -> Figure:
    """Draw one series, whole and downsampled by the factor of the scenario that leaves out most.

    Parameters
    ----------
    dataset : str
    series : CleanSeries
    case : int
        Position of the series.
    representations : mapping of str to Representation
        By a name for readers, those of the scenarios that downsample series.
    """
    name, representation = max(representations.items(), key=lambda item: item[1].factor)
    methods = list(dict.fromkeys([*METHODS, representation.scenario.downsampling]))
    forms = downsampled_forms(series.values[case], methods, representation.factor)
    n_channels = series.values.shape[1]
    shown = min(n_channels, MAX_CHANNELS)
    width = PANEL_WIDTH * max(len(forms), 2)
    texts = [f"{dataset}, case {case} (class {series.classes[series.label_index[case]]})"]
    texts.append(explain_factor(name, representation))
    if shown < n_channels:
        texts.append(f"{shown} of {n_channels} channels, the first ones")
    lines = [line for text in texts for line in textwrap.wrap(text, int(width * LETTERS))]
    with figure_style():
        size = width, PANEL_HEIGHT * shown + 0.4 + LINE_HEIGHT * len(lines)
        figure = Figure(figsize=size, layout="constrained")
        grid = figure.subplots(shown, len(forms), squeeze=False, sharey="row")
        for channel, row in enumerate(grid):
            for axes, (form, values) in zip(row, forms, strict=True):
                is_list = form != "series"
                few = values.shape[1] <= MAX_MARKED
                draw_kept(axes, form, values[channel], marked=few and (is_list or len(forms) == 1))
                axes.xaxis.set_major_locator(MaxNLocator(5, integer=True, steps=TICK_STEPS))
                axes.yaxis.set_major_locator(MaxNLocator(4, steps=TICK_STEPS))
                if channel:
                    axes.set_title("")
                if channel == shown - 1:
                    axes.set_xlabel("value of the list" if is_list else "timepoint")
            row[0].set_ylabel("value" if n_channels == 1 else f"channel {channel + 1}")
        figure.suptitle("\n".join(lines), x=0.01, ha="left", fontsize=10, parse_math=False)
    return figure


def explain_factor(name: str, representation: Representation) -> str:
    """Return a sentence on the origin of a scenario's downsampling factor."""
    scenario, factor = representation.scenario, representation.factor
    where = f"scenario {name}, method {scenario.downsampling}"
    if scenario.restores("first_case_factor"):
        return f"factor {factor}: the original's, from its first case ({where})"
    if scenario.factor != "auto":
        return f"factor {factor}: fixed by the scenario ({where})"
    if factor == 1:
        return f"every case fits {scenario.context_length} tokens as it is (scenario {name}): nothing is left out"
    return (
        f"factor {factor}: the smallest with which every case fits {scenario.context_length} tokens ({where})"
    )
