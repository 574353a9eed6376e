"""Score the test part of a dataset again with one input spoilt at a time."""

from __future__ import annotations

import logging
import tempfile
from pathlib import Path

import pandas as pd

from vlmtsc.errors import InputError
from vlmtsc.files import read_json
from vlmtsc.model.devices import claim_gpus
from vlmtsc.script import heavy_imports, run_script
from vlmtsc.table_files import write_csv

logger = logging.getLogger("vlmtsc.evaluate_controls")


def evaluate_controls(
    model: Path,
    adapter: Path,
    parameters: Path,
    test: Path,
    predictions: Path,
    controls: Path,
    plots: Path | None = None,
    seed: int = 0,
    threads: int = 1,
    gpus: int = 0,
    batch_size: int = 16,
    log: Path | None = None,
) -> None:
    """Score the test part of a dataset again with one input spoilt at a time, by a model as it was trained.

    Parameters
    ----------
    model : Path
        Checkpoint folder.
    adapter : Path
        Adapter folder of `finetune_model`.
    parameters : Path
        Its resolved settings (.json).
    test : Path
        Conversations (.json).
    predictions : Path
        Predictions (.csv) of `evaluate_model` on these conversations: the intact scores.
    controls : Path
        One row a control (.csv) to write, the intact run first.
    plots : Path, optional
        Folder of plots.
    seed : int, default 0
        Which other case's plot, and which order of numbers.
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
        from vlmtsc.evaluation.control_kinds import INTACT
        from vlmtsc.evaluation.control_scores import score_controls
        from vlmtsc.evaluation.controls import control_row
        from vlmtsc.evaluation.predictions import read_predictions
        from vlmtsc.evaluation.predictor import Predictor

    records = read_json(test)
    ids, labels, intact = read_predictions(predictions)
    if ids != [record["id"] for record in records]:
        raise InputError(
            f"{predictions}: other cases than those of {test}; allowed: the same, in the same order"
        )
    with claim_gpus(gpus), tempfile.TemporaryDirectory() as scratch:
        predictor = Predictor.load(
            model, adapter, read_json(parameters), threads=threads, batch_size=batch_size
        )
        scores, n_scored = score_controls(predictor, records, intact, plots, seed=seed, scratch=Path(scratch))
    classes = predictor.representation.classes
    rows = [control_row(INTACT, labels, intact, intact, classes)]
    rows += [control_row(name, labels, intact, controlled, classes) for name, controlled in scores.items()]
    write_csv(controls, pd.DataFrame(rows))
    logger.info(
        "%s; %d questions scored",
        ", ".join(f"{row['control']} {100 * row['accuracy']:.1f}%" for row in rows),
        n_scored,
    )


if __name__ == "__main__":
    run_script(evaluate_controls)
