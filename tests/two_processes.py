"""Fine-tunings of a tiny model in two processes of this machine, which exchange through gloo."""

from __future__ import annotations

import multiprocessing
import os
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from accelerate.commands.launch import _validate_launch_command, launch_command_parser
from accelerate.state import AcceleratorState, PartialState
from accelerate.utils import DistributedType
from accelerate.utils.launch import prepare_multi_gpu_env
from tiny_llava import TinyTask

from vlmtsc.settings import LaunchSettings, MemorySettings
from vlmtsc.training.finetune import finetune
from vlmtsc.training.processes import LAUNCHER, launch_command, trained_state
from vlmtsc.training.progress import TrainingLog

ROOT = Path(__file__).parents[1]
PROCESSES = 2
#: Imported once, by the process that the others are forked from.
PRELOADED = [
    "accelerate",
    "peft",
    "transformers.trainer",
    "transformers.models.clip.modeling_clip",
    "transformers.models.llama.modeling_llama",
    "transformers.models.llava.modeling_llava",
]
SECONDS = 150


class Interruption(Exception):
    """Stands for a machine that goes away."""


@dataclass(frozen=True)
class Training:
    """One fine-tuning: its inputs, changes of the recipe and folder; and the step at which it is interrupted."""

    checkpoint: Path
    task: TinyTask
    changes: dict[str, Any]
    folder: Path
    interrupted_at: int | None = None
    checkpointed: bool = False

    def run(self) -> tuple[dict[str, torch.Tensor], list[dict[str, Any]], dict[str, Any]] | None:
        """Return the adapter's tensors, log and record; None if it was interrupted."""
        on_log = TrainingLog.on_log

        def interrupted(log, args, state, *rest, **keywords):  # type: ignore[no-untyped-def]
            on_log(log, args, state, *rest, **keywords)
            if state.global_step == self.interrupted_at:
                raise Interruption

        TrainingLog.on_log = interrupted  # type: ignore[method-assign]
        try:
            memory = MemorySettings(evaluation_batch_size=2, activation_checkpointing=self.checkpointed)
            done = finetune(self.task.job(self.checkpoint, self.folder, memory=memory, **self.changes))
        except Interruption:
            return None
        finally:
            TrainingLog.on_log = on_log  # type: ignore[method-assign]
        state = trained_state(done.model)
        if state is None:
            state = {
                name: tensor.detach()
                for name, tensor in done.model.named_parameters()
                if tensor.requires_grad or "modules_to_save" in name  # a frozen projector is saved too
            }
        return state, done.log.rows, done.record


def run_together(strategy: str, trainings: Sequence[Training], folder: Path) -> list[Any]:
    """Run trainings in two processes, one after the other; return what the first process found."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(PRELOADED)
    environment = shipped_environment(strategy)
    workers = [
        context.Process(target=_work, args=(rank, environment, trainings, folder / "outcomes.pt"))
        for rank in range(PROCESSES)
    ]
    for worker in workers:
        worker.start()
    try:
        end = time.monotonic() + SECONDS
        # One that fails leaves the other waiting.
        while {worker.exitcode for worker in workers} <= {None, 0} and time.monotonic() < end:
            if all(worker.exitcode == 0 for worker in workers):
                break
            time.sleep(0.1)
        assert [worker.exitcode for worker in workers] == [0] * PROCESSES
    finally:
        for worker in workers:
            worker.kill()
    return torch.load(folder / "outcomes.pt", weights_only=False)


def shipped_environment(strategy: str) -> dict[str, str]:
    """Give the environment that `accelerate launch` makes of the shipped configuration."""
    settings = LaunchSettings(
        strategy=strategy, processes=PROCESSES, configurations=str(ROOT / "config/accelerate")
    )  # type: ignore[arg-type]
    command = launch_command(settings, ["worker.py"], threads=PROCESSES)
    arguments, *_ = _validate_launch_command(launch_command_parser().parse_args(command[1 + len(LAUNCHER) :]))
    environment = prepare_multi_gpu_env(arguments)
    return {
        **environment,
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": arguments.master_port,
        "WORLD_SIZE": str(PROCESSES),
        "LOCAL_WORLD_SIZE": str(PROCESSES),
        "CUDA_VISIBLE_DEVICES": "",
    }


def _work(rank: int, environment: dict[str, str], trainings: Sequence[Training], outcomes: Path) -> None:
    os.environ.update(environment, RANK=str(rank), LOCAL_RANK=str(rank))
    if environment.get("ACCELERATE_USE_FSDP") == "true":
        _shard_on_the_processor()
    found = [training.run() for training in trainings]
    if rank == 0:
        torch.save(found, outcomes)
    torch.distributed.destroy_process_group()


def _shard_on_the_processor() -> None:
    """Let accelerate shard a model on the processor: PyTorch can, accelerate asks for an accelerator first."""
    init = AcceleratorState.__init__

    def sharding(state, *arguments, fsdp_plugin=None, **keywords):  # type: ignore[no-untyped-def]
        init(state, *arguments, fsdp_plugin=fsdp_plugin, **keywords)
        if state.distributed_type == DistributedType.MULTI_CPU:
            state.distributed_type = DistributedType.FSDP
            state.fsdp_plugin = fsdp_plugin
            PartialState._shared_state["distributed_type"] = DistributedType.FSDP

    AcceleratorState.__init__ = sharding  # type: ignore[method-assign]
