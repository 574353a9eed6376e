"""One training in several processes of a machine: starting them (`accelerate launch`), and dividing the work."""

from __future__ import annotations

import ctypes
import logging
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from accelerate import PartialState
from torch import nn
from torch.distributed.tensor import DTensor
from torch.utils.data import Sampler
from transformers import PreTrainedModel

from vlmtsc.examples import PADDING
from vlmtsc.model.adapter import is_saved_whole
from vlmtsc.settings import LaunchSettings

logger = logging.getLogger("vlmtsc")

#: The module behind the command `accelerate launch`.
LAUNCHER = ("-m", "accelerate.commands.launch")
_PR_SET_PDEATHSIG = 1


def launch_command(settings: LaunchSettings, worker: Sequence[str], *, threads: int) -> list[str]:
    """Return the command that runs `worker`, a script and its arguments, in all processes; they share the threads."""
    options = [
        *("--config_file", settings.configuration),
        *("--num_processes", str(settings.processes)),
        *("--num_machines", "1"),
        *("--num_cpu_threads_per_process", str(max(1, threads // settings.processes))),
    ]
    # Port 0: concurrent trainings each find a free one.
    port = ("--main_process_port", "0") if settings.processes > 1 else ()
    return [sys.executable, *LAUNCHER, *options, *port, *worker]


def run_command(command: Sequence[str]) -> int:
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
        handlers = [handler for handler in logger.handlers if isinstance(handler, logging.StreamHandler)]
        for line in process.stdout:
            for stream in [handler.stream for handler in handlers] or [sys.stderr]:
                stream.write(line)
                stream.flush()
    return process.returncode


def end_with_parent() -> None:
    """Have the kernel end this process when its parent ends. Linux only; no effect elsewhere."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)


@dataclass(frozen=True)
class Processes:
    """The processes of one training, as seen from one of them: their number, and its rank.

    Rank 0 is the main process, which writes files and messages.
    """

    count: int = 1
    rank: int = 0

    @property
    def is_main(self) -> bool:
        """Whether this is the main process."""
        return self.rank == 0


def join_processes() -> Processes:
    """Join the processes that `accelerate launch` started, if any, and choose this one's GPU."""
    if int(os.environ.get("WORLD_SIZE", "1")) == 1:
        return Processes()
    state = PartialState(cpu=not torch.cuda.is_available())
    return Processes(state.num_processes, state.process_index)


def name_sharded_layers(model: PreTrainedModel) -> None:
    """Tell accelerate which layers of a model `fsdp` gathers one at a time: those of the decoder.

    The vision tower is called by itself, once for each image; every process has all of it, but for a projector in it.
    """
    tower = model.architecture.tower
    inside = [
        name.removeprefix(f"{tower}.").split(".")[0]
        for name in model.architecture.projector
        if name.startswith(f"{tower}.")
    ]
    left_out = rf"\.(?!{'|'.join(map(re.escape, inside))}).+" if inside else ""
    os.environ["FSDP_TRANSFORMER_CLS_TO_WRAP"] = type(model.get_decoder().layers[0]).__name__
    os.environ["FSDP_IGNORED_MODULES"] = f".*{re.escape(tower)}{left_out}"


class PaddedSampler(Sampler[int]):
    """Pads an epoch to a multiple of the cases in one forward pass of all processes.

    Padding (`PADDING`) has no loss, unlike the cases that the Trainer would repeat: each step has the cases, and their
    weights, of a training in one process.
    """

    def __init__(self, order: Sampler[int], multiple: int) -> None:
        self._order = order
        self._multiple = multiple

    def set_epoch(self, epoch: int) -> None:
        """Pass the epoch on to the order."""
        if hasattr(self._order, "set_epoch"):
            self._order.set_epoch(epoch)

    def __len__(self) -> int:
        cases = len(self._order)
        return cases + -cases % self._multiple

    def __iter__(self) -> Iterator[int]:
        yield from self._order
        yield from [PADDING] * (len(self) - len(self._order))


def divide_work(sizes: Sequence[int], count: int) -> list[list[int]]:
    """Return the positions of each process's cases, given their tokens: equally many, of similar lengths.

    Some cases are repeated to fill up.
    """
    order = sorted(range(len(sizes)), key=lambda case: -sizes[case])
    each = -(-len(order) // count)
    return [[order[(turn * count + rank) % len(order)] for turn in range(each)] for rank in range(count)]


def gather_scores(scores: np.ndarray, shares: Sequence[Sequence[int]], device: torch.device) -> np.ndarray:
    """Gather the class scores of all processes in each of them, through `device`: float64, shape (n_cases, n_classes).

    `scores` are those of this process's share of `divide_work`.
    """
    local = torch.as_tensor(scores, device=device)
    parts = [torch.empty_like(local) for _ in shares]
    torch.distributed.all_gather(parts, local)
    positions = [case for share in shares for case in share]
    gathered = np.empty((max(positions) + 1, scores.shape[1]))
    gathered[positions] = torch.cat(parts).cpu().numpy()
    return gathered


def trained_state(model: nn.Module) -> dict[str, torch.Tensor] | None:
    """Gather the tensors of an adapter, a frozen projector included; None if parameters are not sharded.

    Every process has to call it.
    """
    trained = {
        name: tensor
        for name, tensor in model.named_parameters()
        if tensor.requires_grad or is_saved_whole(name)
    }
    if not any(isinstance(tensor, DTensor) for tensor in trained.values()):
        return None
    return {
        name: (tensor.full_tensor() if isinstance(tensor, DTensor) else tensor).detach().cpu()
        for name, tensor in trained.items()
    }
