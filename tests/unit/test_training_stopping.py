"""A run stops when it makes no more progress, not while it has yet to begin."""

from __future__ import annotations

import math

import pytest
from transformers import TrainerControl, TrainerState, TrainingArguments

from vlmtsc.training.stopping import PatientEarlyStopping, chance_loss, patience_in_epochs


def stopped_after(losses: list[float], tmp_path, patience: int = 2, threshold: float = 0.01) -> int | None:
    """Play validations as the Trainer does: the callback first, then the best loss."""
    stopping = PatientEarlyStopping(patience, threshold, chance=math.log(2))
    arguments = TrainingArguments(output_dir=str(tmp_path), metric_for_best_model="eval_loss", use_cpu=True)
    state, control = TrainerState(), TrainerControl()
    for number, loss in enumerate(losses, 1):
        stopping.on_evaluate(arguments, state, control, {"eval_loss": loss})
        if control.should_training_stop:
            return number
        state.best_metric = min(loss, state.best_metric or math.inf)
    return None


@pytest.mark.parametrize(
    ("losses", "expected"),
    [
        ([0.3, 0.2, 0.1, 0.05], None),
        ([0.3, 0.31, 0.32], 3),
        ([0.3, 0.31, 0.1, 0.2, 0.3], 5),  # progress starts the count anew
        ([0.3, 0.295, 0.29], 3),  # too little is none
        ([0.69, 0.70, 0.71, 0.69, 0.70], None),  # still at chance
        ([0.69, 0.70, 0.71, 0.4, 0.2, 0.9, 0.9], 7),  # worse than chance again is no plateau
    ],
)
def test_when_a_run_stops(losses: list[float], expected: int | None, tmp_path) -> None:
    assert stopped_after(losses, tmp_path) == expected


def test_the_count_survives_an_interruption(tmp_path) -> None:
    stopping = PatientEarlyStopping(3, 0.01, chance=0.5)
    stopping.early_stopping_patience_counter = 2
    again = PatientEarlyStopping.from_state(stopping.state())
    assert again.state() == stopping.state()
    assert again.early_stopping_patience_counter == 2


def test_the_loss_of_chance() -> None:
    assert chance_loss([0, 1, 0, 1]) == pytest.approx(math.log(2))
    assert chance_loss([2, 2]) == 0
    assert chance_loss([0, 0, 0, 1]) == pytest.approx(0.5623, abs=1e-4)


@pytest.mark.parametrize(
    ("epochs", "steps", "steps_per_epoch", "expected"),
    [(2, 60, 12, 5), (2, 60, 30, 2), (2, 60, 164, 2), (2, 0, 12, 2), (2, 61, 12, 6)],
)
def test_a_small_dataset_is_granted_steps(
    epochs: int, steps: int, steps_per_epoch: int, expected: int
) -> None:
    assert patience_in_epochs(epochs, steps, steps_per_epoch) == expected
