"""Free generation: the text that the model answers with, and the class that it names."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from transformers import PreTrainedTokenizerBase

from vlmtsc.evaluation.metrics import INVALID
from vlmtsc.examples import answer_tokens
from vlmtsc.representation.processor import THOUGHT
from vlmtsc.representation.representation import Representation
from vlmtsc.scoring import Prefilled

#: Tokens beyond the longest answer: enough to see that a text is none.
BEYOND_LONGEST = 4


def generation_limit(tokenizer: PreTrainedTokenizerBase, representation: Representation) -> int:
    """Return a number of new tokens, including the end token, that suffices for every answer and a little more."""
    return max(map(len, answer_tokens(tokenizer, representation))) + BEYOND_LONGEST


def end_token(tokenizer: PreTrainedTokenizerBase, representation: Representation) -> int:
    """Return the token that ends an answer."""
    return int(tokenizer.convert_tokens_to_ids(representation.chat.end))


def generate_greedily(model: Any, prefilled: Prefilled, end: int, max_tokens: int) -> list[list[int]]:
    """Append the most likely token to each prompt of a batch until all have ended; return the new tokens of each case.

    At most `max_tokens` are generated, including the end token. The cache of `prefilled` is consumed, and its prefix
    removed, since the model may answer something else.
    """
    cache = prefilled.cache
    if cache is None:
        raise ValueError("prefilled without a cache; allowed: keep_cache=True")
    removed = len(prefilled.prefix)
    mask, position = prefilled.attention_mask, prefilled.last_position - removed
    if removed:
        cache.crop(-removed)
        mask = mask[:, :-removed]
    token = prefilled.log_likelihoods[:, 0].argmax(dim=-1)
    generated = [token]
    ended = token == end
    while len(generated) < max_tokens and not ended.all():
        mask = torch.cat([mask, mask.new_ones(len(mask), 1)], dim=1)
        position = position + 1
        output = model(
            input_ids=token[:, None],
            attention_mask=mask,
            position_ids=position,
            past_key_values=cache,
            use_cache=True,
        )
        # Tokens after an end token are computed with the rest of the batch, and cut off below.
        token = output.logits[:, -1].argmax(dim=-1)
        generated.append(token)
        ended |= token == end
    rows = torch.stack(generated, dim=1).tolist()
    return [row[: row.index(end) + 1] if end in row else row for row in rows]


def read_answer(
    tokens: Sequence[int], tokenizer: PreTrainedTokenizerBase, representation: Representation
) -> tuple[str, int]:
    """Return generated tokens as text, and the index of the class that it names, or `INVALID`.

    The text is stripped, without the end token and without reasoning before it; other special tokens remain.
    """
    ended = bool(tokens) and tokens[-1] == end_token(tokenizer, representation)
    kept = list(tokens[:-1] if ended else tokens)
    text = tokenizer.decode(kept, skip_special_tokens=False).rpartition(THOUGHT)[2].strip()
    rationale = representation.scenario.has_rationale_target
    return text, class_of_text(text, representation.label_texts, ended=ended, rationale=rationale)


def class_of_text(text: str, label_texts: Sequence[str], *, ended: bool, rationale: bool) -> int:
    """Return the index of the answer that equals a generated text, or `INVALID`; no text is searched or corrected.

    The text has no blanks around it. `ended`: whether the model ended it; otherwise "1" may be the beginning of
    another text. `rationale`: whether the model was trained to continue after its answer, which a full stop then
    ends.
    """
    fitting = [
        (len(answer), index)
        for index, answer in enumerate(label_texts)
        if (ended and text == answer) or (rationale and text.startswith(f"{answer}."))
    ]
    return max(fitting)[1] if fitting else INVALID
