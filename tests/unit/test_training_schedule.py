"""The length of a run: epochs, or the token budget if that is less."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tiny_llava import recipe

from vlmtsc.errors import InputError
from vlmtsc.training.schedule import plan_schedule


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
