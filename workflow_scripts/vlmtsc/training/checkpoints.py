"""Checkpoints of an interrupted training: elapsed time and checksums with each, and which of them are intact."""

from __future__ import annotations

import json
import logging
import shutil
import time
import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from accelerate import PartialState
from safetensors import SafetensorError, safe_open
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments
from transformers.trainer_utils import PREFIX_CHECKPOINT_DIR

from vlmtsc.errors import InputError
from vlmtsc.files import fault_of_sums, read_json, write_json, write_sums
from vlmtsc.training.processes import Processes

logger = logging.getLogger(__name__)

STATE = "trainer_state.json"
#: Without any of these the Trainer would fail, or continue with a new optimizer.
NEEDED = (STATE, "adapter_model.safetensors", "optimizer.pt", "scheduler.pt")


class CheckpointFiles(TrainerCallback):
    """Stores elapsed time, earlier attempts included, and checksums of the weights with each checkpoint."""

    SECONDS = "seconds.json"

    def __init__(self) -> None:
        self._started = time.monotonic()
        self._before = 0.0

    @property
    def seconds(self) -> float:
        """Elapsed time; what an interrupted attempt did after its last checkpoint does not count."""
        return self._before + time.monotonic() - self._started

    def on_save(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any
    ) -> None:
        """Write both files; other processes may still be writing theirs."""
        if state.is_world_process_zero:
            folder = Path(str(args.output_dir)) / f"{PREFIX_CHECKPOINT_DIR}-{state.global_step}"
            write_json(folder / self.SECONDS, {"seconds": round(self.seconds, 1)})
            write_sums(folder, "*.safetensors")

    def count_earlier(self, seconds: float) -> None:
        """Count what an interrupted attempt did before its first checkpoint and this attempt does not repeat."""
        self._before = seconds

    def restore(self, folder: Path) -> None:
        """Continue from a checkpoint's elapsed time, if stored."""
        file = folder / self.SECONDS
        if file.is_file():
            self._before = float(read_json(file)["seconds"])


def claim_checkpoints(folder: Path, identity: Mapping[str, Any]) -> None:
    """Empty a folder of checkpoints unless they belong to the same training: a run and its `training_digest`."""
    marker = folder / "identity.json"
    intact = marker.is_file() and fault_of_file(marker) is None
    stored = json.loads(json.dumps(dict(identity)))  # JSON has lists for tuples
    if intact and read_json(marker) == stored:
        return
    shutil.rmtree(folder, ignore_errors=True)
    write_json(marker, stored)


def fault_of_file(path: Path) -> str | None:
    """Describe the fault of a checkpoint's or adapter's file; None if it is intact.

    JSON is parsed, safetensors must have the length in their header (``SHA256SUMS`` covers their bytes), and PyTorch's
    files are zip files with checksums. Nothing is unpickled.
    """
    try:
        if path.suffix == ".json":
            read_json(path)
        elif path.suffix == ".safetensors":
            with safe_open(path, "pt"):
                pass
        elif path.suffix in (".pt", ".pth", ".bin"):
            with zipfile.ZipFile(path) as archive:
                damaged = archive.testzip()
            return None if damaged is None else f"{path.name}: {damaged} is damaged"
    except InputError as error:
        return str(error)
    except (OSError, EOFError, SafetensorError, zipfile.BadZipFile, zlib.error) as error:
        return f"{path.name} cannot be read ({error})"
    return None


def fault_of_folder(folder: Path, needed: tuple[str, ...]) -> str | None:
    """Describe the first fault of a folder's files; None if all are intact and all `needed` ones exist."""
    for name in needed:
        if not (folder / name).is_file():
            return f"{name} is missing"
    files = sorted(path for path in folder.iterdir() if path.is_file())
    return next((fault for path in files if (fault := fault_of_file(path))), None) or fault_of_sums(folder)


def fault_of_checkpoint(checkpoint: Path, keep_best: bool, needed: tuple[str, ...] = NEEDED) -> str | None:
    """Describe why a run cannot resume from a checkpoint; None if it can.

    With `keep_best` the run restores its best checkpoint at the end, which then has to be intact too.
    """
    fault = fault_of_folder(checkpoint, needed)
    if fault is not None or not keep_best:
        return fault
    best = read_json(checkpoint / STATE).get("best_model_checkpoint")
    if best is None:
        return None
    beside = checkpoint.parent / Path(best).name
    fault = fault_of_folder(beside, needed)
    return None if fault is None else f"of {beside.name}, the best one, {fault}"


def latest_checkpoint(folder: Path, keep_best: bool, needed: tuple[str, ...] = NEEDED) -> Path | None:
    """Return the newest intact checkpoint of a folder, if any, and remove newer ones.

    The Trainer keeps the checkpoint of the highest step: it would remove new ones in favour of a damaged one.
    """
    checkpoints = [path for path in folder.glob(f"{PREFIX_CHECKPOINT_DIR}-*") if path.is_dir()]
    for checkpoint in sorted(checkpoints, key=lambda path: -int(path.name.rpartition("-")[2])):
        fault = fault_of_checkpoint(checkpoint, keep_best, needed)
        if fault is None:
            return checkpoint
        logger.warning("%s: cannot resume from it: %s", checkpoint, fault)
        shutil.rmtree(checkpoint)
    return None


def agreed_checkpoint(folder: Path, processes: Processes, *, keep_best: bool, sharded: bool) -> Path | None:
    """Return the same `latest_checkpoint` in all processes; with FSDP its files are sharded and have other names."""
    if processes.count == 1:
        return latest_checkpoint(folder, keep_best)
    random_states = (f"rng_state_{rank}.pth" for rank in range(processes.count))
    needed = (*((STATE,) if sharded else NEEDED), *random_states)
    if processes.is_main:
        latest_checkpoint(folder, keep_best, needed)
    PartialState().wait_for_everyone()  # until damaged ones are removed
    return latest_checkpoint(folder, keep_best, needed)
