"""Dropout whose random numbers are cheap on a CPU: a byte decides on a value, and not a float."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn
from torch.nn import functional

#: Integer types of the floats that are masked, by bytes of a value.
_INTEGERS = {2: torch.int16, 4: torch.int32, 8: torch.int64}


def keep_mask(shape: torch.Size, dropped: int, dtype: torch.dtype) -> torch.Tensor:
    """Draw which values are kept.

    From PyTorch's generator, eight values a draw, so that a run that goes on from a checkpoint draws the same.

    Parameters
    ----------
    shape : torch.Size
    dropped : int
        How many of 256 values are dropped, on average.
    dtype : torch.dtype
        Signed integer type of the mask.

    Returns
    -------
    torch.Tensor
        Of `shape` and `dtype`: all bits set where a value is kept, none where it is dropped.
    """
    size = shape.numel()
    draws = torch.empty((size + 7) // 8, dtype=torch.int64).random_(-(2**63), None)
    levels = draws.view(torch.int8)[:size].view(shape).to(dtype)
    # Negative, so that a shift of its sign sets all bits, exactly for the levels from `dropped` on.
    return levels.neg_().add_(dropped - 129).bitwise_right_shift_(8 * levels.element_size() - 1)


class _MaskedDropout(torch.autograd.Function):
    """Zeroes values by a bit mask and scales the others; the gradient likewise."""

    @staticmethod
    def forward(ctx: Any, values: torch.Tensor, dropped: int) -> torch.Tensor:
        mask = keep_mask(values.shape, dropped, _INTEGERS[values.element_size()])
        ctx.save_for_backward(mask)
        ctx.scale = 256 / (256 - dropped)
        return (values.view(mask.dtype) & mask).view(values.dtype).mul_(ctx.scale)

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> tuple[torch.Tensor, None]:
        (mask,) = ctx.saved_tensors
        gradient = gradients[0].contiguous()
        return (gradient.view(mask.dtype) & mask).view(gradient.dtype).mul_(ctx.scale), None


class MaskedDropout(nn.Module):
    """Dropout with a rate of a multiple of 1/256; on a GPU PyTorch's own, which is one kernel there.

    `torch.nn.Dropout` draws a float for each value, which costs a CPU about six times as much as all the rest of
    it, and a fifth of a training step with seven adapted matrices a layer.

    Parameters
    ----------
    p : float
        Rate; rounded to the next multiple of 1/256 on a CPU.
    """

    def __init__(self, p: float) -> None:
        super().__init__()
        self.p = p

    def forward(self, values: torch.Tensor) -> torch.Tensor:
        """Drop values in training; give them back as they are otherwise."""
        dropped = round(256 * self.p)
        if not self.training or not dropped:
            return values
        if values.device.type != "cpu":
            return functional.dropout(values, self.p, training=True)
        return _MaskedDropout.apply(values.contiguous(), dropped)

    def extra_repr(self) -> str:
        """Return what stands in the module's text."""
        return f"p={self.p}"
