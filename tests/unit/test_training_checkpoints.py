"""Checkpoints of an interrupted run: a damaged one is removed, and the run ends as if nothing had happened."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from tiny_llava import TinyTask, make_task

from vlmtsc.files import fault_of_sums, read_json
from vlmtsc.model.adapter import save_adapter
from vlmtsc.training.checkpoints import (
    NEEDED,
    claim_checkpoints,
    fault_of_checkpoint,
    fault_of_file,
    latest_checkpoint,
)
from vlmtsc.training.finetune import Finetuned, finetune
from vlmtsc.training.sharing import RECORD, SharedRuns, has_result


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


@pytest.fixture(scope="module")
def trained(
    tiny_checkpoint: Path, task: TinyTask, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Finetuned, Path]:
    """Return an undisturbed run and its folder, with its last checkpoint."""
    folder = tmp_path_factory.mktemp("run")
    return finetune(task.job(tiny_checkpoint, folder)), folder


@pytest.fixture
def checkpoints(trained: tuple[Finetuned, Path], tmp_path: Path) -> Path:
    """Return the same checkpoint twice, as of two epochs."""
    [checkpoint] = trained[1].glob("checkpoints/checkpoint-*")
    for step in (2, 10):
        shutil.copytree(checkpoint, tmp_path / "checkpoints" / f"checkpoint-{step}")
    return tmp_path / "checkpoints"


@pytest.mark.parametrize("damage", [cut, empty, Path.unlink])
@pytest.mark.parametrize("name", NEEDED)
def test_a_damaged_checkpoint_is_removed(
    checkpoints: Path, name: str, damage: Callable[[Path], None], caplog: pytest.LogCaptureFixture
) -> None:
    newest = checkpoints / "checkpoint-10"
    assert latest_checkpoint(checkpoints, keep_best=False) == newest
    damage(newest / name)
    assert latest_checkpoint(checkpoints, keep_best=False) == checkpoints / "checkpoint-2"
    assert f"checkpoint-10: cannot resume from it: {name}" in caplog.text.replace(
        f"{newest / name}: ", f"{name}: "
    )
    # The Trainer would keep it for its higher step, and remove the run's own next checkpoint.
    assert not newest.exists()


@pytest.mark.parametrize("name", ["adapter_model.safetensors", "optimizer.pt", "rng_state.pth"])
def test_a_flipped_bit_of_a_checkpoint_is_detected(checkpoints: Path, name: str) -> None:
    flip(checkpoints / "checkpoint-10" / name)
    assert latest_checkpoint(checkpoints, keep_best=False) == checkpoints / "checkpoint-2"


def test_the_best_checkpoint_has_to_be_intact_too(checkpoints: Path) -> None:
    newest = checkpoints / "checkpoint-10"
    content = json.loads((newest / "trainer_state.json").read_text())
    best = str(checkpoints / "checkpoint-2")
    (newest / "trainer_state.json").write_text(json.dumps(content | {"best_model_checkpoint": best}))
    assert fault_of_checkpoint(newest, keep_best=True) is None
    cut(checkpoints / "checkpoint-2/adapter_model.safetensors")
    fault = fault_of_checkpoint(newest, keep_best=True)
    assert fault is not None
    assert fault.startswith("of checkpoint-2, the best one, adapter_model.safetensors cannot be read")
    # A run that keeps its last adapter does not need it.
    assert fault_of_checkpoint(newest, keep_best=False) is None
    assert latest_checkpoint(checkpoints, keep_best=True) is None


def test_no_checkpoint(tmp_path: Path) -> None:
    assert latest_checkpoint(tmp_path / "nowhere", keep_best=True) is None


def test_a_run_with_damaged_checkpoints_ends_as_if_undisturbed(
    tiny_checkpoint: Path, task: TinyTask, trained: tuple[Finetuned, Path], checkpoints: Path
) -> None:
    for checkpoint in checkpoints.iterdir():
        cut(checkpoint / "optimizer.pt")
    again = finetune(task.job(tiny_checkpoint, checkpoints.parent))
    expected, found = trained[0].model.state_dict(), again.model.state_dict()
    assert all(torch.equal(expected[name], found[name]) for name in expected)
    assert again.log.rows == trained[0].log.rows


@pytest.mark.parametrize(
    "damaged", ["adapter/adapter_model.safetensors", RECORD, "adapter/adapter_config.json"]
)
def test_a_damaged_result_is_not_reused(
    trained: tuple[Finetuned, Path], tmp_path: Path, damaged: str
) -> None:
    run = tmp_path / "run"
    save_adapter(trained[0].model, run / "adapter", base="tiny")
    (run / "training_log.csv").write_text("step\n")
    (run / RECORD).write_text(json.dumps({"training_digest": "d"}))
    runs = SharedRuns(tmp_path / "shared")
    with runs.claim("d"):
        runs.add("d", "run", run)
    kept = tmp_path / "shared/runs/run"
    with runs.claim("d") as source:
        assert source == kept
    # The adapter's files are links: damage of one is damage of both.
    cut((kept if damaged == RECORD else run) / damaged)
    assert not has_result(kept, "d")
    if damaged.startswith("adapter"):  # without its header's help, too
        assert (
            fault_of_sums(run / "adapter")
            == f"{Path(damaged).name} is damaged: its SHA-256 is not that in SHA256SUMS"
        )
    with runs.claim("d") as source:
        assert source is None
    cut(tmp_path / "shared/d/runs.json")
    with runs.claim("d") as source:
        assert source is None


def test_files_of_other_kinds_are_not_checked(tmp_path: Path) -> None:
    (tmp_path / "README.md").write_bytes(b"\xff")
    assert fault_of_file(tmp_path / "README.md") is None


def test_checkpoints_of_another_run_are_removed(tmp_path: Path) -> None:
    folder = tmp_path / "checkpoints"
    identity = {"representation": {"classes": ("1", "2")}, "inputs": {"train.json": "ab"}}
    claim_checkpoints(folder, identity)
    (folder / "checkpoint-2").mkdir()
    claim_checkpoints(folder, json.loads(json.dumps(identity)))
    claim_checkpoints(folder, identity)
    assert (folder / "checkpoint-2").is_dir()
    claim_checkpoints(folder, identity | {"inputs": {"train.json": "cd"}})
    assert [path.name for path in folder.iterdir()] == ["identity.json"]
    assert read_json(folder / "identity.json")["inputs"] == {"train.json": "cd"}
    # A damaged marker says nothing: the checkpoints may belong to any run.
    (folder / "identity.json").write_text('{"inp')
    (folder / "checkpoint-2").mkdir()
    claim_checkpoints(folder, identity)
    assert [path.name for path in folder.iterdir()] == ["identity.json"]
