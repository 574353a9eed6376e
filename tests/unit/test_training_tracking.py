"""Trackers show what the run's own CSV holds, and cost no run."""

from __future__ import annotations

import contextlib
import csv
import importlib.util
import os
import time
from pathlib import Path
from typing import Any, Literal

import pytest
import wandb
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from test_training_finetune import interrupted_at, train
from tiny_llava import TinyTask, make_task, recipe
from wandb.proto.wandb_internal_pb2 import Record
from wandb.sdk.internal.datastore import DataStore

from finetune_model import RunName, finetune_model
from vlmtsc.errors import InputError
from vlmtsc.files import read_json, write_json
from vlmtsc.settings import FinetuneSettings, TrackingSettings
from vlmtsc.training.tracking import check_trackers, followed

NAME = "tiny/Waves/pooled/numbers/seed-0"
IDENTITY = "0123456789abcdef"


@pytest.fixture(scope="module")
def task(tiny_checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> TinyTask:
    return make_task(tiny_checkpoint, tmp_path_factory.mktemp("plots"), modality="numbers")


@pytest.fixture(autouse=True)
def _no_account(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith("WANDB_")]:
        monkeypatch.delenv(name)


def tracked(folder: Path, *trackers: Literal["tensorboard", "wandb"], recipe: dict[str, Any] | None = None):
    return followed(
        TrackingSettings(trackers=trackers, folder=str(folder), name=NAME, identity=IDENTITY), recipe or {}
    )


def scalars(folder: Path) -> dict[str, dict[int, float]]:
    """Read what TensorBoard would show."""
    events = EventAccumulator(str(folder)).Reload()
    return {tag: {e.step: e.value for e in events.Scalars(tag)} for tag in events.Tags()["scalars"]}


def logged(folder: Path, csv_column: str) -> dict[int, float]:
    with (folder / "log.csv").open() as file:
        return {int(row["step"]): float(row[csv_column]) for row in csv.DictReader(file) if row[csv_column]}


def kept_runs(folder: Path) -> list[list[Record]]:
    """Read the runs that wandb keeps for `wandb sync`; its own process may still be writing their ends."""
    for _ in range(600):
        runs = [read_run(path) for path in sorted(folder.glob("wandb/offline-run-*/run-*.wandb"))]
        if all(of_kind(records, "exit") for records in runs):
            break
        time.sleep(0.1)
    return runs


def read_run(path: Path) -> list[Record]:
    store, records = DataStore(), []
    store.open_for_scan(str(path))
    with contextlib.suppress(AssertionError):  # the end of a file that is being written
        while (data := store.scan_data()) is not None:
            records.append(Record.FromString(data))
    return records


def of_kind(records: list[Record], kind: str) -> list[Any]:
    return [getattr(record, kind) for record in records if record.WhichOneof("record_type") == kind]


def history(records: list[Record], key: str) -> dict[int, float]:
    rows = [{item.nested_key[0]: item.value_json for item in row.item} for row in of_kind(records, "history")]
    return {int(row["train/global_step"]): float(row[key]) for row in rows if key in row}


def test_both_trackers_hold_the_numbers_of_the_csv(
    tiny_checkpoint: Path, task: TinyTask, tmp_path: Path
) -> None:
    total = sum(case["tokens"] for case in task.records["train"])
    with tracked(tmp_path, "tensorboard", "wandb", recipe={"lora_r": 4}) as callbacks:
        # The budget ends the run within an epoch, so that its last validation comes after training.
        options = {"epochs": 5, "token_budget": int(1.4 * total)}
        done = train(tiny_checkpoint, task, tmp_path / "states", trackers=callbacks, **options)
    done.log.write_csv(tmp_path / "log.csv")
    shown = scalars(tmp_path / "tensorboard" / NAME)
    [records] = kept_runs(tmp_path)
    columns = {
        "loss": "train/loss",
        "learning_rate": "train/learning_rate",
        "validation_loss": "eval/loss",
        "validation_accuracy": "eval/accuracy",
    }
    for column, tag in columns.items():
        expected = logged(tmp_path, column)
        assert expected
        assert shown[tag] == pytest.approx(expected, rel=1e-6), column
        assert history(records, tag) == pytest.approx(expected), column
    assert set(logged(tmp_path, "validation_loss")) == {3, 4}
    [run] = of_kind(records, "run")
    assert (run.display_name, run.run_id, run.project) == (NAME, IDENTITY, "vlm-tsc")
    assert "lora_r" in {item.key for item in run.config.update}
    assert [end.exit_code for end in of_kind(records, "exit")] == [0]
    # Nothing stands anywhere else.
    assert {path.name for path in tmp_path.iterdir()} == {"tensorboard", "wandb", "states", "log.csv"}
    assert wandb.run is None


def test_a_run_that_goes_on_shows_each_step_once(
    tiny_checkpoint: Path, task: TinyTask, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def run():
        with tracked(tmp_path, "tensorboard") as callbacks:
            return train(tiny_checkpoint, task, tmp_path / "states", trackers=callbacks, epochs=3)

    with interrupted_at(5, monkeypatch):  # the middle of the second epoch
        run()
    before = scalars(tmp_path / "tensorboard" / NAME)["train/loss"]
    assert 4 in before
    done = run()
    done.log.write_csv(tmp_path / "log.csv")
    events = EventAccumulator(str(tmp_path / "tensorboard" / NAME)).Reload()
    steps = [event.step for event in events.Scalars("train/loss")]
    assert steps == list(logged(tmp_path, "loss"))
    assert scalars(tmp_path / "tensorboard" / NAME)["train/loss"] == pytest.approx(
        logged(tmp_path, "loss"), rel=1e-6
    )


def test_a_failed_run_is_kept_as_failed(tiny_checkpoint: Path, task: TinyTask, tmp_path: Path) -> None:
    def diverge() -> None:
        with tracked(tmp_path, "wandb") as callbacks:
            options = {"learning_rate": 1e30, "max_grad_norm": 1e30, "epochs": 10}
            train(tiny_checkpoint, task, tmp_path / "states", trackers=callbacks, **options)

    with pytest.raises(InputError, match="the loss is"):
        diverge()
    [records] = kept_runs(tmp_path)
    assert [end.exit_code for end in of_kind(records, "exit")] == [1]


def test_a_server_that_cannot_be_reached_ends_no_run(
    tiny_checkpoint: Path, task: TinyTask, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With a key, wandb goes online; its answer here is that it cannot."""
    modes = []
    init = wandb.init

    def unreachable(**arguments: object) -> object:
        modes.append(arguments["mode"])
        if arguments["mode"] == "online":
            raise wandb.errors.CommError("no route to host")
        return init(**arguments)

    monkeypatch.setenv("WANDB_API_KEY", "x" * 40)
    monkeypatch.setattr(wandb, "init", unreachable)
    with tracked(tmp_path, "wandb") as callbacks:
        train(tiny_checkpoint, task, tmp_path / "states", trackers=callbacks, epochs=1)
    assert modes == ["online", "offline"]
    assert len(kept_runs(tmp_path)) == 1
    kept = b"".join(path.read_bytes() for path in (tmp_path / "wandb").rglob("*") if path.is_file())
    assert b"x" * 40 not in kept


def test_a_tracker_that_is_not_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    check_trackers(["tensorboard", "wandb"])
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    check_trackers([])
    with pytest.raises(InputError, match=r"wandb is not installed: pip install wandb; or tracking=\[\]"):
        check_trackers(["wandb"])


def finetune_by_script(folder: Path, checkpoint: Path, task: TinyTask, **changes: Any) -> None:
    for part in ("train", "validation"):
        write_json(folder / f"{part}.json", task.records[part])
    task.representation.save(folder / "representation.json")
    run = folder / "run"
    finetune_model(
        run=RunName("tiny", "Waves", "pooled", "numbers", 0),
        model=checkpoint,
        train=folder / "train.json",
        validation=folder / "validation.json",
        representation=folder / "representation.json",
        checkpoints=folder / "checkpoints",
        adapter=run / "adapter",
        parameters=run / "parameters.json",
        training_log=run / "training_log.csv",
        run_record=run / "run_record.json",
        tracking=folder / "tracking",
        **changes,
    )


def test_the_script_tracks_outside_the_runs_folder(
    tiny_checkpoint: Path, task: TinyTask, tmp_path: Path
) -> None:
    settings = recipe(epochs=1)
    finetune_by_script(tmp_path, tiny_checkpoint, task, settings=settings, trackers=("tensorboard",))
    assert [path.relative_to(tmp_path).as_posix() for path in tmp_path.glob("tracking/*/*/*/*/*/*")] == [
        f"tracking/tensorboard/{NAME}"
    ]
    assert set(scalars(tmp_path / "tracking/tensorboard" / NAME)["eval/loss"]) == {3}
    names = {path.name for path in (tmp_path / "run").iterdir()}
    assert names == {"adapter", "parameters.json", "training_log.csv", "run_record.json"}
    # What a job holds in memory, and who looks on, is no part of what the training is known by.
    settings = read_json(tmp_path / "run/parameters.json")["finetune"]
    assert set(settings) == set(FinetuneSettings.model_fields)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"trackers": ("wandb",)}, "wandb is not installed"),
        ({"settings": recipe(quantization="nf4", precision="bf16")}, "no NVIDIA GPU is here"),
        ({"settings": recipe(attention="flash_attention_2", precision="bf16")}, "no NVIDIA GPU is here"),
    ],
    ids=["tracker", "quantization", "attention"],
)
def test_what_is_missing_is_said_before_anything_is_read(
    tmp_path: Path, task: TinyTask, monkeypatch: pytest.MonkeyPatch, changes: dict[str, Any], message: str
) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(InputError, match=message):
        finetune_by_script(tmp_path, tmp_path / "nowhere", task, **{"settings": recipe()} | changes)
    assert not (tmp_path / "run").exists()
