"""Files that no reader sees half of, and folders that one process holds alone."""

from __future__ import annotations

import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from vlmtsc.files import atomic_path, exclusive

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


def holder(folder: Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(folder)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def said(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


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
