"""Fine-tune a model on one scenario of one dataset."""

from __future__ import annotations

import json
import logging
import shutil
from contextlib import nullcontext
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import train_adapter
from vlmtsc.code_digest import code_digest
from vlmtsc.errors import InputError
from vlmtsc.files import digest_of_files, exclusive, read_json, write_json
from vlmtsc.model.devices import claim_gpus, list_gpus
from vlmtsc.script import heavy_imports, run_script
from vlmtsc.settings import FinetuneSettings, LaunchSettings, MemorySettings, Settings, TrackingSettings
from vlmtsc.training.launch import launch_command, run_processes

logger = logging.getLogger("vlmtsc.finetune_model")


@dataclass(frozen=True)
class RunName:
    """What identifies a run in records and tables.

    Attributes
    ----------
    model, dataset, protocol, scenario : str
    seed : int
    """

    model: str
    dataset: str
    protocol: str
    scenario: str
    seed: int

    def __str__(self) -> str:
        return f"{self.model}/{self.dataset}/{self.scenario}/seed-{self.seed}"

    @property
    def path(self) -> str:
        """What sets a run apart from every other."""
        return f"{self.model}/{self.dataset}/{self.protocol}/{self.scenario}/seed-{self.seed}"


def finetune_model(
    run: RunName,
    model: Path,
    train: Path,
    validation: Path,
    representation: Path,
    settings: FinetuneSettings,
    checkpoints: Path,
    adapter: Path,
    parameters: Path,
    training_log: Path,
    run_record: Path,
    plots: Path | None = None,
    shared: Path | None = None,
    threads: int = 1,
    gpus: int = 0,
    memory: MemorySettings = MemorySettings(),  # noqa: B008 (frozen)
    trackers: tuple[Literal["tensorboard", "wandb"], ...] = (),
    tracking: Path | None = None,
    launch: LaunchSettings | None = None,
    log: Path | None = None,
) -> None:
    """Fine-tune a model with LoRA on one scenario of one dataset.

    Parameters
    ----------
    run : RunName
        What the run is called.
    model : Path
        Checkpoint folder.
    train, validation, representation : Path
        Conversations (.json) and what made them.
    settings : FinetuneSettings
        The recipe and the seed.
    checkpoints : Path
        Folder for the state after each epoch; an interrupted run goes on from it, a finished one removes it.
    adapter : Path
        Adapter folder to write (safetensors).
    parameters : Path
        Resolved settings (.json) to write.
    training_log : Path
        Losses and rates (.csv) to write.
    run_record : Path
        Counts, costs, versions and hardware (.json) to write; those of the run that trained, which
        `shared_with` names if it is another one.
    plots : Path, optional
        Folder of plots.
    shared : Path, optional
        Folder that says which runs have trained what. A run that would repeat another one's training takes its
        outputs, and waits for them if it is still going on. Without this folder every run trains.
    threads : int, default 1
        Threads of each tensor operation; with `launch`, of each node.
    gpus : int, default 0
        GPUs to take for this run alone; 0: whatever PyTorch sees.
    memory : MemorySettings
        What the job may hold in memory; changes nothing of the result.
    trackers : sequence of {"tensorboard", "wandb"}, default ()
        Where losses and rates also go while the run trains.
    tracking : Path, optional
        Folder for what trackers write. Default: beside the checkpoints.
    launch : LaunchSettings, optional
        Train in several processes, which this one starts and waits for.
    log : Path, optional
        File for messages.
    """
    with heavy_imports():
        from vlmtsc.model.requirements import check_kernels
        from vlmtsc.representation.representation import Representation
        from vlmtsc.training.finetune import claim_checkpoints
        from vlmtsc.training.sharing import SharedRuns, take_outputs, training_digest
        from vlmtsc.training.tracking import check_trackers

    check_trackers(trackers)
    check_kernels(
        attention=settings.attention,
        quantization=settings.quantization,
        precision=settings.precision,
        has_gpu=bool(list_gpus()),
    )
    parts = {"train": read_json(train), "validation": read_json(validation)}
    fitted = Representation.load(representation)
    code = code_digest(Path(__file__), Path(__file__).parent)
    digest = training_digest(
        model, parts, fitted, settings, plots=plots, threads=threads, code=code, launch=launch
    )
    resolved = {
        "run": asdict(run),
        "finetune": settings.model_dump(),
        "representation": read_json(representation),
        "inputs": {path.name: digest_of_files([path]) for path in (train, validation)},
    }
    runs = SharedRuns(shared) if shared is not None else None
    # A job left behind by a killed workflow may still be training the same run.
    with (
        exclusive(checkpoints),
        runs.claim(digest, run_record.parent) if runs is not None else nullcontext() as source,
    ):
        if source is None:
            processes = None if launch is None else launch.model_dump()
            claim_checkpoints(checkpoints, resolved | {"threads": threads, "launch": processes})
            training: dict[str, Any] = {
                "name": str(run),
                "base": run.model,
                "model": model,
                "train": train,
                "validation": validation,
                "representation": representation,
                "settings": settings,
                "checkpoints": checkpoints,
                "adapter": adapter,
                "training_log": training_log,
                "plots": plots,
                "memory": memory,
                "tracking": TrackingSettings(
                    trackers=trackers,
                    folder=str(tracking or checkpoints.parent),
                    name=run.path,
                    identity=digest[:32],
                ),
                "description": asdict(run),
            }
            with claim_gpus(gpus):
                if launch is None:
                    record = train_adapter.train_adapter(**training, threads=threads)
                else:
                    record = train_together(launch, threads, training)
            record |= {"shared_with": None, "training_digest": digest}
        else:
            record = take_outputs(source, adapter, training_log)
            logger.info(
                "%s: has the inputs and settings of %s and takes its outputs", run, record["shared_with"]
            )
        write_json(parameters, resolved)
        write_json(run_record, record | asdict(run))
        if runs is not None:
            runs.add(digest, run_record.parent)
        shutil.rmtree(checkpoints, ignore_errors=True)
    logger.info(
        "%s: %d steps in %.0f s, validation accuracy %.1f%%",
        run,
        record["steps"],
        record["wall_seconds"],
        100 * record["validation_accuracy"],
    )


def train_together(launch: LaunchSettings, threads: int, training: dict[str, Any]) -> dict[str, Any]:
    """Start the processes of a training, wait for them, and return the record that they leave.

    Parameters
    ----------
    launch : LaunchSettings
    threads : int
        CPU threads of each node.
    training : dict
        Arguments of `train_adapter`, but for its threads.

    Raises
    ------
    InputError
        If the input was wrong; with the message of the process that found it.
    RuntimeError
        If a process ended otherwise.
    """
    record, failure = (training["checkpoints"] / name for name in ("record.json", "failure.json"))
    failure.unlink(missing_ok=True)
    arguments = {
        **training,
        "threads": max(1, threads // launch.processes),
        "record": record,
        "failure": failure,
    }
    worker = [str(Path(train_adapter.__file__))]
    for name, value in arguments.items():
        if value is not None:
            if isinstance(value, Settings):
                value = value.model_dump()
            text = json.dumps(value) if isinstance(value, dict) else str(value)
            worker += [f"--{name}", text]
    command = launch_command(launch, worker, threads=threads)
    logger.info("%s: %d processes, %s", training["name"], launch.processes, launch.configuration)
    status = run_processes(command)
    if status and failure.is_file():
        raise InputError(read_json(failure)["message"])
    if status:
        raise RuntimeError(
            f"{training['name']}: a process of the training failed, status {status}; see above"
        )
    return read_json(record)


if __name__ == "__main__":
    run_script(finetune_model)
