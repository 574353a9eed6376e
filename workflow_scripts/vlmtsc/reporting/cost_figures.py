"""The figure of accuracy against cost, with the frontier that nothing beats."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from vlmtsc.reporting.figures import panel_title
from vlmtsc.reporting.panels import (
    MAJORITY_LOOK,
    Grid,
    accuracy_floor,
    accuracy_ticks,
    decade_axis,
    legend_width,
    marker_entry,
    scenario_looks,
    title_room,
)
from vlmtsc.reporting.points import PLACE, pareto_frontier
from vlmtsc.reporting.runs import BASELINE, DONE
from vlmtsc.reporting.style import figure_style

PANELS_PER_ROW = 4
#: inches
WIDTH, HEIGHT = 2.2, 1.9
FINE_TUNED = "fine-tuned"
#: Around each point of the frontier; a line alone would also seem to hold points that it passes.
RING: dict[str, Any] = {"color": "0.35", "marker": "o", "markersize": 10, "markerfacecolor": "none"}


def cost_points(runs: pd.DataFrame, methods: pd.DataFrame) -> tuple[pd.DataFrame, str]:
    """Return a point for each finished run and each baseline, and what its seconds are.

    Parameters
    ----------
    runs : DataFrame
        Tidy table of runs.
    methods : DataFrame
        Columns `vlmtsc.reporting.comparisons.METHOD_COLUMNS`; its baselines are taken.

    Returns
    -------
    points : DataFrame
        `PLACE`, ``kind`` ("fine-tuned" or "baseline"), ``method``, ``seconds``, ``accuracy``, ``majority_rate`` (NaN
        for baselines), ``frontier``: whether it is one of `pareto_frontier` among the points of the same place.
    label : str
        Of the axis of seconds. Where an evaluation's time is not known, no point holds one.
    """
    done = runs[runs["status"] == DONE]
    on_gpus = done["gpu_hours"] > 0
    whole = bool(done["compute_seconds"].notna().all())
    if whole:
        seconds = done["compute_seconds"]
    else:
        seconds = 3600 * done["gpu_hours"].where(on_gpus, done["cpu_hours"])
    columns = [*PLACE, "kind", "method", "seconds", "accuracy", "majority_rate"]
    tuned = done.assign(kind=FINE_TUNED, method=done["scenario"], seconds=seconds)[columns]
    others = methods[(methods["kind"] == BASELINE) & methods["wall_seconds"].notna()]
    # A baseline of a table's model and dataset without a finished run has no panel.
    others = others.merge(tuned[PLACE].drop_duplicates(), on=PLACE)
    others = others.assign(seconds=others["wall_seconds"], majority_rate=float("nan"))[columns]
    points = pd.concat([tuned, others] if len(others) else [tuned], ignore_index=True)
    points["frontier"] = False
    for _, place in points.groupby(PLACE, sort=False):
        points.loc[place.index, "frontier"] = pareto_frontier(
            place["seconds"].to_numpy(), place["accuracy"].to_numpy()
        )
    unit = "CPU seconds"
    if on_gpus.any():
        unit = "GPU seconds" if on_gpus.all() else "GPU or CPU seconds"
        unit += " (baselines: CPU)" if len(others) else ""
    return points, f"{unit},\n{'training and test' if whole else 'training'}"


def draw_accuracy_by_cost(runs: pd.DataFrame, methods: pd.DataFrame) -> Figure:
    """Test accuracy against the seconds of processors or GPUs, a panel for each dataset, a point for each run.

    Parameters
    ----------
    runs, methods : DataFrame
        As for `cost_points`.
    """
    points, label = cost_points(runs, methods)
    looks = method_looks(points)
    panels = list(points.groupby(PLACE, sort=False))
    low = accuracy_floor(points["accuracy"], points["majority_rate"])
    reach = points["seconds"].clip(lower=0.01)
    grid = Grid(len(panels), PANELS_PER_ROW, WIDTH, HEIGHT, 0.3, 0.95)
    with figure_style():
        figure = grid.figure()
        for index, (key, of_dataset) in enumerate(panels):
            axis = grid.add(figure, index)
            draw_cost_panel(axis, of_dataset, looks)
            axis.set_title(panel_title(runs, *key))
            axis.set_ylim(low, 105)
            axis.yaxis.set_major_locator(accuracy_ticks(low))
            decade_axis(axis, reach.min() / 1.5, reach.max() * 1.5)
            if grid.is_left(index):
                axis.set_ylabel("test accuracy (%)")
            else:
                axis.set_yticklabels([])
            if grid.is_lowest(index):
                axis.set_xlabel(label)
        handles = [marker_entry(name, **look) for name, look in looks.items()]
        handles += [
            Line2D([], [], label="Pareto frontier", linewidth=1.2, **RING),
            Line2D([], [], label="majority class", **MAJORITY_LOOK),
        ]
        width = legend_width([*looks, "Pareto frontier"])
        grid.add_legend(figure, handles, above=title_room(runs), column_width=width)
    return figure


def method_looks(points: pd.DataFrame) -> dict[str, dict[str, Any]]:
    """Colour and marker of each method: fine-tuned ones filled, baselines hollow."""
    tuned = dict.fromkeys(points.loc[points["kind"] == FINE_TUNED, "method"])
    others = dict.fromkeys(points.loc[points["kind"] == BASELINE, "method"])
    looks = scenario_looks([*tuned, *others])
    for name in others:
        looks[name]["markerfacecolor"] = "white"
    return looks


def draw_cost_panel(axis: Axes, points: pd.DataFrame, looks: Mapping[str, Mapping[str, Any]]) -> None:
    """Draw the points of one dataset and the frontier of all of them."""
    best = points[points["frontier"]].sort_values(["seconds", "accuracy"])
    place = best["seconds"].clip(lower=0.01), 100 * best["accuracy"]
    axis.step(*place, where="post", linewidth=1.2, zorder=1.8, **RING)
    for name, of_method in points.groupby("method", sort=False):
        axis.plot(
            of_method["seconds"].clip(lower=0.01),
            100 * of_method["accuracy"],
            linestyle="",
            markersize=5.5,
            zorder=2,
            **looks[name],
        )
    axis.axhline(100 * points["majority_rate"].max(), **MAJORITY_LOOK)
    axis.grid(True)
