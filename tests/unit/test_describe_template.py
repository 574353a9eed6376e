"""The template's sentences: true of the series, the same every time, and nothing else in them."""

from __future__ import annotations

import inspect
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from describe_series import describe_series
from vlmtsc.data.series import CleanSeries
from vlmtsc.describe.files import read_descriptions
from vlmtsc.describe.template import channel_shape, describe_template, level_shifts, period_of
from vlmtsc.errors import InputError

T = np.arange(200)
NOISE = np.random.default_rng(0).normal(size=200)
STEP = 2.0 * (T >= 60) - 2.0 * (T >= 120) + 0.1 * NOISE


def analysis(x: np.ndarray) -> str:
    return describe_template(x[None], "signal_analysis")


def rationale(x: np.ndarray) -> str:
    return describe_template(x[None], "rationale")


def test_trend() -> None:
    rising = 0.01 * T + 0.1 * NOISE
    assert "rises along a line from" in analysis(rising)
    assert "falls along a line from" in analysis(-rising)
    assert "no overall trend" in analysis(NOISE)
    assert "steady rise" in rationale(rising)
    assert "steady fall" in rationale(-rising)


def test_level_shifts_are_found_where_they_are() -> None:
    found = level_shifts(STEP)
    assert [round(position, 2) for position, _, _ in found] == [0.3, 0.6]
    assert np.allclose([levels for _, *levels in found], [(0, 2), (2, 0)], atol=0.1)
    assert "At 30% of its length the level shifts from" in analysis(STEP)
    assert "an abrupt step up at 30% of its length, an abrupt step down at 60%" in rationale(STEP)


@pytest.mark.parametrize("x", [0.01 * T, np.sin(T / 4), NOISE, NOISE.cumsum(), np.where(T == 50, 5.0, 0.0)])
def test_slopes_waves_noise_and_spikes_are_no_level_shifts(x: np.ndarray) -> None:
    assert level_shifts(x) == ()


def test_a_shift_at_the_first_possible_place_is_found() -> None:
    assert level_shifts(np.array([0.0] * 3 + [1.0] * 17)) == ((0.15, 0.0, 1.0),)


@pytest.mark.parametrize("period", [8, 20, 50])
def test_period(period: int) -> None:
    wave = np.sin(2 * np.pi * T / period) + 0.02 * T
    assert abs(period_of(wave) - period) <= 1
    assert f"repeats about every {period_of(wave)} timepoints" in rationale(wave)


@pytest.mark.parametrize("x", [NOISE, 0.5 * T, STEP, np.sin(2 * np.pi * T / 150)])
def test_what_does_not_fit_in_twice_does_not_repeat(x: np.ndarray) -> None:
    assert period_of(x) is None


def test_peaks_and_troughs() -> None:
    x = np.zeros(100)
    x[[20, 35, 70]], x[50] = (2, 0.5, 3), -2
    shape = channel_shape(x)
    assert shape.peaks == ((0.2, 2.0), (0.7, 3.0))  # the one of a tenth of the range does not count
    assert shape.troughs == ((0.5, -2.0),)
    assert "2 peaks; the highest is 3.00 at 70%" in analysis(x)
    assert "1 trough; it is -2.00 at 50%" in analysis(x)


def test_every_channel_is_told_under_its_name() -> None:
    text = describe_template(np.stack([STEP, np.full(200, 0.1)]), "signal_analysis")
    assert text.startswith("Dimension 0 ranges from")
    assert text.endswith("Dimension 1 is constant at 0.1.")


@pytest.mark.parametrize("x", [np.zeros(50), np.full(50, 0.1), np.array([3.0]), 0.1 + 1e-17 * T])
def test_a_constant_is_said_to_be_one(x: np.ndarray) -> None:
    assert "constant" in analysis(x)
    assert "does not change at all" in rationale(x)


@settings(max_examples=60, deadline=None)
@given(
    arrays(
        np.float64,
        st.tuples(st.integers(1, 3), st.integers(1, 60)),
        elements=st.floats(-1e9, 1e9, allow_nan=False),
    ),
    st.sampled_from(["signal_analysis", "rationale"]),
)
def test_any_series_has_a_paragraph_of_plain_text(values: np.ndarray, kind: str) -> None:
    text = describe_template(values, kind)  # type: ignore[arg-type]
    assert text == describe_template(values.copy(), kind)  # type: ignore[arg-type]
    assert text == " ".join(text.split())
    assert not {"nan", "inf", "-0", "-0.00"} & set(text.lower().replace(",", "").replace(".", "").split())
    assert "'" not in text
    assert "<" not in text


def test_a_rationale_names_a_class_only_where_one_is_leaked() -> None:
    assert "class" in rationale(STEP)  # the word, without a name
    leaked = describe_template(STEP[None], "rationale", leaked_label="walk")
    assert leaked.endswith("These traits are those of class walk.")


def test_the_describer_cannot_see_a_label() -> None:
    """What it is called with holds no label: its arguments are the values and the kind of text."""
    assert list(inspect.signature(describe_template).parameters) == ["values", "kind", "leaked_label"]
    assert inspect.signature(describe_template).parameters["leaked_label"].default is None


@pytest.mark.parametrize("kind", ["signal_analysis", "rationale"])
def test_texts_of_a_dataset_are_the_same_whatever_its_labels_are(tmp_path: Path, kind: str) -> None:
    values = np.random.default_rng(1).normal(size=(12, 2, 30)).cumsum(axis=2)
    ids = np.array([f"Toy-{case:05d}" for case in range(12)])
    written = []
    for name, index, classes in (
        ("a", np.arange(12) % 3, ["1", "2", "3"]),
        ("b", (np.arange(12) + 1) % 3, ["walk", "run", "sit"]),
    ):
        clean = CleanSeries(values, index, np.array(classes), ids, 6)
        clean.save(tmp_path / f"{name}.npz")
        describe_series(tmp_path / f"{name}.npz", "Toy", kind, tmp_path / f"{name}.json")  # type: ignore[arg-type]
        written.append((tmp_path / f"{name}.json").read_bytes())
        for text in read_descriptions(tmp_path / f"{name}.json", kind, "template").values():  # type: ignore[arg-type]
            assert not {"walk", "run", "sit"} & set(text.replace(".", "").split())
    assert written[0] == written[1]


def test_texts_of_another_kind_or_describer_are_refused(tmp_path: Path) -> None:
    clean = CleanSeries(np.ones((1, 1, 9)), np.zeros(1, int), np.array(["a"]), np.array(["Toy-00000"]), 1)
    clean.save(tmp_path / "series.npz")
    describe_series(tmp_path / "series.npz", "Toy", "rationale", tmp_path / "texts.json")
    with pytest.raises(InputError, match="kind='rationale'; allowed: 'signal_analysis'"):
        read_descriptions(tmp_path / "texts.json", "signal_analysis", "template")
    with pytest.raises(InputError, match="describer='template'; allowed: 'endpoint'"):
        read_descriptions(tmp_path / "texts.json", "rationale", "endpoint")
