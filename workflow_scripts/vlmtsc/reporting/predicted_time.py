"""Predicted and measured time of runs: the table and its figure."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

from vlmtsc.planning.cost_model import Error
from vlmtsc.planning.history import EarlierRun, read_earlier_run
from vlmtsc.planning.outcome import training_before
from vlmtsc.planning.work import STEPS
from vlmtsc.reporting.style import figure_style, line_looks, wrapped
from vlmtsc.reporting.tables import RUN_KEYS, AccuracyTable, short_count

#: States of a run: predicted before it ended; there before it was predicted; of another run's training; not measured.
PREDICTED, DONE_BEFORE, SHARED, UNMEASURED = "predicted", "done before", "shared", "not measured"
NUMBERS = [
    "predicted_seconds",
    "low",
    "high",
    "measured_seconds",
    "ratio",
    "predicted_tokens",
    "train_tokens",
]
BY_STEP = [f"{kind}_{step}" for step in STEPS for kind in ("predicted", "measured")]
COLUMNS = [*RUN_KEYS, "state", "learnt_from", *NUMBERS, *BY_STEP]
TEXT_COLUMNS = ["model", "protocol", "dataset", "scenario", "state"]
NOTE = (
    "Seconds of fine-tuning, evaluation and controls of a run. Predicted: stored by the workflow before the run ended, "
    "learnt from the runs that were there then (0: from what the embedded model took on one core of a busy machine), "
    "with the range in which 80% of those lay, each predicted from all others. Ratio: measured over predicted. Done "
    "before: the run was there before its prediction was stored, so there is none. Shared: the run took another's "
    "training."
)
PANELS_PER_ROW = 3
#: inches
PANEL = 2.9
#: With more datasets than these, no legend names them.
NAMED = 24


def outcome_row(stored: Mapping[str, str], run: EarlierRun | None, digest: str) -> dict[str, Any]:
    """Make the tidy row of a run: what was stored, and what came of it.

    Parameters
    ----------
    stored : mapping of str
        Its stored prediction (`vlmtsc.planning.outcome.STORED`).
    run : EarlierRun or None
        What it was and cost; None if it shares another's training.
    digest : str
        Of its training now; empty if there is no record.
    """
    row: dict[str, Any] = dict.fromkeys(COLUMNS) | {key: stored[key] for key in RUN_KEYS}
    row |= {"seed": int(stored["seed"]), "learnt_from": int(stored["learnt_from"])}
    steps = [step for step in STEPS if stored[step]]
    measured = {step: run.seconds.get(step) for step in steps} if run else {}
    if stored["before"] and stored["before"] == digest:
        row["state"] = DONE_BEFORE
    else:
        row["predicted_seconds"] = float(stored["seconds"])
        row["predicted_tokens"] = float(stored["train_tokens"])
        row |= {end: float(stored[end]) for end in ("low", "high") if stored[end]}
        row |= {f"predicted_{step}": float(stored[step]) for step in steps}
        row["state"] = SHARED if run is None else PREDICTED
    if run is not None:
        row["train_tokens"] = run.measured().features["finetune_model"][1]
        row |= {f"measured_{step}": seconds for step, seconds in measured.items()}
        if None in measured.values():
            row["state"] = UNMEASURED if row["state"] == PREDICTED else row["state"]
        else:
            row["measured_seconds"] = sum(seconds for seconds in measured.values() if seconds is not None)
            if row["state"] == PREDICTED:
                row["ratio"] = row["measured_seconds"] / row["predicted_seconds"]
    return row


def outcome_table(rows: pd.DataFrame) -> AccuracyTable:
    """Write the tidy table for a reader, with a sentence on how good the predictions were.

    Parameters
    ----------
    rows : DataFrame
        Columns `COLUMNS`.
    """
    several = [name for name in ("model", "protocol") if rows[name].nunique() > 1]
    cells = [
        {name: str(row[name]) for name in [*several, "dataset", "scenario", "seed", "state"]}
        | {
            "learnt from": str(row["learnt_from"]),
            "predicted s": whole(row["predicted_seconds"]),
            "range": "-" if pd.isna(row["low"]) else f"{whole(row['low'])} to {whole(row['high'])}",
            "measured s": whole(row["measured_seconds"]),
            "ratio": "-" if pd.isna(row["ratio"]) else f"{row['ratio']:.2f}",
            "predicted tokens": "-"
            if pd.isna(row["predicted_tokens"])
            else short_count(row["predicted_tokens"]),
            "tokens": "-" if pd.isna(row["train_tokens"]) else short_count(row["train_tokens"]),
        }
        for row in rows.to_dict("records")
    ]
    table = pd.DataFrame(cells)
    unmarked = pd.DataFrame(False, index=table.index, columns=table.columns)
    return AccuracyTable(table, unmarked, f"{summary(rows)} {NOTE}")


def summary(rows: pd.DataFrame) -> str:
    """Say how many runs were predicted, and how well."""
    compared = rows.dropna(subset=["ratio"])
    earlier = int((rows["state"] == DONE_BEFORE).sum())
    text = f"{len(compared)} of {len(rows)} runs were predicted before they were made"
    text += f"; {earlier} {'was' if earlier == 1 else 'were'} there before." if earlier else "."
    if compared.empty:
        return text
    error = Error(tuple(sorted(compared["ratio"])))
    total, predicted = compared["measured_seconds"].sum(), compared["predicted_seconds"].sum()
    within = compared.dropna(subset=["low"])
    inside = within["measured_seconds"].between(within["low"], within["high"])
    text += (
        f" They took {total / 60:.1f} minutes; predicted were {predicted / 60:.1f}. Measured over predicted: "
        f"{error.median:.2f} in the median, {error.worst:.2f} at worst; half are off by a factor of "
        f"{error.factor:.2f} at most."
    )
    return text + (f" {int(inside.sum())} of {len(within)} lie in their range." if len(within) else "")


def whole(seconds: float | None) -> str:
    """Write seconds without decimals; a dash for none."""
    return "-" if seconds is None or pd.isna(seconds) else f"{seconds:.0f}"


def draw_predicted_time(rows: pd.DataFrame) -> Figure:
    """Measured against predicted seconds, both on logarithmic axes: a panel for each scenario, a mark for each run.

    Thin bars are the predicted range, the diagonal is a perfect prediction, dashed lines are a factor of 2.

    Parameters
    ----------
    rows : DataFrame
        Columns `COLUMNS`.
    """
    compared = rows.dropna(subset=["ratio"])
    if compared.empty:
        return _nothing_to_compare(len(rows))
    looks = line_looks(list(dict.fromkeys(rows["dataset"])))
    named = len(looks) <= NAMED
    panels = list(compared.groupby(["model", "scenario"], sort=False))
    columns = min(PANELS_PER_ROW, len(panels))
    lines = math.ceil(len(panels) / columns)
    values = compared[["predicted_seconds", "measured_seconds", "low", "high"]].to_numpy(dtype=float)
    ends = np.nanmin(values) / 1.3, np.nanmax(values) * 1.3
    with figure_style():
        figure = Figure(
            figsize=(PANEL * columns + (1.6 if named else 0), PANEL * lines), layout="constrained"
        )
        axes = figure.subplots(lines, columns, squeeze=False, sharex=True, sharey=True)
        handles: dict[str, Any] = {}
        for index, axis in enumerate(axes.flat):
            if index >= len(panels):
                axis.remove()
                continue
            (model, scenario), runs = panels[index]
            title = scenario if rows["model"].nunique() == 1 else f"{model}: {scenario}"
            _draw_panel(axis, runs, looks, ends, handles, named)
            axis.set_title(wrapped(title, 26))
            if index % columns == 0:
                axis.set_ylabel("measured (s)")
            if index >= len(panels) - columns:
                axis.set_xlabel("predicted (s)")
                axis.tick_params(axis="x", labelbottom=True)
        if named:
            order = [name for name in looks if name in handles]
            figure.legend([handles[name] for name in order], order, loc="outside right upper")
    return figure


def _draw_panel(
    axis: Axes,
    runs: pd.DataFrame,
    looks: Mapping[str, Mapping[str, Any]],
    ends: tuple[float, float],
    handles: dict[str, Any],
    named: bool,
) -> None:
    axis.plot(ends, ends, color="0.4", linewidth=1, zorder=1)
    for factor in (0.5, 2):
        axis.plot(ends, [end * factor for end in ends], color="0.6", linewidth=0.8, linestyle="--", zorder=1)
    # One call for each dataset, or one for all: there may be thousands of runs.
    groups = dict(iter(runs.groupby("dataset", sort=False))) if named else {"": runs}
    for dataset, group in groups.items():
        look = looks[dataset] if named else {"color": "0.25", "marker": "o"}
        ranged = group.dropna(subset=["low"])
        axis.hlines(
            *(ranged[name] for name in ("measured_seconds", "low", "high")),
            color=look["color"],
            linewidth=0.9,
            alpha=0.6,
            zorder=2,
        )
        (marks,) = axis.plot(
            group["predicted_seconds"],
            group["measured_seconds"],
            linestyle="none",
            color=look["color"],
            marker=look["marker"],
            markersize=6,
            markeredgecolor="white",
            markeredgewidth=0.6,
            zorder=3,
        )
        handles.setdefault(dataset, marks)
    axis.set(xscale="log", yscale="log", xlim=ends, ylim=ends, aspect="equal")
    for side in (axis.xaxis, axis.yaxis):
        side.set_major_locator(LogLocator(subs=(1, 2, 5), numticks=9))
        side.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        side.set_minor_formatter(NullFormatter())
    axis.tick_params(axis="x", labelrotation=45)
    axis.grid(True)


def _nothing_to_compare(runs: int) -> Figure:
    with figure_style():
        figure = Figure(figsize=(5, 1.2), layout="constrained")
        text = f"None of the {runs} runs was predicted before it was made: nothing to compare."
        figure.text(0.5, 0.5, text, ha="center", va="center")
    return figure


def read_outcomes(
    results: Path, stored: Sequence[Mapping[str, Mapping[str, str]]], names: Sequence[str]
) -> pd.DataFrame:
    """Read what came of the stored predictions of runs.

    Parameters
    ----------
    results : Path
    stored : sequence of mapping
        Stored predictions by the names of runs.
    names : sequence of str
        Runs of the table, in its order; each is among `stored`.

    Returns
    -------
    DataFrame
        Columns `COLUMNS`.
    """
    predictions = {name: row for rows in stored for name, row in rows.items()}
    rows = [
        outcome_row(predictions[name], read_earlier_run(results, name), training_before(results, name))
        for name in names
    ]
    return pd.DataFrame(rows, columns=COLUMNS).astype(dict.fromkeys([*NUMBERS, *BY_STEP], "float64"))
