"""The table of corrections: effect of each fault of the original on the accuracy."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any, Literal

import pandas as pd

from vlmtsc.errors import InputError
from vlmtsc.evaluation.statistics import paired_test
from vlmtsc.files import read_json
from vlmtsc.paths import Paths
from vlmtsc.planning import DONE, MAY_CHANGE_NOTHING, NOT_RUN, Pair
from vlmtsc.reporting.comparisons import correct_cases, read_predicted
from vlmtsc.reporting.tables import NONE, ReaderTable, p_text, percent, varying, with_constants, with_interval

logger = logging.getLogger(__name__)

#: Effect of a fault on a model's inputs and answers.
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
    "Identical: the fault changes no input and no answer on this dataset, found by comparing all conversations. Only "
    "renamed: the classes are the same groups of cases, with other answers."
)


def compare_inputs(
    without: Mapping[str, Sequence[Mapping[str, Any]]], with_fault: Mapping[str, Sequence[Mapping[str, Any]]]
) -> Inputs:
    """Compare the conversations of two scenarios, by set (training, validation, test).

    "classes renamed": only the answers differ, and correspond one to one.
    """
    answers = set()
    for name in without:
        if len(without[name]) != len(with_fault[name]):
            return "different"
        for one, other in zip(without[name], with_fault[name], strict=True):
            if any(one.get(key) != other.get(key) for key in ("id", "image", "tokens")):
                return "different"
            if one["conversations"][0] != other["conversations"][0]:
                return "different"
            answers.add((one["conversations"][1]["value"], other["conversations"][1]["value"]))
    if all(one == other for one, other in answers):
        return "identical"
    one_to_one = len({one for one, _ in answers}) == len({other for _, other in answers}) == len(answers)
    return "classes renamed" if one_to_one else "different"


def paired_p_value(one: pd.DataFrame, other: pd.DataFrame) -> float:
    """Return the p-value of the exact McNemar test that two runs are correct equally often.

    Each run is correct or wrong by its own true labels, so that merged labels count as in the original. InputError if
    they are not of the same cases.
    """
    cases = one.sort_values("id", ignore_index=True)
    correct = (correct_cases("correction", [table], cases)[0] for table in (one, other))
    return paired_test(*correct).p_value


def correction_rows(paths: Paths, pairs: Sequence[Pair]) -> pd.DataFrame:
    """Return the tidy table, with columns `CORRECTION_COLUMNS`.

    A missing run is shown as not run. If the inputs are identical, the difference is 0 with or without runs.
    InputError if two runs did not score the same cases.
    """
    if not pairs:
        raise InputError("corrections: none configured; allowed: one or more, as in config/corrections.yaml")

    @cache
    def conversations(folder: str) -> dict[str, Any]:
        return {name: read_json(Path(folder, f"{name}.json")) for name in ("train", "validation", "test")}

    rows = []
    for pair in pairs:
        inputs: Inputs = "different"
        if pair.switch in MAY_CHANGE_NOTHING:
            inputs = compare_inputs(*(conversations(paths.conversations(run)) for run in pair.runs))
        names = {
            "switch": pair.switch,
            "without": pair.without.scenario,
            "with_fault": pair.with_fault.scenario,
        }
        row: dict[str, Any] = vars(pair.without) | names | {"inputs": inputs, "status": NOT_RUN}
        row["difference"] = 0.0 if inputs == "identical" else None
        predictions = []
        for side in ("without", "with_fault") if pair.run else ():
            folder = Path(paths.run(getattr(pair, side)))
            if not ((folder / "metrics.json").exists() and (folder / "predictions.csv").exists()):
                logger.warning("%s: no metrics and predictions, shown as not run", folder)
                continue
            metrics = read_json(folder / "metrics.json")
            values = (metrics["accuracy"], *metrics["accuracy_interval_95"])
            row |= {f"{name}_{side}": value for name, value in zip(RESULTS, values, strict=True)}
            row["cases"] = metrics["n_cases"]
            predictions.append(read_predicted(folder / "predictions.csv"))
        if len(predictions) == 2:
            try:
                row["p_value"] = paired_p_value(*predictions)
            except InputError as error:
                raise InputError(f"{pair.with_fault.dataset}, {pair.with_fault.scenario}: {error}") from error
            row |= {"status": DONE, "difference": row["accuracy_with_fault"] - row["accuracy_without"]}
        rows.append(row)
    return pd.DataFrame(rows, columns=CORRECTION_COLUMNS).convert_dtypes()


def corrections_table(rows: pd.DataFrame) -> ReaderTable:
    """Return the accuracies of datasets by faults, with and without the fault."""
    several = varying(rows, "model", "protocol", "seed")
    cells = [
        {name: str(row[name]) for name in several}
        | {
            "dataset": row["dataset"],
            "fault": row["switch"],
            "scenario": row["without"],
            "without": with_interval(*(row[f"{name}_without"] for name in RESULTS)),
            "with": with_interval(*(row[f"{name}_with_fault"] for name in RESULTS)),
            "difference": percent(row["difference"], "+"),
            "p": p_text(row["p_value"]),
            "remark": ", ".join(_remarks(row)),
        }
        for row in rows.to_dict("records")
    ]
    # An empty cell, not a dash: nothing is compared.
    table = pd.DataFrame(cells)
    table[["difference", "p"]] = table[["difference", "p"]].replace(NONE, "")
    return ReaderTable(table, with_constants(NOTE, rows, "model", "protocol", "seed"), TEXT_COLUMNS)


def _remarks(row: Mapping[str, Any]) -> list[str]:
    inputs = {"different": [], "identical": ["identical"], "classes renamed": ["only renamed"]}[row["inputs"]]
    return [*inputs, *([NOT_RUN] if row["status"] != DONE else [])]
