"""What a person sees while a run trains, and what remains as CSV."""

from __future__ import annotations

import csv
import logging
import math
import time
from itertools import islice
from pathlib import Path
from typing import Any

from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from vlmtsc.errors import InputError

logger = logging.getLogger(__name__)

#: A loss above so many times that of guessing among all tokens, so many logs one after the other, is no noise.
DIVERGED, PATIENCE = 2.0, 5
HINT = "A lower learning_rate, a longer warmup_ratio or precision=fp32 may help"
COLUMNS = (
    "step",
    "epoch",
    "tokens",
    "loss",
    "learning_rate",
    "validation_loss",
    "validation_accuracy",
)


class TrainingLog(TrainerCallback):
    """Collects a row at each log of the Trainer, and says how far the run is.

    Parameters
    ----------
    name : str
        Name of the run in messages.
    tokens_per_step : float
        Mean training tokens of an optimizer step.
    cases_per_step : float
        Mean training cases of an optimizer step.
    vocabulary : int
        Tokens that the model chooses from.
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
        """Start the clock, at the step from which an interrupted run goes on."""
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
        """Keep the row, and write a line of progress."""
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
            "validation_accuracy": logs.get("eval_accuracy"),
        }

    def _line(self, row: dict[str, Any], state: TrainerState) -> str:
        head = f"{self._name}: step {row['step']}/{state.max_steps}, epoch {row['epoch']:.1f}"
        if row["validation_loss"] is not None:
            return f"{head}: validation loss {row['validation_loss']:.3f}, accuracy {row['validation_accuracy']:.1%}"
        done = state.global_step - self._first_step
        elapsed = time.monotonic() - self._started
        rate = done / elapsed if elapsed > 0 else 0.0
        left = (state.max_steps - state.global_step) / rate if rate > 0 else float("nan")
        return (
            f"{head}: loss {row['loss']:.3f}, {rate * self._cases_per_step:.1f} samples/s, "
            f"{rate * self._tokens_per_step:.0f} tokens/s, {left / 60:.1f} min left"
        )

    def restore(self, history: list[dict[str, float]]) -> None:
        """Take over the rows of an interrupted run from the Trainer's own history."""
        for logs in history:
            if "loss" in logs or "eval_loss" in logs:
                self.rows.append(self._row(int(logs["step"]), logs["epoch"], logs))

    def write_csv(self, path: Path) -> None:
        """Write all rows; a cell without a value stays empty."""
        with path.open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, COLUMNS)
            writer.writeheader()
            writer.writerows(self.rows)


def check_finite(name: str, row: dict[str, Any], rows: list[dict[str, Any]]) -> None:
    """Stop a run whose loss is no longer a number.

    Raises
    ------
    InputError
        With the step, the last finite loss and what to try.
    """
    loss = row["loss"] if row["loss"] is not None else row["validation_loss"]
    if loss is None or abs(loss) < float("inf"):
        return
    finite = [r for r in rows if r["loss"] is not None and abs(r["loss"]) < float("inf")]
    last = f"{finite[-1]['loss']:.4g} at step {finite[-1]['step']}" if finite else "none"
    raise InputError(f"{name}: the loss is {loss} at step {row['step']}; last finite loss: {last}. {HINT}")


def check_divergence(name: str, rows: list[dict[str, Any]], highest: float) -> None:
    """Stop a run whose last losses are all far above that of guessing among all tokens: it will not come back.

    Raises
    ------
    InputError
        With the step, the loss there, the last one that was not as high, and what to try.
    """
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
