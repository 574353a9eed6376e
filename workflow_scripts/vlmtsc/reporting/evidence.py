"""The chosen scenario of each dataset against the best baseline, and which inputs each scenario uses."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from jinja2 import Environment

from vlmtsc.evaluation.constants import ALIGNED, ALPHA, INTACT, Control
from vlmtsc.evaluation.statistics import holm
from vlmtsc.files import read_json
from vlmtsc.paths import Paths, Run
from vlmtsc.reporting.baselines import baseline_key, read_baseline
from vlmtsc.reporting.comparisons import (
    DIFFERENCE_NOTE,
    accuracy_with_interval,
    compare_predictions,
    difference_text,
    read_method,
)
from vlmtsc.reporting.controls import CONTROL_COLUMNS, CONTROL_TYPES, NAMES, control_rows
from vlmtsc.reporting.runs import (
    BASELINE,
    DONE,
    FINE_TUNED,
    INTERVAL_NOTE,
    accuracy_text,
    choose_scenarios,
    read_run,
    runs_in,
    runs_table,
)
from vlmtsc.reporting.tables import (
    NONE,
    ReaderTable,
    counted,
    joined,
    p_text,
    percent,
    varying,
    with_constants,
)
from vlmtsc.settings import BASELINES, UNTUNED

#: Verdicts of the paired test of the chosen scenario against the best baseline.
WINS, LOSES, EQUAL, UNTESTED = "VLM", "baseline", "no difference", "not tested"
PLACE = ["model", "dataset", "protocol"]
COLUMNS = [
    *PLACE,
    *("n_cases", "majority_rate", "scenario", "seeds", "accuracy", "accuracy_sd", "accuracy_low"),
    *("accuracy_high", "balanced_accuracy", "macro_f1"),
    *(f"accuracy_{name}" for name in (*BASELINES, ALIGNED, UNTUNED)),
    *("best_baseline", "best_accuracy", "best_low", "best_high", "difference", "difference_low"),
    *("difference_high", "only_vlm", "only_baseline", "p_value", "p_holm", "verdict"),
]
#: Inputs, and the control that perturbs each.
INPUTS: dict[str, Control] = {
    "image": "image_swapped",
    "numbers": "numbers_removed",
    "order of numbers": "numbers_shuffled",
}
USED, NOT_USED, UNCLEAR = "used", "not used", "unclear"
PERTURBED = {control: name for control, name in NAMES.items() if control != INTACT}
INPUT_COLUMNS = [*PLACE, "scenario", "chosen", "seeds", "accuracy", *PERTURBED, *INPUTS]
TEXT_COLUMNS = ["model", "dataset", "verdict", "scenario", *INPUTS]
NOTE = (
    "VLM: test accuracy in percent of the fine-tuned scenario chosen on validation, with its 95% interval. "
    f"{INTERVAL_NOTE} Balanced, macro F1: its balanced accuracy and unweighted mean of the classes' F1. Baselines: "
    "test accuracy on the same split. Bold: the best baseline, which is the one with the highest accuracy on "
    "validation (on a tie the first); the test set played no role in that choice either. "
    f"{ALIGNED}: the projector of the VLM's own scenario after the first stage, "
    "without the language model, mean of the seeds; untuned: the model without fine-tuning, in the scenario that is "
    f"best on validation; both are no candidates for the best baseline. Difference: in points. {DIFFERENCE_NOTE} p: "
    "McNemar's exact test on the same cases (of several seeds the first), with Holm's correction for the datasets "
    f"tested here. Verdict: which is better at {ALPHA:.0%}."
)
INPUTS_NOTE = (
    "Test accuracy in percent, mean of the seeds: intact, and at test time with a blank image, the image of a case "
    "of another class, the numbers in another order, no numbers. Each input is not used, if perturbing it (swapping "
    "images, removing or shuffling numbers) changes neither the accuracy nor more than a few predictions; used, if "
    f"the accuracy differs (McNemar's exact test, p < {ALPHA:g}); otherwise unclear. With several seeds, the number "
    "of seeds is stated. *: chosen on validation."
)


def best_baseline(rows: Mapping[str, Mapping[str, Any]]) -> str | None:
    """Return the baseline with the highest ``validation_accuracy``, on a tie the first."""
    known = {name: row["validation_accuracy"] for name, row in rows.items()}
    known = {name: round(float(value), 10) for name, value in known.items() if value is not None}
    return max(known, key=lambda name: known[name]) if known else None


def evidence_rows(paths: Paths, runs: pd.DataFrame) -> pd.DataFrame:
    """Compare the chosen scenario of each dataset with the best baseline.

    A row (`COLUMNS`) for each model and dataset of `runs`; values of a missing run or baseline are empty.
    """
    chosen = choose_scenarios(runs)
    done = runs[runs["status"] == DONE]
    untuned = choose_scenarios(runs[runs["stopped_by"] == UNTUNED])
    rows = []
    for place in runs[PLACE].drop_duplicates().to_dict("records"):
        row = dict.fromkeys(COLUMNS) | place | {"verdict": UNTESTED}
        read = {name: read_baseline(paths, baseline_key(name, **place)) for name in BASELINES}
        baselines = {name: found for name, found in read.items() if found is not None}
        for name, found in baselines.items():
            row[f"accuracy_{name}"] = found["accuracy"]
            row |= {key: found[key] for key in ("n_cases", "majority_rate")}
        methods = []
        key = (place["model"], place["protocol"], place["dataset"])
        scenario = chosen.get(key)
        if key in untuned:
            of_scenario = (done[[*PLACE, "scenario"]] == [*place.values(), untuned[key]]).all(axis=1)
            row[f"accuracy_{UNTUNED}"] = done.loc[of_scenario, "accuracy"].mean()
        if scenario is not None:
            seeds = done[(done[[*PLACE, "scenario"]] == [*place.values(), scenario]).all(axis=1)]
            methods.append(read_method(paths, runs_in(seeds)))
            row["majority_rate"] = methods[0].metrics[0]["majority_rate"]
            alone = [metrics[ALIGNED]["accuracy"] for metrics in methods[0].metrics if ALIGNED in metrics]
            row[f"accuracy_{ALIGNED}"] = sum(alone) / len(alone) if alone else None
        if best := best_baseline(baselines):
            methods.append(read_method(paths, [baseline_key(best, **place)]))
        measured, pairs = compare_predictions(place, methods)
        for method in measured:
            if method["kind"] == FINE_TUNED:
                row |= {key: method[key] for key in COLUMNS if key in method} | {"scenario": method["method"]}
            else:
                row |= {f"best_{key}": method[f"accuracy_{key}"] for key in ("low", "high")}
                row |= {"best_baseline": method["method"], "best_accuracy": method["accuracy"]}
        for pair in pairs:
            row |= {key: pair[key] for key in ("difference", "difference_low", "difference_high", "p_value")}
            row |= {"only_vlm": pair["only_first"], "only_baseline": pair["only_second"]}
        rows.append(row)
    tested = [row for row in rows if row["p_value"] is not None]
    for row, adjusted in zip(tested, holm([row["p_value"] for row in tested]), strict=True):
        better = WINS if row["only_vlm"] > row["only_baseline"] else LOSES
        row |= {"p_holm": float(adjusted), "verdict": better if adjusted < ALPHA else EQUAL}
    return pd.DataFrame(rows, columns=COLUMNS).astype({"p_holm": "float"})


def read_controls(paths: Paths, done: pd.DataFrame) -> pd.DataFrame:
    """Read the controls of the finished runs that have any."""
    rows: list[dict[str, Any]] = []
    for run in runs_in(done):
        folder = Path(paths.run(run))
        if (folder / "controls.csv").is_file():
            rows += control_rows(
                run, pd.read_csv(folder / "controls.csv"), read_json(folder / "metrics.json")
            )
    return pd.DataFrame(rows, columns=CONTROL_COLUMNS).astype(CONTROL_TYPES)


def input_rows(runs: pd.DataFrame, controls: pd.DataFrame) -> pd.DataFrame:
    """State for each scenario which of its inputs it uses; empty if it lacks the input or has no controls."""
    chosen = choose_scenarios(runs)
    by_scenario = dict(iter(controls.groupby([*PLACE, "scenario"], sort=False)))
    rows = []
    for key, group in runs[runs["status"] == DONE].groupby([*PLACE, "scenario"], sort=False):
        model, dataset, protocol, scenario = key
        by_control = dict(iter(by_scenario.get(key, controls.iloc[:0]).groupby("control")))
        rows.append(
            dict(zip([*PLACE, "scenario"], key, strict=True))
            | {"chosen": chosen.get((model, protocol, dataset)) == scenario}
            | {"seeds": len(group), "accuracy": group["accuracy"].mean()}
            | {
                control: by_control[control]["accuracy"].mean()
                for control in PERTURBED
                if control in by_control
            }
            | {name: use_of_input(by_control.get(control)) for name, control in INPUTS.items()}
        )
    return pd.DataFrame(rows, columns=INPUT_COLUMNS)


def use_of_input(seeds: pd.DataFrame | None) -> str:
    """Return whether an input is used, from the rows of its control, one per seed; empty without any."""
    if seeds is None:
        return ""
    differs = seeds["p_value"].lt(ALPHA).map({True: USED, False: UNCLEAR})
    found = differs.mask(seeds["finding"].fillna("") != "", NOT_USED).value_counts(sort=False)
    if len(found) == 1:
        return str(found.index[0])
    return ", ".join(f"{use} in {count} of {len(seeds)} seeds" for use, count in found.items())


def evidence_table(rows: pd.DataFrame) -> ReaderTable:
    """Return `evidence_rows` for a reader."""
    several = varying(rows, "model")
    baselines = [name for name in (*BASELINES, ALIGNED, UNTUNED) if rows[f"accuracy_{name}"].notna().any()]
    records = rows.to_dict("records")
    cells = [
        {name: row[name] for name in [*several, "dataset"]}
        | {
            "test cases": NONE if pd.isna(row["n_cases"]) else f"{row['n_cases']:.0f}",
            "majority %": percent(row["majority_rate"]),
            "VLM": "not run" if pd.isna(row["accuracy"]) else accuracy_with_interval(row),
            "scenario": row["scenario"] or NONE,
            "balanced %": percent(row["balanced_accuracy"]),
            "macro F1 %": percent(row["macro_f1"]),
        }
        | {name: percent(row[f"accuracy_{name}"]) for name in baselines}
        | {
            "difference": NONE if pd.isna(row["p_value"]) else difference_text(row),
            "p (Holm)": p_text(row["p_holm"]),
            "verdict": row["verdict"],
        }
        for row in records
    ]
    note = with_constants(NOTE, rows, "model", "protocol")
    return ReaderTable(pd.DataFrame(cells), note, TEXT_COLUMNS, [{row["best_baseline"]} for row in records])


def inputs_table(rows: pd.DataFrame) -> ReaderTable:
    """Return `input_rows` for a reader."""
    several = varying(rows, "model")
    present = {control: name for control, name in PERTURBED.items() if rows[control].notna().any()}
    cells = [
        {name: row[name] for name in [*several, "dataset"]}
        | {"scenario": row["scenario"] + (" *" if row["chosen"] else "")}
        | {"seeds": str(row["seeds"]), "accuracy %": percent(row["accuracy"])}
        | {name: percent(row[control]) for control, name in present.items()}
        | {name: row[name] or NONE for name in INPUTS}
        for row in rows.to_dict("records")
    ]
    return ReaderTable(pd.DataFrame(cells), INPUTS_NOTE, TEXT_COLUMNS)


def sentences(rows: pd.DataFrame, inputs: pd.DataFrame, runs: pd.DataFrame) -> list[str]:
    """Return sentences that count verdicts and unused inputs, and name missing runs."""
    return [*_verdicts(rows), *_uses(inputs), *_missing(runs)]


def _verdicts(rows: pd.DataFrame) -> list[str]:
    """State where the fine-tuned model is better, where a baseline is, and where neither."""
    texts = []
    tested = rows[rows["verdict"] != UNTESTED]
    parts = []
    for verdict, text in (
        (WINS, "the fine-tuned model is better on"),
        (LOSES, "the best baseline is better on"),
        (EQUAL, f"there is no difference at {ALPHA:.0%} on"),
    ):
        group = tested[tested["verdict"] == verdict]
        names = _names(group, rows)
        if verdict == LOSES:
            names = [f"{name} ({best})" for name, best in zip(names, group["best_baseline"], strict=True)]
        parts.append(f"{text} {len(group)}{_list(names)}")
    if len(tested):
        texts.append(f"Of {counted(len(tested), 'dataset')}, {'; '.join(parts)}.")
    counts = []
    for name in BASELINES:
        # Rounded, since means over seeds may differ in their last bit.
        difference = rows["accuracy"].astype(float) - rows[f"accuracy_{name}"].astype(float)
        signs = np.sign(difference.dropna().round(12))
        if len(signs):
            counts.append(f"{name} {'/'.join(str((signs == sign).sum()) for sign in (1, 0, -1))}")
    if counts:
        texts.append(
            "By accuracy alone, without a test, the number of datasets on which the fine-tuned model is "
            f"higher/equal/lower: {', '.join(counts)}."
        )
    for column, text in (("accuracy", "No finished run"), ("best_baseline", "No baseline")):
        if rows[column].isna().any():
            texts.append(f"{text}: {', '.join(_names(rows[rows[column].isna()], rows))}.")
    absent = [name for name in BASELINES if rows[f"accuracy_{name}"].isna().all()]
    if 0 < len(absent) < len(BASELINES):
        texts.append(f"Baselines that have not been fitted: {', '.join(absent)}.")
    return texts


def _uses(inputs: pd.DataFrame) -> list[str]:
    """State how many scenarios do not use one of their inputs, and which."""
    texts = []
    for name in INPUTS:
        having = inputs[inputs[name] != ""]
        if having.empty:
            continue
        unused = having[having[name] == NOT_USED]
        partly = having[name].str.contains(f"{NOT_USED} in", regex=False).sum()
        places = zip(unused["scenario"], _names(unused, inputs), strict=True)
        text = f"{name[0].upper()}{name[1:]}: of {counted(len(having), 'scenario')} with it and controls, "
        text += f"{len(unused)} {'does' if len(unused) == 1 else 'do'} not use it"
        text += _list([f"{scenario} on {dataset}" for scenario, dataset in places])
        texts.append(text + (f"; {partly} more in some seeds." if partly else "."))
    without = inputs[(inputs[list(INPUTS)] == "").all(axis=1)]
    if len(without):
        names = list(dict.fromkeys(without["scenario"])) if texts else []
        texts.append(f"{len(without)} of {counted(len(inputs), 'scenario')} have no controls{_list(names)}.")
    return texts


def _missing(runs: pd.DataFrame) -> list[str]:
    """Name scenarios that lack seeds; those that lack the same ones together."""
    seeds = list(dict.fromkeys(runs["seed"]))
    missing = runs[runs["status"] != DONE]
    if missing.empty:
        return [f"Every scenario has all {len(seeds)} configured seeds."] if len(seeds) > 1 else []

    def lack(of_scenario: pd.Series) -> str:
        few = len(of_scenario) < len(seeds)
        return f"without seed {joined(of_scenario, separator=', ')}" if few else "(none)"

    lacking = missing.groupby(["model", "scenario", "dataset"], sort=False)["seed"].agg(lack)
    names = lacking.reset_index().assign(name=lambda table: _with_model(table, "scenario"))
    for column, keys in {"dataset": ["name", "seed"], "name": ["seed", "dataset"]}.items():
        names = names.groupby(keys, sort=False, as_index=False)[column].agg(", ".join)
    texts = [f"{row['name']} {row['seed']} on {row['dataset']}" for row in names.to_dict("records")]
    return [f"Missing of the configured seeds ({', '.join(map(str, seeds))}): {'; '.join(texts)}."]


def _list(names: Sequence[str]) -> str:
    return f": {', '.join(names)}" if names else ""


def _with_model(table: pd.DataFrame, column: str, several: bool | None = None) -> pd.Series:
    """Return a column of names, with the model if there are several."""
    several = table["model"].nunique() > 1 if several is None else several
    return table[column] + " (" + table["model"] + ")" if several else table[column]


def _names(rows: pd.DataFrame, among: pd.DataFrame) -> list[str]:
    """Name datasets, with the model if there are several `among` all."""
    return _with_model(rows, "dataset", among["model"].nunique() > 1).tolist()


def evidence_files(paths: Paths, keys: Iterable[Run]) -> dict[str, pd.DataFrame | str]:
    """Return the files of both tables, from existing results of these runs and of all baselines."""
    runs = runs_table([read_run(paths, key) for key in keys])
    rows = evidence_rows(paths, runs)
    inputs = input_rows(runs, read_controls(paths, runs[runs["status"] == DONE]))
    texts = sentences(rows, inputs, runs)
    table, used = evidence_table(rows), inputs_table(inputs)
    parts = ["\n".join(f"- {text}" for text in texts), table.to_markdown()]
    if len(inputs) and (inputs[list(INPUTS)] != "").any(axis=None):
        parts.append(used.to_markdown())
    page = ReaderTable(table.cells, "\n".join([*texts, table.note]), table.text_columns, table.emphasised)
    return {
        "evidence.csv": rows,
        "evidence.md": "\n\n".join(part.strip() for part in parts) + "\n",
        "evidence.html": page.to_html("The fine-tuned model and baselines"),
        "evidence_inputs.csv": inputs,
        "evidence_inputs.html": used.to_html("Inputs that are used"),
    }


#: Rows on the first page; all are in the table of accuracies.
SHOWN = 15
#: Styles are inline: the style sheet of Snakemake's report resets those of tables.
FRAGMENT = Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True).from_string("""\
{% macro style(name) -%}
padding: .2rem .5rem; text-align: {{ "left" if name in ("model", "dataset", "chosen") else "right" }};
{%- endmacro %}
<p id="vlmtsc-what">{{ what }}</p>
<div style="overflow-x: auto">
<table id="vlmtsc-headline" style="border-collapse: collapse; font-size: .85rem; line-height: 1.3; margin: 0;
white-space: nowrap">
<thead><tr>
{% for name in table.columns %}
<th style="{{ style(name) }} border-bottom: 2px solid #444">{{ name }}</th>
{% endfor %}
</tr></thead>
<tbody>
{% for row in table.to_dict("records") %}
<tr>
{% for name, value in row.items() %}
<td style="{{ style(name) }} border-bottom: 1px solid #ddd">{{ value }}</td>
{% endfor %}
</tr>
{% endfor %}
</tbody>
</table>
</div>
<p>{{ note }}</p>
""")


def headline(
    runs: pd.DataFrame, methods: pd.DataFrame, controls: pd.DataFrame | None = None
) -> tuple[pd.DataFrame, str, str]:
    """Return the table of the report's first page, what was run, and how to read the table.

    Each dataset's scenario is chosen on validation data; beside it are the best baseline and the accuracy without
    each of its inputs.
    """
    chosen = choose_scenarios(runs)
    rows = []
    # In the order of the runs, which that of `chosen` is not.
    for (model, protocol, dataset), group in runs.groupby(["model", "protocol", "dataset"], sort=False):
        of_scenario = group[group["scenario"] == chosen.get((model, protocol, dataset))]
        if of_scenario.empty:
            continue
        scenario = of_scenario["scenario"].iloc[0]
        row = {"dataset": dataset, "chosen": scenario, "accuracy %": accuracy_text(of_scenario)}
        row |= {"majority %": joined(of_scenario["majority_rate"], percent)}
        if controls is not None:
            keys = ["model", "protocol", "dataset", "scenario"]
            perturbed = controls[(controls[keys] == [model, protocol, dataset, scenario]).all(axis=1)]
            means = perturbed.groupby("control")["accuracy"].mean()
            left = [f"{name} {percent(means[key])}" for name, key in INPUTS.items() if key in means]
            row["accuracy without input %"] = ", ".join(left)
        baselines = methods[(methods[["model", "dataset", "kind"]] == [model, dataset, BASELINE]).all(axis=1)]
        if len(baselines):
            best = baselines.loc[baselines["accuracy"].idxmax()]
            row["best baseline %"] = f"{percent(best['accuracy'])} ({best['method']})"
        rows.append(({"model": model} if runs["model"].nunique() > 1 else {}) | row)
    # A column without any value is left out.
    table = pd.DataFrame(rows).replace("", pd.NA).dropna(axis="columns", how="all").fillna(NONE)
    counts = ", ".join(
        counted(runs[name].nunique(), name) for name in ("dataset", "scenario", "model", "seed")
    )
    what = (
        f"{(runs['status'] == DONE).sum()} of {len(runs)} runs: {counts}. "
        f"Model: {joined(runs['model'])}. Split protocol: {joined(runs['protocol'])}."
    )
    notes = {
        "chosen": "Chosen: the scenario with the highest accuracy on the validation set. Accuracy: on the test set, "
        "with its 95% interval.",
        "accuracy without input %": "Accuracy without input: with the image of another case, without numbers, with "
        "numbers in another order.",
        "best baseline %": "Best baseline: the one with the highest test accuracy, which favours it.",
    }
    return table, what, " ".join(text for name, text in notes.items() if name in table)


def to_fragment(table: pd.DataFrame, what: str, note: str) -> str:
    """Write the first rows as HTML without blank lines, to be included in reStructuredText."""
    if len(table) > SHOWN:
        note += f" The first {SHOWN} of {len(table)} rows; all are in the table of accuracies."
    text = FRAGMENT.render(table=table.head(SHOWN), what=what, note=note)
    return "\n".join(filter(str.strip, text.splitlines())) + "\n"
