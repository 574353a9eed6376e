"""Muon with matrix products in float32."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

#: Root mean square of AdamW's steps, relative to its rate (J. Liu et al., arXiv:2502.16982).
STEP_LENGTH = 0.2


class Muon(torch.optim.Muon):
    """`torch.optim.Muon` with products in float32, and learning rates scaled to AdamW's step lengths.

    PyTorch's products are in bfloat16, which takes many times as long on processors without instructions for it. Here
    most products are of square matrices whose side is the shorter one of the weights: LoRA's rank.
    """

    def __init__(self, params: Any) -> None:
        super().__init__(params, adjust_lr_fn="match_rms_adamw")

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Take one step."""
        loss = None if closure is None else torch.enable_grad()(closure)()
        for group in self.param_groups:
            rate, momentum = group["lr"], group["momentum"]
            for matrix in group["params"]:
                if matrix.grad is None:
                    continue
                state = self.state[matrix]
                if not state:
                    state["momentum_buffer"] = torch.zeros_like(matrix.grad)
                average = state["momentum_buffer"].lerp_(matrix.grad, 1 - momentum)
                update = orthogonalised(
                    matrix.grad.lerp(average, momentum), group["ns_coefficients"], group["ns_steps"]
                )
                matrix.mul_(1 - rate * group["weight_decay"])
                matrix.add_(update, alpha=-rate * STEP_LENGTH * max(matrix.shape) ** 0.5)
        return loss


def orthogonalised(
    update: torch.Tensor, coefficients: tuple[float, float, float], steps: int
) -> torch.Tensor:
    """Return a matrix of shape (m, n) with its singular values brought near 1 by Newton-Schulz iterations.

    An iteration multiplies the matrix X, with at most as many rows as columns, by ``a + b G + c G^2``, ``G = X X^T``.
    These factors are polynomials of the first G and commute, so they are multiplied with each other first, and with X
    once. Equal to PyTorch's, but for rounding.
    """
    wide = update if update.shape[0] <= update.shape[1] else update.T
    wide = wide.float() / update.norm().clamp(min=1e-7)
    a, b, c = coefficients

    def polynomial(gram: torch.Tensor) -> torch.Tensor:
        found = torch.addmm(gram, gram, gram, beta=b, alpha=c)
        found.diagonal().add_(a)
        return found

    gram = wide @ wide.T
    product = factor = polynomial(gram)
    for _ in range(steps - 1):
        gram = factor @ gram @ factor
        factor = polynomial(gram)
        product = factor @ product
    result = product @ wide
    return result if wide.shape == update.shape else result.T
