"""How long a run lasts: by epochs, or by its token budget."""

from __future__ import annotations

import math
from dataclasses import dataclass

from vlmtsc.settings import FinetuneSettings, count_passes


@dataclass(frozen=True)
class Schedule:
    """The length of a run, known before its first step so that the learning rate can end at zero.

    Attributes
    ----------
    steps : int
        Optimizer steps.
    steps_per_epoch : int
    accumulation : int
        Forward passes in one step, of each process.
    stopped_by : {"epochs", "token_budget"}
        What bounds the run.
    """

    steps: int
    steps_per_epoch: int
    accumulation: int
    stopped_by: str


def plan_schedule(tokens: list[int], settings: FinetuneSettings, processes: int = 1) -> Schedule:
    """Plan a run over training cases of the given lengths.

    The token budget is divided by the mean tokens of a step; the run stops at the last step within it, but
    makes at least one.

    Parameters
    ----------
    tokens : list of int
        Tokens of each training case.
    settings : FinetuneSettings
    processes : int
        That train together and share each batch.

    Raises
    ------
    InputError
        If the micro batches of all processes do not divide the batch.
    """
    accumulation = count_passes(settings.batch_size, settings.micro_batch_size, processes)
    steps_per_epoch = math.ceil(len(tokens) / settings.batch_size)
    by_epochs = max(1, math.ceil(settings.epochs * steps_per_epoch))
    steps, stopped_by = by_epochs, "epochs"
    if settings.token_budget:
        by_tokens = max(1, int(settings.token_budget * steps_per_epoch / sum(tokens)))
        if by_tokens < by_epochs:
            steps, stopped_by = by_tokens, "token_budget"
    return Schedule(steps, steps_per_epoch, accumulation, stopped_by)
