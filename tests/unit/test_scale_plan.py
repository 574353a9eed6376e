"""The plan for the archive with a model of seven billion parameters, against numbers calculated by hand."""

from __future__ import annotations

from types import ModuleType
from typing import Any

import pytest
from conftest import ROOT

SCENARIO: dict[str, Any] = {
    "name": "both",
    "modality": "both",
    "numbers": "decimals",
    "context_text": "none",
    "target": "answer",
    "plot": "line",
    "context_length": 256,
}


@pytest.fixture
def plan(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """Import the script."""
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    import scale_plan

    return scale_plan


@pytest.fixture
def small(plan: ModuleType) -> Any:
    """Give a shape small enough for arithmetic by hand."""
    return plan.Shape(
        layers=1, hidden=2, inner=3, vocabulary=5, tower=7, tower_hidden=2, image_tokens=4, rank=1
    )


def test_weights_and_bytes_of_shapes(plan: ModuleType, small: Any) -> None:
    assert (small.frozen, small.lora, small.projector) == (4 * 4 + 3 * 6, 4 * 4 + 3 * 5, 6 + 6)
    assert small.adapter_bytes == 4 * (31 + 12)
    assert small.model_bytes == 2 * (34 + 20 + 12 + 7)
    seven = plan.Shape()
    assert (seven.frozen, seven.lora, seven.projector) == (6_476_005_376, 319_815_680, 20_979_712)
    from vlmtsc.reporting.costs import training_flops

    assert training_flops(seven.frozen, seven.lora) == pytest.approx(27.82e9, rel=1e-3)


def test_told_takes_the_smallest_factor_that_fits(plan: ModuleType, small: Any) -> None:
    row = {**SCENARIO, "context_length": 1000}
    # 4 image tokens and 100 of text leave room for 179 values of 5 tokens: every third of 400.
    assert plan.told(row, 400, small) == plan.Told(104 + 5 * 134, 134)
    assert plan.told(row, 179, small) == plan.Told(104 + 5 * 179, 179)
    assert plan.told({**row, "modality": "plot", "numbers": "none"}, 400, small) == plan.Told(104, 0)
    with pytest.raises(ValueError, match="104 tokens besides the values, of 108"):
        plan.told({**row, "context_length": 108}, 400, small)


def test_sums_of_one_dataset(plan: ModuleType, small: Any) -> None:
    # 20 cases: 12 train, 4 validation, 4 test; samples of 114 tokens.
    dataset = {"train_size": 10, "test_size": 10, "length": 2, "classes": 2}
    total = plan.add_up([dataset], [SCENARIO], small, epochs=2)
    assert total.train_tokens == 5 * 2 * 12 * 114
    assert total.evaluation_tokens == 5 * (3 * 4 + 4) * 114
    trained, scored, tower = 13_680 * (4 * 34 + 6 * 31), 9_120 * 2 * 65, 5 * (12 + 8 + 4) * 2 * 7 * 4
    assert total.flops == trained + scored + tower
    assert (total.pictures, total.values, total.conversations) == (20, 40, 20 * (350 + 6 * 2))
    assert (total.predictions, total.downloads) == (5 * 4 * 2 * 34, 20 * 2 * 4)
    assert vars(total.times(2.0))["values"] == 80


def test_rows_say_what_they_rest_on(plan: ModuleType, small: Any) -> None:
    total = plan.Sum(flops=989e12 * 0.43 * 3600 * 7, pictures=50)
    lines = {what: (figure, rests) for what, figure, rests in plan.rows(total, 2, 3, small)}
    assert lines["fine-tunings"] == ("30", "exact")
    assert lines["H100 hours at 43% of the peak"][0] == "7"
    assert lines["files of plots, one each"][0] == "50"
    assert all(rests.startswith(("exact", "measured", "assumed", "counted")) for _, rests in lines.values())
