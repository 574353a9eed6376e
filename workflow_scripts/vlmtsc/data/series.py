"""The two forms of a dataset: as parsed from its source, and clean."""

from __future__ import annotations

import hashlib
import re
import zipfile
import zlib
from collections.abc import Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, Self

import numpy as np

from vlmtsc.errors import InputError
from vlmtsc.files import atomic_path

#: Larger values are refused: sums of their fourth powers (kurtosis) overflow.
LARGEST = 1e60
#: Labels, in lower case, that mean a missing one. "None" and "null" are names of classes too.
NO_LABEL = frozenset(["?", "nan", "-nan", "na", "n/a", "<na>", "#n/a", "#na"])
_INTEGER = re.compile(r"[+-]?[0-9]{1,300}")
_NUMBER = re.compile(r"[+-]?([0-9]+(\.[0-9]*)?|\.[0-9]+)([eE][+-]?[0-9]+)?")


def canonical_label(label: object) -> str:
    """Write a class label in the same way for all sources.

    Equal numbers become equal text: ``1``, ``"1.0"`` and ``"1.0000000e+00"`` become "1". Two labels of an archive
    that differ only in that are the same label. Any other text is kept, without surrounding blanks. InputError if the
    label is empty or a word for a missing value, or contains a zero byte, which arrays of text lose.

    Examples
    --------
    >>> [canonical_label(label) for label in (1, "1.0", "-1", "0.50", "walk")]
    ['1', '1', '-1', '0.5', 'walk']
    """
    text = str(label).strip()
    if not text:
        raise InputError("empty class label")
    if text.lower() in NO_LABEL:
        raise InputError(f"class label {text!r} means that there is none; allowed: the name of a class")
    if "\0" in text:
        raise InputError(f"class label {text!r} holds a zero byte")
    if _INTEGER.fullmatch(text):
        return str(int(text))
    if not _NUMBER.fullmatch(text) or not np.isfinite(number := float(text)):
        return text
    return str(int(number)) if number.is_integer() else repr(number)


#: What NumPy and pandas raise for a file that is none of theirs, or damaged.
FAULTS = (OSError, ValueError, KeyError, EOFError, OverflowError, zipfile.BadZipFile, zlib.error)


def load_arrays(path: Path, names: Sequence[str]) -> dict[str, np.ndarray]:
    """Read arrays from an .npz file; InputError if it is something else, or damaged."""
    try:
        with np.load(path, allow_pickle=False) as file:
            return {name: file[name] for name in names}
    except FAULTS as error:
        raise InputError(f"{path}: not a file with the arrays {', '.join(names)} ({error})") from error


#: Series of shape (n_channels, n_timepoints) and labels; whether missing values at the end are part of a series.
Cases = tuple[Sequence[np.ndarray], Sequence[object]] | tuple[Sequence[np.ndarray], Sequence[object], bool]


NO_GROUPS = np.empty(0, dtype=str)


class _ArrayFile:
    """Saving and loading of a dataclass of arrays and single values."""

    def save(self, path: Path) -> None:
        """Write the arrays as .npz, without pickle, atomically."""
        with atomic_path(Path(path)) as temporary, temporary.open("wb") as file:
            np.savez_compressed(file, **vars(self))

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read the file that `save` wrote; InputError if it is something else."""
        arrays = load_arrays(path, [attribute.name for attribute in fields(cls)])  # type: ignore[arg-type]
        return cls(**{name: array if array.ndim else array.item() for name, array in arrays.items()})


@dataclass(frozen=True)
class LabelledSeries(_ArrayFile):
    """A dataset as parsed from its source, train cases first, then test, in archive order.

    Attributes
    ----------
    values : ndarray of float64, shape (n_cases, n_channels, n_timepoints)
        NaN is missing; shorter series are padded with NaN at the end.
    lengths : ndarray of int64, shape (n_cases,)
        Timepoints of each case, up to the last one with a value in any channel: padding and missing values at the end
        of all channels are the same, as in the archive's ``.tsv`` files.
    labels : ndarray of str, shape (n_cases,)
        Canonical labels (`canonical_label`).
    n_train : int
        Number of cases from the archive's TRAIN file.
    n_validation : int
        Number of cases, the last ones of TRAIN, that the source gives as validation set; 0 if it gives none.
    groups : ndarray of str, shape (n_cases,) or (0,)
        Group of each case, such as a person; empty if there are none. Cases of a group belong into one set.
    equal_length : bool
        Whether the source says that all cases have one length: missing values at the end are then values to fill. Not
        part of the digest, since not every format says it.
    """

    values: np.ndarray
    lengths: np.ndarray
    labels: np.ndarray
    n_train: int
    equal_length: bool = False
    n_validation: int = 0
    groups: np.ndarray = field(default_factory=lambda: NO_GROUPS)

    @classmethod
    def from_parts(cls, train: Cases, test: Cases, names: tuple[str, str] = ("TRAIN", "TEST")) -> Self:
        """Join the TRAIN and TEST parts of a dataset.

        InputError if a part is empty, or a case has another number of channels, no value, one that is infinite or too
        large (`LARGEST`), or a label that is empty or contains a zero byte. Cases are counted from 1 in their part.

        Parameters
        ----------
        train, test : (series, labels) or (series, labels, equal_length)
            Each series is an array of shape (n_channels, n_timepoints), NaN where missing.
        names : (str, str)
            Names of the parts in messages, such as those of their files.
        """
        parts = [part[:2] for part in (train, test)]
        for name, (series, labels) in zip(names, parts, strict=True):
            if len(series) == 0 or len(series) != len(labels):
                raise InputError(f"{name} has {len(series)} series and {len(labels)} labels")
        places = [
            f"{name}, case {number}"
            for name, (series, _) in zip(names, parts, strict=True)
            for number in range(1, len(series) + 1)
        ]
        # Each part alone may say so of its own length.
        lengths = {np.shape(case)[-1] for series, _ in parts for case in series}
        equal = len(lengths) == 1 and all(part[2:] == (True,) for part in (train, test))
        return cls.from_cases(
            [*train[0], *test[0]], [*train[1], *test[1]], places, len(train[0]), equal_length=equal
        )

    @classmethod
    def from_cases(
        cls,
        series: Sequence[np.ndarray],
        labels: Sequence[object],
        places: Sequence[str],
        n_train: int,
        **other: Any,
    ) -> Self:
        """Join cases, TRAIN first; see `from_parts`. Messages begin with a case's place; `other` are attributes."""
        cases: list[np.ndarray] = []
        canonical: list[str] = []
        for raw, label, place in zip(series, labels, places, strict=True):
            case = np.asarray(raw, dtype=np.float64)
            check_case(case, len(cases[0]) if cases else len(case), place)
            cases.append(case)
            try:
                canonical.append(canonical_label(label))
            except InputError as error:
                raise InputError(f"{place}: {error}") from error
        lengths = np.array([series_length(case) for case in cases], dtype=np.int64)
        values = np.full((len(cases), len(cases[0]), lengths.max()), np.nan)
        for row, case, length in zip(values, cases, lengths, strict=True):
            row[:, :length] = case[:, :length]
        return cls(values, lengths, np.array(canonical), n_train, **other)

    def digest(self, *, values: bool = True) -> str:
        """Return the SHA-256 (hex) of the arrays, with one NaN and one zero: the same for every source of a dataset.

        Without `values`, that of sizes, lengths and labels.
        """
        result = hashlib.sha256(f"series-1 {self.values.shape} {self.n_train}\n".encode())
        if values:
            plain = np.where(np.isnan(self.values), np.nan, self.values) + 0.0  # -0.0 + 0.0 is 0.0
            result.update(np.ascontiguousarray(plain, dtype="<f8").tobytes())
        result.update(np.ascontiguousarray(self.lengths, dtype="<i8").tobytes())
        result.update("\0".join(self.labels.tolist()).encode())
        return result.hexdigest()


def series_length(case: np.ndarray) -> int:
    """Return the timepoints up to the last one with a value in any channel."""
    present = np.flatnonzero(~np.isnan(case).all(axis=0))
    return int(present[-1]) + 1 if present.size else 0


def without_end(case: np.ndarray, least: int = 0) -> np.ndarray:
    """Return a series without the missing values at its end (`series_length`), but the first `least` timepoints."""
    return case[:, : max(series_length(case), least)]


def check_case(case: np.ndarray, n_channels: int, place: str) -> None:
    """Raise InputError, beginning with `place`, if a series has other channels, no value, or one that is too large."""
    if case.ndim != 2 or len(case) != n_channels:
        raise InputError(f"{place} has {len(case)} channels, the first case has {n_channels}")
    if not series_length(case):
        raise InputError(f"{place} has no value")
    largest = np.nanmax(np.abs(case))
    if np.isinf(largest):
        raise InputError(f"{place} has an infinite value")
    if largest > LARGEST:
        raise InputError(f"{place} has the value {largest:g}; allowed: {LARGEST:g} at most, either sign")


@dataclass(frozen=True)
class CleanSeries(_ArrayFile):
    """A dataset ready for models: complete, of equal length, with classes numbered from 0.

    Attributes
    ----------
    values : ndarray of float64, shape (n_cases, n_channels, n_timepoints)
        No NaN.
    label_index : ndarray of int64, shape (n_cases,)
        0 to n_classes - 1.
    classes : ndarray of str, shape (n_classes,)
        Original label of each index: in numeric order if all are numbers, otherwise as text.
    case_ids : ndarray of str, shape (n_cases,)
        Dataset and position in the archive (train, then test), such as ``GunPoint-00012``.
    n_train : int
        Number of cases from the archive's TRAIN file; they are the first ones.
    n_validation, groups
        As in `LabelledSeries`.
    """

    values: np.ndarray
    label_index: np.ndarray
    classes: np.ndarray
    case_ids: np.ndarray
    n_train: int
    n_validation: int = 0
    groups: np.ndarray = field(default_factory=lambda: NO_GROUPS)

    def class_balance(self, cases: np.ndarray | None = None) -> dict[str, int]:
        """Count the cases of each class by its original label; of all cases, or of those with the given indices."""
        label_index = self.label_index if cases is None else self.label_index[cases]
        counts = np.bincount(label_index, minlength=len(self.classes))
        return dict(zip(self.classes.tolist(), counts.tolist(), strict=True))
