"""States of an interrupted run: one that is not whole is thrown away, and the run ends as if nothing had happened."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from tiny_llava import TinyTask, make_task, recipe

from vlmtsc.files import fault_of_sums
from vlmtsc.model.adapter import save_adapter
from vlmtsc.training.finetune import Finetuned, finetune
from vlmtsc.training.sharing import RECORD, SharedRuns, holds
from vlmtsc.training.states import NEEDED, fault_of_file, fault_of_state, latest_state


def flip(path: Path) -> None:
    """Change one byte in the middle of a file."""
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def empty(path: Path) -> None:
    path.write_bytes(b"")


@pytest.fixture(scope="module")
def task(tiny_checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> TinyTask:
    return make_task(tiny_checkpoint, tmp_path_factory.mktemp("numbers"), modality="numbers")


def train(checkpoint: Path, task: TinyTask, states: Path) -> Finetuned:
    return finetune(
        checkpoint,
        task.records["train"],
        task.records["validation"],
        task.representation,
        recipe(epochs=2),
        plots=None,
        checkpoints=states,
        name="tiny",
    )


@pytest.fixture(scope="module")
def whole(tiny_checkpoint: Path, task: TinyTask, tmp_path_factory: pytest.TempPathFactory) -> Finetuned:
    """Give a run that nothing disturbed."""
    return train(tiny_checkpoint, task, tmp_path_factory.mktemp("whole") / "states")


@pytest.fixture(scope="module")
def kept(tiny_checkpoint: Path, task: TinyTask, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give the folder of a run's last state."""
    folder = tmp_path_factory.mktemp("kept") / "states"
    train(tiny_checkpoint, task, folder)
    return folder


@pytest.fixture
def states(kept: Path, tmp_path: Path) -> Path:
    """Give the same state twice, as of two epochs."""
    [state] = kept.glob("checkpoint-*")
    for step in (2, 10):
        shutil.copytree(state, tmp_path / "states" / f"checkpoint-{step}")
    return tmp_path / "states"


@pytest.mark.parametrize("damage", [cut, empty, Path.unlink])
@pytest.mark.parametrize("name", NEEDED)
def test_a_state_that_is_not_whole_is_thrown_away(
    states: Path, name: str, damage: Callable[[Path], None], caplog: pytest.LogCaptureFixture
) -> None:
    assert latest_state(states, keep_best=False) == states / "checkpoint-10"
    damage(states / "checkpoint-10" / name)
    assert latest_state(states, keep_best=False) == states / "checkpoint-2"
    assert f"checkpoint-10: cannot go on from it: {name}" in caplog.text.replace(
        f"{states / 'checkpoint-10' / name}: not a JSON", f"{name}: not a JSON"
    )
    # The Trainer would keep it for its higher step, and remove the run's own next state.
    assert not (states / "checkpoint-10").exists()


@pytest.mark.parametrize("name", ["adapter_model.safetensors", "optimizer.pt", "rng_state.pth"])
def test_a_flipped_bit_of_a_state_is_seen(states: Path, name: str) -> None:
    flip(states / "checkpoint-10" / name)
    assert latest_state(states, keep_best=False) == states / "checkpoint-2"


def test_the_best_state_has_to_be_whole_too(states: Path) -> None:
    state = states / "checkpoint-10"
    content = json.loads((state / "trainer_state.json").read_text())
    best = str(states / "checkpoint-2")
    (state / "trainer_state.json").write_text(json.dumps(content | {"best_model_checkpoint": best}))
    assert fault_of_state(state, keep_best=True) is None
    cut(states / "checkpoint-2/adapter_model.safetensors")
    fault = fault_of_state(state, keep_best=True)
    assert fault is not None
    assert fault.startswith("of checkpoint-2, the best one, adapter_model.safetensors cannot be read")
    # Without it the run ends with the last adapter: the Trainer keeps no other state then.
    assert fault_of_state(state, keep_best=False) is None
    assert latest_state(states, keep_best=True) is None


def test_no_state(tmp_path: Path) -> None:
    assert latest_state(tmp_path / "nowhere", keep_best=True) is None


def test_a_run_with_a_damaged_state_ends_as_if_undisturbed(
    tiny_checkpoint: Path, task: TinyTask, whole: Finetuned, states: Path
) -> None:
    for state in states.iterdir():
        cut(state / "optimizer.pt")
    again = train(tiny_checkpoint, task, states)
    expected, found = whole.model.state_dict(), again.model.state_dict()
    assert all(torch.equal(expected[name], found[name]) for name in expected)
    assert again.log.rows == whole.log.rows


@pytest.mark.parametrize(
    "damaged", ["adapter/adapter_model.safetensors", RECORD, "adapter/adapter_config.json"]
)
def test_a_damaged_outcome_is_not_shared(whole: Finetuned, tmp_path: Path, damaged: str) -> None:
    run = tmp_path / "run"
    save_adapter(whole.model, run / "adapter", base="tiny")
    (run / "training_log.csv").write_text("step\n")
    (run / RECORD).write_text(json.dumps({"training_digest": "d"}))
    runs = SharedRuns(tmp_path / "shared")
    with runs.claim("d", run):
        runs.add("d", run)
    with runs.claim("d", tmp_path / "other") as source:
        assert source is not None
        assert source.resolve() == run
    cut(run / damaged)
    assert not holds(run, "d")
    if damaged.startswith("adapter"):  # without its header's help, too
        assert (
            fault_of_sums(run / "adapter")
            == f"{Path(damaged).name} is damaged: not the SHA-256 that SHA256SUMS says"
        )
    with runs.claim("d", tmp_path / "other") as source:
        assert source is None
    cut(tmp_path / "shared/d/runs.json")
    with runs.claim("d", tmp_path / "other") as source:
        assert source is None


def test_other_files_say_nothing(tmp_path: Path) -> None:
    (tmp_path / "README.md").write_bytes(b"\xff")
    assert fault_of_file(tmp_path / "README.md") is None
