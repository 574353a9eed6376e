"""Prompts that go through the model once, so that everything that may follow them starts from there."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch.nn.functional import log_softmax
from transformers import Cache

from vlmtsc.model.answer_rows import last_positions, only_rows
from vlmtsc.model.checkpoint import inner_model


@dataclass(frozen=True)
class Prefilled:
    """A batch of prompts that the model has read, each followed by the same tokens.

    Attributes
    ----------
    prefix : list of int
        What follows every prompt; may be empty.
    log_likelihoods : torch.Tensor
        float64, shape (batch, prefix + 1, vocabulary): of each token after the prompt, and after each token of
        the prefix.
    attention_mask : torch.Tensor
        int64, shape (batch, length), of prompts and prefix.
    last_position : torch.Tensor
        int64, shape (batch, 1): position of the last token.
    cache : Cache or None
        Keys and values of prompts and prefix, if they are kept.
    """

    prefix: list[int]
    log_likelihoods: torch.Tensor
    attention_mask: torch.Tensor
    last_position: torch.Tensor
    cache: Cache | None


def left_padded(sequences: Sequence[Sequence[int]], pad_token_id: int) -> dict[str, torch.Tensor]:
    """Pad sequences on the left, so that all end in the same column, with positions counted from their start.

    Returns
    -------
    dict of str to torch.Tensor
        int64 input_ids, attention_mask, position_ids; each of shape (batch, length).
    """
    length = max(map(len, sequences))
    tokens = torch.full((len(sequences), length), pad_token_id)
    mask = torch.zeros_like(tokens)
    for row, sequence in enumerate(sequences):
        tokens[row, length - len(sequence) :] = torch.tensor(sequence)
        mask[row, length - len(sequence) :] = 1
    positions = (mask.cumsum(1) - 1).clamp(min=0)
    return {"input_ids": tokens, "attention_mask": mask, "position_ids": positions}


def prefill(
    model: Any,
    prompts: Sequence[Sequence[int]],
    prefix: Sequence[int],
    features: torch.Tensor | None,
    pad_token_id: int,
    *,
    keep_cache: bool,
) -> Prefilled:
    """Give the model a batch of prompts.

    Parameters
    ----------
    model : LlavaForConditionalGeneration or PeftModel
    prompts : sequence of sequence of int
        Tokens of each case, image placeholders expanded.
    prefix : sequence of int
        Tokens to put after every prompt.
    features : torch.Tensor or None
        Vision features, shape (batch, image_tokens, vision_hidden_size).
    pad_token_id : int
    keep_cache : bool
        Whether something is to go on from here.
    """
    inner = inner_model(model)
    batch = left_padded([[*prompt, *prefix] for prompt in prompts], pad_token_id)
    batch = {name: tensor.to(inner.device) for name, tensor in batch.items()}
    images = {} if features is None else {"vision_features": features}
    keep = len(prefix) + 1
    length = batch["input_ids"].shape[1]
    with only_rows(model, last_positions(len(prompts), length, keep, inner.device)):
        output = model(**batch, **images, logits_to_keep=keep, use_cache=keep_cache)
    return Prefilled(
        prefix=list(prefix),
        log_likelihoods=log_softmax(output.logits.double(), dim=-1),
        attention_mask=batch["attention_mask"],
        last_position=batch["position_ids"][:, -1:],
        cache=output.past_key_values if keep_cache else None,
    )
