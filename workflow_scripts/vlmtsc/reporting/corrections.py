"""The table of corrections: what each fault of the original changes in the accuracy."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import pandas as pd

from vlmtsc.errors import InputError
from vlmtsc.evaluation.paired import mcnemar_p_value
from vlmtsc.reporting.tables import DONE, NOT_RUN, AccuracyTable, joined, percent

#: What a fault does to what the model is given and asked.
Inputs = Literal["different", "identical", "classes renamed"]
RESULTS = ["accuracy", "low", "high"]
CORRECTION_COLUMNS = [
    *("model", "dataset", "protocol", "seed", "switch", "without", "with_fault", "inputs", "status", "cases"),
    *(f"{name}_{side}" for side in ("without", "with_fault") for name in RESULTS),
    *("difference", "p_value"),
]
TEXT_COLUMNS = ["model", "protocol", "dataset", "fault", "scenario", "remark"]
NOTE = (
    "Test accuracy in percent, then its 95% Wilson interval, of two runs that differ in one fault of the original. "
    "Difference: with the fault less without, in percentage points. p: exact McNemar test of the paired predictions. "
    "Identical: the fault changes nothing that the model is given or asked on this dataset, found by comparing all "
    "conversations. Only renamed: the classes are the same groups of cases, with other answers."
)


@dataclass(frozen=True)
class Scored:
    """What a finished run leaves for the table.

    Attributes
    ----------
    metrics : mapping
        Content of ``metrics.json``.
    predictions : DataFrame of str
        ``predictions.csv`` with at least id, true and predicted.
    """

    metrics: Mapping[str, Any]
    predictions: pd.DataFrame


def compare_inputs(
    without: Mapping[str, Sequence[Mapping[str, Any]]], with_fault: Mapping[str, Sequence[Mapping[str, Any]]]
) -> Inputs:
    """Say whether two scenarios give and ask the same, by the content of their conversations.

    Parameters
    ----------
    without, with_fault : mapping of str to sequence of mapping
        Conversations by part.

    Returns
    -------
    {"different", "identical", "classes renamed"}
        `classes renamed`: all is the same but for the answers, which correspond one to one.
    """
    answers = set()
    for part in without:
        if len(without[part]) != len(with_fault[part]):
            return "different"
        for one, other in zip(without[part], with_fault[part], strict=True):
            if any(one.get(key) != other.get(key) for key in ("id", "image", "tokens")):
                return "different"
            if one["conversations"][0] != other["conversations"][0]:
                return "different"
            answers.add((one["conversations"][1]["value"], other["conversations"][1]["value"]))
    if all(one == other for one, other in answers):
        return "identical"
    one_to_one = len({one for one, _ in answers}) == len({other for _, other in answers}) == len(answers)
    return "classes renamed" if one_to_one else "different"


def correction_row(
    key: Mapping[str, Any], inputs: Inputs, without: Scored | None, with_fault: Scored | None
) -> dict[str, Any]:
    """Make one row of the tidy table.

    Parameters
    ----------
    key : mapping
        model, dataset, protocol, seed, switch, without, with_fault.
    inputs : {"different", "identical", "classes renamed"}
    without, with_fault : Scored or None
        None for a run that was not made.

    Returns
    -------
    dict
        With the keys `CORRECTION_COLUMNS`; None where there is nothing to say. Where the inputs are identical, the
        difference is 0 whether or not the runs were made.

    Raises
    ------
    InputError
        If the two runs did not score the same cases.
    """
    row = dict.fromkeys(CORRECTION_COLUMNS) | {name: key[name] for name in CORRECTION_COLUMNS if name in key}
    row |= {"inputs": inputs, "status": NOT_RUN, "difference": 0.0 if inputs == "identical" else None}
    for side, scored in (("without", without), ("with_fault", with_fault)):
        if scored is not None:
            bounds = (scored.metrics["accuracy"], *scored.metrics["accuracy_interval_95"])
            row |= {f"{name}_{side}": value for name, value in zip(RESULTS, bounds, strict=True)}
            row["cases"] = scored.metrics["n_cases"]
    if without is None or with_fault is None:
        return row
    difference = with_fault.metrics["accuracy"] - without.metrics["accuracy"]
    try:
        p_value = paired_p_value(without.predictions, with_fault.predictions)
    except InputError as error:
        raise InputError(f"{key['dataset']}, {key['with_fault']}: {error}") from error
    return row | {"status": DONE, "difference": difference, "p_value": p_value}


def paired_p_value(one: pd.DataFrame, other: pd.DataFrame) -> float:
    """Return the p-value of the exact McNemar test that two runs are right equally often.

    Each run is right or wrong by its own true labels, so that merged labels count as the original counts them.

    Parameters
    ----------
    one, other : DataFrame of str
        Columns id, true, predicted.

    Raises
    ------
    InputError
        If they are not of the same cases.
    """
    if set(one["id"]) != set(other["id"]) or not one["id"].is_unique or not other["id"].is_unique:
        raise InputError("predictions of different cases; allowed: each case once in both runs")
    right = [
        (table["true"] == table["predicted"]).set_axis(table["id"]).sort_index().to_numpy()
        for table in (one, other)
    ]
    return mcnemar_p_value(*right)


def corrections_table(rows: pd.DataFrame) -> AccuracyTable:
    """Write the tidy table for a reader: datasets by faults.

    Parameters
    ----------
    rows : DataFrame
        Columns `CORRECTION_COLUMNS`.
    """
    several = [name for name in ("model", "protocol", "seed") if rows[name].nunique() > 1]
    cells = pd.DataFrame(
        [
            {name: row[name] for name in several}
            | {
                "dataset": row["dataset"],
                "fault": row["switch"],
                "scenario": row["without"],
                "without": _accuracy(row, "without"),
                "with": _accuracy(row, "with_fault"),
                "difference": "" if pd.isna(row["difference"]) else f"{100 * row['difference']:+.1f}",
                "p": "" if pd.isna(row["p_value"]) else _p_value(row["p_value"]),
                "remark": _remark(row),
            }
            for row in rows.to_dict("records")
        ]
    )
    constant = [
        f"{name.capitalize()}: {joined(rows[name], str)}."
        for name in ("model", "protocol", "seed")
        if name not in several
    ]
    unmarked = pd.DataFrame(False, index=cells.index, columns=cells.columns)
    return AccuracyTable(cells, unmarked, " ".join([NOTE, *constant]))


def _accuracy(row: Mapping[str, Any], side: str) -> str:
    accuracy, low, high = (row[f"{name}_{side}"] for name in RESULTS)
    return "-" if pd.isna(accuracy) else f"{percent(accuracy)} [{percent(low)}, {percent(high)}]"


def _p_value(p: float) -> str:
    return "< 0.001" if p < 0.001 else f"{p:.3f}"


def _remark(row: Mapping[str, Any]) -> str:
    said = {"different": [], "identical": ["identical"], "classes renamed": ["only renamed"]}[row["inputs"]]
    return ", ".join([*said, *([NOT_RUN] if row["status"] != DONE else [])])
