"""The last layer computes only what the answer's logits depend on."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch

from vlmtsc.model.checkpoint import inner_model


@contextmanager
def only_rows(model: Any, kept: torch.Tensor) -> Iterator[None]:
    """Let the last decoder layer skip, after its attention, every position but some.

    Nothing looks at the other positions' last hidden states: no layer follows, and the output layer is applied to
    the kept ones. So logits and gradients stay the same, and the last layer's output projection and MLP cost a few rows
    instead of a whole sequence: a seventh of a step with six layers.

    Not where this layer's activations are computed again (`gradient_checkpointing`), after this context has ended.

    Parameters
    ----------
    model : LlavaForConditionalGeneration or PeftModel
    kept : torch.Tensor
        bool, shape (batch, length): positions whose logits are wanted.
    """
    layer = inner_model(model).model.language_model.layers[-1]
    if layer.gradient_checkpointing:
        yield
        return
    hooks = []
    for module in (layer.self_attn.o_proj, layer.mlp):
        hooks += [
            module.register_forward_pre_hook(lambda _, inputs: (inputs[0][kept], *inputs[1:])),
            module.register_forward_hook(lambda _, __, output: _spread(output, kept)),
        ]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


def _spread(rows: torch.Tensor, kept: torch.Tensor) -> torch.Tensor:
    """Put rows back to their positions; zero elsewhere, which the residual stream goes past."""
    whole = rows.new_zeros((*kept.shape, rows.shape[-1]))
    whole[kept] = rows
    return whole


def last_positions(batch: int, length: int, count: int, device: torch.device) -> torch.Tensor:
    """Return a mask, shape (batch, length), of the last `count` positions."""
    kept = torch.zeros((batch, length), dtype=torch.bool, device=device)
    kept[:, length - count :] = True
    return kept
