"""Figures of what scenarios differ in: the inputs that they give to the model, and how many tokens they take."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from vlmtsc.errors import InputError
from vlmtsc.reporting.figures import panel_title
from vlmtsc.reporting.panels import (
    MAJORITY_LOOK,
    Grid,
    accuracy_floor,
    accuracy_ticks,
    count_axis,
    legend_width,
    marker_entry,
    scenario_looks,
    title_room,
)
from vlmtsc.reporting.points import PLACE, scenario_points
from vlmtsc.reporting.runs import DONE
from vlmtsc.reporting.style import figure_style

#: Modalities of the scenario table in their order, with their names for readers.
MODALITIES = {"plot": "plot alone", "numbers": "numbers alone", "both": "plot and numbers"}
PANELS_PER_ROW = 4
#: inches
PANEL_WIDTH, ROW_HEIGHT, SCATTER_HEIGHT = 2.1, 0.27, 1.9


def draw_modality_ablation(runs: pd.DataFrame, scenarios: Mapping[str, Mapping[str, Any]]) -> Figure:
    """Test accuracy of each scenario with its 95% interval, grouped by modality, a panel for each dataset.

    Seeds are small points behind the mean, where there are several; the dashed line is the majority class.

    Parameters
    ----------
    runs : DataFrame
        Tidy table of runs.
    scenarios : mapping of str to mapping
        Settings of each scenario.
    """
    points = scenario_points(runs)
    done = runs[runs["status"] == DONE]
    rows = by_modality(list(dict.fromkeys(runs["scenario"])), scenarios)
    looks = modality_looks()
    panels = list(points.groupby(PLACE, sort=False))
    low = accuracy_floor(points["low"], points["accuracy"], points["majority_rate"], done["accuracy"])
    grid = Grid(len(panels), PANELS_PER_ROW, PANEL_WIDTH, ROW_HEIGHT * len(rows) + 0.1, 0.3, 0.7)
    several = bool((points["seeds"] > 1).any())
    with figure_style():
        figure = grid.figure()
        for index, (key, of_dataset) in enumerate(panels):
            axis = grid.add(figure, index)
            draw_ablation_panel(axis, of_dataset, runs[(runs[PLACE] == key).all(axis=1)], rows, looks)
            axis.set_title(panel_title(runs, *key))
            axis.set_xlim(low, 102)
            axis.xaxis.set_major_locator(accuracy_ticks(low))
            axis.set_yticks(range(len(rows)), [name for name, _ in rows] if grid.is_left(index) else [])
            if grid.is_lowest(index):
                axis.set_xlabel("test accuracy (%)")
        shown = dict.fromkeys(modality for _, modality in rows)
        handles = [marker_entry(MODALITIES[name], **looks[name]) for name in shown]
        if several:
            handles.append(marker_entry("one seed", color="0.4", marker="o", markerfacecolor="none"))
            handles[-1].set_markersize(3)
        handles.append(Line2D([], [], label="majority class", **MAJORITY_LOOK))
        grid.add_legend(figure, handles, above=title_room(runs))
    return figure


def by_modality(names: Sequence[str], scenarios: Mapping[str, Mapping[str, Any]]) -> list[tuple[str, str]]:
    """Sort scenarios by their modality and pair them with it; within one they keep their order.

    Raises
    ------
    InputError
        If a scenario's settings are not there.
    """
    missing = [name for name in names if name not in scenarios]
    if missing:
        raise InputError(
            f"settings of the scenario {missing[0]!r} are missing; given: {', '.join(scenarios)}"
        )
    pairs = [(name, scenarios[name]["modality"]) for name in names]
    return sorted(pairs, key=lambda pair: list(MODALITIES).index(pair[1]))


def modality_looks() -> dict[str, dict[str, Any]]:
    """Colour and marker of each modality; the colours' lightness differs."""
    palette = sns.color_palette("colorblind", 10)
    return {
        "plot": {"color": palette[0], "marker": "o"},
        "numbers": {"color": palette[1], "marker": "s"},
        "both": {"color": "black", "marker": "D"},
    }


def draw_ablation_panel(
    axis: Axes,
    points: pd.DataFrame,
    runs: pd.DataFrame,
    rows: Sequence[tuple[str, str]],
    looks: Mapping[str, Mapping[str, Any]],
) -> None:
    """Draw the scenarios of one dataset below one another, the modalities apart."""
    for place, (scenario, modality) in enumerate(rows):
        seeds = runs[runs["scenario"] == scenario]
        done = seeds[seeds["status"] == DONE]
        if len(seeds) and done.empty:
            state = " / ".join(dict.fromkeys(seeds["status"]))
            axis.text(
                0.02, place, state, transform=axis.get_yaxis_transform(), va="center", color="0.4", fontsize=7
            )
        for point in points[points["scenario"] == scenario].itertuples():
            draw_interval(axis, point, looks[modality], y=place)
            if point.seeds > 1:
                accuracies = 100 * done["accuracy"]
                axis.plot(
                    accuracies,
                    np.full(len(accuracies), place + 0.22),
                    linestyle="",
                    marker="o",
                    markersize=2.5,
                    markerfacecolor="none",
                    color=looks[modality]["color"],
                    markeredgewidth=0.7,
                )
        if place and rows[place - 1][1] != modality:
            axis.axhline(place - 0.5, color="0.8", linewidth=0.6, zorder=0)
    axis.axvline(100 * points["majority_rate"].iloc[0], **MAJORITY_LOOK)
    axis.set_ylim(len(rows) - 0.5, -0.5)
    axis.grid(True, axis="x")
    axis.tick_params(axis="y", length=0)


def draw_interval(
    axis: Axes, point: Any, look: Mapping[str, Any], *, x: float | None = None, y: float | None = None
) -> None:
    """Draw an accuracy in percent with its interval: along x at the height `y`, or along y at the place `x`."""
    accuracy, bounds = 100 * point.accuracy, None
    if not np.isnan(point.low):
        bounds = [[max(0.0, accuracy - 100 * point.low)], [max(0.0, 100 * point.high - accuracy)]]
    axis.errorbar(
        accuracy if x is None else x,
        accuracy if y is None else y,
        xerr=bounds if x is None else None,
        yerr=bounds if y is None else None,
        linestyle="",
        markersize=5,
        elinewidth=1.2,
        **look,
    )


def context_points(runs: pd.DataFrame, ledger: pd.DataFrame) -> pd.DataFrame:
    """Return `scenario_points` with the tokens of a case and the context that they have.

    Parameters
    ----------
    runs : DataFrame
        Tidy table of runs.
    ledger : DataFrame
        Token-budget ledger of the same scenarios.

    Returns
    -------
    DataFrame
        Further columns: ``tokens``, the mean of a case; ``context``, what a case may have.

    Raises
    ------
    InputError
        If a scenario does not stand in the ledger.
    """
    keys = [*PLACE, "scenario"]
    columns = {"mean tokens": "tokens", "context": "context"}
    costs = ledger[[*keys, *columns]].rename(columns=columns)
    points = scenario_points(runs).merge(costs, on=keys, how="left", validate="one_to_one")
    lacking = points[points["tokens"].isna()]
    if len(lacking):
        raise InputError(
            f"the ledger lacks {'/'.join(lacking[keys].iloc[0])}; allowed: every scenario of the runs"
        )
    return points


def same_but_context(names: Sequence[str], scenarios: Mapping[str, Mapping[str, Any]]) -> list[list[str]]:
    """Group scenarios that differ in nothing but their context length, from the shortest; single ones are left out."""
    groups: dict[tuple[tuple[str, str], ...], list[str]] = {}
    for name in names:
        settings = scenarios[name].items()
        kept = tuple((key, str(value)) for key, value in settings if key not in ("name", "context_length"))
        groups.setdefault(tuple(sorted(kept)), []).append(name)
    return [
        sorted(group, key=lambda name: scenarios[name]["context_length"])
        for group in groups.values()
        if len(group) > 1
    ]


def draw_accuracy_by_context(
    runs: pd.DataFrame, ledger: pd.DataFrame, scenarios: Mapping[str, Mapping[str, Any]]
) -> Figure:
    """Test accuracy with its 95% interval against the tokens of a case, a panel for each dataset.

    A dotted line leads from the tokens that a case takes to those it may take, the context length. Scenarios that
    differ in their context length alone are joined. The dashed line is the majority class.

    Parameters
    ----------
    runs, ledger : DataFrame
        As for `context_points`.
    scenarios : mapping of str to mapping
        Settings of each scenario.
    """
    points = context_points(runs, ledger)
    names = list(dict.fromkeys(runs["scenario"]))
    looks = scenario_looks(names)
    groups = same_but_context(names, scenarios)
    panels = list(points.groupby(PLACE, sort=False))
    low = accuracy_floor(points["low"], points["accuracy"], points["majority_rate"])
    reach = (float(points["tokens"].min()) / 1.3, float(points[["tokens", "context"]].max(axis=None)) * 1.3)
    grid = Grid(len(panels), PANELS_PER_ROW, PANEL_WIDTH, SCATTER_HEIGHT, 0.3, 0.85)
    with figure_style():
        figure = grid.figure()
        for index, (key, of_dataset) in enumerate(panels):
            axis = grid.add(figure, index)
            draw_context_panel(axis, of_dataset, looks, groups)
            axis.set_title(panel_title(runs, *key))
            axis.set_ylim(low, 105)
            axis.yaxis.set_major_locator(accuracy_ticks(low))
            count_axis(axis, *reach)
            if grid.is_left(index):
                axis.set_ylabel("test accuracy (%)")
            else:
                axis.set_yticklabels([])
            if grid.is_lowest(index):
                axis.set_xlabel("tokens of a case, mean")
        handles = [marker_entry(name, **looks[name]) for name in names]
        handles += [
            Line2D(
                [], [], color="0.4", linestyle=":", marker="|", markersize=7, label="up to the context length"
            ),
            Line2D([], [], label="majority class", **MAJORITY_LOOK),
        ]
        width = legend_width([*names, "up to the context length"])
        grid.add_legend(figure, handles, above=title_room(runs), column_width=width)
    return figure


def draw_context_panel(
    axis: Axes, points: pd.DataFrame, looks: Mapping[str, Mapping[str, Any]], groups: Sequence[Sequence[str]]
) -> None:
    """Draw the scenarios of one dataset."""
    by_name = points.set_index("scenario")
    for group in groups:
        there = by_name.loc[[name for name in group if name in by_name.index]]
        axis.plot(there["tokens"], 100 * there["accuracy"], color="0.6", linewidth=1, zorder=1)
    for point in points.itertuples():
        look = looks[point.scenario]
        axis.plot(
            [point.tokens, point.context],
            [100 * point.accuracy] * 2,
            linestyle=":",
            linewidth=1,
            color=look["color"],
            marker="|",
            markersize=7,
            markevery=[1],
            zorder=1,
        )
        draw_interval(axis, point, look, x=point.tokens)
    axis.axhline(100 * points["majority_rate"].iloc[0], **MAJORITY_LOOK)
    axis.grid(True)
