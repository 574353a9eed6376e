"""Controls at test time: accuracy with one input perturbed, as tidy rows, table and figure."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from vlmtsc.errors import InputError
from vlmtsc.evaluation.constants import ALPHA, FEW_CHANGES, INTACT, Control
from vlmtsc.paths import Run
from vlmtsc.reporting import style
from vlmtsc.reporting.runs import RUN_KEYS
from vlmtsc.reporting.tables import NONE, ReaderTable, grouped, with_constants, with_interval

#: Names of controls in tables and figures, in their order.
NAMES: dict[Control, str] = {
    INTACT: "intact",
    "image_blank": "blank image",
    "image_swapped": "swapped image",
    "numbers_shuffled": "shuffled numbers",
    "numbers_removed": "no numbers",
}
MEASURES = [
    *("n_cases", "accuracy", "accuracy_low", "accuracy_high", "balanced_accuracy"),
    *("total_variation", "changed", "p_value"),
]
CONTROL_COLUMNS = [*RUN_KEYS, "control", *MEASURES, "finding", "majority_rate"]
CONTROL_TYPES: dict[str, Any] = {
    name: "Int64" if name in ("seed", "n_cases") else "float64" if name in MEASURES else "object"
    for name in CONTROL_COLUMNS
} | {"majority_rate": "float64"}
NOTE = (
    "Test accuracy in percent of fine-tuned models, with its 95% Wilson interval, intact and with one input "
    "perturbed at test time, without retraining: a blank (white) image, the image of another case (of another class "
    "if possible), the same numbers in another order, no numbers. Over several seeds: mean ± standard deviation. *: "
    f"differs from the intact accuracy (exact McNemar test on the same cases, p < {ALPHA:g}; with several seeds, in "
    f"each). Not used: the accuracy does not differ and at most {FEW_CHANGES:.0%} of the predictions change. With "
    "swapped images, a model that relies on them falls below chance, since it then sees another class."
)


def control_rows(run: Run, controls: pd.DataFrame, metrics: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the rows of one run in the tidy table, from its ``controls.csv`` and ``metrics.json``.

    InputError if columns are missing, or the intact accuracy is not that of the metrics.
    """
    missing = [name for name in ["control", *MEASURES, "finding"] if name not in controls]
    if missing:
        raise InputError(f"{run}: controls.csv lacks {', '.join(missing)}; found {', '.join(controls)}")
    found = controls.loc[controls["control"] == INTACT, "accuracy"].tolist()
    if len(found) != 1 or not math.isclose(found[0], metrics["accuracy"]):
        raise InputError(
            f"{run}: controls.csv has the intact accuracy {found}; allowed: {metrics['accuracy']}, as in metrics.json"
        )
    return [
        vars(run) | row | {"majority_rate": metrics["majority_rate"]} for row in controls.to_dict("records")
    ]


def controls_table(rows: pd.DataFrame) -> ReaderTable:
    """Return the accuracies of each dataset and scenario (rows) under each control (columns)."""
    keys = ("model", "protocol", "dataset", "scenario")
    present = [name for name in NAMES if name in set(rows["control"])]
    cells = [
        key
        | {NAMES[name]: _cell(group[group["control"] == name]) for name in present}
        | {"finding": _findings(group)}
        for key, group in grouped(rows, *keys)
    ]
    note = with_constants(NOTE, rows, "model", "protocol")
    return ReaderTable(pd.DataFrame(cells), note, [*keys, "finding"])


def _cell(seeds: pd.DataFrame) -> str:
    """Return the cell of one control of one scenario, for all seeds."""
    if seeds.empty:
        return NONE
    star = " *" if (seeds["p_value"] < ALPHA).all() else ""
    if len(seeds) > 1:
        return (
            with_interval(seeds["accuracy"].mean(), math.nan, math.nan, deviation=seeds["accuracy"].std())
            + star
        )
    return with_interval(*seeds.iloc[0][["accuracy", "accuracy_low", "accuracy_high"]]) + star


def _findings(group: pd.DataFrame) -> str:
    """Return what the controls of one scenario show, and in how many seeds."""
    seeds = group["seed"].nunique()
    counts = group["finding"].dropna().value_counts(sort=False)
    return ", ".join(
        text if count == seeds else f"{text} in {count} of {seeds} seeds" for text, count in counts.items()
    )


def draw_controls(rows: pd.DataFrame) -> Figure:
    """Draw the test accuracy of every scenario, intact and under each control, a panel for each dataset.

    With 95% Wilson intervals (over several seeds: standard deviations); a hollow mark is an input that the model does
    not use; the dashed line is the majority class.
    """
    looks = control_looks()
    scenarios = list(dict.fromkeys(rows["scenario"]))
    places = list(rows.groupby(style.PLACE, sort=False))
    with style.figure_style():
        panels = style.panel_grid(len(places), 3, (2.6, 0.75 * len(scenarios)), (0.25, 0.7))
        for [axes], (_, of_dataset) in zip(panels.axes, places, strict=True):
            draw_scenarios(axes, of_dataset, scenarios, looks)
        panels.set_titles(rows, [key for key, _ in places])
        panels.label("test accuracy (%)", [""])
        shown = [name for name in NAMES if name in set(rows["control"])]
        handles = [style.legend_entry(NAMES[name], **looks[name]) for name in shown]
        handles.append(style.legend_entry("majority class", **style.MAJORITY))
        if rows["finding"].notna().any():
            hollow = {"marker": "o", "linestyle": "", "fillstyle": "none"}
            handles.append(style.legend_entry("hollow: not used", color="0.3", **hollow))
        panels.add_legend(handles)
    return panels.figure


def control_looks() -> dict[str, dict[str, Any]]:
    """Return colour and marker of each control: black for intact, colours that differ in grey for the others."""
    others = style.marker_looks([name for name in NAMES if name != INTACT])
    return {INTACT: {"color": "black", "marker": "P", "linestyle": ""}} | others


def draw_scenarios(
    axes: Axes, rows: pd.DataFrame, scenarios: Sequence[str], looks: Mapping[str, Mapping[str, Any]]
) -> None:
    """Draw the scenarios of one dataset, the first at the top, each with its controls below one another."""
    for place, scenario in enumerate(scenarios):
        run = rows[rows["scenario"] == scenario]
        present = [name for name in NAMES if name in set(run["control"])]
        for name, offset in zip(
            present, 0.16 * (np.arange(len(present)) - (len(present) - 1) / 2), strict=True
        ):
            seeds = run[run["control"] == name]
            middle = seeds["accuracy"].mean()
            bounds = seeds["accuracy_low"].iloc[0], seeds["accuracy_high"].iloc[0]
            if len(seeds) > 1:
                bounds = middle - seeds["accuracy"].std(), middle + seeds["accuracy"].std()
            hollow = {"markerfacecolor": "white"} if seeds["finding"].notna().all() else {}
            style.draw_interval(axes, middle, place + offset, bounds, dict(looks[name]) | hollow, along="x")
        if place:
            axes.axhline(place - 0.5, color="0.85", linewidth=0.6, zorder=0)
    axes.axvline(100 * rows["majority_rate"].iloc[0], **style.MAJORITY)
    axes.set_yticks(range(len(scenarios)), [style.wrapped(name, 18) for name in scenarios])
    axes.set(xlim=(-3, 103), ylim=(len(scenarios) - 0.5, -0.5))
    axes.xaxis.set_major_locator(MaxNLocator(5))
    axes.grid(True, axis="x")
    axes.tick_params(axis="y", length=0)
