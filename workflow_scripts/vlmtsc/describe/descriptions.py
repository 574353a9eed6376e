"""Descriptions of all series of a dataset: what is asked, by whom it is answered, and the file of the texts."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from vlmtsc.data.cleaning import merge_labels
from vlmtsc.data.series import CleanSeries
from vlmtsc.describe.template import describe_template
from vlmtsc.errors import InputError
from vlmtsc.files import read_json
from vlmtsc.representation.prompts import label_texts
from vlmtsc.settings import DescriptionKind, LeakedKind, leaked_kind

logger = logging.getLogger(__name__)


def describe_by_template(
    series: CleanSeries, dataset: str, kind: DescriptionKind | LeakedKind
) -> dict[str, Any]:
    """Return the content of a description file with texts computed from the series.

    Parameters
    ----------
    series : CleanSeries
    dataset : str
    kind : {"signal_analysis", "rationale", "leaked_rationale", "leaked_rationale_merged_labels"}
    """
    asked, leaked = requested_text(series, kind)
    texts = [
        describe_template(values, asked, leaked_label=label)
        for values, label in zip(series.values, leaked, strict=True)
    ]
    mean = sum(map(len, texts)) / len(texts)
    logger.info("%s: %d texts of %.0f characters on average", dataset, len(texts), mean)
    return description_content(series, dataset, kind, "template", {}, texts)


def requested_text(
    series: CleanSeries, kind: DescriptionKind | LeakedKind
) -> tuple[DescriptionKind, Sequence[str | None]]:
    """Return the kind of text to ask for, and the class to name in each request: none unless the kind is leaked.

    Returns
    -------
    asked : {"signal_analysis", "rationale"}
    leaked : sequence of str or None
        By case. With a leak (switch `leaked_rationale`) the number that is the answer for the case's class: in the
        original, label and answer are the same text.
    """
    if kind == "signal_analysis" or kind == "rationale":
        return kind, [None] * len(series.label_index)
    if kind == leaked_kind(merged_labels=True):
        series = merge_labels(series)
    answers = label_texts("numbers", series.classes.tolist())
    return "rationale", [answers[index] for index in series.label_index.tolist()]


def description_content(
    series: CleanSeries,
    dataset: str,
    kind: DescriptionKind | LeakedKind,
    describer: str,
    facts: Mapping[str, Any],
    texts: Sequence[str],
) -> dict[str, Any]:
    """Return the content of a description file."""
    head = {"dataset": dataset, "kind": kind, "describer": describer, "cases": len(texts)}
    return head | dict(facts) | {"texts": dict(zip(series.case_ids.tolist(), texts, strict=True))}


def read_descriptions(path: Path, kind: DescriptionKind | LeakedKind, describer: str) -> dict[str, str]:
    """Read the texts of a description file, by case identifier.

    Raises
    ------
    InputError
        If they are of another kind or by another describer.
    """
    content = read_json(path)
    for key, wanted in (("kind", kind), ("describer", describer)):
        found = content.get(key) if isinstance(content, dict) else None
        if found != wanted:
            raise InputError(f"{path}: {key}={found!r}; allowed: {wanted!r}")
    texts: dict[str, str] = content["texts"]
    return texts
