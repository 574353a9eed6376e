"""The figure of controls at test time."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from vlmtsc.evaluation.control_kinds import IMAGE_CONTROLS, INTACT, NUMBER_CONTROLS
from vlmtsc.reporting.controls import NAMES
from vlmtsc.reporting.figures import panel_title
from vlmtsc.reporting.style import figure_style, line_looks, wrapped

PANELS_PER_ROW = 3
#: inches
PANEL_WIDTH, SCENARIO_HEIGHT = 2.6, 0.75


def draw_controls(rows: pd.DataFrame) -> Figure:
    """Test accuracy of every scenario, intact and under each control, a panel for each dataset.

    With 95% Wilson intervals (over several seeds: standard deviations); a hollow mark is an input that the model does
    not use; the dashed line is the majority class.

    Parameters
    ----------
    rows : DataFrame
        Columns `CONTROL_COLUMNS`.
    """
    looks = control_looks()
    scenarios = list(dict.fromkeys(rows["scenario"]))
    panels = list(rows.groupby(["model", "protocol", "dataset"], sort=False))
    n_columns = min(PANELS_PER_ROW, len(panels))
    n_rows = math.ceil(len(panels) / n_columns)
    with figure_style():
        height = n_rows * (SCENARIO_HEIGHT * len(scenarios) + 0.75) + 0.5
        figure = Figure(figsize=(PANEL_WIDTH * n_columns + 1.2, height), layout="constrained")
        axes = figure.subplots(n_rows, n_columns, squeeze=False, sharex=True)
        for index in range(n_rows * n_columns):
            axis = axes[divmod(index, n_columns)]
            if index >= len(panels):
                axis.remove()
                continue
            key, of_dataset = panels[index]
            draw_panel(axis, of_dataset, scenarios, looks)
            axis.set_title(panel_title(rows, *key))
            axis.set_yticks(range(len(scenarios)), [wrapped(name, 18) for name in scenarios])
            if index % n_columns:
                axis.set_yticklabels([])
            if index >= len(panels) - n_columns:
                axis.set_xlabel("test accuracy (%)")
                axis.tick_params(axis="x", labelbottom=True)
        shown = [name for name in NAMES if name in set(rows["control"])]
        handles = [
            Line2D([], [], linestyle="", markersize=5, label=NAMES[name], **looks[name]) for name in shown
        ]
        handles.append(Line2D([], [], color="0.45", linestyle="--", linewidth=1, label="majority class"))
        if rows["finding"].notna().any():
            handles.append(
                Line2D(
                    [], [], linestyle="", marker="o", color="0.3", fillstyle="none", label="hollow: not used"
                )
            )
        figure.legend(handles=handles, loc="outside upper center", ncols=min(len(handles), 2 * n_columns + 1))
    return figure


def control_looks() -> dict[str, dict[str, Any]]:
    """Colour and marker of each control: black for the intact run, colours that differ in grey for the others."""
    looks = {
        name: {part: look[part] for part in ("color", "marker")}
        for name, look in line_looks([*IMAGE_CONTROLS, *NUMBER_CONTROLS]).items()
    }
    return {INTACT: {"color": "black", "marker": "P"}} | looks


def draw_panel(
    axis: Axes, rows: pd.DataFrame, scenarios: Sequence[str], looks: Mapping[str, Mapping[str, Any]]
) -> None:
    """Draw the scenarios of one dataset, the first at the top, each with its controls below one another."""
    for place, scenario in enumerate(scenarios):
        run = rows[rows["scenario"] == scenario]
        present = [name for name in NAMES if name in set(run["control"])]
        offsets = (np.arange(len(present)) - (len(present) - 1) / 2) * 0.16
        for name, offset in zip(present, offsets, strict=True):
            seeds = run[run["control"] == name]
            middle = 100 * seeds["accuracy"].mean()
            low, high = 100 * seeds["accuracy_low"].iloc[0], 100 * seeds["accuracy_high"].iloc[0]
            if len(seeds) > 1:
                low, high = (middle + sign * 100 * seeds["accuracy"].std() for sign in (-1, 1))
            axis.errorbar(
                middle,
                place + offset,
                xerr=[[max(0.0, middle - low)], [max(0.0, high - middle)]],
                linestyle="",
                markersize=5,
                elinewidth=1,
                markerfacecolor="white" if seeds["finding"].notna().all() else looks[name]["color"],
                **looks[name],
            )
    axis.axvline(100 * rows["majority_rate"].iloc[0], color="0.45", linestyle="--", linewidth=1, zorder=0)
    for place in range(1, len(scenarios)):
        axis.axhline(place - 0.5, color="0.85", linewidth=0.6, zorder=0)
    axis.set(xlim=(-3, 103), ylim=(len(scenarios) - 0.5, -0.5))
    axis.xaxis.set_major_locator(MaxNLocator(5))
    axis.grid(True, axis="x")
    axis.tick_params(axis="y", length=0)
