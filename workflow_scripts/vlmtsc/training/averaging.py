"""Weight averaging: an exponential moving average of what is trained, validated and kept in its place."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from vlmtsc.errors import InputError
from vlmtsc.examples import ExampleSet
from vlmtsc.training.trainer import AnswerTrainer

#: The average beside a Trainer's state.
FILE = "weight_average.safetensors"


class WeightAverage:
    """The average of a model's trained parameters, without a copy of the frozen ones.

    Parameters
    ----------
    model : nn.Module
        Its trainable parameters are averaged.
    decay : float
        Share of the average that a step keeps.
    """

    def __init__(self, model: nn.Module, decay: float) -> None:
        self._names = [name for name, parameter in model.named_parameters() if parameter.requires_grad]
        self._trained = nn.ParameterList(
            parameter for parameter in model.parameters() if parameter.requires_grad
        )
        self._average = AveragedModel(self._trained, multi_avg_fn=get_ema_multi_avg_fn(decay))

    def update(self) -> None:
        """Take the present weights into the average; the first ones are the average."""
        self._average.update_parameters(self._trained)

    @torch.no_grad()
    def copy_to_model(self) -> None:
        """Put the average in the place of the model's weights, for good."""
        for parameter, average in zip(self._trained, self._averages(), strict=True):
            parameter.copy_(average)

    @contextmanager
    def in_place(self) -> Iterator[None]:
        """Put the average in the place of the model's weights, for a while; nothing before the first update."""
        if not self._average.n_averaged:
            yield
            return
        kept = [parameter.detach().clone() for parameter in self._trained]
        self.copy_to_model()
        try:
            yield
        finally:
            with torch.no_grad():
                for parameter, value in zip(self._trained, kept, strict=True):
                    parameter.copy_(value)

    def save(self, folder: Path) -> None:
        """Write the average beside a Trainer's state."""
        tensors = {
            name: value.detach().contiguous()
            for name, value in zip(self._names, self._averages(), strict=True)
        }
        save_file(tensors | {"n_averaged": self._average.n_averaged}, folder / FILE)

    @torch.no_grad()
    def restore(self, folder: Path) -> None:
        """Read what `save` wrote."""
        tensors = load_file(folder / FILE)
        self._average.n_averaged.copy_(tensors["n_averaged"])
        for name, average in zip(self._names, self._averages(), strict=True):
            average.copy_(tensors[name])

    def _averages(self) -> list[nn.Parameter]:
        return list(self._average.module.parameters())


class _Update(TrainerCallback):
    """Takes the weights into the average after each step of the optimizer."""

    def __init__(self, average: WeightAverage) -> None:
        self._average = average

    def on_step_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any
    ) -> None:
        self._average.update()


class AveragingTrainer(AnswerTrainer):
    """An `AnswerTrainer` that validates and keeps a moving average of the weights, and goes on training the weights.

    Its states hold both, so that an interrupted run ends like one that was not.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if self.is_fsdp_enabled:
            raise InputError("ema_decay with FSDP, where no process has whole weights; allowed: ema_decay=0")
        self.average = WeightAverage(self.model, self.settings.ema_decay)
        self.add_callback(_Update(self.average))
        self._done = False

    def train(self, resume_from_checkpoint: Any = None, **kwargs: Any) -> Any:
        """Train; afterwards the model has the average, or that of its best validation, for weights."""
        if resume_from_checkpoint is not None:
            self.average.restore(Path(resume_from_checkpoint))
        result = super().train(resume_from_checkpoint=resume_from_checkpoint, **kwargs)
        if self.args.load_best_model_at_end and self.state.best_model_checkpoint is not None:
            self.average.restore(Path(self.state.best_model_checkpoint))
        self.average.copy_to_model()
        self._done = True
        return result

    def evaluate(
        self, eval_dataset: ExampleSet | None = None, ignore_keys: Any = None, metric_key_prefix: str = "eval"
    ) -> dict[str, float]:
        """Score the validation part with the averaged weights."""
        if self._done:  # they are the model's weights by now
            return super().evaluate(eval_dataset, ignore_keys, metric_key_prefix)
        with self.average.in_place():
            return super().evaluate(eval_dataset, ignore_keys, metric_key_prefix)

    def _save_rng_state(self, output_dir: str) -> None:
        """Save the average as well: before the file that tells a complete state is written."""
        super()._save_rng_state(output_dir)
        if self.args.should_save:
            self.average.save(Path(output_dir))
