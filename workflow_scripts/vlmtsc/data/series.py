"""The two forms of a dataset: as parsed from its source, and clean."""

from __future__ import annotations

import hashlib
import re
import zipfile
import zlib
from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Self

import numpy as np

from vlmtsc.errors import InputError
from vlmtsc.files import atomic_path

_INTEGER = re.compile(r"[+-]?[0-9]{1,300}")
#: Larger values are refused: their fourth powers (kurtosis), and sums of these, are no numbers any more.
LARGEST = 1e60
_NUMBER = re.compile(r"[+-]?([0-9]+(\.[0-9]*)?|\.[0-9]+)([eE][+-]?[0-9]+)?")


def canonical_label(label: object) -> str:
    """Write a class label in the one way in which all sources write it.

    Numbers that are equal get the same text: ``1``, ``"1.0"`` and ``"1.0000000e+00"`` become "1".
    Two labels of an archive that differ only in that are the same label. Any other text is kept,
    without blanks around it.

    Raises
    ------
    InputError
        If the label is empty, or holds a zero byte, which arrays of text lose.

    Examples
    --------
    >>> [canonical_label(label) for label in (1, "1.0", "-1", "0.50", "walk")]
    ['1', '1', '-1', '0.5', 'walk']
    """
    text = str(label).strip()
    if not text:
        raise InputError("empty class label")
    if "\0" in text:
        raise InputError(f"class label {text!r} holds a zero byte")
    if _INTEGER.fullmatch(text):
        return str(int(text))
    if not _NUMBER.fullmatch(text):
        return text
    number = float(text)
    if not np.isfinite(number):
        return text
    return str(int(number)) if number.is_integer() else repr(number)


def _save_arrays(instance: object, path: Path) -> None:
    with atomic_path(Path(path)) as temporary, temporary.open("wb") as file:
        arrays = {field.name: getattr(instance, field.name) for field in fields(instance)}  # type: ignore[arg-type]
        np.savez_compressed(file, **arrays)


def load_arrays(path: Path, names: Sequence[str]) -> dict[str, np.ndarray]:
    """Read arrays out of an .npz file; InputError if it is something else, or damaged."""
    try:
        with np.load(path, allow_pickle=False) as file:
            return {name: file[name] for name in names}
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        raise InputError(f"{path}: not a file with the arrays {', '.join(names)} ({error})") from error


@dataclass(frozen=True)
class LabelledSeries:
    """A dataset as its source gives it, train cases first, then test, in archive order.

    Attributes
    ----------
    values : ndarray of float64, shape (n_cases, n_channels, n_timepoints)
        NaN is missing; shorter series are padded with NaN at the end.
    lengths : ndarray of int64, shape (n_cases,)
        Timepoints of each case, up to the last one that has a value in any channel. So padding and
        missing values at the end of all channels are the same thing, as they are in the archive's
        ``.tsv`` files.
    labels : ndarray of str, shape (n_cases,)
        Canonical labels (`canonical_label`).
    n_train : int
        How many cases come from the archive's TRAIN file.
    """

    values: np.ndarray
    lengths: np.ndarray
    labels: np.ndarray
    n_train: int

    @classmethod
    def from_parts(
        cls,
        train: tuple[Sequence[np.ndarray], Sequence[object]],
        test: tuple[Sequence[np.ndarray], Sequence[object]],
        names: tuple[str, str] = ("TRAIN", "TEST"),
    ) -> Self:
        """Join the TRAIN and TEST parts of a dataset.

        Parameters
        ----------
        train, test : (series, labels)
            Each series is an array of shape (n_channels, n_timepoints), NaN where missing.
        names : (str, str)
            What messages call the parts, such as the names of their files.

        Raises
        ------
        InputError
            If a part is empty, or a case has another number of channels, no value, one that is infinite or too large
            (`LARGEST`), or a label that is empty or holds a zero byte. Cases are counted from 1 in their part.
        """
        for part, (series, labels) in zip(names, (train, test), strict=True):
            if len(series) == 0 or len(series) != len(labels):
                raise InputError(f"{part} has {len(series)} series and {len(labels)} labels")
        places = [f"{names[0]}, case {number}" for number in range(1, len(train[0]) + 1)]
        places += [f"{names[1]}, case {number}" for number in range(1, len(test[0]) + 1)]
        cases = [np.asarray(case, dtype=np.float64) for case in (*train[0], *test[0])]
        n_channels = cases[0].shape[0]
        lengths = np.zeros(len(cases), dtype=np.int64)
        for index, (case, place) in enumerate(zip(cases, places, strict=True)):
            if case.ndim != 2 or case.shape[0] != n_channels:
                raise InputError(f"{place} has {case.shape[0]} channels, the first case has {n_channels}")
            present = np.flatnonzero(~np.isnan(case).all(axis=0))
            if present.size == 0:
                raise InputError(f"{place} has no value")
            largest = np.nanmax(np.abs(case))
            if np.isinf(largest):
                raise InputError(f"{place} has an infinite value")
            if largest > LARGEST:
                raise InputError(
                    f"{place} has the value {largest:g}; allowed: {LARGEST:g} at most, either sign"
                )
            lengths[index] = present[-1] + 1
        values = np.full((len(cases), n_channels, lengths.max()), np.nan)
        for index, case in enumerate(cases):
            values[index, :, : lengths[index]] = case[:, : lengths[index]]
        canonical = []
        for label, place in zip((*train[1], *test[1]), places, strict=True):
            try:
                canonical.append(canonical_label(label))
            except InputError as error:
                raise InputError(f"{place}: {error}") from error
        return cls(values, lengths, np.array(canonical), len(train[0]))

    def digest(self) -> str:
        """SHA-256 (hex) of the arrays; every source of the same dataset gives the same one.

        Over the shape and `n_train`, the values as little-endian float64 with one NaN and one zero,
        the lengths, and the labels as UTF-8.
        """
        values = np.where(np.isnan(self.values), np.nan, self.values) + 0.0  # -0.0 + 0.0 is 0.0
        result = hashlib.sha256(f"series-1 {self.values.shape} {self.n_train}\n".encode())
        result.update(np.ascontiguousarray(values, dtype="<f8").tobytes())
        result.update(np.ascontiguousarray(self.lengths, dtype="<i8").tobytes())
        result.update("\0".join(self.labels.tolist()).encode())
        return result.hexdigest()

    def save(self, path: Path) -> None:
        """Write the arrays as .npz, without pickle, atomically."""
        _save_arrays(self, path)

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read what `save` wrote; InputError if the file is something else."""
        arrays = load_arrays(path, [field.name for field in fields(cls)])
        return cls(arrays["values"], arrays["lengths"], arrays["labels"], int(arrays["n_train"]))


@dataclass(frozen=True)
class CleanSeries:
    """A dataset that a model can take: complete, of equal length, with dense labels.

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
        How many of the cases come from the archive's TRAIN file; they are the first ones.
    """

    values: np.ndarray
    label_index: np.ndarray
    classes: np.ndarray
    case_ids: np.ndarray
    n_train: int

    def save(self, path: Path) -> None:
        """Write the arrays as .npz, without pickle, atomically."""
        _save_arrays(self, path)

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read what `save` wrote; InputError if the file is something else."""
        arrays = load_arrays(path, [field.name for field in fields(cls)])
        return cls(
            arrays["values"],
            arrays["label_index"],
            arrays["classes"],
            arrays["case_ids"],
            int(arrays["n_train"]),
        )

    def class_balance(self, cases: np.ndarray | None = None) -> dict[str, int]:
        """Count the cases of each class, by its original label.

        Parameters
        ----------
        cases : ndarray of int64, optional
            Indices of the cases to count; default: all.
        """
        label_index = self.label_index if cases is None else self.label_index[cases]
        counts = np.bincount(label_index, minlength=len(self.classes))
        return dict(zip(self.classes.tolist(), counts.tolist(), strict=True))
