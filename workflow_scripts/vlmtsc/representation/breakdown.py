"""What a case's tokens are spent on, and whether two scenarios give a model the same inputs."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from vlmtsc.errors import InputError
from vlmtsc.representation.budget import CHUNK
from vlmtsc.representation.conversations import record_text
from vlmtsc.representation.prompts import IMAGE_TOKEN, number_spans
from vlmtsc.representation.representation import Representation

#: Returns the position in its text at which each token begins, -1 for a token that stands for no text.
TokenLocator = Callable[[list[str]], list[np.ndarray]]

SEGMENTS = ("system_prompt", "image", "numbers", "text", "label")
#: Settings that only shape prompts and plots, which are compared themselves.
_SEEN_IN_PROMPTS = ("name", "context_length", "downsampling", "factor", "plot")


def token_breakdown(
    records: Sequence[Mapping[str, Any]], representation: Representation, locate: TokenLocator
) -> dict[str, int]:
    """Return how many tokens of all cases each part of a conversation takes.

    A token belongs to the part in which it begins.

    Parameters
    ----------
    records : sequence of mapping
        Conversations with their answers.
    representation : Representation
        The one stored beside them.
    locate : callable

    Returns
    -------
    dict of str to int
        By `SEGMENTS`; they add up to the tokens of all cases. `label` is everything after ``ASSISTANT:``, end
        token included; `text` is what is left, the template's words and a begin token among them.

    Raises
    ------
    InputError
        If a case has fewer tokens than were counted.
    """
    totals = np.zeros(len(SEGMENTS), dtype=np.int64)
    for start in range(0, len(records), CHUNK):
        chunk = records[start : start + CHUNK]
        texts = [record_text(record, representation, with_answer=True) for record in chunk]
        for record, text, begins in zip(chunk, texts, locate(texts), strict=True):
            parts = _segment_of(begins, _spans(record, text, representation))
            image = SEGMENTS.index("image")
            parts = np.repeat(parts, np.where(parts == image, representation.image_tokens, 1))
            if len(parts) < record["tokens"]:
                raise InputError(f"case {record['id']}: {len(parts)} tokens, but {record['tokens']} counted")
            # A case that is longer than was counted is cut at its end.
            totals += np.bincount(parts[: record["tokens"]], minlength=len(SEGMENTS))
    return dict(zip(SEGMENTS, totals.tolist(), strict=True))


def _spans(
    record: Mapping[str, Any], text: str, representation: Representation
) -> list[tuple[int, int, str]]:
    """Return begin, end and part of what is not `text`, in order and without overlap."""
    spans = [(0, len(representation.system_prompt), "system_prompt")]
    answer = len(record_text(record, representation, with_answer=False))
    human = record["conversations"][0]["value"]
    turn = text.rindex(human, 0, answer)
    if representation.has_image:
        spans.append((turn, turn + len(IMAGE_TOKEN), "image"))
    numbers = number_spans(human, representation.scenario.numbers, representation.n_channels)
    spans += [(turn + begin, turn + end, "numbers") for begin, end in numbers]
    return [*spans, (answer, len(text), "label")]


def _segment_of(begins: np.ndarray, spans: Sequence[tuple[int, int, str]]) -> np.ndarray:
    """Return the index in `SEGMENTS` of tokens that begin at these positions."""
    edges = np.array([edge for begin, end, _ in spans for edge in (begin, end)])
    text = SEGMENTS.index("text")
    codes = np.full(len(edges) + 1, text)
    codes[1::2] = [SEGMENTS.index(part) for _, _, part in spans]
    return codes[np.searchsorted(edges, begins, side="right")]


def input_digest(
    parts: Mapping[str, Sequence[Mapping[str, Any]]], representation: Representation, plots: str = ""
) -> str:
    """Return a digest of what a model is given and asked for.

    Equal for two scenarios of one dataset and model exactly if questions, answers and plots are the same,
    whatever their names, context lengths and ways of downsampling.

    Parameters
    ----------
    parts : mapping of str to sequence of mapping
        Conversations of each part.
    representation : Representation
        The one stored beside them.
    plots : str
        Digest of the plots; empty if it is compared elsewhere, or there are none.

    Returns
    -------
    str
        64 hexadecimal digits.
    """
    content = representation.to_json()
    scenario = {key: value for key, value in content["scenario"].items() if key not in _SEEN_IN_PROMPTS}
    settings = {key: value for key, value in content.items() if key not in _SEEN_IN_PROMPTS}
    told = {
        part: [[record["id"], record.get("image"), record["conversations"]] for record in records]
        for part, records in parts.items()
    }
    whole = {"settings": settings | {"scenario": scenario}, "parts": told, "plots": plots}
    return hashlib.sha256(json.dumps(whole, sort_keys=True).encode()).hexdigest()
