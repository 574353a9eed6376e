"""Descriptions of the cases of a dataset, as they are stored."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from vlmtsc.errors import InputError
from vlmtsc.files import read_json, write_json
from vlmtsc.settings import DescriptionKind, LeakedKind


def write_descriptions(
    path: Path,
    dataset: str,
    kind: DescriptionKind | LeakedKind,
    describer: str,
    facts: Mapping[str, Any],
    texts: Mapping[str, str],
) -> None:
    """Write one paragraph for each case.

    Parameters
    ----------
    path : Path
    dataset : str
    kind : {"signal_analysis", "rationale", "leaked_rationale", "leaked_rationale_merged_labels"}
    describer : {"template", "endpoint"}
    facts : mapping
        What else is to be known about the texts.
    texts : mapping of str to str
        By case identifier.
    """
    content = {"dataset": dataset, "kind": kind, "describer": describer, "cases": len(texts)}
    write_json(path, content | dict(facts) | {"texts": dict(texts)})


def read_descriptions(path: Path, kind: DescriptionKind | LeakedKind, describer: str) -> dict[str, str]:
    """Read the paragraphs that `write_descriptions` wrote, by case identifier.

    Raises
    ------
    InputError
        If they are of another kind, or by another describer.
    """
    content = read_json(path)
    for key, wanted in (("kind", kind), ("describer", describer)):
        found = content.get(key) if isinstance(content, dict) else None
        if found != wanted:
            raise InputError(f"{path}: {key}={found!r}; allowed: {wanted!r}")
    texts: dict[str, str] = content["texts"]
    return texts
