"""The figure of calibration: reliability diagrams of all runs."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

from vlmtsc.reporting.calibration import AS_SCORED, AT_TEMPERATURE, ERRORS
from vlmtsc.reporting.figures import panel_title
from vlmtsc.reporting.panels import Grid
from vlmtsc.reporting.points import PLACE
from vlmtsc.reporting.runs import DONE
from vlmtsc.reporting.style import figure_style, wrapped
from vlmtsc.reporting.tables import percent

BINS = 15
#: inches
SIDE, STRIP, GAP = 1.5, 0.42, 0.08
#: Percent; a little more than the shares themselves, so that marks at the edge are whole.
RANGE = (-4, 104)


def draw_calibration(runs: pd.DataFrame, reliability: pd.DataFrame) -> Figure:
    """Reliability diagrams: a row for each dataset, a column for each scenario, below each the cases of its bins.

    Of several seeds the cases are pooled; the written error is the mean of theirs.

    Parameters
    ----------
    runs : DataFrame
        Tidy table of runs.
    reliability : DataFrame
        Columns `vlmtsc.reporting.calibration.RELIABILITY_COLUMNS`.
    """
    done = runs[runs["status"] == DONE]
    scenarios = list(dict.fromkeys(done["scenario"]))
    rows = list(done.groupby(PLACE, sort=False))
    grid = Grid(len(rows) * len(scenarios), len(scenarios), SIDE, SIDE + GAP + STRIP, 0.2, 0.38)
    pooled = pool_seeds(reliability)
    most = int(pooled["cases"].max())
    curves = dict(iter(pooled.groupby([*PLACE, "scenario"], sort=False)))
    looks = calibration_looks()
    with figure_style():
        figure = grid.figure()
        for row, (key, of_dataset) in enumerate(rows):
            for column, scenario in enumerate(scenarios):
                index = row * len(scenarios) + column
                above = grid.add(figure, index, STRIP + GAP, SIDE)
                below = grid.add(figure, index, 0, STRIP)
                curve = curves.get((*key, scenario))
                seeds = of_dataset[of_dataset["scenario"] == scenario]
                if curve is None:
                    asked = runs[(runs[PLACE] == key).all(axis=1) & (runs["scenario"] == scenario)]
                    above.text(50, 50, "\n".join(dict.fromkeys(asked["status"])), ha="center", color="0.4")
                    above.set(xlim=RANGE, ylim=RANGE)
                    for axis in (above, below):
                        axis.set_axis_off()
                else:
                    draw_reliability(above, curve, looks)
                    draw_bin_counts(below, curve, most, looks)
                    above.set_title(error_text(seeds), fontsize=7, pad=4)
                if row == 0:
                    above.annotate(
                        wrapped(scenario, 18),
                        (0.5, 1.14),
                        xycoords="axes fraction",
                        ha="center",
                        va="bottom",
                        fontweight="bold",
                        fontsize=9,
                    )
                label_axes(above, below, left=grid.is_left(index), lowest=grid.is_lowest(index))
                if grid.is_left(index):
                    above.annotate(
                        panel_title(runs, *key),
                        (-0.52, 0.5),
                        xycoords="axes fraction",
                        rotation=90,
                        ha="center",
                        va="center",
                        fontweight="bold",
                        fontsize=9,
                    )
        names = {AS_SCORED: "as scored", AT_TEMPERATURE: "divided by the temperature T"}
        shown = set(reliability["scores"])
        handles = [
            Line2D([], [], label=label, **looks[name]) for name, label in names.items() if name in shown
        ]
        handles.append(Line2D([], [], color="0.55", linestyle=":", linewidth=1, label="perfectly calibrated"))
        grid.add_legend(figure, handles, above=0.55, column_width=2.3)
    return figure


def pool_seeds(reliability: pd.DataFrame) -> pd.DataFrame:
    """Put the cases of all seeds together: a row for each bin of each scenario's scores.

    Parameters
    ----------
    reliability : DataFrame
        Columns `vlmtsc.reporting.calibration.RELIABILITY_COLUMNS`.

    Returns
    -------
    DataFrame
        The same columns without seed: ``cases`` are sums, ``confidence`` and ``accuracy`` means over the cases.
    """
    means = ["confidence", "accuracy"]
    sums = reliability[means].mul(reliability["cases"], axis=0)
    weighted = reliability.assign(**{name: sums[name] for name in means})
    keys = [*PLACE, "scenario", "scores", "bin"]
    pooled = weighted.groupby(keys, sort=False, as_index=False)[[*means, "cases"]].sum()
    pooled[means] = pooled[means].div(pooled["cases"], axis=0)
    return pooled.sort_values("bin", kind="stable", ignore_index=True)


def calibration_looks() -> dict[str, dict[str, Any]]:
    """Looks of the two curves: filled and hollow, so that they differ in grey."""
    palette = sns.color_palette("colorblind", 10)
    return {
        AS_SCORED: {"color": palette[0], "marker": "o", "markersize": 4, "linewidth": 1.2},
        AT_TEMPERATURE: {
            "color": palette[3],
            "marker": "s",
            "markersize": 4.5,
            "linewidth": 1,
            "linestyle": "--",
            "markerfacecolor": "none",
        },
    }


def draw_reliability(axis: Axes, curve: pd.DataFrame, looks: dict[str, dict[str, Any]]) -> None:
    """Draw accuracy against confidence of one scenario."""
    axis.plot([0, 100], [0, 100], color="0.55", linestyle=":", linewidth=1, zorder=1)
    for name, points in curve.groupby("scores", sort=False):
        axis.plot(100 * points["confidence"], 100 * points["accuracy"], zorder=2, **looks[name])
    axis.set(xlim=RANGE, ylim=RANGE)
    axis.grid(True)


def error_text(seeds: pd.DataFrame) -> str:
    """Write the expected calibration errors of the seeds of a scenario: their means, in percent."""
    before, after = (seeds[ERRORS[name]].mean() for name in (AS_SCORED, AT_TEMPERATURE))
    if pd.isna(after):
        return f"ECE {percent(before)}%"
    return f"ECE {percent(before)}%, {percent(after)}% at T = {seeds['temperature'].mean():.2f}"


def draw_bin_counts(axis: Axes, curve: pd.DataFrame, most: int, looks: dict[str, dict[str, Any]]) -> None:
    """Draw how many cases each bin holds, as steps on a logarithmic axis; an empty bin has none."""
    width = 100 / BINS
    for name, points in curve.groupby("scores", sort=False):
        centres = (points["bin"] + 0.5) * width
        filled = name == AS_SCORED
        axis.bar(
            centres,
            points["cases"],
            width=width * (0.92 if filled else 0.6),
            facecolor=looks[name]["color"] if filled else "none",
            edgecolor=looks[name]["color"],
            alpha=0.45 if filled else 1,
            linewidth=0 if filled else 1.1,
        )
    axis.set_yscale("log")
    axis.set(xlim=RANGE, ylim=(0.5, max(10, most) * 1.8))
    decades = [10.0**power for power in range(int(np.log10(max(10, most))) + 1)]
    axis.yaxis.set_major_locator(FixedLocator(decades[:: max(1, len(decades) // 2)]))
    axis.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:.0f}"))
    axis.yaxis.set_minor_locator(NullLocator())


def label_axes(above: Axes, below: Axes, *, left: bool, lowest: bool) -> None:
    """Label what lies at the edge of the grid; panels within share their neighbours' labels."""
    for axis in (above, below):
        axis.xaxis.set_major_locator(FixedLocator([0, 50, 100]))
    above.yaxis.set_major_locator(FixedLocator([0, 50, 100]))
    above.tick_params(axis="x", labelbottom=False)
    if left:
        above.set_ylabel("accuracy (%)")
        below.set_ylabel("cases")
        for axis in (above, below):
            axis.yaxis.set_label_coords(-0.3, 0.5)
    else:
        for axis in (above, below):
            axis.tick_params(axis="y", labelleft=False)
    if lowest:
        below.set_xlabel("confidence (%)")
    else:
        below.tick_params(axis="x", labelbottom=False)
