"""Small, made-up records of runs, and their provenance."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from itertools import product
from pathlib import Path
from typing import Any

from vlmtsc.paths import Paths, Run
from vlmtsc.reporting.baselines import baseline_key
from vlmtsc.reporting.provenance import read_provenance
from vlmtsc.settings import FinetuneSettings

SOURCE = {
    "source": "wheel:package==1:file",
    "digest": "d" * 64,
    "digest_recorded": True,
    "files": [{"path": "package.whl", "sha256": "e" * 64}],
    "tried": [],
}
FACTS = {
    "digest": "d" * 64,
    **{"n_cases": 1234, "n_train": 1000, "n_test": 234},
    **{"n_channels": 3, "n_timepoints": 77, "n_classes": 2},
    "settings": {"missing": "interpolate", "unequal_length": "resample", "normalize": False},
    **{"cases_dropped": [], "classes_dropped": [], "values_interpolated": 0, "cases_resampled": 0},
}
SPLIT = {
    "settings": {"protocol": "pooled", "validation_share": 0.25},
    "n_cases": {"train": 740, "validation": 247, "test": 247},
}
SCENARIO = {"modality": "plot", "numbers": "none", "plot": "line", "context_length": 256}
PLOT = {"style": "line", "axis_limits": "per_series", "series": "full", "inches": 4.0, "dpi": 100}
RECIPE = FinetuneSettings(
    **{"seed": 0, "lora_r": 7, "lora_alpha": 14, "lora_dropout": 0.1, "learning_rate": 3e-4},
    **{"projector_learning_rate": 2e-3, "weight_decay": 0.0, "adam_beta2": 0.95, "warmup_ratio": 0.05},
    **{"batch_size": 6, "micro_batch_size": 3, "epochs": 11.0, "token_budget": 12345, "keep": "best"},
    **{"early_stopping_patience": 2, "early_stopping_steps": 0, "early_stopping_threshold": 0.01},
    **{"max_grad_norm": 1.0, "precision": "bf16", "attention": "auto"},
).model_dump()
RECORD = {
    **{"git_revision": "a" * 40, "wall_seconds": 600.0, "train_samples": 10, "train_tokens": 9876},
    **{"token_budget": None, "epochs_done": 1.0, "steps": 5, "stopped_by": "epochs", "processes": 1},
    **{"trainable_parameters": 2_000_000, "total_parameters": 50_000_000, "validation_accuracy": 0.5},
    **{"peak_memory_mb": 100.0, "shared_with": None, "training_digest": "f" * 64, "settings": RECIPE},
    "versions": {"python": "3.11.7", "torch": "2.13.0", "transformers": "5.23.0", "peft": "0.21.2"},
    "hardware": {"processor": "Abacus 9", "cores": 4, "threads": 2, "memory_gib": 23.5, "gpus": []},
}
MODEL = {"source": {"folder": {"path": "somewhere"}}, "system_prompt": "", "recipe": {}}
ARCHITECTURE = {
    "whole": {"model_type": "pooled_llava", "image_seq_length": 4},
    "language": {"hidden_size": 576, "num_hidden_layers": 32},
}
EVALUATE = {"generate": True, "temperature": True, "controls": True}


def run_of(
    scenario: str,
    seed: int = 0,
    model: str = "tiny",
    finished: str = "2026-01-02T03:04Z",
    shown: Mapping[str, Any] | None = None,
    **changes: Any,
) -> dict[str, Any]:
    """Make one run; `shown` replaces parts of its representation, `changes` entries of its record."""
    representation = {
        "scenario": {"name": scenario, **SCENARIO},
        **{"plot": PLOT, "factor": 3, "image_tokens": 49},
    }
    return {
        **{"model": model, "scenario": scenario, "seed": seed, "finished": finished},
        "record": {**RECORD, **changes},
        "representation": representation | dict(shown or {}),
    }


def write(path: str, name: str, content: Any) -> Path:
    """Write a JSON file in a folder."""
    file = Path(path, name)
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(content))
    return file


def provenance_of(
    runs: Sequence[Mapping[str, Any]],
    files: Sequence[Mapping[str, Any]] = (),
    options: Mapping[str, Any] | None = None,
    baselines: Sequence[str] = (),
    datasets: Sequence[str] = ("Toy",),
    model: Mapping[str, Any] | None = None,
    **changes: Mapping[str, Any],
) -> dict[str, Any]:
    """Write the records of these runs on each dataset into a results folder, and read their provenance.

    `files` are those of the model, `model` is its source, `options` replaces parts of the configuration, `changes`
    updates the datasets' ``source``, ``facts`` or ``split``.
    """
    models = list(dict.fromkeys(run["model"] for run in runs))
    keys = []
    with tempfile.TemporaryDirectory() as folder:
        paths = Paths(folder)
        for dataset in datasets:
            place = Run("", dataset, "pooled", "", 0)
            write(paths.dataset(place), "source.json", SOURCE | changes.get("source", {}))
            write(paths.dataset(place), "facts.json", FACTS | changes.get("facts", {}))
            write(paths.split(place), "facts.json", SPLIT | changes.get("split", {}))
        for name, dataset, run in (
            (name, dataset, run) for name in models for dataset in datasets for run in runs
        ):
            if run["model"] == name:
                keys.append(Run(name, dataset, "pooled", run["scenario"], run["seed"]))
                write_run(paths, keys[-1], run)
        for name in models:
            digest = {"files": list(files), "architecture": ARCHITECTURE}
            write(paths.provenance("models"), f"{name}.json", digest)
        for name, dataset, baseline in product(models, datasets, baselines):
            record = {"baseline": baseline, "seed": 0, "chosen": {"epoch": 3}}
            write(paths.baseline(baseline_key(baseline, name, dataset, "pooled")), "record.json", record)
        configuration = {
            "options": {"protocol": "pooled", "evaluate": EVALUATE, **(options or {})},
            "models": {name: MODEL | ({"source": model} if model else {}) for name in models},
        }
        return read_provenance(paths, keys, baselines, {}, configuration, "revision")


def write_run(paths: Paths, key: Run, run: Mapping[str, Any]) -> None:
    """Write the records of one run."""
    record = write(paths.run(key), "run_record.json", run["record"])
    time = datetime.strptime(run["finished"], "%Y-%m-%dT%H:%MZ").replace(tzinfo=UTC).timestamp()
    os.utime(record, (time, time))
    budget = {"tokens": {"train": {"total": 145, "cases": 2}}, "values_kept": 24}
    write(paths.conversations(key), "budget.json", budget)
    write(paths.run(key), "parameters.json", {"representation": run["representation"]})
