"""Fit logistic regression on features of an untuned model, and classify the test part."""

from __future__ import annotations

import logging
import time
from pathlib import Path
from typing import Any

import numpy as np

from vlmtsc.errors import InputError
from vlmtsc.files import read_json
from vlmtsc.script import run_script

logger = logging.getLogger("vlmtsc.fit_probe")


def fit_probe(
    key: dict[str, Any],
    model: Path,
    series: Path,
    split: Path,
    predictions: Path,
    metrics: Path,
    record: Path,
    plots: Path | None = None,
    conversations: Path | None = None,
    precision: str = "bf16",
    threads: int = 1,
    gpus: int = 0,
    log: Path | None = None,
) -> None:
    """Fit logistic regression on features of an untuned model, and classify the test part.

    Parameters
    ----------
    key : dict
        What identifies the result: baseline, dataset, protocol, model.
    model : Path
        Checkpoint folder of the untuned model.
    series : Path
        Clean series (.npz) of `preprocess_dataset`.
    split : Path
        Case indices (.npz) of `split_dataset`.
    predictions : Path
        One row a test case (.csv) to write: id, true, predicted, log-probability of each class.
    metrics : Path
        Metrics (.json) to write.
    record : Path
        What was chosen on validation, time and versions (.json) to write.
    plots : Path, optional
        Folder of plots: the features are the vision tower's.
    conversations : Path, optional
        Folder of conversations of a scenario of numbers: the features are the language model's.
    precision : {"bf16", "fp32"}, default "bf16"
        Of the model.
    threads : int, default 1
        Threads of each tensor operation.
    gpus : int, default 0
        GPUs to take for this job alone; 0: whatever PyTorch sees.
    log : Path, optional
        File for messages.
    """
    import torch

    from vlmtsc.baselines.cases import take_parts
    from vlmtsc.baselines.files import read_split, write_result
    from vlmtsc.baselines.logistic import fit_logistic
    from vlmtsc.baselines.probes import language_features, tower_features
    from vlmtsc.data.series import CleanSeries
    from vlmtsc.model.devices import claim_gpus
    from vlmtsc.representation.representation import Representation

    torch.set_num_threads(threads)
    clean = CleanSeries.load(series)
    parts = read_split(split, len(clean.values))
    begin = time.monotonic()
    with claim_gpus(gpus):
        if plots is not None and conversations is None:
            features = tower_features(model, plots, parts["train"], len(clean.values), precision)
        elif conversations is not None and plots is None:
            records = [record for part in parts for record in read_json(conversations / f"{part}.json")]
            fitted = Representation.load(conversations / "representation.json")
            features = language_features(model, records, fitted, clean.case_ids.tolist(), precision)
        else:
            raise InputError(f"{key}: allowed: either plots or conversations")
    data = take_parts(features, clean.label_index, parts, len(clean.classes))
    if not all(np.isfinite(part).all() for part in (data.train, data.validation, data.test)):
        raise InputError(f"{model}: features that are no numbers, or a case without a conversation")
    result = fit_logistic(data)
    seconds = time.monotonic() - begin
    accuracy = write_result(
        key, result, clean, parts, {"predictions": predictions, "metrics": metrics, "record": record}, seconds
    )
    logger.info("%s: accuracy %.1f%% in %.1f s, chosen: %s", key, 100 * accuracy, seconds, result.chosen)


if __name__ == "__main__":
    run_script(fit_probe)
