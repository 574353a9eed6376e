"""What a hosted model is asked about a series. Pure: text in, text out."""

from __future__ import annotations

import hashlib
import json
import re
from typing import Any

import numpy as np

from vlmtsc.representation.downsampling import uniform_downsample
from vlmtsc.representation.numbers import format_decimals
from vlmtsc.settings import DescriptionKind, EndpointSettings

#: What a tokenizer may take for a special token of its own: ``<image>``, ``</s>``, ``<|im_end|>``.
_SPECIAL = re.compile(r"<[^<>\s]{1,40}>")


def request_body(
    values: np.ndarray,
    kind: DescriptionKind,
    dataset: str,
    settings: EndpointSettings,
    *,
    leaked_label: str | None = None,
) -> dict[str, Any]:
    """Return the body of a chat-completions request for a description of one series.

    Parameters
    ----------
    values : ndarray of float64, shape (n_channels, n_timepoints)
    kind : {"signal_analysis", "rationale"}
    dataset : str
        The dataset's name, which the paper's requests tell too.
    settings : EndpointSettings
    leaked_label : str, optional
        The class to tell, as the paper's request for a rationale did. Only for measuring what that fault is
        worth: without it, nothing in the request depends on the class.

    Returns
    -------
    dict
        ``model``, ``messages``, ``temperature``, ``max_tokens``.
    """
    n_channels, n_timepoints = values.shape
    kept = uniform_downsample(values, -(-n_timepoints // settings.max_timepoints))
    rows = [format_decimals(row, settings.round_to) for row in kept]
    numbers = rows[0] if n_channels == 1 else "\n".join(f"Dimension {i}: {row}" for i, row in enumerate(rows))
    if kind == "signal_analysis":
        task = "Describe its patterns and how it goes, segment by segment: trend, level shifts, peaks, periodicity."
    elif leaked_label is None:
        task = (
            "Say which traits of this series a classifier should rely on, and why. "
            "You do not know its class: name none."
        )
    else:
        task = f"Its class is {leaked_label}. Say why this class is the right one."
    content = f"This is a time series of the dataset {dataset}:\n\n{numbers}\n\n{task}\nAnswer in a single paragraph."
    return {
        "model": settings.model,
        "messages": [{"role": "user", "content": content}],
        "temperature": settings.temperature,
        "max_tokens": settings.max_tokens,
    }


def request_digest(body: dict[str, Any]) -> str:
    """Return the SHA-256 (hex) of a request: model, prompt and parameters, whatever the order of their keys."""
    return hashlib.sha256(json.dumps(body, sort_keys=True, ensure_ascii=True).encode()).hexdigest()


def as_paragraph(text: str) -> str:
    """Return a model's text as one paragraph that no tokenizer takes for anything but text.

    White space of any kind becomes one blank; what looks like a special token (``<image>``) is taken out.
    """
    return " ".join(_SPECIAL.sub(" ", text).split())
