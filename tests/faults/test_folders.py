"""Folders and files that fail: a full disk, a folder that is read-only or taken, files that are missing or damaged."""

from __future__ import annotations

import random
import shutil
import signal
import subprocess
from collections.abc import Callable, Iterator
from itertools import product
from pathlib import Path

import pytest
from tiny_project import DATASET
from workflow_runs import (
    CAUSES,
    CONVERSATIONS,
    OUTPUTS,
    RUN,
    TABLES,
    TARGETS,
    Running,
    complete,
    outcome,
    run,
)

from vlmtsc.model.vision import write_features
from vlmtsc.paths import plot_file_name

RESULTS = f"results/datasets/{DATASET}"


class SmallDisk:
    """A file system in memory whose size and mode a test changes; as root alone."""

    def __init__(self, place: Path) -> None:
        self.place = place
        place.mkdir()
        done = self._mount("-t", "tmpfs", "-o", "size=64m", "tmpfs", str(place))
        if done.returncode:
            pytest.skip(f"no small disk can be mounted here: {done.stderr.strip()}")

    def change(self, option: str) -> None:
        done = self._mount("-o", f"remount,{option}", str(self.place))
        assert done.returncode == 0, done.stderr

    def unmount(self) -> None:
        subprocess.run(["umount", "--lazy", str(self.place)], check=False)

    @staticmethod
    def _mount(*arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(["mount", *arguments], capture_output=True, text=True, check=False)


@pytest.fixture
def disk(disturbed: Path) -> Iterator[SmallDisk]:
    """Put the results folder of the project onto a small disk."""
    disk = SmallDisk(disturbed.parent / "disk")
    yield disk
    disk.unmount()


def size_of(folder: Path) -> int:
    """Add up the bytes of jobs' files in pages, as a file system in memory counts them; no job writes the report."""
    files = [path for path in folder.rglob("*") if path.is_file() and path.name != "report.html"]
    return 4096 * sum(-(-path.stat().st_size // 4096) for path in files)


@pytest.mark.fault_grid(sample=1)
@pytest.mark.parametrize("share", range(4))
def test_a_full_disk_stops_the_run_and_space_lets_it_go_on(
    share: int, disturbed: Path, undisturbed: Path, disk: SmallDisk, moment: random.Random
) -> None:
    shutil.rmtree(disturbed / "results")
    (disturbed / "results").symlink_to(disk.place)
    room = int(size_of(undisturbed / "results") * (share + moment.uniform(0.1, 0.9)) / 4)
    disk.change(f"size={room}")
    done = run(disturbed, *TARGETS)
    output = done.stdout + done.stderr
    assert done.returncode == 1, output
    assert "No space left on device" in output or "PytorchStreamWriter failed" in output, output
    assert "Traceback" not in output, output
    disk.change("size=64m")
    complete(disturbed, *TARGETS)
    assert outcome(disturbed) == outcome(undisturbed)


def test_features_for_which_a_disk_has_no_room_are_an_error(
    disturbed: Path, disk: SmallDisk, tiny_checkpoint: Path
) -> None:
    [plot, *_] = sorted((disturbed / f"results/plots/{DATASET}/line").glob("*.png"))
    plots = disturbed / "plots"
    plots.mkdir()
    for case in range(200):
        (plots / plot_file_name(case)).hardlink_to(plot)
    features = disk.place / "line.npy"
    write_features(tiny_checkpoint, plots, "fp32", features)
    room = features.stat().st_size // 2
    features.unlink()
    disk.change(f"size={room}")
    # Not a signal, from a write to a page for which there is no room.
    with pytest.raises(OSError, match="No space left on device"):
        write_features(tiny_checkpoint, plots, "fp32", features)


@pytest.mark.fault_grid(sample=1, group="locks")
def test_a_read_only_folder_is_refused_before_any_work(
    disturbed: Path, undisturbed: Path, disk: SmallDisk
) -> None:
    shutil.copytree(disturbed / "results", disk.place, dirs_exist_ok=True)
    shutil.rmtree(disturbed / "results")
    (disturbed / "results").symlink_to(disk.place)
    (disturbed / CAUSES["write_tables"]).touch()
    disk.change("ro")
    done = run(disturbed, "all")
    assert done.returncode == 1
    # Snakemake sees outputs that it could not replace; where there are none yet, our lock cannot be made.
    said = ("Write-protected output files", "results: cannot be written to (Read-only file system)")
    assert any(text in done.stdout + done.stderr for text in said), done.stdout + done.stderr
    assert outcome(disturbed) == outcome(undisturbed)
    disk.change("rw")
    complete(disturbed, "all")
    assert outcome(disturbed) == outcome(undisturbed)


@pytest.mark.fault_grid(sample=1, group="locks")
@pytest.mark.parametrize("elsewhere", [False, True], ids=["the same project", "another project"])
def test_of_two_workflows_on_one_results_folder_the_second_is_refused(
    elsewhere: bool,
    disturbed: Path,
    undisturbed: Path,
    configured: Path,
    tmp_path: Path,
    running: list[Running],
) -> None:
    (disturbed / CAUSES["finetune_model"]).touch()
    first = Running(disturbed, "all")
    running.append(first)
    lock = disturbed / "results/.workflow.lock"
    assert first.until_in("finetune_model"), first.text
    assert lock.exists()
    first.send(signal.SIGSTOP, "job", "finetune_model")  # until the second has come and gone
    if elsewhere:
        other = shutil.copytree(configured, tmp_path / "other")
        second = run(other, "write_tables", "--config", f"results={disturbed / 'results'}")
        said = "another workflow is writing into this folder"
    else:
        second = run(disturbed, "write_tables")
        said = "cannot be locked"
    assert second.returncode == 1, second.stdout + second.stderr
    assert said in second.stdout + second.stderr
    first.send(signal.SIGCONT, "job", "finetune_model")
    assert first.end("finetune_model") == 0, first.text
    assert not lock.exists()
    assert outcome(disturbed) == outcome(undisturbed)


@pytest.mark.fault_grid(sample=1, group="locks")
def test_a_stale_lock_says_how_it_is_removed(
    disturbed: Path, undisturbed: Path, running: list[Running]
) -> None:
    (disturbed / CAUSES["write_tables"]).touch()
    killed = Running(disturbed, "write_tables")
    running.append(killed)
    killed.until((disturbed / "results/.workflow.lock").exists, "the lock")
    killed.send(signal.SIGKILL, "all", "write_tables")
    killed.end("write_tables")
    locked = run(disturbed, "write_tables")
    assert locked.returncode == 1
    assert "--unlock" in locked.stdout + locked.stderr
    # Our own lock ended with the process that held it.
    assert (disturbed / "results/.workflow.lock").exists()
    complete(disturbed, "all")
    assert not (disturbed / "results/.workflow.lock").exists()
    assert outcome(disturbed) == outcome(undisturbed)


#: A file of each kind that a step leaves, and the rule that reads it.
INTERMEDIATES = {
    f"{RESULTS}/archive.npz": "preprocess_dataset",
    f"{RESULTS}/series.npz": "split_dataset",
    f"{RESULTS}/pooled/split.npz": "build_conversations",
    f"results/descriptions/{DATASET}/template/rationale.json": "build_conversations",
    f"results/{CONVERSATIONS}/representation.json": "render_scenario_plots",
    f"results/{CONVERSATIONS}/train.json": "finetune_model",
    f"results/{CONVERSATIONS}/budget.json": "write_ledger",
    f"results/{CONVERSATIONS}/plots/case-00014.png": "finetune_model",
    f"results/{CONVERSATIONS}/plots/manifest.json": "write_ledger",
    f"results/{RUN}/adapter/adapter_model.safetensors": "evaluate_model",
    f"results/{RUN}/adapter/adapter_config.json": "evaluate_model",
    f"results/{RUN}/parameters.json": "evaluate_model",
    f"results/{CONVERSATIONS}/test.json": "evaluate_model",
    f"results/{RUN}/metrics.json": "summarise_dataset",
    f"results/{RUN}/run_record.json": "summarise_dataset",
    f"results/{RUN}/training_log.csv": "summarise_dataset",
    f"results/{TABLES}/runs.csv": "write_tables",
    f"results/{TABLES}/confusion.csv": "draw_figures",
    f"results/{TABLES}/reliability.csv": "draw_figures",
}


def truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 3])


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[-2] ^= 1
    path.write_bytes(content)


def empty(path: Path) -> None:
    path.write_bytes(b"")


@pytest.mark.fault_grid(sample=1)
@pytest.mark.parametrize(
    ("name", "damage"),
    [
        *product(INTERMEDIATES, [truncate, empty]),
        (f"results/{RUN}/adapter/adapter_model.safetensors", flip),
    ],
    ids=lambda value: value.removeprefix("results/") if isinstance(value, str) else value.__name__,
)
def test_a_damaged_intermediate_is_named_and_made_anew_once_it_is_removed(
    name: str, damage: Callable[[Path], None], disturbed: Path, undisturbed: Path
) -> None:
    rule = INTERMEDIATES[name]
    path = disturbed / name
    damage(path)
    target = f"results/{OUTPUTS[rule][0]}"
    done = run(disturbed, target, "--forcerun", rule)
    output = done.stdout + done.stderr
    assert done.returncode == 1, output
    assert path.name in output
    assert str(Path(name).parent) in output
    assert "Traceback" not in output, output
    # A folder that a rule makes is removed as a whole.
    whole = path.parent if path.parent.name in ("adapter", "plots") else path
    shutil.rmtree(whole) if whole.is_dir() else whole.unlink()
    complete(disturbed, target)
    made = {rule: OUTPUTS[rule]}
    assert outcome(disturbed, rules=made) == outcome(undisturbed, rules=made)


@pytest.mark.fault_grid(sample=1)
@pytest.mark.parametrize("name", INTERMEDIATES, ids=lambda name: name.removeprefix("results/"))
def test_a_missing_intermediate_is_made_where_it_is_needed(
    name: str, disturbed: Path, undisturbed: Path
) -> None:
    path = disturbed / name
    whole = path.parent if path.parent.name in ("adapter", "plots") else path
    shutil.rmtree(whole) if whole.is_dir() else whole.unlink()
    # Without anything stale there is nothing to do: an intermediate may be removed to save space.
    text = complete(disturbed, "all")
    assert "Nothing to be done" in text
    rule = INTERMEDIATES[name]
    complete(disturbed, f"results/{OUTPUTS[rule][0]}", "--forcerun", rule)
    made = {rule: OUTPUTS[rule]}
    assert outcome(disturbed, rules=made) == outcome(undisturbed, rules=made)
