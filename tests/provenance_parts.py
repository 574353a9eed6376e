"""Small, made-up records, of which a provenance is made."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from vlmtsc.reporting.provenance import dataset_provenance, merge_provenance

PART: dict[str, Any] = {
    "key": {"model": "tiny", "dataset": "Toy", "protocol": "pooled", "citation": ""},
    "source": {
        "source": "wheel:package==1:file",
        "digest": "d" * 64,
        "digest_recorded": True,
        "files": [{"path": "package.whl", "sha256": "e" * 64}],
        "tried": [],
    },
    "facts": {
        "digest": "d" * 64,
        **{
            "n_cases": 1234,
            "n_train": 1000,
            "n_test": 234,
            "n_channels": 3,
            "n_timepoints": 77,
            "n_classes": 2,
        },
        "settings": {"missing": "interpolate", "unequal_length": "resample", "normalize": False},
        **{"cases_dropped": [], "classes_dropped": [], "values_interpolated": 0, "cases_resampled": 0},
    },
    "split": {
        "settings": {"protocol": "pooled", "validation_share": 0.25},
        "n_cases": {"train": 740, "validation": 247, "test": 247},
    },
}
SCENARIO = {"modality": "plot", "numbers": "none", "plot": "line", "context_length": 256}
PLOT = {"style": "line", "axis_limits": "per_series", "series": "full", "inches": 4.0, "dpi": 100}
RECIPE = {
    **{"seed": 0, "lora_r": 7, "lora_alpha": 14, "lora_dropout": 0.1, "learning_rate": 3e-4},
    **{"projector_learning_rate": 2e-3, "weight_decay": 0.0, "adam_beta2": 0.95, "warmup_ratio": 0.05},
    **{"batch_size": 6, "micro_batch_size": 3, "epochs": 11.0, "token_budget": 12345},
    **{"early_stopping_patience": 2, "early_stopping_threshold": 0.01, "keep": "best", "max_grad_norm": 1.0},
    "precision": "bf16",
}
RECORD = {
    **{
        "git_revision": "a" * 40,
        "wall_seconds": 600.0,
        "train_samples": 10,
        "train_tokens": 9876,
        "token_budget": None,
    },
    **{"epochs_done": 1.0, "steps": 5, "stopped_by": "epochs", "peak_memory_mb": 100.0, "processes": 1},
    **{"trainable_parameters": 2_000_000, "total_parameters": 50_000_000, "validation_accuracy": 0.5},
    **{"shared_with": None, "training_digest": "f" * 64, "settings": RECIPE},
    "versions": {"python": "3.11.7", "torch": "2.13.0", "transformers": "5.23.0", "peft": "0.21.2"},
    "hardware": {"processor": "Abacus 9", "cores": 4, "threads": 2, "memory_gib": 23.5, "gpus": []},
}
MODEL = {"source": {"folder": {"path": "somewhere"}}, "system_prompt": "", "recipe": {}}
EVALUATE = {"generate": True, "temperature": True, "controls": True}


def run_of(
    scenario: str,
    seed: int = 0,
    finished: str = "2026-01-02T03:04Z",
    told: Mapping[str, Any] | None = None,
    **changes: Any,
) -> dict[str, Any]:
    """Make what one run's folder tells; `told` replaces its scenario and plot, `changes` entries of its record."""
    row = {"scenario": {"name": scenario, **SCENARIO}, "plot": PLOT, "factor": 3, "image_tokens": 49}
    return {
        **{"scenario": scenario, "seed": seed, "finished": finished},
        "record": {**RECORD, **changes},
        "representation": row | dict(told or {}),
    }


def merged(
    runs: Sequence[Mapping[str, Any]],
    files: Sequence[Mapping[str, Any]] = (),
    options: Mapping[str, Any] | None = None,
    model: Mapping[str, Any] = MODEL,
    baselines: Sequence[Mapping[str, Any]] = (),
    datasets: Sequence[str] = ("Toy",),
    **changes: Mapping[str, Any],
) -> dict[str, Any]:
    """Merge a provenance of these runs on each dataset; `changes` replaces entries of `PART`."""
    part = PART | changes
    ledger = [{"scenario": run["scenario"], "mean tokens": "72.5", "values kept": "24"} for run in runs]
    parts = [
        dataset_provenance(
            part["key"] | {"dataset": name},
            *(part[place] for place in ("source", "facts", "split")),
            runs,
            ledger,
            baselines,
        )
        for name in datasets
    ]
    configuration = {
        "options": {"protocol": "pooled", "evaluate": EVALUATE, **(options or {})},
        "models": {"tiny": model},
    }
    return merge_provenance(
        parts, {"tiny": {"files": list(files), "architecture": {}}}, configuration, "revision"
    )
