"""The log of a run, its end where it diverges, and trackers that show the same numbers."""

from __future__ import annotations

import contextlib
import csv
import importlib.util
import logging
import math
import os
import time
from pathlib import Path
from typing import Any

import pytest
import wandb
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from test_training_finetune import interrupted_at
from tiny_llava import TinyTask, finetune_into, make_task, recipe
from transformers import TrainerControl, TrainerState
from wandb.proto.wandb_internal_pb2 import Record
from wandb.sdk.internal.datastore import DataStore

from vlmtsc.errors import InputError
from vlmtsc.files import read_json
from vlmtsc.settings import FinetuneSettings, TrackingSettings
from vlmtsc.training.finetune import Finetuned, finetune
from vlmtsc.training.progress import COLUMNS, TrainingLog, check_trackers


def log_at(log: TrainingLog, step: int, **logs: float) -> None:
    state = TrainerState(global_step=step, max_steps=10, epoch=step / 5)
    log.on_log(None, state, TrainerControl(), logs)  # type: ignore[arg-type]


@pytest.fixture
def log() -> TrainingLog:
    return TrainingLog("tiny/GunPoint/plot/seed-0", tokens_per_step=120.5, cases_per_step=4, vocabulary=1000)


def test_rows_and_lines(log: TrainingLog, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    log.on_train_begin(None, TrainerState(global_step=0), TrainerControl())  # type: ignore[arg-type]
    with caplog.at_level(logging.INFO, logger="vlmtsc"):
        log_at(log, 1, loss=2.5, learning_rate=1e-4, grad_norm=1.0)
        log_at(log, 5, eval_loss=0.5, eval_selection_loss=0.6, eval_accuracy=0.75)
        log_at(log, 10, train_runtime=3.0)  # the Trainer's summary
    lines = [record.getMessage() for record in caplog.records]
    assert len(lines) == 2
    assert lines[0].startswith("tiny/GunPoint/plot/seed-0: step 1/10, epoch 0.2: loss 2.500, ")
    for part in ("samples/s", "tokens/s", "min left"):
        assert part in lines[0]
    assert lines[1].endswith("step 5/10, epoch 1.0: validation loss 0.500, accuracy 75.0%")
    log.write_csv(tmp_path / "log.csv")
    with (tmp_path / "log.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert tuple(rows[0]) == COLUMNS
    assert rows[0] == {
        "step": "1",
        "epoch": "0.2",
        "tokens": "120",
        "loss": "2.5",
        "learning_rate": "0.0001",
        "validation_loss": "",
        "selection_loss": "",
        "validation_accuracy": "",
    }
    assert (rows[1]["tokens"], rows[1]["loss"]) == ("602", "")
    assert tuple(rows[1].values())[-3:] == ("0.5", "0.6", "0.75")


@pytest.mark.parametrize("loss", [math.nan, math.inf, -math.inf])
def test_a_loss_that_is_no_number_ends_the_run(log: TrainingLog, loss: float) -> None:
    log_at(log, 1, loss=2.5, learning_rate=1e-4)
    log_at(log, 2, loss=1.25, learning_rate=1e-4)
    with pytest.raises(InputError, match=rf"the loss is {loss} at step 3; last finite loss: 1\.25 at step 2"):
        log_at(log, 3, loss=loss, learning_rate=1e-4)


def test_losses_far_above_guessing_end_the_run(log: TrainingLog) -> None:
    # Twice ln(1000) is 13.8. Four high ones between lower ones are noise, five in a row are not.
    for step, loss in enumerate([2.5, 20.0, 20.0, 20.0, 20.0, 13.0, 14.0, 15.0, 16.0, 17.0], start=1):
        log_at(log, step, loss=loss, learning_rate=1e-4)
    message = r"diverges: loss 18 at step 11, for 5 logs above 13\.8; last loss below: 13 at step 6\. A lower"
    with pytest.raises(InputError, match=message):
        log_at(log, 11, loss=18.0, learning_rate=1e-4)


def test_a_validation_loss_that_is_no_number_ends_the_run(log: TrainingLog) -> None:
    with pytest.raises(InputError, match="the loss is nan at step 5; last finite loss: none"):
        log_at(log, 5, eval_loss=math.nan, eval_accuracy=0.5)


def test_restored_rows_are_those_that_were_logged(log: TrainingLog) -> None:
    log_at(log, 1, loss=2.5, learning_rate=1e-4)
    log_at(log, 5, eval_loss=0.5, eval_selection_loss=0.6, eval_accuracy=0.75)
    history = [
        {"step": 1, "epoch": 0.2, "loss": 2.5, "learning_rate": 1e-4, "grad_norm": 1.0},
        {"step": 5, "epoch": 1.0, "eval_loss": 0.5, "eval_selection_loss": 0.6, "eval_accuracy": 0.75},
        {"step": 5, "epoch": 1.0, "train_runtime": 3.0},
    ]
    again = TrainingLog("again", tokens_per_step=120.5, cases_per_step=4, vocabulary=1000)
    again.restore(history)
    assert again.rows == log.rows


NAME = "tiny/Waves/pooled/mine/seed-0"
IDENTITY = "0123456789abcdef"


@pytest.fixture(scope="module")
def task(tiny_checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> TinyTask:
    return make_task(tiny_checkpoint, tmp_path_factory.mktemp("plots"), modality="numbers")


@pytest.fixture
def train(tiny_checkpoint: Path, task: TinyTask, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Return a function that fine-tunes with trackers, without an account of Weights & Biases."""
    for name in [name for name in os.environ if name.startswith("WANDB_")]:
        monkeypatch.delenv(name)

    def run(*trackers: str, **options: Any) -> Finetuned:
        tracking = TrackingSettings(
            trackers=trackers, folder=str(tmp_path / "tracking"), name=NAME, identity=IDENTITY
        )
        return finetune(task.job(tiny_checkpoint, tmp_path / "run", tracking=tracking, **options))

    return run


def scalars(folder: Path) -> dict[str, dict[int, float]]:
    """Read what TensorBoard would show."""
    events = EventAccumulator(str(folder)).Reload()
    return {tag: {e.step: e.value for e in events.Scalars(tag)} for tag in events.Tags()["scalars"]}


def logged(run: Finetuned, column: str) -> dict[int, float]:
    return {row["step"]: row[column] for row in run.log.rows if row[column] is not None}


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


def test_both_trackers_show_the_numbers_of_the_log(
    train: Any, task: TinyTask, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also of a run that was interrupted, once, and that a budget ends within an epoch."""
    total = sum(case["tokens"] for case in task.records["train"])
    options = {"epochs": 5, "token_budget": int(2.4 * total)}
    with interrupted_at(5, monkeypatch):  # the middle of the second epoch
        train("tensorboard", "wandb", **options)
    folder = tmp_path / "tracking"
    assert 4 in scalars(folder / "tensorboard" / NAME)["train/loss"]
    assert wandb.run is None
    done = train("tensorboard", "wandb", **options)
    shown = scalars(folder / "tensorboard" / NAME)
    failed, records = kept_runs(folder)
    assert [end.exit_code for run in (failed, records) for end in of_kind(run, "exit")] == [1, 0]
    columns = {
        "loss": "train/loss",
        "learning_rate": "train/learning_rate",
        "validation_loss": "eval/loss",
        "selection_loss": "eval/selection_loss",
        "validation_accuracy": "eval/accuracy",
    }
    for column, tag in columns.items():
        expected = logged(done, column)
        assert shown[tag] == pytest.approx(expected, rel=1e-6), column
        again = history(records, tag)  # of what the second attempt did
        assert again == pytest.approx({step: expected[step] for step in again}), column
        assert max(again) == max(expected)
    assert set(logged(done, "validation_loss")) == {3, 6, 7}
    events = EventAccumulator(str(folder / "tensorboard" / NAME)).Reload()
    assert [event.step for event in events.Scalars("train/loss")] == list(logged(done, "loss"))
    [run] = of_kind(records, "run")
    assert (run.display_name, run.run_id, run.project) == (NAME, IDENTITY, "vlm-tsc")
    assert {"lora_r", "dataset"} <= {item.key for item in run.config.update}
    # Nothing is written elsewhere.
    assert {path.name for path in folder.iterdir()} == {"tensorboard", "wandb"}
    assert {path.name for path in tmp_path.iterdir()} == {"tracking", "run"}
    assert wandb.run is None


def test_a_server_that_cannot_be_reached_ends_no_run(
    train: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With a key, wandb goes online; its answer here is that it cannot."""
    modes = []
    init = wandb.init

    def unreachable(**arguments: Any) -> object:
        modes.append(arguments["mode"])
        if arguments["mode"] == "online":
            raise wandb.errors.CommError("no route to host")
        return init(**arguments)

    monkeypatch.setenv("WANDB_API_KEY", "x" * 40)
    monkeypatch.setattr(wandb, "init", unreachable)
    train("wandb", epochs=1)
    assert modes == ["online", "offline"]
    assert len(kept_runs(tmp_path / "tracking")) == 1
    kept = b"".join(path.read_bytes() for path in (tmp_path / "tracking").rglob("*") if path.is_file())
    assert b"x" * 40 not in kept


def test_a_tracker_that_is_not_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    check_trackers(["tensorboard", "wandb"])
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    check_trackers([])
    with pytest.raises(InputError, match=r"wandb is not installed: pip install wandb; or tracking=\[\]"):
        check_trackers(["wandb"])


def test_trackers_write_outside_the_runs_folder(
    tiny_checkpoint: Path, task: TinyTask, tmp_path: Path
) -> None:
    tracking = TrackingSettings(trackers=("tensorboard",), folder=str(tmp_path / "tracking"))
    finetune_into(task.job(tiny_checkpoint, tmp_path, epochs=1, tracking=tracking), tmp_path / "run")
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
        ({"tracking": TrackingSettings(trackers=("wandb",))}, "wandb is not installed"),
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
        finetune_into(task.job(tmp_path / "nowhere", tmp_path, **changes), tmp_path / "run")
    assert not (tmp_path / "run").exists()
