"""Downsampling: lengths, order in time, and no invented values, whatever the method."""

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from vlmtsc.representation.downsampling import (
    DOWNSAMPLERS,
    downsample,
    lttb_timepoints,
    minmax_timepoints,
    uniform_downsample,
)

VALUES = st.one_of(st.floats(-1e6, 1e6, allow_nan=False), st.integers(-2, 2).map(float))
SERIES = arrays(np.float64, st.tuples(st.integers(1, 4), st.integers(1, 60)), elements=VALUES)
#: Longer than a window of the adaptive method, in several windows of different variation.
LONG = st.builds(
    lambda seed, n, flat: (
        np.random.default_rng(seed).normal(size=(2, n)).cumsum(axis=1) * (np.arange(n) // 100 != flat)
    ),
    st.integers(0, 2**32 - 1),
    st.integers(90, 900),
    st.integers(0, 4),
)
METHODS = sorted(DOWNSAMPLERS)


@pytest.mark.parametrize("method", METHODS)
@given(values=st.one_of(SERIES, LONG), factor=st.integers(1, 80))
@example(values=np.full((2, 30), 0.1), factor=4)
@example(values=np.array([[1e300, -1e300, 0.0, 1e300, 5.0, -1e300, 1.0, 2.0]]), factor=2)
@example(values=np.array([[5e-324, 0.0, -5e-324, 5e-324, 0.0, 0.0]]), factor=2)
@settings(max_examples=60, deadline=None)
def test_every_method_keeps_as_many_values_within_the_range(
    method: str, values: np.ndarray, factor: int
) -> None:
    before = values.copy()
    kept = downsample(values, method, factor)
    np.testing.assert_array_equal(values, before)
    assert kept.shape == (len(values), -(-values.shape[1] // factor))
    if factor == 1:
        np.testing.assert_array_equal(kept, values)
    for channel, row in zip(values, kept, strict=True):
        if method in ("lttb", "minmax"):
            assert set(row) <= set(channel)
        slack = 1e-9 * np.abs(channel).max()  # of the running sums
        assert row.min() >= channel.min() - slack
        assert row.max() <= channel.max() + slack
        if channel.min() == channel.max():
            np.testing.assert_allclose(row, channel[0])


@pytest.mark.parametrize("method", METHODS)
@given(values=SERIES, factor=st.integers(1, 9))
@settings(max_examples=20, deadline=None)
def test_cases_are_downsampled_one_by_one(method: str, values: np.ndarray, factor: int) -> None:
    cases = np.stack([values, values[::-1], 3 - values])
    slack = 1e-9 * (1 + np.abs(cases).max())
    for case, kept in zip(cases, downsample(cases, method, factor), strict=True):
        np.testing.assert_allclose(kept, downsample(case, method, factor), atol=slack)


@pytest.mark.parametrize("timepoints", [lttb_timepoints, minmax_timepoints])
@given(channel=st.one_of(SERIES.map(lambda x: x[0]), LONG.map(lambda x: x[0])), data=st.data())
@settings(max_examples=60, deadline=None)
def test_chosen_timepoints_increase(timepoints, channel: np.ndarray, data) -> None:
    length = data.draw(st.integers(1, len(channel)))
    kept = timepoints(channel, length)
    assert len(kept) == length
    assert (np.diff(kept) > 0).all()
    assert kept[0] >= 0
    assert kept[-1] < len(channel)


def test_extremes_survive() -> None:
    channel = np.sin(np.linspace(0, 60, 1000))
    channel[333], channel[777] = 9, -9
    kept = downsample(channel[None], "minmax", 50)
    assert kept.min() == -9
    assert kept.max() == 9
    kept = downsample(channel[None], "lttb", 50)
    assert (kept[0, 0], kept[0, -1]) == (channel[0], channel[-1])
    assert {9.0, -9.0} <= set(kept[0])


def test_channels_choose_timepoints_of_their_own() -> None:
    channels = np.zeros((2, 100))
    channels[0, 20], channels[1, 70] = 5, 5
    for method in ("lttb", "minmax"):
        kept = downsample(channels, method, 10)
        assert kept.shape == (2, 10)
        assert kept.max(axis=1).tolist() == [5, 5]


def test_means_are_those_of_the_segments() -> None:
    values = np.arange(10.0)[None]
    assert downsample(values, "paa", 4).tolist() == [[1.5, 5.5, 8.5]]


@pytest.mark.filterwarnings("ignore:h5py")
def test_means_are_tslearns() -> None:
    from tslearn.piecewise import PiecewiseAggregateApproximation

    values = np.random.default_rng(0).normal(size=(2, 60))
    theirs = PiecewiseAggregateApproximation(12).fit_transform(values.T[None])
    np.testing.assert_allclose(downsample(values, "paa", 5), theirs[0].T)


def test_uniform_averages() -> None:
    assert uniform_downsample(np.array([[0.0, 3, 6, 9, 12, 15]]), 3).tolist() == [[1.0, 9.0]]


def paper_adaptive(x: np.ndarray, factor: int) -> np.ndarray:
    """Downsample as the paper's algorithm does, step by step, for lengths that it has an answer for."""
    deviations = np.array([np.std(x[start : start + 100]) for start in range(0, len(x), 100)])
    share = (deviations - deviations.min()) / (deviations.max() - deviations.min())
    lowest, highest, target, k = 1.0, 1.5 * factor, len(x) / factor, len(deviations)
    for _ in range(100):
        out: list[float] = []
        for i, part in enumerate(share):
            rate = int(np.ceil(lowest + (1 - part) * (highest - lowest)))
            segment = x[i * len(x) // k : (i + 1) * len(x) // k]
            out.extend(uniform_downsample(segment, rate))
        if abs(len(out) - target) <= 0.01 * target:
            break
        if len(out) > target:
            lowest, highest = lowest + 0.1, highest + 0.1
        else:
            highest -= 0.1
            if highest < lowest:
                lowest = highest
    return np.array(out)


@pytest.mark.parametrize("factor", [2, 3, 5, 8])
@pytest.mark.parametrize("n_timepoints", [150, 1000, 1639])
def test_adaptive_is_the_papers(factor: int, n_timepoints: int) -> None:
    generator = np.random.default_rng(factor)
    x = generator.normal(size=n_timepoints) * np.linspace(0.1, 3, n_timepoints)
    theirs, ours = paper_adaptive(x, factor), downsample(x[None], "adaptive", factor)[0]
    assert len(ours) == -(-n_timepoints // factor)
    if len(theirs) == len(ours):
        np.testing.assert_array_equal(ours, theirs)
    elif len(theirs) > len(ours):  # surplus values removed
        assert set(ours) <= set(theirs)


def test_adaptive_keeps_more_where_more_happens() -> None:
    x = np.zeros(1000)
    x[500:] = np.random.default_rng(0).normal(size=500)
    kept = downsample(x[None], "adaptive", 5)[0]
    assert np.count_nonzero(kept) > 120


def test_adaptive_keeps_channels_aligned() -> None:
    x = np.random.default_rng(1).normal(size=(1, 700)) * np.linspace(0, 1, 700)
    one, two = downsample(np.concatenate([x, 100 * x - 3]), "adaptive", 4)
    np.testing.assert_allclose(two, 100 * one - 3)


@pytest.mark.parametrize("method", METHODS)
def test_factor_zero_is_refused(method: str) -> None:
    with pytest.raises(ValueError, match="1 or more"):
        downsample(np.zeros((1, 3)), method, 0)
