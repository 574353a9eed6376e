"""What a run says and keeps while it trains."""

from __future__ import annotations

import csv
import logging
import math
from pathlib import Path

import pytest
from transformers import TrainerControl, TrainerState

from vlmtsc.errors import InputError
from vlmtsc.training.progress import COLUMNS, TrainingLog


def log_at(log: TrainingLog, step: int, **logs: float) -> None:
    state = TrainerState(global_step=step, max_steps=10, epoch=step / 5)
    log.on_log(None, state, TrainerControl(), logs)  # type: ignore[arg-type]


@pytest.fixture
def log() -> TrainingLog:
    return TrainingLog("tiny/GunPoint/plot/seed-0", tokens_per_step=120.5, cases_per_step=4, vocabulary=1000)


def test_rows_and_lines(log: TrainingLog, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    log.on_train_begin(None, TrainerState(global_step=0), TrainerControl())  # type: ignore[arg-type]
    with caplog.at_level(logging.INFO, logger="vlmtsc"):
        log_at(log, 1, loss=2.5, learning_rate=1e-4, grad_norm=1.0)
        log_at(log, 5, eval_loss=0.5, eval_accuracy=0.75)
        log_at(log, 10, train_runtime=3.0)  # the Trainer's summary
    lines = [record.getMessage() for record in caplog.records]
    assert len(lines) == 2
    assert lines[0].startswith("tiny/GunPoint/plot/seed-0: step 1/10, epoch 0.2: loss 2.500, ")
    for part in ("samples/s", "tokens/s", "min left"):
        assert part in lines[0]
    assert lines[1].endswith("step 5/10, epoch 1.0: validation loss 0.500, accuracy 75.0%")
    log.write_csv(tmp_path / "log.csv")
    with (tmp_path / "log.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert tuple(rows[0]) == COLUMNS
    assert rows[0] == {
        "step": "1",
        "epoch": "0.2",
        "tokens": "120",
        "loss": "2.5",
        "learning_rate": "0.0001",
        "validation_loss": "",
        "validation_accuracy": "",
    }
    assert (rows[1]["tokens"], rows[1]["loss"], rows[1]["validation_accuracy"]) == ("602", "", "0.75")


@pytest.mark.parametrize("loss", [math.nan, math.inf, -math.inf])
def test_a_loss_that_is_no_number_ends_the_run(log: TrainingLog, loss: float) -> None:
    log_at(log, 1, loss=2.5, learning_rate=1e-4)
    log_at(log, 2, loss=1.25, learning_rate=1e-4)
    with pytest.raises(InputError, match=rf"the loss is {loss} at step 3; last finite loss: 1\.25 at step 2"):
        log_at(log, 3, loss=loss, learning_rate=1e-4)


def test_losses_far_above_guessing_end_the_run(log: TrainingLog) -> None:
    # Twice ln(1000) is 13.8. Four high ones between lower ones are noise, five in a row are not.
    for step, loss in enumerate([2.5, 20.0, 20.0, 20.0, 20.0, 13.0, 14.0, 15.0, 16.0, 17.0], start=1):
        log_at(log, step, loss=loss, learning_rate=1e-4)
    message = r"diverges: loss 18 at step 11, for 5 logs above 13\.8; last loss below: 13 at step 6\. A lower"
    with pytest.raises(InputError, match=message):
        log_at(log, 11, loss=18.0, learning_rate=1e-4)


def test_a_validation_loss_that_is_no_number_ends_the_run(log: TrainingLog) -> None:
    with pytest.raises(InputError, match="the loss is nan at step 5; last finite loss: none"):
        log_at(log, 5, eval_loss=math.nan, eval_accuracy=0.5)


def test_restored_rows_are_those_that_were_logged(log: TrainingLog) -> None:
    log_at(log, 1, loss=2.5, learning_rate=1e-4)
    log_at(log, 5, eval_loss=0.5, eval_accuracy=0.75)
    history = [
        {"step": 1, "epoch": 0.2, "loss": 2.5, "learning_rate": 1e-4, "grad_norm": 1.0},
        {"step": 5, "epoch": 1.0, "eval_loss": 0.5, "eval_accuracy": 0.75},
        {"step": 5, "epoch": 1.0, "train_runtime": 3.0},
    ]
    again = TrainingLog("again", tokens_per_step=120.5, cases_per_step=4, vocabulary=1000)
    again.restore(history)
    assert again.rows == log.rows
