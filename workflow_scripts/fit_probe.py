"""Fit logistic regression on features of an untuned model, and classify the test set."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vlmtsc.script import paused_collection, run_script

if TYPE_CHECKING:
    import numpy as np

    from vlmtsc.data.series import CleanSeries


def fit_probe(
    key: dict[str, Any],
    model: Path,
    series: Path,
    split: Path,
    probed: Path,
    output: Path,
    features: Path | None = None,
    precision: str = "bf16",
    threads: int = 1,
    gpus: int = 0,
) -> None:
    """Fit logistic regression on features of an untuned model, and classify the test set.

    Parameters
    ----------
    key : dict
        Identifies the result: baseline, dataset, protocol, model.
    model : Path
        Checkpoint folder of the untuned model.
    series : Path
        Clean series (.npz) of `preprocess_dataset`.
    split : Path
        Case indices (.npz) of `split_dataset`.
    probed : Path
        Folder of plots (logistic_tower) or of conversations without an image (logistic_language).
    output : Path
        Folder for predictions.csv (id, true, predicted, log-probability of each class), metrics.json and record.json.
    features : Path, optional
        Features of the plots (.npy) of `encode_plots`; without, they are computed.
    precision : {"bf16", "tf32", "fp32"}, default "bf16"
        Of the model.
    threads : int, default 1
        Threads of each tensor operation.
    gpus : int, default 0
        GPUs to reserve for this job; 0: those that PyTorch sees.
    """
    with paused_collection():
        import torch

        from vlmtsc.baselines.probes import (
            fit_logistic,
            language_features,
            read_conversations,
            tower_features,
        )
        from vlmtsc.baselines.results import evaluate_baseline
        from vlmtsc.model.devices import claim_gpus

    torch.set_num_threads(threads)

    def encode(clean: CleanSeries, sets: Mapping[str, np.ndarray]) -> np.ndarray:
        with claim_gpus(gpus):
            if key["baseline"] == "logistic_tower":
                return tower_features(model, probed, sets["train"], len(clean.values), precision, features)
            records, representation = read_conversations(probed)
            return language_features(model, records, representation, clean.case_ids.tolist(), precision)

    evaluate_baseline(key, series, split, output, fit_logistic, encode)


if __name__ == "__main__":
    run_script(fit_probe)
