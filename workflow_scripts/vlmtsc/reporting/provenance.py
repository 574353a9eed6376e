"""Where results come from: data, models, code, settings and machines, out of the records that each step has left."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from vlmtsc.errors import InputError
from vlmtsc.reporting.version import VERSION

Record = dict[str, Any]

#: Name and password in an address, as in ``https://name:password@host/``.
_CREDENTIALS = re.compile(r"(?<=://)[^/\s@]+@")
#: What is kept of a dataset's facts: sizes, and what was changed in the series.
FACTS = (
    *("digest", "n_cases", "n_train", "n_test", "n_channels", "n_timepoints", "n_classes"),
    *("settings", "cases_dropped", "classes_dropped", "values_interpolated", "cases_resampled"),
)
#: What is kept of a run's record as it is.
OF_RUN = (
    *(
        "git_revision",
        "wall_seconds",
        "train_samples",
        "train_tokens",
        "token_budget",
        "epochs_done",
        "steps",
    ),
    *("stopped_by", "peak_memory_mb", "trainable_parameters", "total_parameters", "validation_accuracy"),
)
#: The same of what earlier runs have not recorded.
OF_NEWER_RUN = ("processes", "shared_with", "training_digest")
OF_BASELINE = ("baseline", "seed", "chosen", "wall_seconds", "git_revision", "versions")


def without_secrets(value: Any) -> Any:
    """Copy a record, with names and passwords taken out of the addresses in it."""
    if isinstance(value, Mapping):
        return {str(key): without_secrets(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [without_secrets(inner) for inner in value]
    return _CREDENTIALS.sub("", value) if isinstance(value, str) else value


def dataset_provenance(
    key: Mapping[str, str],
    source: Mapping[str, Any],
    facts: Mapping[str, Any],
    split: Mapping[str, Any],
    runs: Sequence[Mapping[str, Any]],
    ledger: Sequence[Mapping[str, Any]],
    baselines: Sequence[Mapping[str, Any]],
) -> Record:
    """Collect what is known of one model on one dataset and protocol.

    Parameters
    ----------
    key : mapping
        model, dataset, protocol, and the dataset's citation.
    source, facts, split : mapping
        Content of the dataset's ``source.json``, of its ``facts.json``, and of that of its split.
    runs : sequence of mapping
        For each run ``scenario``, ``seed``, ``finished`` (UTC, ISO 8601), ``record`` (``run_record.json``) and
        ``representation`` (of ``parameters.json``).
    ledger : sequence of mapping
        Rows of the ledger of these scenarios, as text.
    baselines : sequence of mapping
        Content of each baseline's ``record.json``.
    """
    costs = {row["scenario"]: row for row in ledger}
    told = {}
    for run in runs:
        if run["scenario"] not in told:
            told[run["scenario"]] = _told(run["representation"], costs.get(run["scenario"], {}))
    return {
        **key,
        "facts": {name: facts.get(name) for name in FACTS},
        "source": dict(source),
        "split": {"settings": split["settings"], "n_cases": split["n_cases"]},
        "scenarios": told,
        "runs": [_run(key, run) for run in runs],
        "baselines": [{name: record.get(name) for name in OF_BASELINE} for record in baselines],
    }


def _told(representation: Mapping[str, Any], costs: Mapping[str, Any]) -> Record:
    """How one scenario tells this dataset: settings, and what was fitted or counted."""
    kept = {name: representation[name] for name in ("scenario", "plot", "factor", "image_tokens")}
    counted = {name.replace(" ", "_"): costs.get(name) for name in ("mean tokens", "values kept")}
    return kept | {name: float(value) if value else None for name, value in counted.items()}


def _run(key: Mapping[str, str], run: Mapping[str, Any]) -> Record:
    record = run["record"]
    missing = [name for name in (*OF_RUN, "versions", "hardware", "settings") if name not in record]
    if missing:
        where = "/".join([key["model"], key["dataset"], key["protocol"], run["scenario"]])
        raise InputError(
            f"{where}/seed-{run['seed']}: the run record lacks {', '.join(missing)}; found {', '.join(record)}"
        )
    recipe = {name: value for name, value in record["settings"].items() if name != "seed"}
    return {
        **{name: key[name] for name in ("model", "dataset", "protocol")},
        **{name: run[name] for name in ("scenario", "seed", "finished")},
        **{name: record[name] for name in OF_RUN},
        **{name: record.get(name) for name in OF_NEWER_RUN},
        "recipe": recipe,
        "environment": {"versions": record["versions"], "hardware": record["hardware"]},
    }


def merge_provenance(
    parts: Sequence[Mapping[str, Any]],
    models: Mapping[str, Mapping[str, Any]],
    configuration: Mapping[str, Any],
    revision: str,
) -> Record:
    """Put the provenance of all datasets together.

    Recipes and environments, which many runs share, stand in lists of their own; a run has their numbers, from 1.

    Parameters
    ----------
    parts : sequence of mapping
        `dataset_provenance` of each model, dataset and protocol.
    models : mapping of str to mapping
        For each model ``files`` (path, bytes, sha256 of each) and ``architecture``.
    configuration : mapping
        ``options`` (the whole, checked configuration), and the rows of ``models``, ``scenarios`` and ``plots``.
    revision : str
        Revision of the code that writes this.

    Returns
    -------
    dict
        Without names and passwords in addresses.
    """
    recipes: list[Mapping[str, Any]] = []
    environments: list[Mapping[str, Any]] = []
    runs = [
        run
        | {
            "recipe": _number(run["recipe"], recipes),
            "environment": _number(run["environment"], environments),
        }
        for part in parts
        for run in part["runs"]
    ]
    kept = ("model", "dataset", "protocol", "citation", "facts", "source", "split", "scenarios", "baselines")
    return without_secrets(
        {
            "workflow": {"version": VERSION, "git_revision": revision},
            "summary": summary(runs, len(environments)),
            "datasets": [{name: part[name] for name in kept} for part in parts],
            "models": {name: dict(content) for name, content in models.items()},
            "environments": environments,
            "recipes": recipes,
            "runs": runs,
            "configuration": dict(configuration),
        }
    )


def _number(content: Mapping[str, Any], known: list[Mapping[str, Any]]) -> int:
    """Return the number of a content in a list of different ones, which it is added to if it is new."""
    if content not in known:
        known.append(content)
    return known.index(content) + 1


def summary(runs: Sequence[Mapping[str, Any]], environments: int) -> list[str]:
    """Say in sentences how many runs there are, and whether they have the same revision and environment."""
    if not runs:
        return ["No run."]
    dates = sorted(run["finished"] for run in runs)
    when = dates[0] if dates[0] == dates[-1] else f"between {dates[0]} and {dates[-1]}"
    revisions = list(dict.fromkeys(run["git_revision"] for run in runs))
    sentences = [f"{len(runs)} {'run' if len(runs) == 1 else 'runs'}, finished {when} (UTC)."]
    if len(revisions) == 1:
        sentences.append(f"All have the revision {revisions[0]}.")
    else:
        counts = [sum(run["git_revision"] == name for run in runs) for name in revisions]
        named = "; ".join(f"{name}: {count}" for name, count in zip(revisions, counts, strict=True))
        sentences.append(f"Their revisions differ ({named}).")
    if any(name.endswith("-dirty") for name in revisions):
        sentences.append(
            'A revision with "-dirty" had changes that no commit holds: it cannot be checked out again.'
        )
    if "unknown" in revisions:
        sentences.append('"unknown": the code of these runs lay in no repository.')
    same = "All have the same versions and hardware." if environments == 1 else ""
    differ = f"They have {environments} different sets of versions and hardware." if not same else ""
    shared = sum(bool(run["shared_with"]) for run in runs)
    took = f"{shared} took the adapter of a run with the same inputs." if shared else ""
    return [*sentences, *filter(None, [same, differ, took])]
