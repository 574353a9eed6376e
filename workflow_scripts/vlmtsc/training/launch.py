"""Training in several processes on one machine, through `accelerate launch`.

Imports nothing heavy: the workflow reads this while it plans.
"""

from __future__ import annotations

import ctypes
import logging
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from vlmtsc.errors import InputError
from vlmtsc.training.settings import count_passes

logger = logging.getLogger("vlmtsc")

#: The module behind the command `accelerate launch`.
LAUNCHER = ("-m", "accelerate.commands.launch")
_PR_SET_PDEATHSIG = 1


@dataclass(frozen=True)
class LaunchSettings:
    """Processes of one training.

    Attributes
    ----------
    strategy : {"ddp", "fsdp"}
        ddp: each process has the whole model. fsdp: weights are sharded among the processes.
    processes : int
        One for each GPU.
    gpus : int
        0: the processes share the CPU.
    configurations : str
        Folder of configurations of `accelerate`.
    """

    strategy: Literal["ddp", "fsdp"]
    processes: int = 1
    gpus: int = 0
    configurations: str = "config/accelerate"

    @property
    def configuration(self) -> Path:
        """Configuration of `accelerate`; a single process has nothing to exchange, whatever the strategy."""
        name = self.strategy if self.processes > 1 else "single_gpu"
        return Path(self.configurations) / f"{name}.yaml"


def launch_of(row: Mapping[str, Any]) -> LaunchSettings | None:
    """Return the processes of one fine-tuning from a row of the table of models; None without `launch`."""
    if "launch" not in row:
        return None
    gpus = row["resources"]["gpu"]
    return LaunchSettings(**{"processes": max(1, gpus), "gpus": gpus, **row["launch"]})


def check_launch(row: Mapping[str, Any], recipe: Mapping[str, Any]) -> None:
    """Check that GPUs, processes and batches of a model are consistent.

    Parameters
    ----------
    row : mapping
        Of the table of models.
    recipe : mapping
        Its recipe, with the configuration's changes.

    Raises
    ------
    InputError
        If they are not.
    """
    gpus = row["resources"]["gpu"]
    launch = launch_of(row)
    if launch is None:
        if gpus > 1:
            raise InputError(
                f"resources.gpu={gpus} without launch; allowed: 1, or a launch, such as {{strategy: ddp}}"
            )
        return
    if gpus and launch.processes > gpus:
        raise InputError(f"launch.processes={launch.processes} for {gpus} GPUs; allowed: up to {gpus}")
    count_passes(recipe["batch_size"], recipe["micro_batch_size"], launch.processes)


def job_resources(row: Mapping[str, Any]) -> dict[str, Any]:
    """Return the resources of a fine-tuning job from a row of the table of models.

    With `launch`, ``nodes`` keeps all GPUs on one machine, and ``tasks_per_gpu`` of 0 keeps SLURM from starting a
    task, with its own share of the CPUs, for each GPU. None means that a resource is not requested.
    """
    launch = launch_of(row)
    return {
        **row["resources"],
        "nodes": None if launch is None else 1,
        "tasks_per_gpu": 0 if launch is not None and launch.gpus else None,
    }


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
        *("--config_file", str(settings.configuration)),
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
