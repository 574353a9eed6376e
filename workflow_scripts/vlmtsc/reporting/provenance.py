"""Provenance of results: data, models, code, settings and machines, from the records that each step leaves."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from itertools import groupby
from pathlib import Path
from typing import Any

import pandas as pd
import yaml

from vlmtsc.errors import InputError
from vlmtsc.files import read_json, sha256
from vlmtsc.paths import Paths, Run
from vlmtsc.reporting.baselines import baseline_key
from vlmtsc.reporting.tables import PAGES, counted

#: Version of the workflow, as in CITATION.cff.
VERSION = "0.1.0"

#: Name and password in an address, as in ``https://name:password@host/``.
_CREDENTIALS = re.compile(r"(?<=://)[^/\s@]+@")
#: Kept of a dataset's facts: sizes, and changes made to the series.
FACTS = (
    *("digest", "n_cases", "n_train", "n_test", "n_channels", "n_timepoints", "n_classes", "settings"),
    *("cases_dropped", "classes_dropped", "values_interpolated", "cases_resampled"),
)
#: Kept of a run's record.
OF_RUN = (
    *("git_revision", "wall_seconds", "train_samples", "train_tokens", "token_budget", "epochs_done"),
    *("steps", "stopped_by", "peak_memory_mb", "trainable_parameters", "total_parameters"),
    *("validation_accuracy", "processes", "shared_with", "training_digest"),
)
OF_BASELINE = ("baseline", "seed", "chosen", "wall_seconds", "git_revision", "versions")
#: Kept of the configurations of a checkpoint, its language model and its vision tower.
ARCHITECTURE = (
    *("model_type", "variant", "hidden_size", "num_hidden_layers", "num_attention_heads", "vocab_size"),
    *("image_size", "patch_size", "strides", "column_codes", "image_seq_length"),
)

Record = dict[str, Any]


def digest_checkpoint(checkpoint: Path) -> Record:
    """List the files of a checkpoint with their SHA-256, and its architecture; both empty if it was removed."""
    paths = [path for path in checkpoint.rglob("*") if path.is_file() and not path.name.startswith(".")]
    files = [
        {
            "path": path.relative_to(checkpoint).as_posix(),
            "bytes": path.stat().st_size,
            "sha256": sha256(path),
        }
        for path in sorted(paths)
    ]
    config = checkpoint / "config.json"
    content = read_json(config) if config.is_file() else {}
    sections = {
        "whole": content,
        "language": content.get("text_config"),
        "vision": content.get("vision_config"),
    }
    architecture = {
        part: {key: section[key] for key in ARCHITECTURE if key in section}
        for part, section in sections.items()
        if section
    }
    return {"files": files, "architecture": architecture}


def read_provenance(
    paths: Paths,
    runs: Sequence[Run],
    baselines: Sequence[str],
    citations: Mapping[str, str],
    configuration: Mapping[str, Any],
    revision: str,
) -> Record:
    """Read the provenance of finished runs from the results folder, without names and passwords in addresses.

    Runs of a model and dataset follow each other. Distinct recipes and environments are listed once; a run refers to
    them by their numbers, from 1. `configuration` is ``options`` (the checked configuration), and the rows of
    ``models``, ``scenarios`` and ``plots``; `revision` that of the code that writes the result. InputError if a run's
    record lacks a key.
    """
    groups = [list(group) for _, group in groupby(runs, key=lambda run: (run.model, run.dataset))]
    recipes: list[Record] = []
    environments: list[Record] = []
    read = [_run(run, Path(paths.run(run), "run_record.json"), recipes, environments) for run in runs]
    return _without_credentials(
        {
            "workflow": {"version": VERSION, "git_revision": revision},
            "summary": _summary(read, len(environments)),
            "datasets": [
                _dataset(paths, group, baselines, citations.get(group[0].dataset, "")) for group in groups
            ],
            "models": {
                name: read_json(Path(paths.provenance(f"models/{name}.json")))
                for name in dict.fromkeys(run.model for run in runs)
            },
            "environments": environments,
            "recipes": recipes,
            "runs": read,
            "configuration": configuration,
        }
    )


def _dataset(paths: Paths, runs: Sequence[Run], baselines: Sequence[str], citation: str) -> Record:
    """Provenance of a dataset, as shown to one model."""
    model, dataset, protocol = runs[0].model, runs[0].dataset, runs[0].protocol
    facts = read_json(Path(paths.dataset(runs[0]), "facts.json"))
    split = read_json(Path(paths.split(runs[0]), "facts.json"))
    keys = [baseline_key(name, model, dataset, protocol) for name in baselines]
    records = [read_json(Path(paths.baseline(key), "record.json")) for key in keys]
    return {
        **{"model": model, "dataset": dataset, "protocol": protocol, "citation": citation},
        "facts": {name: facts.get(name) for name in FACTS},
        "source": read_json(Path(paths.dataset(runs[0]), "source.json")),
        "split": {key: split[key] for key in ("settings", "n_cases", "given", "grouped") if key in split},
        "scenarios": {
            run.scenario: _scenario(paths, run) for run in {run.scenario: run for run in runs}.values()
        },
        "baselines": [{name: record.get(name) for name in OF_BASELINE} for record in records],
    }


def _scenario(paths: Paths, run: Run) -> Record:
    """Settings of a scenario on the dataset, with fitted and counted values."""
    fitted = read_json(Path(paths.run(run), "parameters.json"))["representation"]
    # Conversations may have been removed to save space.
    path = Path(paths.conversations(run), "budget.json")
    budget = read_json(path) if path.is_file() else {"tokens": {}, "values_kept": None}
    n_tokens, n_cases = (sum(part[name] for part in budget["tokens"].values()) for name in ("total", "cases"))
    return {
        **{name: fitted[name] for name in ("scenario", "plot", "factor", "image_tokens")},
        "mean_tokens": n_tokens / n_cases if n_cases else None,
        "values_kept": budget["values_kept"],
    }


def _run(run: Run, path: Path, recipes: list[Record], environments: list[Record]) -> Record:
    """Provenance of a run; its recipe and environment are added to the lists if they are new."""
    record = read_json(path)
    missing = [name for name in (*OF_RUN, "versions", "hardware", "settings") if name not in record]
    if missing:
        raise InputError(f"{run}: the run record lacks {', '.join(missing)}; found {', '.join(record)}")

    def number(content: Record, known: list[Record]) -> int:
        if content not in known:
            known.append(content)
        return known.index(content) + 1

    recipe = {name: value for name, value in record["settings"].items() if name != "seed"}
    # A run ends when its record is written.
    finished = datetime.fromtimestamp(path.stat().st_mtime, tz=UTC)
    return {
        **vars(run),
        "finished": finished.strftime("%Y-%m-%dT%H:%MZ"),
        **{name: record[name] for name in OF_RUN},
        "recipe": number(recipe, recipes),
        "environment": number({"versions": record["versions"], "hardware": record["hardware"]}, environments),
    }


def _without_credentials(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _without_credentials(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_without_credentials(inner) for inner in value]
    return _CREDENTIALS.sub("", value) if isinstance(value, str) else value


def describe_machine(hardware: Mapping[str, Any]) -> str:
    """Describe the machine of a run, for readers."""
    memory = f"{hardware['memory_gib']:.0f} GiB of memory"
    if hardware["gpus"]:
        gpus = (f"{count} x {name}" for name, count in Counter(hardware["gpus"]).items())
        return f"{', '.join(gpus)}, {memory}"
    return f"{hardware['processor']}, {hardware['cores']} cores, no GPU, {memory}"


def duration(seconds: float) -> str:
    """Write a time in hours from two hours on, otherwise in minutes."""
    if seconds >= 7200:
        return f"{seconds / 3600:.1f} hours"
    return f"{seconds / 60:.0f} minutes" if seconds >= 570 else f"{seconds / 60:.2g} minutes"


def _summary(runs: Sequence[Mapping[str, Any]], environments: int) -> list[str]:
    """Sentences on the number of runs, and on whether their revisions and environments agree."""
    dates = sorted(run["finished"] for run in runs)
    when = dates[0] if dates[0] == dates[-1] else f"between {dates[0]} and {dates[-1]}"
    sentences = [f"{counted(len(runs), 'run')}, finished {when} (UTC)."]
    revisions = pd.Series([run["git_revision"] for run in runs]).value_counts(sort=False)
    if len(revisions) == 1:
        sentences.append(f"All have the revision {revisions.index[0]}.")
    else:
        named = "; ".join(f"{name}: {count}" for name, count in revisions.items())
        sentences.append(f"Their revisions differ ({named}).")
    if any(str(name).endswith("-dirty") for name in revisions.index):
        sentences.append('"-dirty": the code had uncommitted changes, so it cannot be checked out again.')
    if "unknown" in revisions:
        sentences.append('"unknown": the code was not in a Git repository.')
    if environments == 1:
        sentences.append("All have the same versions and hardware.")
    else:
        sentences.append(f"They have {environments} different sets of versions and hardware.")
    if shared := sum(bool(run["shared_with"]) for run in runs):
        sentences.append(f"{shared} reused the adapter of a run with identical inputs.")
    return sentences


#: Columns of the page's tables: name in the records, header.
RUN_COLUMNS = {name: name for name in ("finished", "model", "dataset", "scenario", "seed")} | {
    **{"git_revision": "revision", "environment": "environment", "recipe": "recipe"},
    **{"wall_seconds": "seconds", "train_tokens": "tokens", "shared_with": "shared with"},
}
BASELINE_COLUMNS = {
    **{"dataset": "dataset", "baseline": "baseline", "chosen": "chosen on validation", "seed": "seed"},
    **{"wall_seconds": "seconds", "git_revision": "revision"},
}
PAGE = PAGES.from_string("""\
{% extends "frame.html" %}
{% from "tables.html" import table %}
{% block content %}
<p>{{ summary | join(" ") }} Written by version {{ workflow.version }} of the workflow, revision
<code>{{ workflow.git_revision }}</code>.</p>

<h2>Data</h2>
<p>A digest is the SHA-256 of the parsed series and labels, independent of the file format.</p>
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
{% for key, value in sources[name].items() %}
<dt>{{ key }}</dt><dd><code>{{ value }}</code></dd>
{% endfor %}
{% for file in model.files %}
<dt>{{ file.path }}</dt><dd><code>{{ file.sha256 }}</code> {{ "{:,}".format(file.bytes) }} bytes</dd>
{% else %}
<dt>Files</dt><dd>removed before this page was written</dd>
{% endfor %}
</dl>
{% endfor %}

<h2>Runs</h2>
{{ table(runs, ("finished", "model", "dataset", "scenario", "revision", "shared with")) }}

<h2>Environments</h2>
{{ table(environments, ("",)) }}

<h2>Recipes</h2>
<p>Fine-tuning settings; the seed is a property of each run.</p>
{{ table(recipes, ("",)) }}

{% if not baselines.empty %}
<h2>Baselines</h2>
{{ table(baselines, ("dataset", "baseline", "chosen on validation", "revision")) }}
{% endif %}

<h2>Configuration</h2>
<p>Defaults, files and command line merged, with the table rows that they name, without keys that change no result.</p>
<pre tabindex="0">{{ configuration }}</pre>
{% endblock %}
""")


def provenance_page(provenance: Mapping[str, Any]) -> str:
    """Write the result of `read_provenance` as a self-contained HTML page."""
    parts, configuration = provenance["datasets"], provenance["configuration"]
    runs = pd.DataFrame(provenance["runs"], columns=list(RUN_COLUMNS), dtype=object)
    baselines = pd.DataFrame(
        [{"dataset": part["dataset"]} | record for part in parts for record in part["baselines"]],
        columns=list(BASELINE_COLUMNS),
        dtype=object,
    )
    baselines["chosen"] = [
        ", ".join(f"{key}={value}" for key, value in (chosen or {}).items()) for chosen in baselines["chosen"]
    ]
    for table in (runs, baselines):
        table["git_revision"] = table["git_revision"].str.replace(r"(?<=^.{12})[0-9a-f]+", "", regex=True)
    environments = [
        each["versions"] | each["hardware"] | {"gpus": ", ".join(each["hardware"]["gpus"]) or "none"}
        for each in provenance["environments"]
    ]
    return PAGE.render(
        title="Provenance",
        summary=provenance["summary"],
        workflow=provenance["workflow"],
        datasets={part["dataset"]: part for part in parts}.values(),
        models=provenance["models"],
        sources={
            name: pd.json_normalize(configuration["models"][name]["source"], sep=": ").iloc[0].to_dict()
            for name in provenance["models"]
        },
        runs=runs.rename(columns=RUN_COLUMNS),
        environments=_side_by_side(environments),
        recipes=_side_by_side(provenance["recipes"]),
        baselines=baselines.rename(columns=BASELINE_COLUMNS),
        configuration=yaml.safe_dump(configuration, sort_keys=False, allow_unicode=True, width=100),
    )


def _side_by_side(records: Sequence[Mapping[str, Any]]) -> pd.DataFrame:
    """Show each record as a column, numbered from 1."""
    table = pd.DataFrame(records, index=range(1, len(records) + 1), dtype=object)
    return table.T.rename_axis("").reset_index()
