"""Progress of a training: its log, stopping when it diverges, and the trackers TensorBoard and Weights & Biases."""

from __future__ import annotations

import csv
import importlib.util
import logging
import math
import os
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import Any

from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments
from transformers.integrations import TensorBoardCallback

from vlmtsc.errors import InputError
from vlmtsc.settings import TrackingSettings

logger = logging.getLogger(__name__)

#: A run diverges if this many logged losses in a row exceed so many times the loss of guessing among all tokens.
PATIENCE, DIVERGED = 5, 2.0
HINT = "A lower learning_rate, a longer warmup_ratio or precision=fp32 may help"
COLUMNS = (
    *("step", "epoch", "tokens", "loss", "learning_rate"),
    *("validation_loss", "selection_loss", "validation_accuracy"),
)
#: Project in Weights & Biases where ``WANDB_PROJECT`` is not set.
PROJECT = "vlm-tsc"


class TrainingLog(TrainerCallback):
    """Collects a row at each log of the Trainer, and reports progress.

    `name` is that of the run in messages. Tokens and cases are means over the optimizer steps of an epoch;
    `vocabulary` is the size of the model's vocabulary.
    """

    def __init__(self, name: str, tokens_per_step: float, cases_per_step: float, vocabulary: int) -> None:
        self.rows: list[dict[str, Any]] = []
        self._name = name
        self._tokens_per_step = tokens_per_step
        self._cases_per_step = cases_per_step
        self._highest_loss = DIVERGED * math.log(vocabulary)
        self._started = time.monotonic()
        self._first_step = 0

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any
    ) -> None:
        """Start the clock, at the step from which an interrupted run resumes."""
        self._started = time.monotonic()
        self._first_step = state.global_step

    def on_log(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        logs: dict[str, float] | None = None,
        **_: Any,
    ) -> None:
        """Store a row, check its loss and log a line of progress."""
        logs = logs or {}
        if "loss" not in logs and "eval_loss" not in logs:
            return  # the Trainer's summary at the end
        row = self._row(state.global_step, state.epoch or 0.0, logs)
        self.rows.append(row)
        check_finite(self._name, row, self.rows)
        check_divergence(self._name, self.rows, self._highest_loss)
        logger.info("%s", self._line(row, state))

    def _row(self, step: int, epoch: float, logs: dict[str, float]) -> dict[str, Any]:
        return {
            "step": step,
            "epoch": round(epoch, 4),
            "tokens": round(step * self._tokens_per_step),
            "loss": logs.get("loss"),
            "learning_rate": logs.get("learning_rate"),
            "validation_loss": logs.get("eval_loss"),
            "selection_loss": logs.get("eval_selection_loss"),
            "validation_accuracy": logs.get("eval_accuracy"),
        }

    def _line(self, row: dict[str, Any], state: TrainerState) -> str:
        head = f"{self._name}: step {row['step']}/{state.max_steps}, epoch {row['epoch']:.1f}"
        if row["validation_loss"] is not None:
            return f"{head}: validation loss {row['validation_loss']:.3f}, accuracy {row['validation_accuracy']:.1%}"
        elapsed = time.monotonic() - self._started
        rate = (state.global_step - self._first_step) / elapsed if elapsed > 0 else 0.0
        left = (state.max_steps - state.global_step) / rate if rate > 0 else float("nan")
        return (
            f"{head}: loss {row['loss']:.3f}, {rate * self._cases_per_step:.1f} samples/s, "
            f"{rate * self._tokens_per_step:.0f} tokens/s, {left / 60:.1f} min left"
        )

    def restore(self, history: list[dict[str, float]]) -> None:
        """Restore the rows of an interrupted run from the Trainer's history."""
        for logs in history:
            if "loss" in logs or "eval_loss" in logs:
                self.rows.append(self._row(int(logs["step"]), logs["epoch"], logs))

    def write_csv(self, path: Path) -> None:
        """Write all rows; cells without a value are empty."""
        with path.open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, COLUMNS)
            writer.writeheader()
            writer.writerows(self.rows)


def check_finite(name: str, row: dict[str, Any], rows: list[dict[str, Any]]) -> None:
    """Raise InputError if the latest loss is not finite."""
    loss = row["loss"] if row["loss"] is not None else row["validation_loss"]
    if loss is None or abs(loss) < float("inf"):
        return
    finite = [r for r in rows if r["loss"] is not None and abs(r["loss"]) < float("inf")]
    last = f"{finite[-1]['loss']:.4g} at step {finite[-1]['step']}" if finite else "none"
    raise InputError(f"{name}: the loss is {loss} at step {row['step']}; last finite loss: {last}. {HINT}")


def check_divergence(name: str, rows: list[dict[str, Any]], highest: float) -> None:
    """Raise InputError if the last `PATIENCE` training losses are all above `highest`."""
    newest_first = (row for row in reversed(rows) if row["loss"] is not None)
    recent = list(islice(newest_first, PATIENCE))
    if len(recent) < PATIENCE or any(row["loss"] <= highest for row in recent):
        return
    before = next((row for row in newest_first if row["loss"] <= highest), None)
    last = "none" if before is None else f"{before['loss']:.4g} at step {before['step']}"
    raise InputError(
        f"{name}: the training diverges: loss {recent[0]['loss']:.4g} at step {recent[0]['step']}, for {PATIENCE} "
        f"logs above {highest:.3g}; last loss below: {last}. {HINT}"
    )


def check_trackers(trackers: Sequence[str]) -> None:
    """Raise InputError if the package of a tracker is not installed."""
    for name in trackers:
        if importlib.util.find_spec(name) is None:
            raise InputError(f"tracking: {name} is not installed: pip install {name}; or tracking=[]")


@contextmanager
def tracked(tracking: TrackingSettings, config: Mapping[str, Any]) -> Iterator[None]:
    """Prepare the trackers to which the Trainer of the block reports (`report_to`), and close them.

    Event files of TensorBoard go to ``tensorboard/NAME`` in the folder of `tracking`. Weights & Biases is online with
    ``WANDB_API_KEY`` (unless ``WANDB_MODE`` says otherwise), else it stores the run in ``wandb/`` for ``wandb sync``;
    `config` describes the run there.
    """
    folder = Path(tracking.folder)
    os.environ["TENSORBOARD_LOGGING_DIR"] = str(folder / "tensorboard" / tracking.name)
    if "wandb" not in tracking.trackers or os.environ.get("RANK", "0") != "0":
        yield
        return
    import wandb

    folder.mkdir(parents=True, exist_ok=True)

    def begin(mode: Any) -> None:
        wandb.init(
            project=os.environ.get("WANDB_PROJECT", PROJECT),
            name=tracking.name,
            id=tracking.identity,  # of each attempt: a resumed training is one run
            resume="allow" if mode == "online" else None,
            dir=str(folder),
            mode=mode,
            config=dict(config),
            settings=wandb.Settings(console="off", silent=True, save_code=False),
        )

    try:
        begin(os.environ.get("WANDB_MODE", "online" if "WANDB_API_KEY" in os.environ else "offline"))
    except wandb.errors.Error as error:  # no reason not to train
        logger.warning("Weights & Biases: %s; the run is stored in %s/wandb", error, folder)
        begin("offline")
    failed = True
    try:
        yield
        failed = False
    finally:
        wandb.finish(exit_code=int(failed))


def discard_later_events(callbacks: Sequence[TrainerCallback], step: int) -> None:
    """Have TensorBoard discard what an interrupted attempt logged after `step`."""
    for callback in callbacks:
        if isinstance(callback, TensorBoardCallback):
            callback.tb_writer = callback._SummaryWriter(callback.logging_dir, purge_step=step + 1)
