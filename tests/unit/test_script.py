"""Scripts: messages on a full disk (/dev/full takes no byte), progress, imports."""

from __future__ import annotations

import errno
import logging
import os
import subprocess
import sys
import time
import zlib
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from conftest import ROOT

from vlmtsc import script
from vlmtsc.environment import clean

FULL = Path("/dev/full")
needs_full_disk = pytest.mark.skipif(not FULL.exists(), reason="no /dev/full")


def python() -> None:
    FULL.write_text("text")


def pytorch() -> None:
    torch.save({"weights": torch.zeros(200_000)}, FULL)


def tidied_up() -> None:
    """As matplotlib closes a PDF whose pages it could not write."""
    try:
        python()
    finally:
        raise zlib.error("Error -2 while flushing: inconsistent stream state")


@needs_full_disk
@pytest.mark.parametrize("write", [python, pytorch, tidied_up])
def test_a_full_disk_is_told_from_other_errors(write: Callable[[], None]) -> None:
    with pytest.raises(Exception) as caught:  # noqa: PT011 (each library has its own)
        write()
    assert str(script.no_room(caught.value)).startswith(os.strerror(errno.ENOSPC))


def test_words_of_the_system_in_errors_of_others() -> None:
    safetensors = RuntimeError("I/O error: No space left on device (os error 28)")
    assert script.no_room(safetensors) == "No space left on device"
    assert script.no_room(OSError(errno.ENOSPC, "No space left on device", "a.csv")) == (
        "No space left on device: a.csv"
    )
    assert script.no_room(FileNotFoundError(errno.ENOENT, "No such file", "a.csv")) is None
    assert script.no_room(ValueError("no such key")) is None


@needs_full_disk
def test_a_log_without_room_is_no_traceback(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    # The fixture of captured logs needs what is changed here.
    for name in ("handlers", "level", "propagate"):
        monkeypatch.setattr(script.logger, name, getattr(script.logger, name))
    monkeypatch.setattr(script.logger, "handlers", [])
    handler = script.LogFile(FULL, mode="w", encoding="utf-8")
    script.logger.addHandler(handler)
    script.logger.error("a message")
    assert "Traceback" not in capsys.readouterr().err
    # Another error of logging is reported as usual.
    handler.emit(logging.LogRecord("vlmtsc", logging.ERROR, "file", 1, "%d", ("no number",), None))
    assert "Traceback" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("script", "absent"),
    [
        ("build_conversations", ["torch", "pandas", "sklearn", "matplotlib"]),
        ("render_plots", ["torch", "transformers", "pandas", "scipy", "sklearn"]),
        ("preprocess_dataset", ["torch", "transformers", "pandas", "scipy", "sklearn", "matplotlib"]),
        ("summarise_dataset", ["torch", "transformers"]),
        ("write_tables", ["torch", "transformers"]),
    ],
)
def test_scripts_import_only_what_they_need(script: str, absent: list[str]) -> None:
    drawing = "vlmtsc.representation.plots" if script == "render_plots" else "vlmtsc.script"
    code = f"import sys, {script}, {drawing}; print([name for name in {absent!r} if name in sys.modules])"
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT / "workflow_scripts",
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.strip() == "[]"


def test_it_says_now_and_then_how_far_it_is(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    clock = iter([0.0, 10.0, 40.0, 40.0, 50.0, 100.0])
    monkeypatch.setattr(time, "monotonic", lambda: next(clock))
    assert script.EVERY_SECONDS == 30
    with caplog.at_level(logging.INFO):
        work = script.Progress(logging.getLogger("work"), "scoring", 100, "cases")
        work.update(10)  # too early
        work.update(40)
        work.update(60)  # too early again
        work.update(100)  # nothing left to wait for
    assert caplog.messages == ["scoring: 40 of 100 cases, 1.0 min left"]


def test_jobs_inherit_what_tells_where_things_are() -> None:
    kept = {
        "PATH",
        "HOME",
        "PYTHONPATH",
        "CUDA_VISIBLE_DEVICES",
        "HF_HOME",
        "HF_TOKEN",
        "HTTPS_PROXY",
        "TMPDIR",
    }
    kept |= {
        "SLURM_JOB_ID",
        "WANDB_API_KEY",
        "VLMTSC_DESCRIBER_KEY",
        "NUMBA_CACHE_DIR",
        "TORCHINDUCTOR_CACHE_DIR",
    }
    removed = {
        "RANK",
        "LOCAL_RANK",
        "WORLD_SIZE",
        "ACCELERATE_MIXED_PRECISION",
        "FSDP_VERSION",
        "NUMBA_DISABLE_JIT",
    }
    removed |= {"PYTHONWARNINGS", "PYTHONSAFEPATH", "PYTHONIOENCODING", "MPLBACKEND", "MKL_CBWR", "USE_TF"}
    environment = dict.fromkeys([*kept, *removed], "1")
    clean(environment)
    assert {*environment} == kept | {"PYTHONUTF8", "GLIBC_TUNABLES"}
