"""What is put beside each state of a run that the Trainer saves: the time it took until then, and digests."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments
from transformers.trainer_utils import PREFIX_CHECKPOINT_DIR

from vlmtsc.files import read_json, write_json, write_sums


def folder_of_state(args: TrainingArguments, state: TrainerState) -> Path:
    """Return the folder of the state that has just been saved."""
    return Path(str(args.output_dir)) / f"{PREFIX_CHECKPOINT_DIR}-{state.global_step}"


class Stopwatch(TrainerCallback):
    """Measures what a run takes by the clock, with what was spent before it was interrupted.

    Each state of the run says what had been spent until then. What came after the last of them is lost with it.
    """

    FILE = "seconds.json"

    def __init__(self) -> None:
        self._started = time.monotonic()
        self._before = 0.0

    @property
    def seconds(self) -> float:
        """What the run has taken until now."""
        return self._before + time.monotonic() - self._started

    def on_save(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any
    ) -> None:
        """Put the time beside the state."""
        if state.is_world_process_zero:
            write_json(folder_of_state(args, state) / self.FILE, {"seconds": round(self.seconds, 1)})

    def restore(self, folder: Path) -> None:
        """Take over what a state says; nothing if the run ended between the state and its time."""
        file = folder / self.FILE
        if file.is_file():
            self._before = float(read_json(file)["seconds"])


class StateSums(TrainerCallback):
    """Puts a digest of the weights beside each state: their files have no checksum of their own."""

    def on_save(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any
    ) -> None:
        """Write ``SHA256SUMS``. Other processes may still be writing files of other kinds."""
        if state.is_world_process_zero:
            write_sums(folder_of_state(args, state), "*.safetensors")
