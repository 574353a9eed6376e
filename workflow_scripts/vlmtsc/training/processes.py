"""One training in several processes: who is in it, and who does which part of the work."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from accelerate import PartialState
from torch import nn
from torch.distributed.tensor import DTensor
from torch.utils.data import Sampler

from vlmtsc.examples import PADDING


@dataclass(frozen=True)
class Processes:
    """The processes of one training, seen from one of them.

    Attributes
    ----------
    count : int
        On all nodes together.
    rank : int
        Number of this one. The first, 0, is the one that writes.
    """

    count: int = 1
    rank: int = 0

    @property
    def is_main(self) -> bool:
        """Whether this process writes files and messages."""
        return self.rank == 0


def join_processes() -> Processes:
    """Meet the other processes that `accelerate launch` has started with this one, and choose this one's GPU.

    Without a launch this process is alone. Comes before a model is loaded.
    """
    if int(os.environ.get("WORLD_SIZE", "1")) == 1:
        return Processes()
    state = PartialState(cpu=not torch.cuda.is_available())
    return Processes(state.num_processes, state.process_index)


def wait_for_all() -> None:
    """Wait until every process of this training has come here."""
    PartialState().wait_for_everyone()


class PaddedSampler(Sampler[int]):
    """Fills the last batch of an epoch up, so that each process has as many forward passes as the others.

    What is filled in has nothing to learn, unlike the cases from the epoch's beginning that the Trainer would
    take: the cases of each step, and their weights, are those of a training in one process.

    Parameters
    ----------
    order : Sampler
        The cases of an epoch, in order.
    multiple : int
        Cases in one forward pass of all processes.
    """

    def __init__(self, order: Sampler[int], multiple: int) -> None:
        self._order = order
        self._multiple = multiple

    def set_epoch(self, epoch: int) -> None:
        """Give the order of another epoch."""
        if hasattr(self._order, "set_epoch"):
            self._order.set_epoch(epoch)

    def __len__(self) -> int:
        cases = len(self._order)
        return cases + -cases % self._multiple

    def __iter__(self) -> Iterator[int]:
        yield from self._order
        yield from [PADDING] * (len(self) - len(self._order))


def divide_work(sizes: Sequence[int], processes: Processes) -> list[list[int]]:
    """Divide cases among processes: equally many for each, and about equally long ones.

    Where the division leaves a remainder, cases are given twice.

    Parameters
    ----------
    sizes : sequence of int
        Tokens of each case.
    processes : Processes

    Returns
    -------
    list of list of int
        Positions of the cases of each process.
    """
    order = sorted(range(len(sizes)), key=lambda case: -sizes[case])
    each = -(-len(order) // processes.count)
    return [
        [order[(turn * processes.count + rank) % len(order)] for turn in range(each)]
        for rank in range(processes.count)
    ]


def gather_scores(scores: np.ndarray, shares: Sequence[Sequence[int]], device: torch.device) -> np.ndarray:
    """Bring the class scores of all processes together, in each of them.

    Parameters
    ----------
    scores : ndarray of float64, shape (len(share), n_classes)
        This process's.
    shares : sequence of sequence of int
        Of `divide_work`.
    device : torch.device
        Where the processes exchange.

    Returns
    -------
    ndarray of float64, shape (n_cases, n_classes)
    """
    own = torch.as_tensor(scores, device=device)
    parts = [torch.empty_like(own) for _ in shares]
    torch.distributed.all_gather(parts, own)
    positions = [case for share in shares for case in share]
    gathered = np.empty((max(positions) + 1, scores.shape[1]))
    gathered[positions] = torch.cat(parts).cpu().numpy()
    return gathered


def trained_state(model: nn.Module) -> dict[str, torch.Tensor] | None:
    """Collect the trained tensors of a model whose parameters are divided among processes; None if they are not.

    Every process has to call it.
    """
    trained = {name: tensor for name, tensor in model.named_parameters() if tensor.requires_grad}
    if not any(isinstance(tensor, DTensor) for tensor in trained.values()):
        return None
    return {
        name: (tensor.full_tensor() if isinstance(tensor, DTensor) else tensor).detach().cpu()
        for name, tensor in trained.items()
    }
