"""Predictions that are stored before runs, and their outcome."""

from __future__ import annotations

import csv
import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from vlmtsc.errors import InputError
from vlmtsc.files import read_json
from vlmtsc.planning.forecast import Forecaster
from vlmtsc.planning.history import budget_of, passes_of
from vlmtsc.planning.work import STEPS, control_passes

RUN = ("model", "dataset", "protocol", "scenario", "seed")
#: Columns of the stored predictions. `before`: digest of the training that was there already; empty if there was none.
#: `asked`: digest of the recipe and of the tokens, so that another training is predicted anew.
STORED = (*RUN, "train_tokens", *STEPS, "seconds", "low", "high", "learnt_from", "before", "asked")


def read_stored(path: Path) -> dict[str, dict[str, str]]:
    """Read stored predictions by the name of their run; empty if there are none.

    Raises
    ------
    InputError
        If the file is none of this kind.
    """
    if not path.exists():
        return {}
    with path.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    if rows and set(rows[0]) != set(STORED):
        raise InputError(
            f"{path}: columns {', '.join(rows[0])}; allowed: {', '.join(STORED)}. Remove it to have it made anew"
        )
    return {name_of(row): row for row in rows}


def name_of(row: Mapping[str, Any]) -> str:
    """Return ``{model}/{dataset}/{protocol}/{scenario}/seed-{seed}``."""
    return "/".join([*(str(row[key]) for key in RUN[:-1]), f"seed-{row['seed']}"])


def training_before(results: Path, name: str) -> str:
    """Return the digest of the training that a run has already; empty if it has none."""
    path = results / "runs" / name / "run_record.json"
    return str(read_json(path).get("training_digest", "")) if path.exists() else ""


def predict_run(
    run: Mapping[str, Any],
    results: Path,
    forecaster: Forecaster,
    recipe: Mapping[str, Any],
    *,
    modality: str,
    temperature: bool,
    controls: bool,
    stored: Mapping[str, str] | None = None,
) -> dict[str, str]:
    """Return the stored prediction of a run, made now unless there is one of the same.

    Parameters
    ----------
    run : mapping
        `RUN`.
    results : Path
        Results folder, with the run's conversations.
    forecaster : Forecaster
    recipe : mapping
        Fine-tuning settings.
    modality : {"plot", "numbers", "both"}
    temperature, controls : bool
        Whether the evaluation passes the validation part, and is followed by controls.
    stored : mapping, optional
        What is stored of this run.

    Returns
    -------
    dict of str
        With the keys `STORED`.

    Raises
    ------
    InputError
        If its conversations are not there.
    """
    name = name_of(run)
    budget = budget_of(results, name)
    if budget is None:
        raise InputError(f"{name}: no conversations in {results}; allowed: to build them first")
    passes = control_passes(modality) if controls else None
    told = {
        "recipe": dict(recipe),
        "tokens": budget["tokens"],
        "temperature": temperature,
        "controls": passes,
    }
    asked = hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()[:16]
    if stored is not None and stored["asked"] == asked:
        return dict(stored)
    cases, tokens = passes_of(budget)
    passes = control_passes(modality) if controls else None
    prediction = forecaster.predict(cases, tokens, recipe, temperature=temperature, controls=passes)
    bounds = forecaster.error.bounds
    return {
        **{key: str(run[key]) for key in RUN},
        "train_tokens": f"{prediction.work.train_tokens:.0f}",
        **{step: f"{prediction.seconds[step]:.1f}" if step in prediction.seconds else "" for step in STEPS},
        "seconds": f"{prediction.total:.1f}",
        "low": f"{prediction.total * bounds[0]:.1f}" if bounds else "",
        "high": f"{prediction.total * bounds[1]:.1f}" if bounds else "",
        "learnt_from": str(len(forecaster.earlier)),
        "before": training_before(results, name),
        "asked": asked,
    }


def write_stored(path: Path, rows: Sequence[Mapping[str, str]]) -> None:
    """Write stored predictions."""
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, STORED, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
