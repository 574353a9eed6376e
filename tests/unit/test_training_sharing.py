"""Runs with the same inputs, settings and code train once."""

from __future__ import annotations

import dataclasses
import json
import os
import shutil
import threading
from pathlib import Path
from typing import Any

import pytest
import torch
from accelerate.state import AcceleratorState
from safetensors.torch import save_file
from tiny_llava import TinyTask, finetune_into, make_task, recipe

from vlmtsc.files import read_json, write_json
from vlmtsc.model.checkpoint import compute_device
from vlmtsc.paths import Run
from vlmtsc.training import finetune as module
from vlmtsc.training import sharing
from vlmtsc.training.finetune import TrainingJob
from vlmtsc.training.sharing import SharedRuns, training_digest


@pytest.fixture(scope="module")
def task(tiny_checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> TinyTask:
    return make_task(tiny_checkpoint, tmp_path_factory.mktemp("plots"))


@pytest.fixture(scope="module")
def trained(
    tiny_checkpoint: Path, task: TinyTask, tmp_path_factory: pytest.TempPathFactory
) -> module.Finetuned:
    """Return the result of a training: one stands for all, since the tests are about who trains."""
    job = task.job(tiny_checkpoint, tmp_path_factory.mktemp("run"), epochs=1, token_budget=500)
    return module.finetune(job)


@pytest.fixture
def trainings(monkeypatch: pytest.MonkeyPatch, trained: module.Finetuned) -> list[str]:
    """Return the names of the runs that train."""
    names: list[str] = []

    def counted(job: TrainingJob) -> module.Finetuned:
        names.append(str(job.run))
        return trained

    monkeypatch.setattr(module, "finetune", counted)
    return names


def run(
    folder: Path, checkpoint: Path, task: TinyTask, scenario: str, changes: dict[str, Any] | None = None
) -> Path:
    """Fine-tune as the rule does, with the scenario renamed and with other settings that no prompt shows."""
    place = folder / scenario
    renamed = task.representation.scenario.changed(name=scenario, **changes or {})
    task = dataclasses.replace(
        task, representation=dataclasses.replace(task.representation, scenario=renamed)
    )
    job = task.job(checkpoint, place, Run("tiny", "Waves", "pooled", scenario, 0), epochs=1, token_budget=500)
    finetune_into(job, place / "run", folder / "shared")
    return place / "run"


def test_the_second_run_reuses_the_outputs_of_the_first(
    tiny_checkpoint: Path, task: TinyTask, tmp_path: Path, trainings: list[str]
) -> None:
    first = run(tmp_path, tiny_checkpoint, task, "first")
    second = run(tmp_path, tiny_checkpoint, task, "second", {"context_length": 2048, "downsampling": "lttb"})
    third = run(tmp_path, tiny_checkpoint, task, "third")
    assert trainings == ["tiny/Waves/pooled/first/seed-0"]
    records = [read_json(folder / "run_record.json") for folder in (first, second, third)]
    assert [record["scenario"] for record in records] == ["first", "second", "third"]
    name = "tiny/Waves/pooled/first/seed-0"
    assert [record["shared_with"] for record in records] == [None, name, name]
    assert [record["token_budget"] for record in records] == [500] * 3
    assert len({record["train_tokens"] for record in records}) == 1
    assert read_json(second / "parameters.json")["representation"]["scenario"]["context_length"] == 2048
    weights = [folder / "adapter/adapter_model.safetensors" for folder in (first, second)]
    assert weights[0].samefile(weights[1])
    assert (first / "training_log.csv").read_text() == (second / "training_log.csv").read_text()
    assert not (tmp_path / "second/checkpoints").exists()


def test_only_a_complete_run_is_reused(
    tiny_checkpoint: Path, task: TinyTask, tmp_path: Path, trainings: list[str]
) -> None:
    first = run(tmp_path, tiny_checkpoint, task, "first")
    (tmp_path / "shared/runs/tiny/Waves/pooled/first/seed-0/training_log.csv").unlink()
    run(tmp_path, tiny_checkpoint, task, "second")
    run(tmp_path, tiny_checkpoint, task, "first")
    assert trainings == ["tiny/Waves/pooled/first/seed-0", "tiny/Waves/pooled/second/seed-0"]
    assert read_json(first / "run_record.json")["shared_with"] == "tiny/Waves/pooled/second/seed-0"


def test_a_finished_run_is_not_trained_again(
    tiny_checkpoint: Path, task: TinyTask, tmp_path: Path, trainings: list[str]
) -> None:
    folder = run(tmp_path, tiny_checkpoint, task, "first")
    before = {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    shutil.rmtree(folder)  # as Snakemake does before it reruns the job
    run(tmp_path, tiny_checkpoint, task, "first")
    assert {
        path.relative_to(folder): path.read_bytes() for path in folder.rglob("*") if path.is_file()
    } == before
    assert len(trainings) == 1
    # Damaged, it is; its only copy is a link to the same file.
    (folder / "adapter/adapter_model.safetensors").write_bytes(b"damaged")
    run(tmp_path, tiny_checkpoint, task, "first")
    assert len(trainings) == 2
    # Other inputs: what is kept is replaced, and not taken for the result of the former ones again.
    records = {**task.records, "train": task.records["train"][1:]}
    run(tmp_path, tiny_checkpoint, dataclasses.replace(task, records=records), "first")
    run(tmp_path, tiny_checkpoint, task, "first")
    assert len(trainings) == 4
    shutil.rmtree(tmp_path / "shared")  # has every run trained
    run(tmp_path, tiny_checkpoint, task, "first")
    assert len(trainings) == 5


def test_an_interrupted_training_goes_on_with_the_same_inputs_only(
    tiny_checkpoint: Path, task: TinyTask, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = []

    def interrupted(job: TrainingJob) -> None:
        found.append((job.checkpoints / "checkpoint-1").exists())
        (job.checkpoints / "checkpoint-1").mkdir(exist_ok=True)
        raise KeyboardInterrupt

    monkeypatch.setattr(module, "finetune", interrupted)
    assert task.plots is not None
    shutil.copytree(task.plots, tmp_path / "plots")
    flipped = dataclasses.replace(task, plots=tmp_path / "plots")
    first, second = (tmp_path / "plots" / task.records["train"][case]["image"] for case in (0, 1))
    first.write_bytes(second.read_bytes())
    shutil.copytree(tiny_checkpoint, tmp_path / "model")
    (tmp_path / "model/other.json").write_text("{}")
    for checkpoint, inputs in [
        *[(tiny_checkpoint, task)] * 2,
        *[(tiny_checkpoint, flipped)] * 2,
        (tmp_path / "model", flipped),
    ]:
        with pytest.raises(KeyboardInterrupt):
            run(tmp_path, checkpoint, inputs, "first")
    assert found == [False, True, False, True, False]


def test_two_at_once_train_once(
    tiny_checkpoint: Path,
    task: TinyTask,
    tmp_path: Path,
    trained: module.Finetuned,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    waits, trainings = threading.Event(), []

    def slow(job: TrainingJob) -> module.Finetuned:
        trainings.append(str(job.run))
        assert waits.wait(timeout=60)  # until the other one has come, and has to wait
        return trained

    monkeypatch.setattr(module, "finetune", slow)
    monkeypatch.setattr(sharing.logger, "info", lambda *_: waits.set())
    both = [threading.Thread(target=run, args=(tmp_path, tiny_checkpoint, task, name)) for name in ("a", "b")]
    for thread in both:
        thread.start()
    for thread in both:
        thread.join()
    assert len(trainings) == 1
    shared = [read_json(tmp_path / name / "run/run_record.json")["shared_with"] for name in ("a", "b")]
    assert shared.count(None) == 1


def test_launchers_of_other_processes_have_no_say(
    tiny_checkpoint: Path, task: TinyTask, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    variables = {"RANK": "1", "WORLD_SIZE": "2", "ACCELERATE_MIXED_PRECISION": "bf16"}
    for name, value in (variables | {"ACCELERATE_DYNAMO_BACKEND": "inductor"}).items():
        monkeypatch.setenv(name, value)
    AcceleratorState._reset_state(True)  # of other tests in this process
    record = read_json(run(tmp_path, tiny_checkpoint, task, "first") / "run_record.json")
    used = record["used"]
    assert (used["processes"], used["distributed"], used["device"]) == (1, "NO", compute_device().type)
    assert (used["mixed_precision"], used["compiler"], used["weights"]) == ("no", "NO", ["float32"])
    assert os.environ["WORLD_SIZE"] == "2"


def digest(model: Path, task: TinyTask, /, **changes: Any) -> str:
    scenario = changes.pop("scenario", {})
    representation = dataclasses.replace(
        task.representation, scenario=task.representation.scenario.changed(**scenario)
    )
    return training_digest(
        changes.pop("model", model),
        {part: changes.pop(part, task.records[part]) for part in ("train", "validation")},
        representation,
        recipe(**changes.pop("recipe", {})),
        plots=changes.pop("plots", task.plots),
        threads=changes.pop("threads", 1),
        code=changes.pop("code", "0"),
    )


def test_everything_that_decides_counts(
    tiny_checkpoint: Path, llama_checkpoint: Path, task: TinyTask, tmp_path: Path
) -> None:
    first = digest(tiny_checkpoint, task)
    assert digest(tiny_checkpoint, task, scenario={"name": "other", "context_length": 4096}) == first
    other_plots = make_task(tiny_checkpoint, tmp_path, n_train=12).plots
    assert other_plots is not None
    assert digest(tiny_checkpoint, task, plots=other_plots) == first
    plot = other_plots / task.records["train"][0]["image"]
    plot.write_bytes((other_plots / task.records["train"][1]["image"]).read_bytes())
    changes: list[dict[str, Any]] = [
        {"plots": other_plots},
        {"train": task.records["train"][1:]},
        {"validation": task.records["test"]},
        {"recipe": {"seed": 1}},
        {"recipe": {"token_budget": 10}},
        {"model": llama_checkpoint},
        {"threads": 2},
        {"code": "1"},
        {"scenario": {"labels": "names"}},
    ]
    assert len({first, *(digest(tiny_checkpoint, task, **change) for change in changes)}) == 1 + len(changes)
    # The context decides on the kernel only where the setting leaves that to it.
    by_context = [
        digest(tiny_checkpoint, task, recipe={"attention": "auto"}, scenario={"context_length": length})
        for length in (512, 513)
    ]
    assert by_context[0] != by_context[1] or module.torch.cuda.is_available()


def test_runs_are_named_relative_to_their_list(tmp_path: Path) -> None:
    folder = tmp_path / "results/runs/a"
    (folder / "adapter").mkdir(parents=True)
    save_file({"weight": torch.ones(2)}, folder / "adapter/adapter_model.safetensors")
    (folder / "training_log.csv").touch()
    write_json(folder / "run_record.json", {"training_digest": "d"})
    SharedRuns(tmp_path / "results/shared_runs").add("d", "a", folder)
    (tmp_path / "results").rename(tmp_path / "moved")
    moved = SharedRuns(tmp_path / "moved/shared_runs")
    with moved.claim("d") as found:
        assert found is not None
        assert found.samefile(tmp_path / "moved/shared_runs/runs/a")
    assert json.loads((tmp_path / "moved/shared_runs/d/runs.json").read_text()) == ["runs/a"]
