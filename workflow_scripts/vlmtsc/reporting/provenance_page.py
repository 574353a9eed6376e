"""The provenance of results as one HTML page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import yaml

from vlmtsc.reporting.pages import PAGES

PAGE = PAGES.from_string("""\
{% extends "frame.html" %}
{% macro table(columns, rows, text=()) %}
<div class="scroll" tabindex="0"><table>
<thead><tr>{% for name in columns -%}
<th{% if name in text %} class="text"{% endif %}><button type="button">{{ name }}</button></th>
{%- endfor %}</tr></thead>
<tbody>
{% for row in rows %}
<tr>{% for name in columns %}<td{% if name in text %} class="text"{% endif %}>{{ row[name] }}</td>{% endfor %}</tr>
{% endfor %}
</tbody></table></div>
{% endmacro %}
{% block content %}
<p>{{ summary | join(" ") }} Written by version {{ workflow.version }} of the workflow, at revision
<code>{{ workflow.git_revision }}</code>.</p>

<h2>Data</h2>
<p>A digest is the SHA-256 of the parsed series and labels, whatever file they came from.</p>
{% for dataset in datasets %}
<h3>{{ dataset.dataset }}</h3>
<dl>
<dt>Source</dt><dd><code>{{ dataset.source.source }}</code></dd>
<dt>Digest</dt><dd><code>{{ dataset.source.digest }}</code>
({{ "as in the table of datasets" if dataset.source.digest_recorded else "recorded on first use" }})</dd>
{% for file in dataset.source.files %}
<dt>{{ file.path }}</dt><dd><code>{{ file.sha256 }}</code></dd>
{% endfor %}
</dl>
{% endfor %}

<h2>Models</h2>
{% for name, model in models.items() %}
<h3>{{ name }}</h3>
<dl>
{% for key, value in model.source %}
<dt>{{ key }}</dt><dd><code>{{ value }}</code></dd>
{% endfor %}
{% for file in model.files %}
<dt>{{ file.path }}</dt><dd><code>{{ file.sha256 }}</code> {{ "{:,}".format(file.bytes) }} bytes</dd>
{% else %}
<dt>Files</dt><dd>not there any more when this was written</dd>
{% endfor %}
</dl>
{% endfor %}

<h2>Runs</h2>
{{ table(run_columns, runs, ("finished", "model", "dataset", "scenario", "revision", "shared with")) }}

<h2>Environments</h2>
{{ table(environment_columns, environments, ("", "processor", "GPUs")) }}

<h2>Recipes</h2>
<p>Settings of fine-tuning; a run also has its seed.</p>
{{ table(recipe_columns, recipes, ("setting",)) }}

{% if baselines %}
<h2>Baselines</h2>
{{ table(baseline_columns, baselines, ("dataset", "baseline", "chosen on validation", "revision")) }}
{% endif %}

<h2>Configuration</h2>
<p>As resolved: the defaults, the files and the command line merged, and the rows of the tables that it names, without
keys that change no result.</p>
<pre tabindex="0">{{ configuration }}</pre>
{% endblock %}
""")


def to_page(provenance: Mapping[str, Any]) -> str:
    """Write the result of `merge_provenance` as a page that needs nothing else."""
    environments, recipes = provenance["environments"], provenance["recipes"]
    numbers = [str(number) for number in range(1, len(environments) + 1)]
    told = [_environment(environment) for environment in environments]
    names = list(dict.fromkeys(name for environment in told for name in environment))
    settings = list(dict.fromkeys(name for recipe in recipes for name in recipe))
    recipe_numbers = [str(number) for number in range(1, len(recipes) + 1)]
    # What is computed by one model on all datasets is the same for all of its datasets.
    datasets = list({part["dataset"]: part for part in provenance["datasets"]}.values())
    runs = [_run(run) for run in provenance["runs"]]
    baselines = _baselines(provenance["datasets"])
    return PAGE.render(
        title="Provenance",
        summary=provenance["summary"],
        workflow=provenance["workflow"],
        datasets=datasets,
        models={
            name: model | {"source": _flat(provenance["configuration"]["models"][name]["source"])}
            for name, model in provenance["models"].items()
        },
        run_columns=list(runs[0]) if runs else [],
        runs=runs,
        environment_columns=["", *numbers],
        environments=[
            {"": name} | {number: row.get(name, "") for number, row in zip(numbers, told, strict=True)}
            for name in names
        ],
        recipe_columns=["setting", *recipe_numbers],
        recipes=[
            {"setting": name}
            | {number: row.get(name, "") for number, row in zip(recipe_numbers, recipes, strict=True)}
            for name in settings
        ],
        baseline_columns=list(baselines[0]) if baselines else [],
        baselines=baselines,
        configuration=yaml.safe_dump(
            provenance["configuration"], sort_keys=False, allow_unicode=True, width=100
        ),
    )


def _flat(value: Any, place: str = "") -> list[tuple[str, Any]]:
    """List the leaves of nested mappings: ``assemble: layers`` and its value."""
    if not isinstance(value, Mapping):
        return [(place, ", ".join(map(str, value)) if isinstance(value, list) else value)]
    inner = [_flat(part, f"{place}: {key}" if place else str(key)) for key, part in value.items()]
    return [leaf for leaves in inner for leaf in leaves]


def _environment(environment: Mapping[str, Any]) -> dict[str, Any]:
    hardware = environment["hardware"]
    return {
        **environment["versions"],
        "processor": hardware["processor"],
        "cores": hardware["cores"],
        "threads": hardware["threads"],
        "memory, GiB": hardware["memory_gib"],
        "GPUs": ", ".join(hardware["gpus"]) or "none",
    }


def _run(run: Mapping[str, Any]) -> dict[str, Any]:
    # The whole revision stands in the sentences above the tables and in the JSON.
    revision, dirty = run["git_revision"][:12], "-dirty" if run["git_revision"].endswith("-dirty") else ""
    return {
        "finished": run["finished"],
        **{name: run[name] for name in ("model", "dataset", "scenario", "seed")},
        "revision": revision + dirty,
        "environment": run["environment"],
        "recipe": run["recipe"],
        "seconds": run["wall_seconds"],
        "tokens": run["train_tokens"],
        "shared with": run["shared_with"] or "",
    }


def _baselines(parts: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    return [
        {
            "dataset": part["dataset"],
            "baseline": record["baseline"],
            "chosen on validation": ", ".join(
                f"{key}={value}" for key, value in (record["chosen"] or {}).items()
            ),
            "seed": record["seed"],
            "seconds": record["wall_seconds"],
            "revision": (record["git_revision"] or "")[:12],
        }
        for part in parts
        for record in part["baselines"]
    ]
