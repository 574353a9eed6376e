"""Starting the processes of one training: `accelerate launch`, with what SLURM or the machine gives.

Imports nothing heavy: the workflow reads this while it plans.
"""

from __future__ import annotations

import ctypes
import logging
import re
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
#: What a node runs: only there is known which of the nodes it is. Everything else comes as arguments.
ON_A_NODE = 'exec "$0" "$1" "$2" --machine_rank "$SLURM_NODEID" "${@:3}"'
_PR_SET_PDEATHSIG = 1


@dataclass(frozen=True)
class LaunchSettings:
    """How one training is divided among processes.

    Attributes
    ----------
    strategy : {"ddp", "fsdp"}
        ddp: each process has the whole model. fsdp: its weights are divided too.
    nodes : int
        Machines; more than one needs SLURM.
    processes : int
        On each node: one for each GPU.
    gpus : int
        GPUs of each node; 0: the processor computes.
    configurations : str
        Folder of configurations of `accelerate`.
    """

    strategy: Literal["ddp", "fsdp"]
    nodes: int = 1
    processes: int = 1
    gpus: int = 0
    configurations: str = "config/accelerate"

    @property
    def total(self) -> int:
        """Processes on all nodes."""
        return self.nodes * self.processes

    @property
    def configuration(self) -> Path:
        """Configuration of `accelerate`; one process has nothing to exchange, whatever the strategy."""
        name = self.strategy if self.total > 1 else "single_gpu"
        return Path(self.configurations) / f"{name}.yaml"


def launch_of(row: Mapping[str, Any]) -> LaunchSettings | None:
    """Return the processes of one fine-tuning from a row of the table of models; None without a launch."""
    if "launch" not in row:
        return None
    gpus = row["resources"]["gpu"]
    return LaunchSettings(**{"processes": max(1, gpus), "gpus": gpus, **row["launch"]})


def check_launch(row: Mapping[str, Any], recipe: Mapping[str, Any]) -> None:
    """Check that the GPUs, processes and batches of a model go together.

    Parameters
    ----------
    row : mapping
        Of the table of models.
    recipe : mapping
        Its recipe, with the configuration's changes.

    Raises
    ------
    InputError
        If they do not.
    """
    gpus = row["resources"]["gpu"]
    launch = launch_of(row)
    if launch is None and gpus > 1:
        raise InputError(
            f"resources.gpu={gpus} without launch; allowed: 1, or a launch, such as {{strategy: ddp}}"
        )
    if launch is not None:
        if gpus and launch.processes > gpus:
            raise InputError(f"launch.processes={launch.processes} for {gpus} GPUs; allowed: up to {gpus}")
        count_passes(recipe["batch_size"], recipe["micro_batch_size"], launch.total)


def job_resources(row: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a fine-tuning asks Snakemake and, through it, SLURM for.

    `sbatch` counts GPUs on all nodes together, and threads and memory on each. All GPUs of a node belong to one
    task: with the plugin's one task for each GPU, they would have a share of the processors each. A job on several
    nodes is not put into a task of the first one (`mpi`), since it starts its own.

    Parameters
    ----------
    row : mapping
        Of the table of models.

    Returns
    -------
    dict
        threads, mem_mb, runtime, gpu, nodes, tasks, tasks_per_gpu, mpi. None is not asked for.
    """
    resources: dict[str, Any] = {
        **row["resources"],
        **dict.fromkeys(("nodes", "tasks", "tasks_per_gpu", "mpi")),
    }
    launch = launch_of(row)
    if launch is not None:
        resources |= {"gpu": launch.nodes * launch.gpus, "nodes": launch.nodes}
        resources["tasks_per_gpu"] = 0 if launch.gpus else None
        if launch.nodes > 1:
            resources |= {"tasks": launch.nodes, "mpi": "srun"}
    return resources


def launch_command(
    settings: LaunchSettings,
    worker: Sequence[str],
    *,
    threads: int,
    environment: Mapping[str, str],
    host: str,
    python: str = sys.executable,
) -> list[str]:
    """Build the command that starts all processes of a training.

    Parameters
    ----------
    settings : LaunchSettings
    worker : sequence of str
        Script and arguments that every process runs.
    threads : int
        CPU threads of each node, divided among its processes.
    environment : mapping of str to str
        Environment variables; those of SLURM tell what a job was given.
    host : str
        Name of this machine: the meeting point of a job that does not know its nodes.
    python : str
        Interpreter, on every node.

    Returns
    -------
    list of str
        Without a shell's help: no argument needs quoting.

    Raises
    ------
    InputError
        If several nodes are asked for outside a job of SLURM, or in one that has another number of them.
    """
    options = [
        *("--config_file", str(settings.configuration)),
        *("--num_processes", str(settings.total)),
        *("--num_machines", str(settings.nodes)),
        *("--num_cpu_threads_per_process", str(max(1, threads // settings.processes))),
    ]
    if settings.nodes == 1:
        # Trainings side by side: each looks for a port of its own.
        port = ("--main_process_port", "0") if settings.total > 1 else ()
        return [python, *LAUNCHER, *options, *port, *worker]
    job = environment.get("SLURM_JOB_ID")
    if job is None:
        raise InputError(f"launch.nodes={settings.nodes}; allowed outside a SLURM job: 1 (profiles/slurm)")
    given = environment.get("SLURM_JOB_NUM_NODES", environment.get("SLURM_NNODES", str(settings.nodes)))
    if int(given) != settings.nodes:
        raise InputError(f"launch.nodes={settings.nodes}; SLURM job {job} has {given}")
    nodes = environment.get("SLURM_JOB_NODELIST")
    meeting = first_host(nodes) if nodes else host
    step = [
        "srun",
        f"--nodes={settings.nodes}",
        f"--ntasks={settings.nodes}",
        "--ntasks-per-node=1",
        f"--cpus-per-task={threads}",
        "--cpu-bind=none",
        *([f"--gres=gpu:{settings.gpus}"] if settings.gpus else []),
        "--kill-on-bad-exit=1",
    ]
    meet = ["--main_process_ip", meeting, "--main_process_port", str(port_of_job(job))]
    return [*step, "bash", "-c", ON_A_NODE, python, *LAUNCHER, *options, *meet, *worker]


def first_host(nodes: str) -> str:
    """Return the first of a list of nodes in SLURM's notation.

    Examples
    --------
    >>> first_host("gpu[007-009,12],login")
    'gpu007'
    """
    head = re.match(r"[^,\[]+", nodes)
    rest = re.match(r"[^,\[]*\[(\d+)[^\]]*\]([^,]*)", nodes)
    if head is None:
        raise InputError(f"SLURM_JOB_NODELIST={nodes!r}; allowed: names of nodes")
    return head[0] + rest[1] + rest[2] if rest else head[0]


def port_of_job(job: str) -> int:
    """Return the port at which the nodes of a job meet; two jobs on a node seldom share one."""
    return 10000 + int(job) % 20000


def run_processes(command: Sequence[str]) -> int:
    """Run a command, pass what it prints on to the log, and return its status.

    It ends with this process, however that ends: a training that nobody waits for would go on writing.
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
    """Ask the kernel to end this process when its parent ends. Linux only; elsewhere nothing happens."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
