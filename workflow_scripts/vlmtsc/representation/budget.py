"""How far to downsample so that every case fits the context, whole."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np

from vlmtsc.errors import InputError

#: Returns how many tokens each text has, special tokens included; the image placeholder counts as one.
TokenCounter = Callable[[list[str]], np.ndarray]
#: Returns the whole text (system prompt, question, answer, end token) of the cases asked for, at a factor.
TextsAtFactor = Callable[[int, Sequence[int]], list[str]]

#: Cases tokenised at a time: enough to keep a fast tokenizer's threads busy, few enough to stop early.
CHUNK = 512


def count_all(texts_at: TextsAtFactor, count_tokens: TokenCounter, factor: int, n_cases: int) -> np.ndarray:
    """Return the tokens of every case at `factor`, int64 of shape (n_cases,)."""
    counts = [
        count_tokens(texts_at(factor, range(start, min(start + CHUNK, n_cases))))
        for start in range(0, n_cases, CHUNK)
    ]
    return np.concatenate(counts).astype(np.int64)


def find_smallest_factor(
    texts_at: TextsAtFactor,
    count_tokens: TokenCounter,
    *,
    n_cases: int,
    n_timepoints: int,
    context_length: int,
) -> tuple[int, np.ndarray]:
    """Return the smallest downsampling factor with which every case fits the context, and the cases' tokens.

    One case that does not fit rules a factor out, so each factor is tried first on the case that was too
    long at the factor before; all cases are tokenised only where that one fits. No assumption is made on how
    the tokens shrink, so every smaller factor has been ruled out.

    Parameters
    ----------
    texts_at : callable
        Factor and case indices to whole texts.
    count_tokens : callable
        Texts to tokens, as the model is given them (image tokens included).
    n_cases : int
        Cases of all parts: train, validation and test.
    n_timepoints : int
        Largest factor tried: it leaves one value of each channel. 1 where no text depends on the factor.
    context_length : int
        Tokens allowed.

    Returns
    -------
    factor : int
    tokens : ndarray of int64, shape (n_cases,)

    Raises
    ------
    InputError
        If not even one value of each channel fits.
    """
    witness = 0
    needed = 0
    for factor in range(1, n_timepoints + 1):
        needed = int(count_tokens(texts_at(factor, [witness]))[0])
        if needed > context_length:
            continue
        counts: list[np.ndarray] = []
        for start in range(0, n_cases, CHUNK):
            chunk = np.asarray(count_tokens(texts_at(factor, range(start, min(start + CHUNK, n_cases)))))
            if chunk.max() > context_length:
                witness, needed = start + int(chunk.argmax()), int(chunk.max())
                break
            counts.append(chunk)
        else:
            return factor, np.concatenate(counts).astype(np.int64)
    what = "one value of each channel" if n_timepoints > 1 else "the question and the image"
    raise InputError(
        f"context_length={context_length}: even with {what} alone a case takes {needed} tokens; "
        f"allowed: {needed} or more, or a scenario with less text"
    )


def original_factor(tokens: int, tokens_without_numbers: int, context_length: int) -> int | None:
    """Return the factor that the paper's code chose.

    It is that of the first training case alone, and forgets the image and the system prompt.

    Parameters
    ----------
    tokens : int
        Tokens of the first training case's question.
    tokens_without_numbers : int
        The same without the numbers of the first channel.
    context_length : int

    Returns
    -------
    int or None
        ``ceil(tokens / (context - tokens_without_numbers - 5))``; 1 while the question is shorter than the
        context; None where the text beside the numbers takes the whole context and the formula has no answer.
    """
    if tokens < context_length:
        return 1
    room = context_length - tokens_without_numbers - 5
    return math.ceil(tokens / room) if room > 0 else None
