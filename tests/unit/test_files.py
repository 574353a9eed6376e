"""Files that no reader sees half of, and folders that one process holds alone."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from filelock import FileLock
from safetensors.numpy import save_file

from vlmtsc.commands import explain, predict
from vlmtsc.errors import InputError
from vlmtsc.files import ABANDONED_SECONDS, atomic_path, exclusive, hold_folder, release_folder

ROOT = Path(__file__).parents[2]
HOLDER = textwrap.dedent("""\
    import sys
    from pathlib import Path
    from vlmtsc.files import exclusive
    with exclusive(Path(sys.argv[1])):
        print("held", flush=True)
        sys.stdin.readline()
""")


@pytest.fixture(autouse=True)
def library(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", str(ROOT / "workflow_scripts"))


WRITER = textwrap.dedent("""\
    import sys
    from pathlib import Path
    from vlmtsc.files import atomic_path
    with atomic_path(Path(sys.argv[1])) as temporary:
        temporary.mkdir()
        (temporary / "half").write_text("a half")
        print(temporary.parent, flush=True)
        sys.stdin.readline()
""")


def holder(folder: Path, script: str = HOLDER) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", script, str(folder)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def said(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


@pytest.mark.parametrize(("umask", "mode"), [(0o022, 0o644), (0o002, 0o664), (0o077, 0o600)])
def test_files_can_be_read_by_whom_the_umask_lets(tmp_path: Path, umask: int, mode: int) -> None:
    before = os.umask(umask)
    try:
        with atomic_path(tmp_path / "adapter") as folder:
            folder.mkdir()
            save_file({"weight": np.zeros(3)}, folder / "weights.safetensors")
            assert (
                folder / "weights.safetensors"
            ).stat().st_mode & 0o777 == 0o600  # otherwise, this is not needed
        with atomic_path(tmp_path / "weights.safetensors") as file:
            save_file({"weight": np.zeros(3)}, file)
    finally:
        os.umask(before)
    assert {path.stat().st_mode & 0o777 for path in tmp_path.rglob("*.safetensors")} == {mode}
    assert len([*tmp_path.rglob("*")]) == 3


@pytest.mark.parametrize("killed", [False, True])
def test_a_folder_is_held_by_one_process_until_it_ends(tmp_path: Path, killed: bool) -> None:
    folder = tmp_path / "deep" / "folder"
    first = holder(folder)
    assert said(first) == "held"
    second = holder(folder)
    assert second.stderr is not None
    assert "another process works in" in second.stderr.readline()
    assert second.poll() is None
    if killed:
        first.kill()
        first.wait()
    else:
        first.communicate("\n")
    assert said(second) == "held"
    second.communicate("\n")
    assert list(folder.parent.iterdir()) == []


def test_a_folder_is_let_go_of_after_an_error(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="wrong"), exclusive(tmp_path / "folder"):
        raise ValueError("wrong")
    with exclusive(tmp_path / "folder"):
        pass
    assert list(tmp_path.iterdir()) == []


def test_what_fails_halfway_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "file.txt"
    path.write_text("old")

    def fail() -> None:
        with atomic_path(path) as temporary:
            temporary.write_text("ne")
            raise RuntimeError("halfway")

    with pytest.raises(RuntimeError, match="halfway"):
        fail()
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_no_file_takes_the_place_of_a_folder(tmp_path: Path) -> None:
    (folder := tmp_path / "mine").mkdir()
    (folder / "notes.txt").write_text("kept")
    with pytest.raises(IsADirectoryError), atomic_path(folder) as temporary:
        temporary.write_text("new")
    assert [*tmp_path.rglob("*")] == [folder, folder / "notes.txt"]


@pytest.mark.parametrize(
    ("command", "series", "output", "message"),
    [
        (predict, "mine.csv", "mine.csv", "mine.csv: would replace what is read from .*mine.csv; allowed"),
        (predict, "link.csv", "mine.csv", "mine.csv: would replace"),
        (explain, "mine.attributions.csv", "mine.png", "mine.attributions.csv: would replace"),
        (predict, "cases", "cases/1.csv", "1.csv: would replace what is read from .*cases"),
        (predict, "mine.csv", "cases", "cases: a folder; allowed: a file"),
        (explain, "cases", "mine.svg", "mine.svg: a folder"),
    ],
)
def test_a_command_replaces_nothing_that_it_reads_and_no_folder(
    command: Callable[..., None], series: str, output: str, message: str, tmp_path: Path
) -> None:
    (tmp_path / "cases").mkdir()
    (tmp_path / "mine.svg").mkdir()
    for name in ("mine.csv", "mine.attributions.csv", "cases/1.csv"):
        (tmp_path / name).write_text("1,2\n")
    (tmp_path / "link.csv").symlink_to(tmp_path / "mine.csv")
    with pytest.raises(InputError, match=message):
        command(tmp_path / "run", tmp_path / series, tmp_path / output)


def make_old(folder: Path) -> None:
    made = folder.stat().st_mtime - 2 * ABANDONED_SECONDS
    os.utime(folder, (made, made))


def test_what_a_killed_process_left_is_removed_and_what_another_writes_is_not(tmp_path: Path) -> None:
    path = tmp_path / "fol[d]er"
    killed, alive = holder(path, WRITER), holder(path, WRITER)
    left, used = Path(said(killed)), Path(said(alive))
    killed.kill()
    killed.wait()
    young = tmp_path / ".fol[d]er.12345678"
    young.mkdir()
    for folder in (left, used):
        make_old(folder)
    with atomic_path(path) as temporary:
        temporary.mkdir()
    assert sorted(tmp_path.iterdir()) == sorted([path, used, young])
    assert (used / path.name / "half").read_text() == "a half"
    alive.communicate("\n")
    assert [entry.name for entry in path.iterdir()] == ["half"]


def test_a_folder_that_is_held_is_refused(tmp_path: Path) -> None:
    lock = hold_folder(tmp_path / "results")
    with pytest.raises(
        InputError, match=r"results: another workflow is writing into this folder \(.*\.lock\)"
    ):
        hold_folder(tmp_path / "results")
    release_folder(lock)
    assert list((tmp_path / "results").iterdir()) == []
    release_folder(hold_folder(tmp_path / "results"))


def test_a_folder_that_cannot_be_written_to_is_refused(tmp_path: Path) -> None:
    (tmp_path / "results").write_text("a file")
    with pytest.raises(InputError, match=r"results: cannot be written to \(File exists\)"):
        hold_folder(tmp_path / "results")


def test_a_file_system_without_locks_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def refused(lock: FileLock) -> None:
        raise NotImplementedError("FileSystem does not appear to support flock")

    monkeypatch.setattr(FileLock, "_acquire", refused)
    release_folder(hold_folder(tmp_path))
    assert "the file system has no locks" in caplog.text
