"""Scoring a closed set of answers by the log-likelihood of their whole token sequences."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch.nn.functional import log_softmax
from transformers import PreTrainedTokenizerBase

from vlmtsc.model.answer_rows import last_positions, only_rows
from vlmtsc.model.checkpoint import autocast, inner_model
from vlmtsc.model.vision_features import VisionFeatures
from vlmtsc.representation.representation import Representation
from vlmtsc.training.examples import Example, answer_tokens


def scored_tokens(tokenizer: PreTrainedTokenizerBase, representation: Representation) -> list[list[int]]:
    """Return the tokens by which each class is scored after a prompt.

    They are the class's whole answer, or what tells it apart (`distinguishing_tokens`).

    Parameters
    ----------
    tokenizer : PreTrainedTokenizerBase
    representation : Representation
        With the switch `single_token_score`, the tokens are those of `original_tokens`.
    """
    if representation.scenario.restores("single_token_score"):
        return original_tokens(tokenizer, len(representation.classes))
    return distinguishing_tokens(answer_tokens(tokenizer, representation))


def original_tokens(tokenizer: PreTrainedTokenizerBase, n_classes: int) -> list[list[int]]:
    """Return the one token by which the original scores each class: "1", "2", ..., right after ``ASSISTANT:``.

    That is not the token that was trained there, where a blank comes first. A number that is no token, as from 10
    on, gets the tokenizer's unknown token; of a tokenizer that has none, the first token of the number. Either way
    such classes cannot be told apart. The log-likelihoods differ from the original's logits by one number for all
    classes of a case, so that order and softmax are the same.
    """
    tokens = []
    for number in range(1, n_classes + 1):
        token = tokenizer.convert_tokens_to_ids(str(number))
        if token is None:
            token = tokenizer(str(number), add_special_tokens=False)["input_ids"][0]
        tokens.append([token])
    return tokens


def distinguishing_tokens(answers: Sequence[Sequence[int]]) -> list[list[int]]:
    """Drop the end token where the answers can be told apart, and weighed fairly, without it.

    If no answer is the beginning of another, the end token says nothing about the class. If one is ("1" and
    "12"), only with it do the answers' likelihoods add up to at most one.

    Parameters
    ----------
    answers : sequence of sequence of int
        Tokens of each class's answer, the end token last (or the full stop before a rationale).
    """
    bodies = [tuple(answer[:-1]) for answer in answers]
    present = set(bodies)
    prefixes = {body[:length] for body in bodies for length in range(len(body))}
    return [list(body) for body in bodies] if not present & prefixes else [list(a) for a in answers]


def shared_prefix(sequences: Sequence[Sequence[int]]) -> list[int]:
    """Return the longest common beginning that leaves at least one token of each sequence."""
    prefix = []
    for tokens in zip(*(sequence[:-1] for sequence in sequences), strict=False):
        if len(set(tokens)) > 1:
            break
        prefix.append(tokens[0])
    return prefix


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


def score_batch(
    model: Any,
    prompts: Sequence[Sequence[int]],
    answers: Sequence[Sequence[int]],
    features: torch.Tensor | None,
    pad_token_id: int,
) -> torch.Tensor:
    """Return the log-likelihood of each answer after each prompt.

    The prompt is computed once. Answers that differ only in their last token need no further pass; for
    others the prompt's cache is shared.

    Parameters
    ----------
    model : LlavaForConditionalGeneration or PeftModel
    prompts : sequence of sequence of int
        Tokens of each case, image placeholders expanded.
    answers : sequence of sequence of int
        Tokens of each class.
    features : torch.Tensor or None
        Vision features, shape (batch, image_tokens, vision_hidden_size).
    pad_token_id : int

    Returns
    -------
    torch.Tensor
        float64, shape (batch, n_classes).
    """
    inner = inner_model(model)
    prefix = shared_prefix(answers)
    rests = [list(answer[len(prefix) :]) for answer in answers]
    single = all(len(rest) == 1 for rest in rests)
    batch = left_padded([[*prompt, *prefix] for prompt in prompts], pad_token_id)
    batch = {name: tensor.to(inner.device) for name, tensor in batch.items()}
    images = {} if features is None else {"vision_features": features}
    keep = len(prefix) + 1
    with only_rows(model, last_positions(*batch["input_ids"].shape, keep, inner.device)):
        output = model(**batch, **images, logits_to_keep=keep, use_cache=not single)
    likelihoods = log_softmax(output.logits.double(), dim=-1)
    shared = torch.zeros(len(prompts), dtype=torch.float64, device=inner.device)
    for position, token in enumerate(prefix):
        shared += likelihoods[:, position, token]
    scores = torch.stack([shared + likelihoods[:, -1, rest[0]] for rest in rests], dim=1)
    if single:
        return scores
    cache = output.past_key_values
    last_position = batch["position_ids"][:, -1:]
    for column, rest in enumerate(rests):
        if len(rest) == 1:
            continue
        steps = torch.arange(1, len(rest), device=inner.device)
        continued = model(
            input_ids=torch.tensor([rest[:-1]] * len(prompts), device=inner.device),
            attention_mask=torch.cat(
                [batch["attention_mask"], batch["attention_mask"].new_ones(len(prompts), len(rest) - 1)],
                dim=1,
            ),
            position_ids=last_position + steps,
            past_key_values=cache,
            use_cache=True,
        )
        following = log_softmax(continued.logits.double(), dim=-1)
        for position, token in enumerate(rest[1:]):
            scores[:, column] += following[:, position, token]
        cache.crop(1 - len(rest))  # drops what this answer added
    return scores


def score_examples(
    model: Any,
    examples: Sequence[Example],
    answers: Sequence[Sequence[int]],
    *,
    features: VisionFeatures | None,
    image_indices: Sequence[int],
    pad_token_id: int,
    batch_size: int,
    precision: str,
    progress: Callable[[int], None] | None = None,
) -> np.ndarray:
    """Score all classes for all cases, longest cases first so that a batch wastes little on padding.

    Parameters
    ----------
    model : LlavaForConditionalGeneration or PeftModel
    examples : sequence of Example
    answers : sequence of sequence of int
        Tokens by which each class is scored: `scored_tokens`.
    features : VisionFeatures or None
    image_indices : sequence of int
        Position of each example's plot in `features`.
    pad_token_id, batch_size : int
    precision : {"bf16", "fp32"}
    progress : callable, optional
        Told how many cases are done, after each batch.

    Returns
    -------
    ndarray of float64, shape (n_examples, n_classes)
        Log-likelihoods, in the order of `examples`.
    """
    order = sorted(range(len(examples)), key=lambda index: -examples[index].tokens)
    scores = np.empty((len(examples), len(answers)))
    was_training = model.training
    model.eval()
    with torch.inference_mode(), autocast(precision, inner_model(model).device):
        for start in range(0, len(order), batch_size):
            chunk = order[start : start + batch_size]
            images = None if features is None else features([image_indices[index] for index in chunk])
            prompts = [examples[index].prompt for index in chunk]
            scores[chunk] = score_batch(model, prompts, answers, images, pad_token_id).cpu().numpy()
            if progress is not None:
                progress(start + len(chunk))
    model.train(was_training)
    return scores
