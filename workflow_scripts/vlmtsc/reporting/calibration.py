"""Reliability curves of runs, as scored and at the fitted temperature: tidy rows and figure."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator
from scipy.special import softmax

from vlmtsc.errors import InputError
from vlmtsc.evaluation.metrics import BINS, expected_calibration_error, read_predictions, reliability_curve
from vlmtsc.paths import Run
from vlmtsc.reporting import style
from vlmtsc.reporting.runs import RUN_KEYS
from vlmtsc.reporting.tables import percent

AS_SCORED, AT_TEMPERATURE = "as scored", "at temperature"
#: Keys of the curves' errors in ``metrics.json``.
ERRORS = {
    AS_SCORED: "expected_calibration_error",
    AT_TEMPERATURE: "expected_calibration_error_at_temperature",
}
RELIABILITY_COLUMNS = [*RUN_KEYS, "scores", "bin", "confidence", "accuracy", "cases"]
#: Inches: side of a diagram, height of the strip below it.
SIDE, STRIP = 1.5, 0.42
#: Percent; a little more than the shares themselves, so that marks at the edge are whole.
RANGE = (-4, 104)
RELIABILITY_TYPES: dict[str, Any] = {"bin": "int64", "cases": "int64", "seed": "int64", "scores": "object"}


def reliability_rows(run: Run, predictions: Path, metrics: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the reliability curves of one run, one row per bin that contains a case.

    InputError if the file is damaged, or a curve's error is not that of the metrics: they are of different
    evaluations.
    """
    try:
        _, labels, scores = read_predictions(predictions)
    except InputError:
        raise
    except ValueError as error:  # pandas' own errors, and a score that is no number
        raise InputError(f"{predictions}: damaged ({error}); remove it to have it rebuilt") from error
    inner_edges = np.linspace(0, 1, BINS + 1)[1:-1]
    rows = []
    for name, temperature in {AS_SCORED: 1.0, AT_TEMPERATURE: metrics.get("temperature")}.items():
        if temperature is None:
            continue
        curve = reliability_curve(softmax(scores / temperature, axis=1), labels)
        found, expected = expected_calibration_error(curve), metrics.get(ERRORS[name])
        # A case on the edge of a bin may have moved by the rounding of its scores.
        if expected is None or not math.isclose(found, expected, abs_tol=1 / len(labels)):
            raise InputError(
                f"{predictions}: calibration error {found:.6f} {name}; allowed: {expected}, as in metrics.json"
            )
        for point in curve:
            place = int(np.searchsorted(inner_edges, point["confidence"]))
            rows.append(vars(run) | {"scores": name, "bin": place, **point})
    return rows


def draw_calibration(runs: pd.DataFrame, reliability: pd.DataFrame) -> Figure:
    """Draw reliability diagrams: a row for each dataset, a column for each scenario, below each the cases of its bins.

    The cases of several seeds are pooled; the expected calibration error above a diagram is the mean of theirs.
    """
    scenarios = list(dict.fromkeys(runs["scenario"]))
    rows = list(runs.groupby(style.PLACE, sort=False))
    pooled = pool_seeds(reliability)
    curves = dict(iter(pooled.groupby([*style.PLACE, "scenario"], sort=False)))
    looks, most = calibration_looks(), int(pooled["cases"].max())
    with style.figure_style():
        panels = style.panel_grid(
            len(rows) * len(scenarios),
            len(scenarios),
            (SIDE, SIDE + STRIP + 0.08),
            (0.2, 0.38),
            heights=(SIDE, STRIP),
            inner_gap=0.08,
        )
        for index, (above, below) in enumerate(panels.axes):
            key, of_dataset = rows[index // len(scenarios)]
            scenario = scenarios[index % len(scenarios)]
            draw_reliability(above, below, curves[*key, scenario], looks)
            set_axes(above, below, most)
            above.set_title(error_text(of_dataset[of_dataset["scenario"] == scenario]), fontsize=7, pad=4)
            heading: dict[str, Any] = {"xycoords": "axes fraction", "ha": "center", "fontweight": "bold"}
            if index < len(scenarios):
                above.annotate(style.wrapped(scenario, 18), (0.5, 1.14), va="bottom", fontsize=9, **heading)
            if panels.is_left(index):
                name = style.panel_title(runs, *key)
                size = style.fitting_size(name, SIDE + STRIP, 8)
                above.annotate(name, (-0.52, 0.36), va="center", rotation=90, fontsize=size, **heading)
        panels.label("confidence (%)", ["accuracy (%)", "cases"], inner_ticks=False)
        names = {AS_SCORED: "as scored", AT_TEMPERATURE: "divided by the temperature T"}
        shown = set(reliability["scores"])
        handles = [style.legend_entry(label, **looks[name]) for name, label in names.items() if name in shown]
        diagonal = style.legend_entry("perfectly calibrated", color="0.55", linestyle=":", linewidth=1)
        panels.add_legend([*handles, diagonal])
    return panels.figure


def pool_seeds(reliability: pd.DataFrame) -> pd.DataFrame:
    """Pool seeds in each bin of a scenario's scores: the sum of cases, means of confidence and accuracy over them."""
    means = ["confidence", "accuracy"]
    sums = reliability[means].mul(reliability["cases"], axis=0)
    weighted = reliability.assign(**{name: sums[name] for name in means})
    keys = [*style.PLACE, "scenario", "scores", "bin"]
    pooled = weighted.groupby(keys, sort=False, as_index=False)[[*means, "cases"]].sum()
    pooled[means] = pooled[means].div(pooled["cases"], axis=0)
    return pooled.sort_values("bin", kind="stable", ignore_index=True)


def calibration_looks() -> dict[str, dict[str, Any]]:
    """Return the looks of the two curves: filled and hollow, so that they differ in grey."""
    palette = sns.color_palette("colorblind", 10)
    hollow = {"linestyle": "--", "markerfacecolor": "none"}
    return {
        AS_SCORED: {"color": palette[0], "marker": "o", "markersize": 4, "linewidth": 1.2},
        AT_TEMPERATURE: {"color": palette[3], "marker": "s", "markersize": 4.5, "linewidth": 1} | hollow,
    }


def draw_reliability(
    above: Axes, below: Axes, curve: pd.DataFrame, looks: Mapping[str, Mapping[str, Any]]
) -> None:
    """Draw accuracy against confidence of one scenario, and how many cases each bin has."""
    above.plot([0, 100], [0, 100], color="0.55", linestyle=":", linewidth=1, zorder=1)
    for name, points in curve.groupby("scores", sort=False):
        above.plot(100 * points["confidence"], 100 * points["accuracy"], zorder=2, **looks[name])
        colour, centres = looks[name]["color"], (points["bin"] + 0.5) * 100 / BINS
        if name == AS_SCORED:
            below.bar(centres, points["cases"], 92 / BINS, facecolor=colour, alpha=0.45, linewidth=0)
        else:
            below.bar(centres, points["cases"], 60 / BINS, facecolor="none", edgecolor=colour, linewidth=1.1)
    above.grid(True)


def error_text(seeds: pd.DataFrame) -> str:
    """Return the expected calibration errors of a scenario: means of its seeds, in percent."""
    before, after = (seeds[ERRORS[name]].mean() for name in (AS_SCORED, AT_TEMPERATURE))
    if pd.isna(after):
        return f"ECE {percent(before)}%"
    return f"ECE {percent(before)}%, {percent(after)}% at T = {seeds['temperature'].mean():.2f}"


def set_axes(above: Axes, below: Axes, most: int) -> None:
    """Set the limits and ticks of a diagram and of its strip, whose axis of cases is logarithmic."""
    most = max(10, most)
    decades = [10.0**power for power in range(int(np.log10(most)) + 1)]
    above.set(xlim=RANGE, ylim=RANGE)
    below.set(yscale="log", xlim=RANGE, ylim=(0.5, most * 1.8))
    for axis in (above.xaxis, above.yaxis, below.xaxis):
        axis.set_major_locator(FixedLocator([0, 50, 100]))
    below.yaxis.set_major_locator(FixedLocator(decades[:: max(1, len(decades) // 2)]))
    below.yaxis.set_minor_locator(NullLocator())
    below.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:.0f}"))
