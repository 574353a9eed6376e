"""Training in several processes on one machine, through `accelerate launch`."""

from __future__ import annotations

import ctypes
import logging
import signal
import subprocess
import sys
from collections.abc import Sequence

from vlmtsc.settings import LaunchSettings

logger = logging.getLogger("vlmtsc")

#: The module behind the command `accelerate launch`.
LAUNCHER = ("-m", "accelerate.commands.launch")
_PR_SET_PDEATHSIG = 1


def launch_command(
    settings: LaunchSettings, worker: Sequence[str], *, threads: int, python: str = sys.executable
) -> list[str]:
    """Return the command that starts all processes of a training.

    Parameters
    ----------
    settings : LaunchSettings
    worker : sequence of str
        Script and arguments that every process runs.
    threads : int
        CPU threads, divided among the processes.
    python : str
        Interpreter.
    """
    options = [
        *("--config_file", settings.configuration),
        *("--num_processes", str(settings.processes)),
        *("--num_machines", "1"),
        *("--num_cpu_threads_per_process", str(max(1, threads // settings.processes))),
    ]
    # Port 0: concurrent trainings each find a free one.
    port = ("--main_process_port", "0") if settings.processes > 1 else ()
    return [python, *LAUNCHER, *options, *port, *worker]


def run_processes(command: Sequence[str]) -> int:
    """Run a command, copy its output to the log, and return its status.

    The command ends with this process, however that ends: otherwise an orphaned training would go on writing.
    """
    with subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        preexec_fn=end_with_parent,
    ) as process:
        assert process.stdout is not None
        streams = [
            handler.stream for handler in logger.handlers if isinstance(handler, logging.StreamHandler)
        ]
        for line in process.stdout:
            for stream in streams or [sys.stderr]:
                stream.write(line)
                stream.flush()
    return process.returncode


def end_with_parent() -> None:
    """Have the kernel end this process when its parent ends. Linux only; no effect elsewhere."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
