"""What downsampling leaves of a series, drawn: the values themselves, and where the factor comes from."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from draw_downsampling import draw_downsampling, most_downsampled, told_factor
from vlmtsc.data.series import CleanSeries
from vlmtsc.reporting import downsampling_figures
from vlmtsc.reporting.downsampling_figures import MAX_CHANNELS, downsampled_forms
from vlmtsc.representation.downsampling import downsample
from vlmtsc.representation.representation import Representation, fit_representation
from vlmtsc.settings import ScenarioSettings

SERIES = np.random.default_rng(0).normal(size=(5, 300)).cumsum(axis=1)


def fitted(used: int, **changes: object) -> Representation:
    scenario = ScenarioSettings(
        name="told", modality="numbers", numbers="decimals", plot="none", context_length=512
    )
    return fit_representation(
        scenario.changed(**changes),  # type: ignore[arg-type]
        None,
        SERIES[None],
        used,
        classes=["1", "2"],
        image_tokens=0,
        system_prompt="",
        eos_token="</s>",
    )


def test_panels_hold_the_values_of_each_method() -> None:
    forms = downsampled_forms(SERIES, ["uniform", "adaptive"], 7)
    figure = downsampling_figures.draw_downsampling("Waves", ["a note"], forms)
    panels = np.array(figure.axes).reshape(MAX_CHANNELS, 3)
    for channel, row in enumerate(panels):
        wanted = [SERIES, downsample(SERIES, "uniform", 7), downsample(SERIES, "adaptive", 7)]
        for panel, values in zip(row, wanted, strict=True):
            assert panel.lines[0].get_ydata().tolist() == values[channel].tolist()
        assert {panel.get_ylim() for panel in row} == {row[0].get_ylim()}
    assert [panel.get_title() for panel in panels[0]] == [
        "series, 300 values",
        "uniform, 43 values",
        "adaptive, 43 values",
    ]
    assert figure.get_suptitle() == f"Waves\na note\n{MAX_CHANNELS} of 5 channels, the first ones"


def test_without_downsampling_there_is_nothing_but_the_series() -> None:
    forms = downsampled_forms(SERIES[:1, :20], ["uniform", "adaptive"], 1)
    assert [name for name, _ in forms] == ["series"]
    figure = downsampling_figures.draw_downsampling("Waves", [], forms)
    (panel,) = figure.axes
    assert panel.lines[0].get_marker() == "."
    assert "channels" not in figure.get_suptitle()


def test_the_factor_is_the_largest_and_is_explained() -> None:
    known = {"a": fitted(3), "b": fitted(9, downsampling="lttb"), "c": fitted(9)}
    name, representation = most_downsampled(known)
    assert name == "b"
    assert told_factor(name, representation) == (
        "factor 9: the smallest with which every case fits 512 tokens (scenario b, method lttb)"
    )
    assert "nothing is left out" in told_factor("x", fitted(1))
    assert (
        told_factor("x", fitted(4, factor=4))
        == "factor 4: fixed by the scenario (scenario x, method uniform)"
    )


@pytest.mark.parametrize("factor", [1, 6])
def test_the_first_training_case_is_drawn_with_the_scenario_s_own_method(
    factor: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    values = np.stack([SERIES[:2] + case for case in range(6)])
    names = np.array(["left", "right"])
    ids = np.array([f"Waves-{case:05d}" for case in range(6)])
    CleanSeries(values, np.arange(6) % 2, names, ids, 4).save(tmp_path / "series.npz")
    np.savez(tmp_path / "split.npz", train=np.array([3, 0]), validation=np.array([1]), test=np.array([2]))
    fitted(factor, downsampling="minmax").save(tmp_path / "tiny/Waves/pooled/told/representation.json")
    seen = []
    draw = downsampling_figures.draw_downsampling

    def watch(title: str, notes: list[str], forms: list[tuple[str, np.ndarray]]) -> object:
        seen.append((title, notes, forms))
        return draw(title, notes, forms)

    monkeypatch.setattr(downsampling_figures, "draw_downsampling", watch)
    for folder in ("one", "two"):
        draw_downsampling(
            tmp_path / "series.npz",
            tmp_path / "split.npz",
            "Waves",
            tmp_path,
            {"told": "tiny/Waves/pooled/told"},
            tmp_path / folder / "figure.png",
            tmp_path / folder / "figure.pdf",
        )
    title, _, forms = seen[0]
    assert title == "Waves, case 3 (class right)"
    assert [name for name, _ in forms] == [
        "series",
        *(["uniform", "adaptive", "minmax"] if factor > 1 else []),
    ]
    assert np.array_equal(forms[0][1], values[3])
    for name in ("figure.png", "figure.pdf"):
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()
