"""Free generation: what the model says of its own accord, and which class that is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from transformers import PreTrainedTokenizerBase

from vlmtsc.examples import answer_tokens
from vlmtsc.representation.representation import Representation
from vlmtsc.scoring import Prefilled

#: Tokens that generation may go on beyond the longest answer: enough to see that it is none.
BEYOND_LONGEST = 4
#: Class index of a text that is none of the answers.
INVALID = -1


@dataclass(frozen=True)
class GenerationLimits:
    """When generation ends.

    Attributes
    ----------
    end_token : int
        The token after which a case is done.
    max_tokens : int
        Tokens of a case at most, the end token included.
    """

    end_token: int
    max_tokens: int


def generation_limits(tokenizer: PreTrainedTokenizerBase, representation: Representation) -> GenerationLimits:
    """Return limits under which every answer can be generated whole, and a little more."""
    longest = max(map(len, answer_tokens(tokenizer, representation)))
    return GenerationLimits(tokenizer.eos_token_id, longest + BEYOND_LONGEST)


def generate_greedily(model: Any, prefilled: Prefilled, limits: GenerationLimits) -> list[list[int]]:
    """Append the likeliest token to each prompt of a batch, until all have ended.

    Parameters
    ----------
    model : LlavaForConditionalGeneration or PeftModel
    prefilled : Prefilled
        With a cache, which this uses up; its prefix is taken off, since the model might say something else.
    limits : GenerationLimits

    Returns
    -------
    list of list of int
        New tokens of each case, with the end token where it was reached.
    """
    cache = prefilled.cache
    if cache is None:
        raise ValueError("prefilled without a cache; allowed: keep_cache=True")
    taken_off = len(prefilled.prefix)
    mask, position = prefilled.attention_mask, prefilled.last_position - taken_off
    if taken_off:
        cache.crop(-taken_off)
        mask = mask[:, :-taken_off]
    token = prefilled.log_likelihoods[:, 0].argmax(dim=-1)
    generated = [token]
    ended = token == limits.end_token
    while len(generated) < limits.max_tokens and not ended.all():
        mask = torch.cat([mask, mask.new_ones(len(mask), 1)], dim=1)
        position = position + 1
        output = model(
            input_ids=token[:, None],
            attention_mask=mask,
            position_ids=position,
            past_key_values=cache,
            use_cache=True,
        )
        # What follows an end token is computed with the rest of the batch, and cut off below.
        token = output.logits[:, -1].argmax(dim=-1)
        generated.append(token)
        ended |= token == limits.end_token
    return [until(row, limits.end_token) for row in torch.stack(generated, dim=1).tolist()]


def until(tokens: Sequence[int], end_token: int) -> list[int]:
    """Return tokens up to the first end token and with it; all, if there is none."""
    tokens = list(tokens)
    return tokens[: tokens.index(end_token) + 1] if end_token in tokens else tokens


def read_answer(
    tokens: Sequence[int], tokenizer: PreTrainedTokenizerBase, representation: Representation
) -> tuple[str, int]:
    """Return generated tokens as text, and the class that the text names.

    Parameters
    ----------
    tokens : sequence of int
        Of `generate_greedily`.
    tokenizer : PreTrainedTokenizerBase
    representation : Representation

    Returns
    -------
    text : str
        Without the end token and blanks around it; other special tokens are shown.
    label_index : int
        `INVALID` if the text names no class.
    """
    ended = bool(tokens) and tokens[-1] == tokenizer.eos_token_id
    kept = list(tokens[:-1] if ended else tokens)
    text = tokenizer.decode(kept, skip_special_tokens=False).strip()
    rationale = representation.scenario.has_rationale_target
    return text, class_of_text(text, representation.label_texts, ended=ended, rationale=rationale)


def class_of_text(text: str, label_texts: Sequence[str], *, ended: bool, rationale: bool) -> int:
    """Return the index of the answer that a generated text is.

    Parameters
    ----------
    text : str
        Without blanks around it.
    label_texts : sequence of str
        The answer of each class.
    ended : bool
        Whether the model ended the text itself. Where it did not, "1" may be the beginning of anything.
    rationale : bool
        Whether the model was trained to go on after its answer: the answer is then what a full stop follows.

    Returns
    -------
    int
        `INVALID` if the text is none of the answers. Nothing is searched for inside a text, and nothing corrected.
    """
    fitting = [
        (len(answer), index)
        for index, answer in enumerate(label_texts)
        if (ended and text == answer) or (rationale and text.startswith(f"{answer}."))
    ]
    return max(fitting)[1] if fitting else INVALID


def generation_metrics(label_index: np.ndarray, generated_index: np.ndarray) -> dict[str, float | None]:
    """Measure how well generated answers are the true ones.

    Parameters
    ----------
    label_index : ndarray of int, shape (n_cases,)
    generated_index : ndarray of int, shape (n_cases,)
        `INVALID` where nothing valid was generated.

    Returns
    -------
    dict
        ``generated_valid_rate``, the share of cases with a valid answer; ``generated_accuracy_of_valid``, the share
        of right ones among these (None if there are none); ``generated_accuracy``, of all cases, where an invalid
        answer is a wrong one.
    """
    valid = generated_index != INVALID
    right = generated_index == label_index
    return {
        "generated_valid_rate": float(valid.mean()),
        "generated_accuracy_of_valid": float(right[valid].mean()) if valid.any() else None,
        "generated_accuracy": float(right.mean()),
    }
