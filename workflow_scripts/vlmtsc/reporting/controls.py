"""The table of controls at test time."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import pandas as pd

from vlmtsc.errors import InputError
from vlmtsc.evaluation.control_kinds import FEW_CHANGES, INTACT, LEVEL, Control
from vlmtsc.reporting.tables import RUN_KEYS, AccuracyTable, joined, percent, run_name

#: What controls are called in tables and figures, in their order.
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
TEXT_COLUMNS = ["model", "protocol", "dataset", "scenario", "finding"]
NOTE = (
    "Test accuracy in percent of fine-tuned models, with its 95% Wilson interval, and what is left of it when one "
    "input is spoilt at test time, without training anew: a blank (white) image, the image of another case (of another "
    "class as far as possible), the same numbers in another order, no numbers. Over several seeds: mean ± standard "
    f"deviation. *: differs from the intact accuracy (McNemar's exact test on the same cases, p < {LEVEL:g}; of "
    "several seeds, in each). Not used: the accuracy does not differ and at most "
    f"{FEW_CHANGES:.0%} of the predictions change. With swapped images a model that relies on them falls below chance, "
    "since it then sees another class."
)


def control_rows(
    key: Mapping[str, Any], controls: pd.DataFrame, metrics: Mapping[str, Any]
) -> list[dict[str, Any]]:
    """Return the rows of one run in the tidy table.

    Parameters
    ----------
    key : mapping
        `RUN_KEYS` of the run.
    controls : DataFrame
        Its ``controls.csv``.
    metrics : mapping
        Content of its ``metrics.json``.

    Raises
    ------
    InputError
        If columns are missing, or the intact row has not the accuracy of the metrics.
    """
    where = run_name(key)
    missing = [name for name in ["control", *MEASURES, "finding"] if name not in controls]
    if missing:
        raise InputError(f"{where}: controls.csv lacks {', '.join(missing)}; found {', '.join(controls)}")
    found = controls.loc[controls["control"] == INTACT, "accuracy"].tolist()
    if len(found) != 1 or not math.isclose(found[0], metrics["accuracy"]):
        raise InputError(
            f"{where}: controls.csv has the intact accuracy {found}; allowed: {metrics['accuracy']}, as in metrics.json"
        )
    return [{**key, **row, "majority_rate": metrics["majority_rate"]} for row in controls.to_dict("records")]


def controls_table(rows: pd.DataFrame) -> AccuracyTable:
    """Write the tidy table for a reader: a row for each dataset and scenario, a column for each control.

    Parameters
    ----------
    rows : DataFrame
        Columns `CONTROL_COLUMNS`; its order gives the order of rows.
    """
    several = [name for name in ("model", "protocol") if rows[name].nunique() > 1]
    present = [name for name in NAMES if name in set(rows["control"])]
    cells = []
    for key, run in rows.groupby(["model", "protocol", "dataset", "scenario"], sort=False):
        named = dict(zip(["model", "protocol", "dataset", "scenario"], key, strict=True))
        head = {name: named[name] for name in [*several, "dataset", "scenario"]}
        columns = {NAMES[name]: control_cell(run[run["control"] == name]) for name in present}
        cells.append(head | columns | {"finding": findings(run)})
    constant = [
        f"{name.capitalize()}: {joined(rows[name], str)}."
        for name in ("model", "protocol")
        if name not in several
    ]
    table = pd.DataFrame(cells)
    unmarked = pd.DataFrame(False, index=table.index, columns=table.columns)
    return AccuracyTable(table, unmarked, " ".join([NOTE, *constant]))


def control_cell(seeds: pd.DataFrame) -> str:
    """Write the cell of one control of one scenario, for all seeds; a dash where the scenario has not this control."""
    if seeds.empty:
        return "-"
    accuracy = percent(seeds["accuracy"].mean())
    differs = (seeds["p_value"] < LEVEL).all()
    star = " *" if differs else ""
    if len(seeds) > 1:
        return f"{accuracy} ± {percent(seeds['accuracy'].std())}{star}"
    only = seeds.iloc[0]
    return f"{accuracy} [{percent(only['accuracy_low'])}, {percent(only['accuracy_high'])}]{star}"


def findings(run: pd.DataFrame) -> str:
    """Write what the controls of one scenario have found, and in how many seeds."""
    seeds = run["seed"].nunique()
    counts = run["finding"].dropna().value_counts(sort=False)
    return ", ".join(
        text if count == seeds else f"{text} in {count} of {seeds} seeds" for text, count in counts.items()
    )
