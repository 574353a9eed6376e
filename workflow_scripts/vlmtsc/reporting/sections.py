"""Generated sections of documents, each between two markers."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from vlmtsc.errors import InputError
from vlmtsc.files import atomic_path


def fill_section(document: Path, begin: str, end: str, text: str) -> None:
    """Put `text` between two markers of a document, in place of what stands there.

    Parameters
    ----------
    document : Path
    begin, end : str
        Markers, each once in the document.
    text : str

    Raises
    ------
    InputError
        If a marker is missing.
    """
    whole = document.read_text(encoding="utf-8")
    if begin not in whole or end not in whole:
        raise InputError(f"{document}: the markers {begin!r} and {end!r} are missing")
    before, after = whole.partition(begin)[0], whole.partition(end)[2]
    with atomic_path(document) as path:
        path.write_text(f"{before}{begin}\n{text}\n{end}{after}", encoding="utf-8")


def describe_machine(record: Mapping[str, Any]) -> str:
    """Describe the machine that a run record names."""
    hardware = record["hardware"]
    device = ", ".join(hardware["gpus"]) or f"{hardware['processor']}, {hardware['cores']} cores, no GPU"
    return f"{device}, {hardware['memory_gib']:.0f} GiB of memory"
