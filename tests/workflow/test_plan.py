"""The plan: what it counts, and where its figures come from."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from plan_runs import plan_runs
from vlmtsc.configuration import load_configuration_files
from vlmtsc.errors import InputError
from vlmtsc.planning import DEFAULT_TOKENS_PER_SECOND, estimate, part_sizes

ROOT = Path(__file__).parents[2]


def test_part_sizes_are_those_of_the_splits() -> None:
    row = {"train_size": 67, "test_size": 1029}  # ItalyPowerDemand
    assert part_sizes(row, "pooled", 0.25) == {"train": 657, "validation": 219, "test": 220}
    assert part_sizes(row, "official", 0.25) == {"train": 50, "validation": 17, "test": 1029}
    assert part_sizes({}, "pooled", 0.25) is None


def test_a_token_budget_bounds_training() -> None:
    sizes = {"train": 100, "validation": 30, "test": 60}
    free = estimate(sizes, 10, {"epochs": 2}, 100)
    assert (free.train_samples, free.train_tokens, free.evaluation_tokens) == (200, 2000, 1200)
    assert free.minutes == pytest.approx((2000 + 1200 / 3) / 100 / 60)
    asked = estimate(sizes, 10, {"epochs": 2}, 100, further_passes={"validation": 1, "test": 4})
    assert asked.evaluation_tokens == 1200 + 10 * (30 + 4 * 60)
    bounded = estimate(sizes, 10, {"epochs": 2, "token_budget": 500}, 100)
    assert bounded.bounded
    assert (bounded.train_samples, bounded.train_tokens) == (50, 500)


def test_the_plan_marks_what_is_done_and_uses_measured_speed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    chosen = [f"results={tmp_path}", "datasets=[GunPoint]", "scenarios=[plot,numbers]"]
    plan_runs(config=chosen)
    assert f"{DEFAULT_TOKENS_PER_SECOND:.0f} training tokens a second (assumed" in capsys.readouterr().out
    model = load_configuration_files([], ROOT).models[0]
    folder = tmp_path / "runs" / model / "GunPoint/pooled/plot/seed-0"
    folder.mkdir(parents=True)
    (folder / "run_record.json").write_text(json.dumps({"tokens_per_second": 4321.0}))
    (folder / "metrics.json").write_text("{}")
    budget = tmp_path / "conversations" / model / "GunPoint/pooled/numbers/budget.json"
    budget.parent.mkdir(parents=True)
    part = {"cases": 10, "mean": 7.0}
    budget.write_text(json.dumps({"tokens": {"train": part, "validation": part, "test": part}}))
    plan_runs(config=[*chosen, "finetune={epochs: 3}"])
    output = capsys.readouterr().out
    assert "4321 training tokens a second (median of 1 earlier runs)" in output
    lines = {line.split()[3]: line.split() for line in output.splitlines() if line.startswith(f"{model} ")}
    assert lines["plot"][5:] == ["done"]
    assert lines["numbers"][5:9] == ["to", "do", "30", "210"]


def test_a_wrong_assignment_is_named() -> None:
    with pytest.raises(InputError, match="found 'datasets'; allowed: key=value"):
        plan_runs(config=["datasets"])
