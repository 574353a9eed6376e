"""Figures of the inputs and tokens of scenarios: modality ablation, and accuracy against tokens."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from vlmtsc.errors import InputError
from vlmtsc.reporting import style
from vlmtsc.reporting.runs import OVER_SEEDS

#: Modalities of the scenario table in their order, with their names in the legend.
MODALITIES = {"plot": "plot alone", "numbers": "numbers alone", "both": "plot and numbers"}
#: Look of a single seed, a small circle.
ONE_SEED: dict[str, Any] = {"marker": "o", "markersize": 2.5, "linestyle": ""}
ONE_SEED |= {"markerfacecolor": "none", "markeredgewidth": 0.7}
PANELS_PER_ROW = 4
#: Inches.
PANEL_WIDTH, ROW_HEIGHT, SCATTER_HEIGHT = 2.1, 0.27, 1.9


def scenario_points(runs: pd.DataFrame) -> pd.DataFrame:
    """Return accuracy and 95% interval of each scenario over its seeds, as in the accuracy table.

    Columns: `style.PLACE`, scenario, ``seeds`` (how many), ``accuracy`` (their mean), ``low`` and ``high`` (NaN
    where a table has none), ``majority_rate``.
    """
    columns = ["accuracy_low", "accuracy_high", *OVER_SEEDS]
    points = runs.groupby([*style.PLACE, "scenario"], sort=False, as_index=False).agg(
        seeds=("seed", "size"),
        accuracy=("accuracy", "mean"),
        majority_rate=("majority_rate", "first"),
        **{name: (name, "first") for name in columns},
    )
    for name, of_one, of_several in zip(("low", "high"), columns[:2], OVER_SEEDS, strict=True):
        points[name] = points[of_one].where(points["seeds"] == 1, points[of_several])
    return points.drop(columns=columns)


def draw_modality_ablation(runs: pd.DataFrame, scenarios: Mapping[str, Mapping[str, Any]]) -> Figure:
    """Draw the test accuracy of each scenario with its 95% interval, grouped by modality, a panel for each dataset.

    Single seeds are small circles below the mean of several; the dashed line is the majority class.
    """
    points = scenario_points(runs)
    modalities = {name: scenarios[name]["modality"] for name in dict.fromkeys(runs["scenario"])}
    # By modality; scenarios of one keep their order.
    modalities = dict(sorted(modalities.items(), key=lambda item: list(MODALITIES).index(item[1])))
    looks = modality_looks()
    places = list(points.groupby(style.PLACE, sort=False))
    low = style.accuracy_floor(points["low"], runs["accuracy"], runs["majority_rate"])
    with style.figure_style():
        size = PANEL_WIDTH, ROW_HEIGHT * len(modalities) + 0.1
        panels = style.panel_grid(len(places), PANELS_PER_ROW, size, (0.3, 0.7))
        for [axes], (key, of_dataset) in zip(panels.axes, places, strict=True):
            draw_scenarios(axes, of_dataset, runs[(runs[style.PLACE] == key).all(axis=1)], modalities, looks)
            style.set_accuracy_axis(axes, "x", low)
        panels.set_titles(runs, [key for key, _ in places])
        panels.label("test accuracy (%)", [""])
        handles = [
            style.legend_entry(MODALITIES[name], **looks[name]) for name in dict.fromkeys(modalities.values())
        ]
        if (points["seeds"] > 1).any():
            handles.append(style.legend_entry("one seed", color="0.4", **ONE_SEED | {"markersize": 3}))
        panels.add_legend([*handles, style.legend_entry("majority class", **style.MAJORITY)])
    return panels.figure


def draw_scenarios(
    axes: Axes,
    points: pd.DataFrame,
    runs: pd.DataFrame,
    modalities: Mapping[str, str],
    looks: Mapping[str, Mapping[str, Any]],
) -> None:
    """Draw the scenarios of one dataset below one another, the modalities apart."""
    by_name = points.set_index("scenario")
    for row, (name, modality) in enumerate(modalities.items()):
        if name in by_name.index:
            point = by_name.loc[name]
            style.draw_interval(
                axes, point["accuracy"], row, (point["low"], point["high"]), looks[modality], along="x"
            )
            if point["seeds"] > 1:
                shares = 100 * runs.loc[runs["scenario"] == name, "accuracy"]
                axes.plot(
                    shares, np.full(len(shares), row + 0.25), color=looks[modality]["color"], **ONE_SEED
                )
        if row and list(modalities.values())[row - 1] != modality:
            axes.axhline(row - 0.5, color="0.8", linewidth=0.6, zorder=0)
    axes.axvline(100 * points["majority_rate"].iloc[0], **style.MAJORITY)
    axes.set_yticks(range(len(modalities)), list(modalities))
    axes.set_ylim(len(modalities) - 0.5, -0.5)
    axes.grid(True, axis="x")
    axes.tick_params(axis="y", length=0)


def modality_looks() -> dict[str, dict[str, Any]]:
    """Return colour and marker of each modality; the colours' lightness differs."""
    palette = sns.color_palette("colorblind", 10)
    return {
        "plot": {"color": palette[0], "marker": "o", "linestyle": ""},
        "numbers": {"color": palette[1], "marker": "s", "linestyle": ""},
        "both": {"color": "black", "marker": "D", "linestyle": ""},
    }


def context_points(runs: pd.DataFrame, ledger: pd.DataFrame) -> pd.DataFrame:
    """Return `scenario_points` with ``tokens``, the mean of a case, and ``context``, the most that a case may have.

    InputError if the token usage table lacks a scenario.
    """
    keys = [*style.PLACE, "scenario"]
    columns = {"mean tokens": "tokens", "context": "context"}
    usage = ledger[[*keys, *columns]].rename(columns=columns)
    points = scenario_points(runs).merge(usage, on=keys, how="left", validate="one_to_one")
    lacking = points[points["tokens"].isna()]
    if len(lacking):
        raise InputError(
            f"the ledger lacks {'/'.join(lacking[keys].iloc[0])}; allowed: every scenario of the runs"
        )
    return points


def same_but_context(names: Sequence[str], scenarios: Mapping[str, Mapping[str, Any]]) -> list[list[str]]:
    """Group scenarios that differ in nothing but their context length, the shortest first; omit single ones."""
    groups: dict[tuple[tuple[str, str], ...], list[str]] = {}
    for name in sorted(names, key=lambda name: scenarios[name]["context_length"]):
        settings = scenarios[name].items()
        kept = tuple((key, str(value)) for key, value in settings if key not in ("name", "context_length"))
        groups.setdefault(tuple(sorted(kept)), []).append(name)
    return [group for group in groups.values() if len(group) > 1]


def draw_accuracy_by_context(
    runs: pd.DataFrame, ledger: pd.DataFrame, scenarios: Mapping[str, Mapping[str, Any]]
) -> Figure:
    """Draw the test accuracy with its 95% interval against the tokens of a case, a panel for each dataset.

    A dotted line leads from the tokens that a case takes to those it may take, the context length. A grey line joins
    scenarios that differ in nothing but their context length. The dashed line is the majority class.
    """
    points = context_points(runs, ledger)
    names = list(dict.fromkeys(runs["scenario"]))
    looks = style.marker_looks(names)
    groups = same_but_context(names, scenarios)
    places = list(points.groupby(style.PLACE, sort=False))
    low = style.accuracy_floor(points["low"], points["accuracy"], points["majority_rate"])
    reach = points["tokens"].min() / 1.3, points[["tokens", "context"]].max(axis=None) * 1.3
    up_to: dict[str, Any] = {"linestyle": ":", "linewidth": 1, "marker": "|", "markersize": 7}
    with style.figure_style():
        panels = style.panel_grid(len(places), PANELS_PER_ROW, (PANEL_WIDTH, SCATTER_HEIGHT), (0.3, 0.85))
        for [axes], (_, of_dataset) in zip(panels.axes, places, strict=True):
            by_name = of_dataset.set_index("scenario")
            for group in groups:
                joined = by_name.loc[[name for name in group if name in by_name.index]]
                axes.plot(joined["tokens"], 100 * joined["accuracy"], color="0.6", linewidth=1, zorder=1)
            for point in of_dataset.itertuples():
                look = looks[point.scenario]
                ends = [point.tokens, point.context], [100 * point.accuracy] * 2
                axes.plot(*ends, color=look["color"], markevery=[1], zorder=1, **up_to)
                style.draw_interval(
                    axes, point.accuracy, point.tokens, (point.low, point.high), look, along="y"
                )
            axes.axhline(100 * of_dataset["majority_rate"].iloc[0], **style.MAJORITY)
            style.set_accuracy_axis(axes, "y", low)
            style.set_log_axis(axes, *reach, base=2)
            axes.grid(True)
        panels.set_titles(runs, [key for key, _ in places])
        panels.label("tokens of a case, mean", ["test accuracy (%)"])
        panels.add_legend(
            [
                *(style.legend_entry(name, **looks[name]) for name in names),
                style.legend_entry("up to the context length", color="0.4", **up_to),
                style.legend_entry("majority class", **style.MAJORITY),
            ]
        )
    return panels.figure
