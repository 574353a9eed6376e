"""Number formats."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vlmtsc.representation.numbers import (
    describe_scale,
    fit_scale,
    format_decimals,
    format_levels,
    to_levels,
)

VALUES = st.floats(-1e6, 1e6, allow_nan=False)


@pytest.mark.parametrize(
    ("round_to", "text"), [(2, "[0.12, -1.05, 3.0]"), (1, "[0.1, -1.1, 3.0]"), (0, "[0.0, -1.0, 3.0]")]
)
def test_decimals_are_the_papers_list(round_to: int, text: str) -> None:
    assert format_decimals(np.array([0.1234, -1.051, 3.0]), round_to) == text


@given(st.lists(VALUES, min_size=2, max_size=40), st.integers(1, 2000))
@settings(max_examples=100, deadline=None)
def test_scaled_values_come_back_within_half_a_step(numbers: list[float], levels: int) -> None:
    values = np.array(numbers)[None]
    centre, reach = fit_scale(values[None])
    level = to_levels(values, centre, reach, levels)
    assert np.abs(level).max() <= levels
    inside = np.abs(values - centre[:, None]) <= reach[:, None]
    error = np.abs(centre[:, None] + level / levels * reach[:, None] - values)[inside]
    assert error.max(initial=0) <= reach[0] / levels / 2 + 1e-9 * np.abs(values).max()


def test_values_outside_the_scale_are_clipped() -> None:
    level = to_levels(np.array([[-5.0, 0, 1, 9]]), np.array([0.0]), np.array([1.0]), 20)
    assert level.tolist() == [[-20, 0, 20, 20]]


def test_constant_channel_is_zero() -> None:
    values = np.full((3, 1, 7), 0.1)
    centre, reach = fit_scale(values)
    assert to_levels(values, centre, reach, 20).tolist() == np.zeros((3, 1, 7)).tolist()


def test_levels_are_signed_and_separated() -> None:
    assert format_levels(np.array([-7, 12, 0]), " ") == "-7 12 0"
    assert format_levels(np.array([-7, 12, 0]), ",") == "-7,12,0"


def test_scale_is_of_each_channel_and_ignores_rare_outliers() -> None:
    values = np.random.default_rng(0).uniform(-1, [[1.0], [10.0]], size=(200, 2, 50))
    values[0, 0, 0] = 1e3
    centre, reach = fit_scale(values)
    np.testing.assert_allclose(centre, [0, 4.5], atol=0.2)
    np.testing.assert_allclose(reach, [1, 5.5], atol=0.2)


def test_scale_of_mostly_constant_channel_falls_back_to_the_extremes() -> None:
    values = np.zeros((10, 1, 1000))
    values[3, 0, 5] = 2.0
    centre, reach = fit_scale(values)
    assert centre[0] + reach[0] == pytest.approx(2.0)


def test_scale_is_one_short_line() -> None:
    assert describe_scale(np.array([-1.4321, 0]), np.array([2.31, 1e6]), 20) == (
        "Scale 20: -1.4+-2.3, 0+-1e+06"
    )
