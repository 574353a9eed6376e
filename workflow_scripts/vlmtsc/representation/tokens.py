"""Tokens of texts and images, and the smallest downsampling factor with which every case fits the context."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np

from vlmtsc.errors import InputError

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

#: Function that returns the tokens of each text, special tokens included; the image placeholder counts as one.
TokenCounter = Callable[[list[str]], np.ndarray]
#: Function that returns the position in its text at which each token begins, -1 for a token without text.
TokenLocator = Callable[[list[str]], list[np.ndarray]]
#: Function of a factor and positions of cases that returns their whole texts: system prompt, question, answer, end
#: token.
TextsAtFactor = Callable[[int, Sequence[int]], list[str]]

#: Cases tokenised at a time: enough to occupy a fast tokenizer's threads, few enough to stop early.
CHUNK = 512
#: Texts whose positions are kept: about 20 kB each with 2,048 tokens.
KEPT_TEXTS = 20_000


class TextTokens:
    """Counts the tokens of whole texts, the tokenizer's begin token included, and locates them.

    InputError if the tokenizer has no end token or no positions, or splits the image placeholder.
    """

    def __init__(self, tokenizer: PreTrainedTokenizerBase, placeholder: str | None = None) -> None:
        if tokenizer.eos_token is None:
            raise InputError("tokenizer without an end token (eos_token); allowed: one that has it")
        if placeholder is not None:
            pieces = tokenizer(placeholder, add_special_tokens=False)["input_ids"]
            if len(pieces) != 1:
                raise InputError(
                    f"tokenizer: {placeholder} takes {len(pieces)} tokens; allowed: one special token"
                )
        if not tokenizer.is_fast:
            raise InputError("tokenizer without positions; allowed: a fast one (tokenizer.json)")
        self._tokenizer = tokenizer
        self._known: dict[str, np.ndarray] = {}

    def count(self, texts: list[str]) -> np.ndarray:
        """Return the tokens of each text (see `TokenCounter`)."""
        begins = self._tokenise(texts)
        if len(texts) > 1:  # a single text tries a factor, mostly in vain
            if len(self._known) + len(texts) > KEPT_TEXTS:
                self._known.clear()
            self._known.update(zip(texts, begins, strict=True))
        return np.array([len(starts) for starts in begins], dtype=np.int64)

    def locate(self, texts: list[str]) -> list[np.ndarray]:
        """Return where each token begins (see `TokenLocator`); texts that were counted are not tokenised again."""
        if all(text in self._known for text in texts):
            return [self._known[text] for text in texts]
        return self._tokenise(texts)

    def _tokenise(self, texts: list[str]) -> list[np.ndarray]:
        # Calling the tokenizer itself would convert everything it knows about a token to lists: twice the time.
        backend = self._tokenizer.backend_tokenizer
        backend.no_truncation()
        backend.no_padding()
        return [
            np.array([begin if begin < end else -1 for begin, end in encoded.offsets], dtype=np.int32)
            for encoded in backend.encode_batch(texts, add_special_tokens=True)
        ]


def count_all(texts_at: TextsAtFactor, count_tokens: TokenCounter, factor: int, n_cases: int) -> np.ndarray:
    """Return the tokens of every case at `factor`, int64 of shape (n_cases,)."""
    return np.concatenate([counts for _, counts in _chunks(texts_at, count_tokens, factor, n_cases)])


def _chunks(
    texts_at: TextsAtFactor, count_tokens: TokenCounter, factor: int, n_cases: int
) -> Iterator[tuple[int, np.ndarray]]:
    """Yield the first case of each chunk and the tokens of its cases."""
    for start in range(0, n_cases, CHUNK):
        texts = texts_at(factor, range(start, min(start + CHUNK, n_cases)))
        yield start, np.asarray(count_tokens(texts), dtype=np.int64)


def find_smallest_factor(
    texts_at: TextsAtFactor,
    count_tokens: TokenCounter,
    *,
    n_cases: int,
    n_timepoints: int,
    context_length: int,
) -> tuple[int, np.ndarray]:
    """Return the smallest downsampling factor with which every case fits the context, and the cases' tokens, int64.

    One case that does not fit rules a factor out, so each factor is first tried on the case that was too long at the
    previous one; all cases are tokenised only where that one fits. Nothing is assumed about how the number of tokens
    shrinks: every smaller factor has been ruled out. `count_tokens` counts what the model sees, image tokens
    included. The largest factor, `n_timepoints`, leaves one value of each channel; it is 1 where no text depends on
    the factor. InputError if not even one value of each channel fits.
    """
    witness = 0
    needed = 0
    for factor in range(1, n_timepoints + 1):
        needed = int(count_tokens(texts_at(factor, [witness]))[0])
        if needed > context_length:
            continue
        found: list[np.ndarray] = []
        for start, tokens in _chunks(texts_at, count_tokens, factor, n_cases):
            if tokens.max() > context_length:
                witness, needed = start + int(tokens.argmax()), int(tokens.max())
                break
            found.append(tokens)
        else:
            return factor, np.concatenate(found)
    what = "one value of each channel" if n_timepoints > 1 else "the question and the image"
    raise InputError(
        f"context_length={context_length}: even with {what} alone a case takes {needed} tokens; "
        f"allowed: {needed} or more, or a scenario with less text"
    )


def original_factor(tokens: int, tokens_without_numbers: int, context_length: int) -> int | None:
    """Return the factor of the paper's code, from the question of the first training case, with and without numbers.

    ``ceil(tokens / (context_length - tokens_without_numbers - 5))``; 1 while the question is shorter than the context;
    None where the text without numbers takes the whole context, so that the formula is undefined.
    """
    if tokens < context_length:
        return 1
    room = context_length - tokens_without_numbers - 5
    return math.ceil(tokens / room) if room > 0 else None
