"""Class scores: log-likelihoods of the classes' answers after a prompt.

Each prompt is computed once. Answers share the prompt's key-value cache, and answers with a common beginning share
its computation by tree attention, as in speculative decoding (X. Miao et al., SpecInfer: Accelerating large language
model serving with tree-based speculative inference and verification, ASPLOS 2024).
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch.nn.functional import log_softmax
from transformers import Cache, DynamicCache

from vlmtsc.examples import Example
from vlmtsc.model.checkpoint import autocast, inner_model, last_positions, only_rows, position_ids
from vlmtsc.model.vision import Images
from vlmtsc.script import Progress

logger = logging.getLogger(__name__)

#: Limit of the float64 logits of one pass over a tree of answers; a single answer may need more.
LOGIT_BYTES = 2**28
#: Attention implementations that accept any mask; others accept padding masks only.
WITH_MASKS = ("eager", "sdpa")


@dataclass(frozen=True)
class Prefilled:
    """A batch of prompts that the model has processed, each followed by the same tokens `prefix`, which may be empty.

    Attributes
    ----------
    log_likelihoods : torch.Tensor
        float64, shape (batch, len(prefix) + 1, vocabulary): of the token after the prompt, and after each token of
        the prefix.
    attention_mask : torch.Tensor
        int64, shape (batch, length), of prompts and prefix.
    last_position : torch.Tensor
        int64: position of the last token, a column of `vlmtsc.model.checkpoint.position_ids`.
    cache : Cache or None
        Keys and values of prompts and prefix, if requested.
    """

    prefix: list[int]
    log_likelihoods: torch.Tensor
    attention_mask: torch.Tensor
    last_position: torch.Tensor
    cache: Cache | None


def left_padded(sequences: Sequence[Sequence[int]], pad_token_id: int) -> dict[str, torch.Tensor]:
    """Pad sequences on the left so that all end in the same column.

    Returned are int64 input_ids and attention_mask, each of shape (batch, length).
    """
    length = max(map(len, sequences))
    tokens = torch.full((len(sequences), length), pad_token_id)
    mask = torch.zeros_like(tokens)
    for row, sequence in enumerate(sequences):
        tokens[row, length - len(sequence) :] = torch.tensor(sequence)
        mask[row, length - len(sequence) :] = 1
    return {"input_ids": tokens, "attention_mask": mask}


def prefill(
    model: Any,
    prompts: Sequence[Sequence[int]],
    prefix: Sequence[int],
    images: Mapping[str, torch.Tensor],
    pad_token_id: int,
    *,
    keep_cache: bool,
) -> Prefilled:
    """Run a batch of prompts, each followed by `prefix`, through a model or PeftModel.

    `images` are the arguments of the forward pass that show their images, if any. `keep_cache`: whether to return keys
    and values for further passes.
    """
    inner = inner_model(model)
    batch = left_padded([[*prompt, *prefix] for prompt in prompts], pad_token_id)
    batch = {name: tensor.to(inner.device) for name, tensor in batch.items()}
    positions = position_ids(model, batch, images)
    keep = len(prefix) + 1
    length = batch["input_ids"].shape[1]
    # One that drops what is outside a window could not be cropped again.
    cache = DynamicCache() if keep_cache and inner.architecture.sliding else None
    with only_rows(model, last_positions(len(prompts), length, keep, inner.device)):
        output = model(
            **batch,
            **images,
            position_ids=positions,
            answer_mask=last_positions(len(prompts), length, len(prefix), inner.device),
            past_key_values=cache,
            logits_to_keep=keep,
            use_cache=keep_cache,
        )
    return Prefilled(
        prefix=list(prefix),
        log_likelihoods=log_softmax(output.logits.double(), dim=-1),
        attention_mask=batch["attention_mask"],
        last_position=positions[..., -1:],
        cache=output.past_key_values if keep_cache else None,
    )


@dataclass(frozen=True)
class AnswerTree:
    """A prefix tree of the answers of these indices: each common beginning is one node.

    Each node has its token, its parent (-1 for an answer's first token) and its number of ancestors. In `targets`, of
    (place, node, token), the likelihood of `token` after `node` belongs to the answer at `place` in `answers`.
    """

    answers: list[int]
    tokens: list[int]
    parents: list[int]
    depths: list[int]
    targets: list[tuple[int, int, int]]

    @property
    def is_path(self) -> bool:
        """Whether each node follows the one before it, as in ordinary text."""
        return self.parents == list(range(-1, len(self.parents) - 1))

    def attention_mask(self) -> torch.Tensor:
        """Return which nodes each node attends to, itself and its ancestors; bool, shape (n_nodes, n_nodes)."""
        seen = torch.eye(len(self.tokens), dtype=torch.bool)
        for node, parent in enumerate(self.parents):  # parents precede children
            if parent >= 0:
                seen[node] |= seen[parent]
        return seen


def make_tree(rests: Sequence[Sequence[int]], answers: Sequence[int]) -> AnswerTree:
    """Make the tree of some answers, each of two tokens or more; `rests` has the tokens of all answers."""
    nodes: dict[tuple[int, ...], int] = {}
    targets = []
    for place, answer in enumerate(answers):
        rest = tuple(rests[answer])
        for length in range(1, len(rest)):
            node = nodes.setdefault(rest[:length], len(nodes))
            targets.append((place, node, rest[length]))
    return AnswerTree(
        answers=list(answers),
        tokens=[beginning[-1] for beginning in nodes],
        parents=[nodes.get(beginning[:-1], -1) for beginning in nodes],
        depths=[len(beginning) - 1 for beginning in nodes],
        targets=targets,
    )


def make_trees(rests: Sequence[Sequence[int]], max_nodes: int) -> Iterator[AnswerTree]:
    """Divide the answers of two tokens or more into trees of at most `max_nodes` nodes.

    Answers are sorted by their tokens, so that those with common beginnings stay together. A single answer may have
    more nodes.
    """
    longer = sorted(
        (answer for answer, rest in enumerate(rests) if len(rest) > 1), key=lambda a: tuple(rests[a])
    )
    members: list[int] = []
    seen: set[tuple[int, ...]] = set()
    for answer in longer:
        beginnings = {tuple(rests[answer][:length]) for length in range(1, len(rests[answer]))}
        if members and len(seen | beginnings) > max_nodes:
            yield make_tree(rests, members)
            members, seen = [], set()
        members.append(answer)
        seen |= beginnings
    if members:
        yield make_tree(rests, members)


def shared_prefix(sequences: Sequence[Sequence[int]]) -> list[int]:
    """Return the longest common beginning that leaves at least one token of each sequence."""
    prefix = []
    for tokens in zip(*(sequence[:-1] for sequence in sequences), strict=False):
        if len(set(tokens)) > 1:
            break
        prefix.append(tokens[0])
    return prefix


def score_prefilled(model: Any, prefilled: Prefilled, rests: Sequence[Sequence[int]]) -> torch.Tensor:
    """Return the log-likelihood of each answer after prefilled prompts: float64, shape (batch, n_classes).

    The prompts' prefix begins all answers; `rests` are their remaining tokens. The cache, if any, is restored
    afterwards.
    """
    likelihoods = prefilled.log_likelihoods
    n_cases = len(likelihoods)
    shared = likelihoods.new_zeros(n_cases)
    for position, token in enumerate(prefilled.prefix):
        shared += likelihoods[:, position, token]
    scores = torch.stack([shared + likelihoods[:, -1, rest[0]] for rest in rests], dim=1)
    if all(len(rest) == 1 for rest in rests):
        return scores
    inner = inner_model(model)
    attention = inner.config.get_text_config()._attn_implementation
    # A tree's own mask would not be limited to a window.
    trees = attention in WITH_MASKS and not inner.architecture.sliding
    max_nodes = LOGIT_BYTES // (likelihoods.shape[-1] * likelihoods.itemsize * n_cases) if trees else 1
    for tree in make_trees(rests, max_nodes):
        scores[:, tree.answers] += score_tree(model, prefilled, tree, attention)
    return scores


def score_tree(model: Any, prefilled: Prefilled, tree: AnswerTree, attention: str) -> torch.Tensor:
    """Return the log-likelihood of a tree's targets, added up by answer, in one pass: float64, shape (batch, answers).

    `attention` is the attention implementation of the language model. The cache is restored afterwards; ValueError if
    there is none.
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
    cache.crop(-n_nodes)
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
    features: Images | None,
    image_indices: Sequence[int],
    pad_token_id: int,
    batch_size: int,
    precision: str,
    then: Callable[[Sequence[int], Prefilled], None] | None = None,
) -> np.ndarray:
    """Return the log-likelihood of all classes for all cases: float64, shape (n_examples, n_classes).

    The longest cases are first, to limit padding.

    Parameters
    ----------
    answers : sequence of sequence of int
        Tokens by which each class is scored: `vlmtsc.examples.scored_tokens`.
    image_indices : sequence of int
        Position of each example's plot in `features`.
    precision : {"bf16", "tf32", "fp32"}
    then : callable, optional
        Called after each batch with the positions of its cases and their prompts, with a cache.
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
            images = {} if features is None else features.inputs([image_indices[index] for index in chunk])
            prompts = [examples[index].prompt for index in chunk]
            prefilled = prefill(model, prompts, prefix, images, pad_token_id, keep_cache=keep_cache)
            scores[chunk] = score_prefilled(model, prefilled, rests).cpu().numpy()
            if then is not None:
                then(chunk, prefilled)
            progress.update(start + len(chunk))
            del prefilled  # otherwise two caches would be in memory at once
    model.train(was_training)
    return scores
