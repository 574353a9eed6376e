"""Scoring a closed set of answers by the log-likelihood of their whole token sequences."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from transformers import PreTrainedTokenizerBase

from vlmtsc.evaluation.answer_tree import AnswerTree, make_trees
from vlmtsc.evaluation.prefill import Prefilled, prefill
from vlmtsc.model.checkpoint import autocast, inner_model
from vlmtsc.model.vision_features import VisionFeatures
from vlmtsc.progress import Progress
from vlmtsc.representation.representation import Representation
from vlmtsc.training.examples import Example, answer_tokens

logger = logging.getLogger(__name__)

#: What the logits of one pass over a tree of answers may take in float64, unless a single answer takes more.
LOGIT_BYTES = 2**28
#: Kernels of attention that take any mask; others take no mask but that of padding.
WITH_MASKS = ("eager", "sdpa")


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


def score_prefilled(model: Any, prefilled: Prefilled, rests: Sequence[Sequence[int]]) -> torch.Tensor:
    """Return the log-likelihood of each answer after prompts that the model has read.

    Parameters
    ----------
    model : LlavaForConditionalGeneration or PeftModel
    prefilled : Prefilled
        Its prefix is what all answers begin with. Its cache, if any, is afterwards as it was before.
    rests : sequence of sequence of int
        What is left of each answer.

    Returns
    -------
    torch.Tensor
        float64, shape (batch, n_classes).
    """
    likelihoods = prefilled.log_likelihoods
    n_cases = len(likelihoods)
    shared = likelihoods.new_zeros(n_cases)
    for position, token in enumerate(prefilled.prefix):
        shared += likelihoods[:, position, token]
    scores = torch.stack([shared + likelihoods[:, -1, rest[0]] for rest in rests], dim=1)
    if all(len(rest) == 1 for rest in rests):
        return scores
    text = inner_model(model).config.get_text_config()
    attention = text._attn_implementation
    # A cache with a window drops what is older, and cannot take back more than the window holds.
    trees = attention in WITH_MASKS and getattr(text, "sliding_window", None) is None
    most_nodes = LOGIT_BYTES // (likelihoods.shape[-1] * likelihoods.itemsize * n_cases) if trees else 1
    for tree in make_trees(rests, most_nodes):
        scores[:, tree.answers] += score_tree(model, prefilled, tree, attention)
    return scores


def score_tree(model: Any, prefilled: Prefilled, tree: AnswerTree, attention: str) -> torch.Tensor:
    """Return the log-likelihood of the later tokens of a tree's answers, in one pass.

    Parameters
    ----------
    model : LlavaForConditionalGeneration or PeftModel
    prefilled : Prefilled
        Its cache is afterwards as it was before.
    tree : AnswerTree
    attention : str
        Kernel of the language model's attention.

    Returns
    -------
    torch.Tensor
        float64, shape (batch, answers of the tree).

    Raises
    ------
    ValueError
        If the prompts were read without a cache.
    """
    cache, padding = prefilled.cache, prefilled.attention_mask
    if cache is None:
        raise ValueError("answers of several tokens need prompts with a cache; allowed: keep_cache=True")
    device, n_cases, n_nodes = padding.device, len(padding), len(tree.tokens)
    mask = torch.cat([padding, padding.new_ones(n_cases, n_nodes)], dim=1)
    if not tree.is_path:
        before = padding.bool()[:, None, None, :].expand(-1, 1, n_nodes, -1)
        among = tree.attention_mask().to(device).expand(n_cases, 1, -1, -1)
        mask = torch.cat([before, among], dim=-1)
        if attention == "eager":  # which adds the mask to the products
            lowest = torch.finfo(torch.float32).min
            mask = torch.zeros(mask.shape, device=device).masked_fill(~mask, lowest)
    output = model(
        input_ids=torch.tensor([tree.tokens] * n_cases, device=device),
        attention_mask=mask,
        position_ids=prefilled.last_position + 1 + torch.tensor(tree.depths, device=device),
        past_key_values=cache,
        use_cache=True,
    )
    cache.crop(-n_nodes)  # drops what this tree added
    logits = output.logits.double()
    places, nodes, tokens = (
        torch.tensor(column, device=device) for column in zip(*tree.targets, strict=True)
    )
    found = logits[:, nodes, tokens] - logits.logsumexp(dim=-1)[:, nodes]
    return found.new_zeros(n_cases, len(tree.answers)).index_add_(1, places, found)


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
    then: Callable[[Sequence[int], Prefilled], None] | None = None,
) -> np.ndarray:
    """Score all classes for all cases, longest cases first so that a batch wastes little on padding.

    Each prompt is computed once. Answers that differ only in their last token need no further pass; others share the
    prompt's cache, what they begin with, and the passes (`vlmtsc.evaluation.answer_tree`).

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
    then : callable, optional
        Called after each batch with the positions of its cases and their prompts, with a cache to go on from.

    Returns
    -------
    ndarray of float64, shape (n_examples, n_classes)
        Log-likelihoods, in the order of `examples`.
    """
    prefix = shared_prefix(answers)
    rests = [list(answer[len(prefix) :]) for answer in answers]
    keep_cache = then is not None or any(len(rest) > 1 for rest in rests)
    progress = Progress(logger, "scoring", len(examples), "cases")
    order = sorted(range(len(examples)), key=lambda index: -examples[index].tokens)
    scores = np.empty((len(examples), len(answers)))
    was_training = model.training
    model.eval()
    with torch.inference_mode(), autocast(precision, inner_model(model).device):
        for start in range(0, len(order), batch_size):
            chunk = order[start : start + batch_size]
            images = None if features is None else features([image_indices[index] for index in chunk])
            prompts = [examples[index].prompt for index in chunk]
            prefilled = prefill(model, prompts, prefix, images, pad_token_id, keep_cache=keep_cache)
            scores[chunk] = score_prefilled(model, prefilled, rests).cpu().numpy()
            if then is not None:
                then(chunk, prefilled)
            progress.tell(start + len(chunk))
            del prefilled  # or the next batch would have its cache beside it in memory
    model.train(was_training)
    return scores
