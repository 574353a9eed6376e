"""The plan: what it counts, what it has learnt from earlier runs, and what it says where there are none."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from plan_runs import plan_runs
from vlmtsc.configuration import load_configuration_files
from vlmtsc.errors import InputError
from vlmtsc.planning.cost_model import Error, fit_costs
from vlmtsc.planning.forecast import Forecaster, left_out
from vlmtsc.planning.history import earlier_runs
from vlmtsc.planning.schedule import Job, wall_seconds
from vlmtsc.planning.work import Length, expected_epochs, part_sizes, planned_length, work_of
from vlmtsc.training.record import processor_name

ROOT = Path(__file__).parents[2]
MODEL = load_configuration_files([], ROOT).models[0]


def write_run(
    results: Path, dataset: str, scenario: str, cases: int, mean: float, epochs: float, seconds: float
) -> None:
    """Write what a finished run leaves that tells its work and its time."""
    place = f"{MODEL}/{dataset}/pooled/{scenario}"
    folder = results / "runs" / place / "seed-0"
    folder.mkdir(parents=True)
    settings = {"epochs": epochs, "token_budget": 0, "batch_size": 4, "early_stopping_patience": 0}
    hardware = {"processor": processor_name(), "threads": 1, "gpus": []}
    record = {"wall_seconds": seconds, "epochs_done": epochs, "stopped_by": "epochs"}
    record |= {"settings": settings, "hardware": hardware, "shared_with": None, "training_digest": "d"}
    (folder / "run_record.json").write_text(json.dumps(record))
    modality = {"representation": {"scenario": {"modality": "numbers"}}}
    (folder / "parameters.json").write_text(json.dumps(modality))
    (folder / "metrics.json").write_text(json.dumps({"temperature_cases": 1}))
    for step, spent in (("evaluate_model", seconds / 10), ("evaluate_controls", seconds / 20)):
        path = results / "benchmarks" / step / place / "seed-0.tsv"
        path.parent.mkdir(parents=True)
        path.write_text(f"s\th:m:s\n{spent}\t0:00:01\n")
    parts = {"train": cases, "validation": cases // 3, "test": cases // 3}
    tokens = {part: {"cases": count, "mean": mean} for part, count in parts.items()}
    budget = results / "conversations" / place / "budget.json"
    budget.parent.mkdir(parents=True)
    context = load_configuration_files([], ROOT).scenario_table[scenario]["context_length"]
    budget.write_text(json.dumps({"context_length": context, "tokens": tokens}))


def write_runs(results: Path) -> None:
    """Write six runs of which each training token took 2 ms."""
    for number, dataset in enumerate(["Coffee", "Beef", "Car", "Meat", "Ham", "Wine"], 1):
        write_run(results, dataset, "numbers", 60 * number, 100, 3, 0.002 * 3 * 100 * 60 * number)


def test_part_sizes_are_those_of_the_splits() -> None:
    row = {"train_size": 67, "test_size": 1029}  # ItalyPowerDemand
    assert part_sizes(row, "pooled", 0.25) == {"train": 657, "validation": 219, "test": 220}
    assert part_sizes(row, "official", 0.25) == {"train": 50, "validation": 17, "test": 1029}
    assert part_sizes({}, "pooled", 0.25) is None


def test_a_token_budget_bounds_training_and_steps_make_a_small_dataset_patient() -> None:
    recipe = {"epochs": 20, "token_budget": 500, "batch_size": 4, "early_stopping_patience": 2}
    assert planned_length(10, 100, recipe) == Length(5, 2)
    assert planned_length(10, 100, recipe | {"token_budget": 0}) == Length(20, 2)
    # 3 steps an epoch: 12 steps are 4 epochs.
    assert planned_length(10, 100, recipe | {"early_stopping_steps": 12}) == Length(5, 4)


def test_work_counts_every_pass() -> None:
    cases, tokens = {"train": 10, "validation": 5, "test": 4}, {"train": 100, "validation": 50, "test": 40}
    work = work_of(cases, tokens, 2.5, temperature=True, controls=4)
    assert (work.train_samples, work.train_tokens, work.validation_tokens) == (25, 250, 150)
    assert (work.evaluation_tokens, work.control_tokens) == (90, 160)
    assert work.attended == 250 * 10 + 150 * 10 / 2
    assert work_of(cases, tokens, 1, temperature=False, controls=None).features("evaluate_controls") is None


def test_expected_epochs_are_those_of_kaplan_and_meier() -> None:
    # One of two stopped at 2 patiences; the other, censored at 5, might have gone on.
    earlier = [Length(4, 2, stopped=True), Length(10, 2)]
    assert expected_epochs(Length(8, 2), earlier) == pytest.approx(2 * (2 + 0.5 * 2))
    assert expected_epochs(Length(3, 2), earlier) == 3
    assert expected_epochs(Length(8, 0), earlier) == 8
    assert expected_epochs(Length(8, 2), [Length(10, 2)]) == 8


def test_costs_are_found_in_spite_of_a_run_that_was_disturbed() -> None:
    random = np.random.default_rng(0)
    features = np.column_stack([np.ones(20), random.uniform(1e4, 2e5, 20), random.uniform(1e4, 2e5, 20)])
    seconds = features @ [8.0, 0.002, 0.0005] * np.exp(random.normal(0, 0.02, 20))
    found = fit_costs(features, seconds, [6.0, 0.001, 0.0005])
    assert features @ found == pytest.approx(features @ [8.0, 0.002, 0.0005], rel=0.2)
    seconds[3] *= 100
    assert features @ fit_costs(features, seconds, [6.0, 0.001, 0.0005]) == pytest.approx(
        features @ found, rel=0.15
    )
    # One measurement scales all costs alike.
    one = fit_costs(features[:1], 3 * features[:1] @ [6.0, 0.001, 0.0005], [6.0, 0.001, 0.0005])
    assert one @ features[0] == pytest.approx(3 * features[0] @ [6.0, 0.001, 0.0005], rel=0.1)


def test_errors_are_measured_over_predicted() -> None:
    error = Error((0.5, 1.0, 1.0, 1.2, 4.0))
    assert (error.median, error.worst) == (1.0, 4.0)
    assert error.factor == pytest.approx(1.2)
    assert error.bounds == pytest.approx((0.7, 2.88))
    assert Error((0.5, 1.0)).bounds is None


def test_jobs_wait_for_cores_and_for_each_other() -> None:
    # Two cores: 3 and 2 s at once, then 4 s after the first.
    assert wall_seconds([Job(3), Job(4, after=(0,)), Job(2)], 2) == 7
    assert wall_seconds([Job(3), Job(4, after=(0,)), Job(2)], 1) == 9
    # A job with two threads waits for both cores; one with more than there are takes all.
    assert wall_seconds([Job(3), Job(2, threads=2)], 2) == 5
    assert wall_seconds([Job(2, threads=8)], 2) == 2
    # The job that others wait for goes first.
    assert wall_seconds([Job(5), Job(1, priority=1), Job(5, after=(1,))], 2) == 6
    assert wall_seconds([], 2) == 0


def test_an_earlier_run_is_predicted_from_the_others(tmp_path: Path) -> None:
    write_runs(tmp_path)
    earlier = earlier_runs([tmp_path, tmp_path])
    assert len(earlier) == 6
    rows = left_out(earlier)
    assert [row.ratio for row in rows] == pytest.approx([1.0] * 6, rel=0.3)
    assert set(rows[0].predicted) == {"finetune_model", "evaluate_model", "evaluate_controls"}
    forecaster = Forecaster(MODEL, earlier, "another device", 1)
    assert forecaster.elsewhere
    assert not Forecaster(MODEL, earlier, processor_name(), 1).elsewhere


def test_a_run_that_tells_nothing_is_not_learnt_from(tmp_path: Path) -> None:
    write_runs(tmp_path)
    record = tmp_path / f"runs/{MODEL}/Coffee/pooled/numbers/seed-0/run_record.json"
    record.write_text(json.dumps({**json.loads(record.read_text()), "shared_with": "another"}))
    (tmp_path / f"conversations/{MODEL}/Beef/pooled/numbers/budget.json").unlink()
    (tmp_path / f"benchmarks/evaluate_model/{MODEL}/Car/pooled/numbers/seed-0.tsv").write_text("s\nNA\n")
    earlier = {run.name.split("/")[1]: run for run in earlier_runs([tmp_path])}
    assert set(earlier) == {"Car", "Meat", "Ham", "Wine"}
    assert "evaluate_model" not in earlier["Car"].seconds


def test_the_plan_says_what_is_assumed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    plan_runs(config=[f"results={tmp_path}", "datasets=[GunPoint]", "scenarios=[plot]"], cores=2)
    output = capsys.readouterr().out
    assert "no earlier runs; assumed is what the embedded model took" in output
    assert "from a bound: 1 runs" in output
    assert "on 2 cores." in output


def test_the_plan_learns_from_earlier_runs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_runs(tmp_path / "old")
    results = tmp_path / "new"
    write_run(results, "GunPoint", "plot", 120, 72, 3, 50.0)
    (results / f"runs/{MODEL}/GunPoint/pooled/plot/seed-0/controls.csv").write_text("control\n")
    chosen = [f"results={results}", "datasets=[GunPoint]", "scenarios=[plot,numbers]"]
    plan_runs(config=[*chosen, "finetune={epochs: 3, token_budget: 0}"], history=[tmp_path / "old"], cores=1)
    output = capsys.readouterr().out
    lines = {line.split()[3]: line.split() for line in output.splitlines() if line.startswith(f"{MODEL} ")}
    assert lines["plot"][5:] == ["done"]
    # 120 cases of 100 tokens, as on the median of other datasets; 2 ms a token are 1.2 minutes.
    assert lines["numbers"][5:9] == ["to", "do", "360", "36000"]
    assert float(lines["numbers"][9]) == pytest.approx(36000 * 0.002 * 1.15 / 60, rel=0.3)
    assert lines["numbers"][11] == "to"
    assert "learnt from 7 earlier runs" in output
    assert "from other datasets: 1 runs" in output
    plan_runs(config=chosen, history=[tmp_path / "old"], check=True)
    assert "Of 7 earlier runs, each predicted from all others" in capsys.readouterr().out


def test_what_cannot_be_timed_is_counted(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    chosen = [f"results={tmp_path}", "datasets=[GunPoint]", "scenarios=[plot]", "baselines=[majority,fcn]"]
    plan_runs(config=[*chosen, "models=[llava-1.5-7b]"])
    output = capsys.readouterr().out
    assert "no earlier job tells their time: 2 fit_baseline, 1 download_model." in output


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"config": ["datasets"]}, "found 'datasets'; allowed: key=value"),
        ({"history": [Path("nowhere")]}, "nowhere holds no folder runs; allowed: results folders"),
    ],
)
def test_a_wrong_option_is_named(options: dict[str, list[Path]], message: str) -> None:
    with pytest.raises(InputError, match=message):
        plan_runs(**options)  # type: ignore[arg-type]
