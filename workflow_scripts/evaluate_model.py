"""Classify the test part of a dataset with a fine-tuned model."""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np

from vlmtsc.files import atomic_path, read_json, write_json
from vlmtsc.model.devices import claim_gpus
from vlmtsc.script import heavy_imports, run_script

logger = logging.getLogger("vlmtsc.evaluate_model")


def evaluate_model(
    model: Path,
    adapter: Path,
    parameters: Path,
    test: Path,
    predictions: Path,
    metrics: Path,
    plots: Path | None = None,
    threads: int = 1,
    gpus: int = 0,
    log: Path | None = None,
) -> None:
    """Classify the test part of a dataset with a fine-tuned model.

    Parameters
    ----------
    model : Path
        Checkpoint folder.
    adapter : Path
        Adapter folder of `finetune_model`.
    parameters : Path
        Its resolved settings (.json); precision, attention and batch size are the run's own.
    test : Path
        Conversations (.json).
    predictions : Path
        One row a case (.csv) to write: id, true, predicted, log-likelihood of each class.
    metrics : Path
        Metrics (.json) to write.
    plots : Path, optional
        Folder of plots.
    threads : int, default 1
        Threads of each tensor operation.
    gpus : int, default 0
        GPUs to take for this job alone; 0: whatever PyTorch sees.
    log : Path, optional
        File for messages.
    """
    with heavy_imports():
        from vlmtsc.evaluation.metrics import compute_metrics
        from vlmtsc.evaluation.predictions import prediction_table
        from vlmtsc.evaluation.predictor import Predictor

    records = read_json(test)
    with claim_gpus(gpus):
        predictor = Predictor.load(model, adapter, read_json(parameters), threads=threads)
        scores = predictor.score(records, plots)
    classes = list(predictor.representation.classes)
    labels = np.array([record["label_index"] for record in records])
    table = prediction_table([record["id"] for record in records], scores, classes, labels)
    result = compute_metrics(labels, scores, classes)
    with atomic_path(predictions) as path:
        table.to_csv(path, index=False)
    write_json(metrics, result)
    logger.info("accuracy %.1f%% of %d cases", 100 * result["accuracy"], result["n_cases"])


if __name__ == "__main__":
    run_script(evaluate_model)
