"""The length of a run: epochs, the token budget, early stopping."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tiny_llava import recipe
from transformers import TrainerControl, TrainerState, TrainingArguments

from vlmtsc.errors import InputError
from vlmtsc.training.schedule import PatientEarlyStopping, chance_loss, patience_in_epochs, plan_schedule


def test_epochs_bound_a_run_without_a_budget() -> None:
    schedule = plan_schedule([100] * 10, recipe(epochs=3, batch_size=4, micro_batch_size=2))
    assert (schedule.steps, schedule.steps_per_epoch, schedule.accumulation) == (9, 3, 2)
    assert schedule.stopped_by == "epochs"


def test_part_of_an_epoch_is_possible() -> None:
    assert plan_schedule([100] * 40, recipe(epochs=0.25)).steps == 3


def test_the_budget_bounds_a_run_if_it_is_reached_first() -> None:
    schedule = plan_schedule([100] * 8, recipe(epochs=10, token_budget=1300))
    assert (schedule.steps, schedule.stopped_by) == (3, "token_budget")
    assert plan_schedule([100] * 8, recipe(epochs=1, token_budget=1300)).stopped_by == "epochs"


def test_one_step_is_made_whatever_the_budget() -> None:
    assert plan_schedule([100] * 8, recipe(token_budget=1)).steps == 1


@pytest.mark.parametrize(
    ("classes", "budget"), [(2, 1000), (20, 1000), (30, 1500), (50, 2500), (2000, 100_000)]
)
def test_the_budget_grows_with_many_classes(classes: int, budget: int) -> None:
    settings = recipe(epochs=1000, token_budget=1000, budget_classes=20)
    schedule = plan_schedule([100] * 4, settings, n_classes=classes)
    assert (schedule.token_budget, schedule.steps) == (budget, budget // 400)
    assert plan_schedule([100] * 4, settings.changed(budget_classes=0), n_classes=classes).steps == 2
    assert plan_schedule([100] * 4, settings.changed(token_budget=0), n_classes=classes).token_budget == 0


def test_cases_bound_the_second_stage_of_scenarios_with_an_image() -> None:
    settings = recipe(epochs=10, align_steps=1, aligned_cases=3)
    assert settings.most_cases(3) == 9
    assert settings.changed(align_steps=0).most_cases(3) == 0
    schedule = plan_schedule([100] * 8, settings, n_classes=3, has_image=True)
    assert (schedule.steps, schedule.stopped_by) == (2, "cases")
    assert plan_schedule([100] * 8, settings, n_classes=3).stopped_by == "epochs"
    budget = settings.changed(token_budget=400)
    assert plan_schedule([100] * 8, budget, n_classes=3, has_image=True).steps == 1


def test_a_micro_batch_that_does_not_divide_the_batch() -> None:
    with pytest.raises(InputError, match="micro_batch_size=3; allowed: a divisor of batch_size=4"):
        plan_schedule([100], recipe(micro_batch_size=3))


@given(
    tokens=st.lists(st.integers(1, 3000), min_size=1, max_size=200),
    batch=st.integers(1, 16),
    epochs=st.floats(0.01, 30),
    budget=st.integers(1, 2_000_000),
)
def test_never_over_the_budget_but_for_the_first_step(
    tokens: list[int], batch: int, epochs: float, budget: int
) -> None:
    settings = recipe(batch_size=batch, micro_batch_size=1, epochs=epochs, token_budget=budget)
    schedule = plan_schedule(tokens, settings)
    per_step = sum(tokens) / schedule.steps_per_epoch
    assert 1 <= schedule.steps <= max(1, math.ceil(epochs * schedule.steps_per_epoch))
    assert schedule.steps == 1 or schedule.steps * per_step <= budget * (1 + 1e-9)
    if schedule.stopped_by == "token_budget":
        assert (schedule.steps + 1) * per_step > budget * (1 - 1e-9)
    unlimited = plan_schedule(
        tokens, recipe(batch_size=batch, micro_batch_size=1, epochs=epochs, token_budget=0)
    )
    assert schedule.steps <= unlimited.steps


def stopped_after(losses: list[float], tmp_path: Path, lowest: float = 0.0) -> int | None:
    """Play validations as the Trainer does: the callback first, then the best loss."""
    stopping = PatientEarlyStopping(2, 0.01, chance=math.log(2))
    arguments = TrainingArguments(
        output_dir=str(tmp_path), metric_for_best_model="eval_selection_loss", use_cpu=True
    )
    state, control = TrainerState(), TrainerControl()
    for number, loss in enumerate(losses, 1):
        metrics = {"eval_selection_loss": loss, "eval_lowest_loss": lowest}
        stopping.on_evaluate(arguments, state, control, metrics)
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


def test_a_run_stops_where_no_progress_is_left(tmp_path: Path) -> None:
    assert stopped_after([0.3, 0.2, 0.1, 0.085], tmp_path, lowest=0.08) == 4
    assert stopped_after([0.3, 0.2, 0.1, 0.1], tmp_path, lowest=0.095) == 3
    assert stopped_after([0.3, 0.1, 0.009, 0.001], tmp_path) == 3


def test_the_count_survives_an_interruption() -> None:
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
