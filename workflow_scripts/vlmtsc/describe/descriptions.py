"""Descriptions of all series of a dataset, by the template or by a hosted model, and the file of the texts."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from vlmtsc.data.cleaning import merge_labels
from vlmtsc.data.series import CleanSeries
from vlmtsc.describe.template import describe_template
from vlmtsc.errors import InputError
from vlmtsc.files import read_json
from vlmtsc.representation.prompts import label_texts
from vlmtsc.settings import DescriptionKind, LeakedKind, leaked_kind

logger = logging.getLogger(__name__)

#: From values (n_cases, n_channels, n_timepoints), kind of text, and the class to name in each request or None: the
#: texts, and facts about them.
Describer = Callable[[np.ndarray, DescriptionKind, Sequence[str | None]], tuple[list[str], dict[str, Any]]]


def describe_dataset(
    series: CleanSeries, dataset: str, kind: DescriptionKind | LeakedKind, hosted: Describer | None = None
) -> dict[str, Any]:
    """Return the content of a description file.

    Parameters
    ----------
    kind : {"signal_analysis", "rationale", "leaked_rationale", "leaked_rationale_merged_labels"}
        The leaked kinds name the number that is the answer for the case's class (switch `leaked_rationale`): in the
        original, label and answer are the same text.
    hosted : callable, optional
        Texts of a hosted model; by default the template's, computed from the series.
    """
    named: Sequence[str | None] = [None] * len(series.label_index)
    if kind == "signal_analysis" or kind == "rationale":
        asked: DescriptionKind = kind
    else:
        merged = merge_labels(series) if kind == leaked_kind(merged_labels=True) else series
        answers = label_texts("numbers", merged.classes.tolist())
        asked, named = "rationale", [answers[index] for index in merged.label_index.tolist()]
    if hosted is None:
        texts = [
            describe_template(values, asked, leaked_label=label)
            for values, label in zip(series.values, named, strict=True)
        ]
        facts: dict[str, Any] = {}
    else:
        texts, facts = hosted(series.values, asked, named)
    mean = sum(map(len, texts)) / len(texts)
    logger.info("%s: %d texts of %.0f characters on average", dataset, len(texts), mean)
    describer = "template" if hosted is None else "endpoint"
    head = {"dataset": dataset, "kind": kind, "describer": describer, "cases": len(texts)}
    return head | facts | {"texts": dict(zip(series.case_ids.tolist(), texts, strict=True))}


def read_descriptions(path: Path, kind: DescriptionKind | LeakedKind, describer: str) -> dict[str, str]:
    """Read the texts of a description file, by case identifier.

    InputError if they are of another kind or by another describer.
    """
    content = read_json(path)
    for key, wanted in (("kind", kind), ("describer", describer)):
        found = content.get(key) if isinstance(content, dict) else None
        if found != wanted:
            raise InputError(f"{path}: {key}={found!r}; allowed: {wanted!r}")
    texts: dict[str, str] = content["texts"]
    return texts
