"""What the runs are evidence of: the chosen scenario against the best simple method, and which inputs are used."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pandas as pd

from vlmtsc.evaluation.control_kinds import INTACT, LEVEL, Control
from vlmtsc.evaluation.statistics import ALPHA, holm
from vlmtsc.reporting.comparisons import (
    BASELINE,
    FINE_TUNED,
    Method,
    accuracy_with_interval,
    compare_predictions,
    p_text,
)
from vlmtsc.reporting.controls import NAMES
from vlmtsc.reporting.tables import AccuracyTable, percent
from vlmtsc.settings import BASELINES

#: Verdicts of the paired test of the chosen scenario against the best simple method.
WINS, LOSES, EQUAL, UNTESTED = "VLM", "simple method", "no difference", "not tested"
PLACE = ["model", "dataset", "protocol"]
COLUMNS = [
    *PLACE,
    *(
        "n_cases",
        "majority_rate",
        "scenario",
        "seeds",
        "accuracy",
        "accuracy_sd",
        "accuracy_low",
        "accuracy_high",
        "balanced_accuracy",
        "macro_f1",
    ),
    *(f"accuracy_{name}" for name in BASELINES),
    *("best_baseline", "best_accuracy", "best_low", "best_high", "difference", "difference_low"),
    *("difference_high", "only_vlm", "only_baseline", "p_value", "p_holm", "verdict"),
]
#: Inputs, and the control that takes each of them away.
INPUTS: dict[str, Control] = {
    "image": "image_swapped",
    "numbers": "numbers_removed",
    "order of numbers": "numbers_shuffled",
}
USED, NOT_USED, UNCLEAR = "used", "not used", "unclear"
SPOILT = {control: name for control, name in NAMES.items() if control != INTACT}
INPUT_COLUMNS = [*PLACE, "scenario", "chosen", "seeds", "accuracy", *SPOILT, *INPUTS]
TEXT_COLUMNS = ["model", "dataset", "verdict", "scenario", *INPUTS]
NOTE = (
    "VLM: test accuracy in percent of the fine-tuned scenario chosen on validation, with its 95% interval (one seed: "
    "Wilson; several: mean ± standard deviation and a bootstrap of seeds and cases). Balanced, macro F1: its balanced "
    "accuracy and its unweighted mean of the classes' F1. Simple methods: test accuracy on the same split. Bold: the "
    "one with the highest accuracy on validation, of several the first; it is the best simple method, and the test "
    "part took no part in that choice either. Difference: in points, with a 95% interval from a bootstrap of the same "
    "cases for both. p: McNemar's exact test on the same cases (of several seeds the first), with Holm's correction "
    f"for the datasets tested here. Verdict: which is better at {ALPHA:.0%}."
)
INPUTS_NOTE = (
    "Test accuracy in percent, mean of the seeds, and what is left of it at test time with a blank image, the image of "
    "a case of another class, the numbers in another order, no numbers. What that says of each scenario's inputs: not "
    "used, if swapping the image, taking the numbers away or shuffling them changes neither the accuracy nor more than "
    f"a few predictions; used, if the accuracy differs (McNemar's exact test, p < {LEVEL:g}); unclear, if neither. "
    "With several seeds, how many say so. *: chosen on validation."
)


@dataclass(frozen=True)
class DatasetEvidence:
    """What is there of one model on one dataset.

    Attributes
    ----------
    place : mapping
        `PLACE`.
    method : Method or None
        The chosen scenario with its seeds; None if no run is there.
    baselines : mapping of str to mapping
        By name, in the order of `BASELINES`: ``metrics`` and ``record`` of those that are there.
    best : Method or None
        Predictions of the best simple method; None if there is none.
    """

    place: Mapping[str, str]
    method: Method | None
    baselines: Mapping[str, Mapping[str, Any]]
    best: Method | None


def best_baseline(baselines: Mapping[str, Mapping[str, Any]]) -> str | None:
    """Name the simple method with the highest validation accuracy, of several the first; None if there is none."""
    known = {
        name: float(files["record"]["validation_accuracy"])
        for name, files in baselines.items()
        if files["record"]["validation_accuracy"] is not None
    }
    return max(known, key=lambda name: round(known[name], 10)) if known else None


def evidence_rows(datasets: Sequence[DatasetEvidence]) -> pd.DataFrame:
    """Compare the chosen scenario of each dataset with the best simple method.

    Parameters
    ----------
    datasets : sequence of DatasetEvidence

    Returns
    -------
    DataFrame
        Columns `COLUMNS`; of a dataset without a run or without simple methods, what is there.
    """
    rows = []
    for found in datasets:
        row: dict[str, Any] = dict.fromkeys(COLUMNS) | dict(found.place) | {"verdict": UNTESTED}
        for name, files in found.baselines.items():
            row[f"accuracy_{name}"] = files["metrics"]["accuracy"]
            row |= {key: files["metrics"][key] for key in ("n_cases", "majority_rate")}
        methods = [method for method in (found.method, found.best) if method is not None]
        measured, pairs = compare_predictions(found.place, methods)
        by_kind = {method["kind"]: method for method in measured}
        if vlm := by_kind.get(FINE_TUNED):
            row |= {key: vlm[key] for key in ("seeds", "n_cases", "accuracy", "accuracy_sd")}
            row |= {key: vlm[key] for key in ("accuracy_low", "accuracy_high")} | {"scenario": vlm["method"]}
            row |= {key: vlm[key] for key in ("balanced_accuracy", "macro_f1")}
            row["majority_rate"] = found.method.metrics[0]["majority_rate"] if found.method else None
        if simple := by_kind.get(BASELINE):
            row |= {"best_baseline": simple["method"], "best_accuracy": simple["accuracy"]}
            row |= {"best_low": simple["accuracy_low"], "best_high": simple["accuracy_high"]}
        for pair in pairs:
            row |= {key: pair[key] for key in ("difference", "difference_low", "difference_high", "p_value")}
            row |= {"only_vlm": pair["only_first"], "only_baseline": pair["only_second"]}
        rows.append(row)
    table = pd.DataFrame(rows, columns=COLUMNS)
    tested = table["p_value"].notna()
    table["p_holm"] = table["p_holm"].astype(float)
    table.loc[tested, "p_holm"] = holm(table.loc[tested, "p_value"].astype(float).tolist())
    for index in table.index[tested]:
        row = table.loc[index]
        better = WINS if row["only_vlm"] > row["only_baseline"] else LOSES
        table.loc[index, "verdict"] = better if row["p_holm"] < ALPHA else EQUAL
    return table


def input_rows(runs: pd.DataFrame, controls: pd.DataFrame, chosen: Mapping[Any, str]) -> pd.DataFrame:
    """Say of each scenario which of its inputs it uses.

    Parameters
    ----------
    runs : DataFrame
        Tidy table of finished runs.
    controls : DataFrame
        Tidy table of their controls (`vlmtsc.reporting.controls`); empty if there are none.
    chosen : mapping
        Scenario by (model, protocol, dataset), as `choose_scenarios` gives it.

    Returns
    -------
    DataFrame
        Columns `INPUT_COLUMNS`. An input is empty where the scenario has not got it, or has no controls.
    """
    rows = []
    of_scenario = dict(iter(controls.groupby([*PLACE, "scenario"], sort=False)))
    for values, group in runs.groupby([*PLACE, "scenario"], sort=False):
        place = dict(zip([*PLACE, "scenario"], values, strict=True))
        of_run = of_scenario.get(values, controls.iloc[:0])
        rows.append(
            place
            | {
                "chosen": chosen.get((place["model"], place["protocol"], place["dataset"]))
                == place["scenario"]
            }
            | {"seeds": len(group), "accuracy": group["accuracy"].mean()}
            | {control: of_run.loc[of_run["control"] == control, "accuracy"].mean() for control in SPOILT}
            | {name: use_of_input(of_run[of_run["control"] == control]) for name, control in INPUTS.items()}
        )
    return pd.DataFrame(rows, columns=INPUT_COLUMNS)


def use_of_input(seeds: pd.DataFrame) -> str:
    """Say whether an input is used, from the rows of its control, one a seed; empty without any."""
    findings = [
        NOT_USED
        if isinstance(row["finding"], str) and row["finding"]
        else USED
        if row["p_value"] < LEVEL
        else UNCLEAR
        for row in seeds.to_dict("records")
    ]
    counts = {finding: findings.count(finding) for finding in dict.fromkeys(findings)}
    if len(counts) < 2:
        return next(iter(counts), "")
    return ", ".join(f"{finding} in {count} of {len(findings)} seeds" for finding, count in counts.items())


def evidence_table(rows: pd.DataFrame) -> AccuracyTable:
    """Write `evidence_rows` for a reader."""
    several = [name for name in ("model",) if rows[name].nunique() > 1]
    present = [name for name in BASELINES if rows[f"accuracy_{name}"].notna().any()]
    cells, marks = [], []
    for row in rows.to_dict("records"):
        head = {name: row[name] for name in [*several, "dataset"]}
        head |= {"test cases": "-" if pd.isna(row["n_cases"]) else f"{row['n_cases']:.0f}"}
        head |= {"majority %": "-" if pd.isna(row["majority_rate"]) else percent(row["majority_rate"])}
        head |= {"VLM": "not run" if pd.isna(row["accuracy"]) else accuracy_with_interval(row)}
        head |= {"scenario": row["scenario"] or "-"}
        for name, key in (("balanced %", "balanced_accuracy"), ("macro F1 %", "macro_f1")):
            head[name] = "-" if pd.isna(row[key]) else percent(row[key])
        simple = {name: row[f"accuracy_{name}"] for name in present}
        tested = not pd.isna(row["p_value"])
        tail = {"difference": "-", "p (Holm)": "-", "verdict": row["verdict"]}
        if tested:
            low, high = (f"{100 * row[f'difference_{end}']:+.1f}" for end in ("low", "high"))
            tail["difference"] = f"{100 * row['difference']:+.1f} [{low}, {high}]"
            tail["p (Holm)"] = p_text(row["p_holm"])
        texts = {name: "-" if pd.isna(value) else percent(value) for name, value in simple.items()}
        cells.append(head | texts | tail)
        bold = dict.fromkeys([*head, *tail], False) | {name: name == row["best_baseline"] for name in present}
        marks.append(bold)
    table = pd.DataFrame(cells)
    constant = [f"Model: {rows['model'].iloc[0]}."] if not several else []
    note = " ".join([NOTE, *constant, f"Protocol: {rows['protocol'].iloc[0]}."])
    return AccuracyTable(table, pd.DataFrame(marks)[list(table)], note)


def inputs_table(rows: pd.DataFrame) -> AccuracyTable:
    """Write `input_rows` for a reader."""
    several = [name for name in ("model",) if rows[name].nunique() > 1]
    spoilt = {control: name for control, name in SPOILT.items() if rows[control].notna().any()}
    cells = pd.DataFrame(
        [
            {name: row[name] for name in [*several, "dataset"]}
            | {"scenario": row["scenario"] + (" *" if row["chosen"] else "")}
            | {"seeds": str(row["seeds"]), "accuracy %": percent(row["accuracy"])}
            | {
                name: "-" if pd.isna(row[control]) else percent(row[control])
                for control, name in spoilt.items()
            }
            | {name: row[name] or "-" for name in INPUTS}
            for row in rows.to_dict("records")
        ]
    )
    return AccuracyTable(cells, pd.DataFrame(False, index=cells.index, columns=cells.columns), INPUTS_NOTE)


@dataclass(frozen=True)
class Matrix:
    """What a configuration asks for, and what is there.

    Attributes
    ----------
    seeds : tuple of int
        That every scenario is asked for with.
    missing : mapping of (model, dataset, scenario) to tuple of int
        Seeds that are not there.
    """

    seeds: tuple[int, ...]
    missing: Mapping[tuple[str, str, str], tuple[int, ...]] = field(default_factory=dict)


def sentences(rows: pd.DataFrame, inputs: pd.DataFrame, matrix: Matrix) -> list[str]:
    """Count the verdicts in plain sentences.

    Parameters
    ----------
    rows : DataFrame
        `evidence_rows`.
    inputs : DataFrame
        `input_rows`.
    matrix : Matrix
    """
    said = [*verdicts(rows), *uses(inputs)]
    if matrix.missing:
        whole = [key for key, seeds in matrix.missing.items() if len(seeds) == len(matrix.seeds)]
        part = {key: seeds for key, seeds in matrix.missing.items() if key not in whole}
        asked = ", ".join(map(str, matrix.seeds))
        said.append(
            f"Not there of the seeds that the configuration asks for ({asked}): {missing_text(whole, part)}."
        )
    elif len(matrix.seeds) > 1:
        said.append(f"Every scenario has all {len(matrix.seeds)} seeds that the configuration asks for.")
    return said


def verdicts(rows: pd.DataFrame) -> list[str]:
    """Say where the fine-tuned model wins, where a simple method does, and where neither."""
    said = []
    tested = rows[rows["verdict"] != UNTESTED]
    if len(tested):
        parts = []
        for verdict, text in (
            (WINS, "the fine-tuned model is better on {}"),
            (LOSES, "the best simple method is better on {}"),
            (EQUAL, f"there is no difference at {ALPHA:.0%} on {{}}"),
        ):
            group = tested[tested["verdict"] == verdict]
            names = [
                f"{name} ({row['best_baseline']})" if verdict == LOSES else name
                for name, row in zip(_names(group, rows), group.to_dict("records"), strict=True)
            ]
            parts.append(text.format(f"{len(group)}" + (f": {', '.join(names)}" if names else "")))
        said.append(f"Of {_datasets(len(tested))}, {'; '.join(parts)}.")
    counts = [
        f"{name} {'/'.join(map(str, numbers))}"
        for name in BASELINES
        if (numbers := compared_accuracies(rows, name)) is not None
    ]
    if counts:
        said.append(
            "By accuracy alone, without a test, the fine-tuned model is higher/equal/lower on so many datasets: "
            f"{', '.join(counts)}."
        )
    for column, text in (("accuracy", "No finished run"), ("best_baseline", "No simple method")):
        lacking = rows[rows[column].isna()]
        if len(lacking):
            said.append(f"{text}: {', '.join(_names(lacking, rows))}.")
    absent = [name for name in BASELINES if rows[f"accuracy_{name}"].isna().all()]
    if absent and len(absent) < len(BASELINES):
        said.append(f"Simple methods that have not been fitted: {', '.join(absent)}.")
    return said


def compared_accuracies(rows: pd.DataFrame, baseline: str) -> tuple[int, int, int] | None:
    """Count datasets where the chosen scenario's accuracy is higher than, equal to and lower than a baseline's."""
    both = rows.dropna(subset=["accuracy", f"accuracy_{baseline}"])
    if both.empty:
        return None
    # Rounded, since means over seeds may differ in their last bit.
    difference = (both["accuracy"].astype(float) - both[f"accuracy_{baseline}"].astype(float)).round(12)
    return int((difference > 0).sum()), int((difference == 0).sum()), int((difference < 0).sum())


def uses(inputs: pd.DataFrame) -> list[str]:
    """Say how many scenarios do not use an input that they have, and which."""
    said = []
    for name in INPUTS:
        having = inputs[inputs[name] != ""]
        unused = having[having[name] == NOT_USED]
        in_part = having[having[name].str.contains(f"{NOT_USED} in", regex=False)]
        if having.empty:
            continue
        names = [
            f"{run} on {dataset}"
            for run, dataset in zip(unused["scenario"], _names(unused, inputs), strict=True)
        ]
        text = f"{name[0].upper()}{name[1:]}: of {len(having)} scenarios that have it and controls, {len(unused)} "
        text += f"{'does' if len(unused) == 1 else 'do'} not use it" + (
            f": {', '.join(names)}" if names else ""
        )
        said.append(text + (f"; {len(in_part)} more in some seeds." if len(in_part) else "."))
    without = inputs[(inputs[list(INPUTS)] == "").all(axis=1)]
    if len(without):
        named = f": {', '.join(dict.fromkeys(without['scenario']))}" if len(said) else ""
        said.append(f"{len(without)} of {len(inputs)} scenarios have no controls{named}.")
    return said


def missing_text(
    whole: Sequence[tuple[str, str, str]], part: Mapping[tuple[str, str, str], tuple[int, ...]]
) -> str:
    """Name scenarios without any seed, and those without some; those that lack the same together."""
    groups: dict[tuple[str, str, tuple[int, ...]], list[str]] = {}
    for model, dataset, scenario in whole:
        groups.setdefault((model, scenario, ()), []).append(dataset)
    for (model, dataset, scenario), seeds in part.items():
        groups.setdefault((model, scenario, seeds), []).append(dataset)
    alike: dict[tuple[str, tuple[int, ...], tuple[str, ...]], list[str]] = {}
    for (model, scenario, seeds), datasets in groups.items():
        alike.setdefault((model, seeds, tuple(datasets)), []).append(scenario)
    one_model = len({model for model, _, _ in alike}) == 1
    return "; ".join(
        ", ".join(scenarios if one_model else [f"{model}, {scenario}" for scenario in scenarios])
        + (
            f" without {'seed' if len(seeds) == 1 else 'seeds'} {', '.join(map(str, seeds))}"
            if seeds
            else " (none)"
        )
        + f" on {', '.join(datasets)}"
        for (model, seeds, datasets), scenarios in alike.items()
    )


def _names(rows: pd.DataFrame, among: pd.DataFrame) -> list[str]:
    """Name datasets, with their model where there are several."""
    if among["model"].nunique() < 2:
        return rows["dataset"].tolist()
    return (rows["dataset"] + " (" + rows["model"] + ")").tolist()


def _datasets(count: int) -> str:
    return f"{count} dataset{'s' if count != 1 else ''}"
