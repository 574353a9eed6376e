"""Headline of a run, for the first page of the report: each dataset's chosen scenario and what to compare it with."""

from __future__ import annotations

import pandas as pd
from jinja2 import Environment

from vlmtsc.reporting.evidence import INPUTS
from vlmtsc.reporting.runs import BASELINE, DONE, accuracy_text, choose_scenarios
from vlmtsc.reporting.tables import joined, percent

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
    """Select each dataset's scenario on validation data, with its best baseline and its accuracy without an input.

    Parameters
    ----------
    runs : DataFrame
        Tidy table of runs.
    methods : DataFrame
        Tidy table of methods, columns `vlmtsc.reporting.comparisons.METHOD_COLUMNS`.
    controls : DataFrame, optional
        Tidy table of controls.

    Returns
    -------
    table : DataFrame of str
        One row per model and dataset.
    what, note : str
        What was run, and how to read the table.
    """
    chosen = choose_scenarios(runs)
    several_models = runs["model"].nunique() > 1
    rows = []
    # In the order of the runs, which that of `chosen` is not.
    for (model, protocol, dataset), group in runs.groupby(["model", "protocol", "dataset"], sort=False):
        scenario = chosen.get((model, protocol, dataset))
        of_scenario = group[group["scenario"] == scenario]
        if of_scenario.empty:
            continue
        row = {"model": model} if several_models else {}
        row |= {"dataset": dataset, "chosen": scenario, "accuracy %": accuracy_text(of_scenario)}
        row["majority %"] = joined(of_scenario["majority_rate"], percent)
        if controls is not None:
            row["left without input %"] = _left(controls, of_scenario.iloc[0])
        row["best baseline %"] = _best_baseline(methods, model, dataset)
        rows.append(row)
    # A column without any value is left out.
    table = pd.DataFrame(rows).replace("", pd.NA).dropna(axis="columns", how="all").fillna("-")
    counts = ", ".join(
        f"{number} {name}{'' if number == 1 else 's'}"
        for name in ("dataset", "scenario", "model", "seed")
        if (number := runs[name].nunique())
    )
    what = (
        f"{(runs['status'] == DONE).sum()} of {len(runs)} runs: {counts}. "
        f"Model: {joined(runs['model'], str)}. Split protocol: {joined(runs['protocol'], str)}."
    )
    note = (
        "Chosen: the scenario with the highest accuracy on the validation set. Accuracy: on the test set, with its "
        "95% interval."
    )
    if "left without input %" in table:
        note += " Left without input: with the image of another case, without numbers, with numbers in another order."
    if "best baseline %" in table:
        note += " Best baseline: the one with the highest test accuracy, which favours it."
    return table, what, note


def _left(controls: pd.DataFrame, run: pd.Series) -> str:
    """Accuracy of a scenario without each of its inputs, mean of the seeds."""
    keys = ["model", "protocol", "dataset", "scenario"]
    of_scenario = controls[(controls[keys] == run[keys]).all(axis=1)].groupby("control")["accuracy"].mean()
    return ", ".join(
        f"{name} {percent(of_scenario[control])}"
        for name, control in INPUTS.items()
        if control in of_scenario
    )


def _best_baseline(methods: pd.DataFrame, model: str, dataset: str) -> str:
    baselines = methods[(methods[["model", "dataset", "kind"]] == [model, dataset, BASELINE]).all(axis=1)]
    if baselines.empty:
        return ""
    best = baselines.loc[baselines["accuracy"].idxmax()]
    return f"{percent(best['accuracy'])} ({best['method']})"


def to_fragment(table: pd.DataFrame, what: str, note: str) -> str:
    """Write the first rows as HTML without blank lines, to be included in reStructuredText."""
    if len(table) > SHOWN:
        note += f" The first {SHOWN} of {len(table)} rows; all are in the table of accuracies."
    text = FRAGMENT.render(table=table.head(SHOWN), what=what, note=note)
    return "\n".join(filter(str.strip, text.splitlines())) + "\n"
