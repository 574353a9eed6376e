"""The outcome of a run at a glance, for the report's first page."""

from __future__ import annotations

import pandas as pd
from jinja2 import Environment

from vlmtsc.reporting.comparisons import BASELINE
from vlmtsc.reporting.evidence import INPUTS
from vlmtsc.reporting.tables import DONE, accuracy_text, choose_scenarios, joined, percent

#: Rows on the first page; all are in the table of accuracies.
SHOWN = 15
#: Looks are written into the elements: the page's own style sheet takes away those of tables.
LOOKS = "border-collapse: collapse; font-size: .85rem; line-height: 1.3; margin: 0; white-space: nowrap"
CELL = "padding: .2rem .5rem;"
FRAGMENT = Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True).from_string("""\
<p id="vlmtsc-what">{{ what }}</p>
<div style="overflow-x: auto">
<table id="vlmtsc-headline" style="{{ looks }}">
<thead><tr>
{% for name in columns %}
<th style="{{ cell }} border-bottom: 2px solid #444; text-align: {{ sides[loop.index0] }}">{{ name }}</th>
{% endfor %}
</tr></thead>
<tbody>
{% for row in rows %}
<tr>{% for value in row %}
<td style="{{ cell }} border-bottom: 1px solid #ddd; text-align: {{ sides[loop.index0] }}">{{ value }}</td>
{%- endfor %}</tr>
{% endfor %}
</tbody>
</table>
</div>
<p>{{ note }}</p>
""")


def headline(
    runs: pd.DataFrame, methods: pd.DataFrame, controls: pd.DataFrame | None = None
) -> tuple[pd.DataFrame, str, str]:
    """Choose each dataset's scenario on validation data, and put what to compare it with beside it.

    Parameters
    ----------
    runs : DataFrame
        Tidy table of runs.
    methods : DataFrame
        Columns `METHOD_COLUMNS`: where it has baselines, the best of them stands beside.
    controls : DataFrame, optional
        Tidy table of controls: what is left of the accuracy without an input stands beside.

    Returns
    -------
    table : DataFrame of str
        A row for each model and dataset.
    what, note : str
        What was run, and how the table is to be read.
    """
    chosen = choose_scenarios(runs)
    models, datasets = runs["model"].nunique(), runs["dataset"].nunique()
    rows = []
    # In the order of the runs, not in that of the choice.
    for (model, protocol, dataset), group in runs.groupby(["model", "protocol", "dataset"], sort=False):
        scenario = chosen.get((model, protocol, dataset))
        of_scenario = group[group["scenario"] == scenario]
        if of_scenario.empty:
            continue
        row = {"model": model} if models > 1 else {}
        row |= {"dataset": dataset, "chosen": scenario, "accuracy %": accuracy_text(of_scenario)}
        row["majority %"] = joined(of_scenario["majority_rate"], percent)
        if controls is not None and (left := _left(controls, of_scenario.iloc[0])):
            row["left without input %"] = left
        best = _best_baseline(methods, model, dataset)
        rows.append(row | ({"best baseline %": best} if best else {}))
    table = pd.DataFrame(rows).fillna("-")
    done = int((runs["status"] == DONE).sum())
    what = (
        f"{done} of {len(runs)} runs: {_named('dataset', datasets)}, "
        f"{_named('scenario', runs['scenario'].nunique())}, "
        f"{_named('model', models)} ({', '.join(dict.fromkeys(runs['model']))}), "
        f"{_named('seed', runs['seed'].nunique())}, "
        f"split protocol {joined(runs['protocol'], str)}."
    )
    note = (
        "Chosen: the scenario with the highest accuracy on validation data. Accuracy: on the test part, with its "
        "95% interval."
    )
    if "left without input %" in table:
        note += " Left without input: with the image of another case, without numbers, with numbers in another order."
    if "best baseline %" in table:
        note += " Best baseline: the one with the highest test accuracy, which favours it."
    return table, what, note


def _left(controls: pd.DataFrame, run: pd.Series) -> str:
    """Write what is left of a scenario's accuracy without each of its inputs, mean of the seeds."""
    keys = ["model", "protocol", "dataset", "scenario"]
    of_scenario = controls[(controls[keys] == run[keys]).all(axis=1)]
    means = {
        name: of_scenario.loc[of_scenario["control"] == control, "accuracy"].mean()
        for name, control in INPUTS.items()
    }
    return ", ".join(f"{name} {percent(mean)}" for name, mean in means.items() if not pd.isna(mean))


def _best_baseline(methods: pd.DataFrame, model: str, dataset: str) -> str:
    of_dataset = methods[(methods["dataset"] == dataset) & (methods["model"] == model)]
    baselines = of_dataset[of_dataset["kind"] == BASELINE]
    if baselines.empty:
        return ""
    best = baselines.loc[baselines["accuracy"].idxmax()]
    return f"{percent(best['accuracy'])} ({best['method']})"


def _named(noun: str, number: int) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"


def to_fragment(table: pd.DataFrame, what: str, note: str) -> str:
    """Write the first rows as a piece of HTML, without blank lines, as reStructuredText takes it in."""
    sides = ["left" if name in ("model", "dataset", "chosen") else "right" for name in table]
    if len(table) > SHOWN:
        note += f" The first {SHOWN} of {len(table)} rows; all are in the table of accuracies."
    text = FRAGMENT.render(
        columns=list(table),
        rows=table.head(SHOWN).to_numpy().tolist(),
        what=what,
        note=note,
        looks=LOOKS,
        cell=CELL,
        sides=sides,
    )
    return "\n".join(line for line in text.splitlines() if line.strip()) + "\n"
