"""Classify the test part of a dataset with a fine-tuned model."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from vlmtsc.files import read_json, write_json
from vlmtsc.model.devices import claim_gpus
from vlmtsc.script import heavy_imports, run_script
from vlmtsc.table_files import write_csv

logger = logging.getLogger("vlmtsc.evaluate_model")


def evaluate_model(
    model: Path,
    adapter: Path,
    parameters: Path,
    test: Path,
    predictions: Path,
    metrics: Path,
    plots: Path | None = None,
    validation: Path | None = None,
    generate: bool = False,
    threads: int = 1,
    gpus: int = 0,
    batch_size: int = 16,
    log: Path | None = None,
) -> None:
    """Classify the test part of a dataset with a fine-tuned model.

    The headline is the class whose answer is the likeliest. Beside it stand what the model generates of its own
    accord, and how well its class probabilities are calibrated.

    Parameters
    ----------
    model : Path
        Checkpoint folder.
    adapter : Path
        Adapter folder of `finetune_model`.
    parameters : Path
        Its resolved settings (.json); precision and attention are the run's own.
    test : Path
        Conversations (.json).
    predictions : Path
        One row a case (.csv) to write: id, true, predicted, log-likelihood of each class, generated answer.
    metrics : Path
        Metrics (.json) to write.
    plots : Path, optional
        Folder of plots.
    validation : Path, optional
        Conversations (.json) that one temperature of the scores is fitted to; without, none is.
    generate : bool, default False
        Whether the model also answers freely.
    threads : int, default 1
        Threads of each tensor operation.
    gpus : int, default 0
        GPUs to take for this job alone; 0: whatever PyTorch sees.
    batch_size : int, default 16
        Cases in one forward pass.
    log : Path, optional
        File for messages.
    """
    with heavy_imports():
        from vlmtsc.evaluation.calibration import temperature_metrics
        from vlmtsc.evaluation.generation import generation_metrics
        from vlmtsc.evaluation.metrics import compute_metrics
        from vlmtsc.evaluation.predictions import prediction_table
        from vlmtsc.evaluation.predictor import Predictor

    records = read_json(test)
    fitted_on = [] if validation is None else read_json(validation)
    with claim_gpus(gpus):
        predictor = Predictor.load(
            model, adapter, read_json(parameters), threads=threads, batch_size=batch_size
        )
        readout = predictor.read(records, plots, generate=generate)
        validation_scores = predictor.score(fitted_on, plots) if fitted_on else None
    classes = list(predictor.representation.classes)
    labels = label_indices(records)
    result = compute_metrics(labels, readout.scores, classes)
    if validation_scores is not None:
        result |= temperature_metrics((validation_scores, label_indices(fitted_on)), (readout.scores, labels))
    if readout.generated is not None:
        result |= generation_metrics(labels, readout.generated[1])
    ids = [record["id"] for record in records]
    table = prediction_table(ids, readout.scores, classes, labels, readout.generated)
    write_csv(predictions, table)
    write_json(metrics, result)
    logger.info("accuracy %.1f%% of %d cases", 100 * result["accuracy"], result["n_cases"])


def label_indices(records: Sequence[Mapping[str, Any]]) -> np.ndarray:
    """Return the true class indices of conversations, int64 of shape (n_records,)."""
    return np.array([record["label_index"] for record in records])


if __name__ == "__main__":
    run_script(evaluate_model)
