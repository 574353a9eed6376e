"""Dividing the cases of a dataset into train, validation and test. Pure functions of arrays."""

from __future__ import annotations

import math

import numpy as np
from sklearn.model_selection import train_test_split

from vlmtsc.errors import InputError
from vlmtsc.settings import SplitSettings

PARTS = ("train", "validation", "test")

# Shares and seeds of the pooled split are those of the paper's code. They stay fixed whatever seed a
# run has, so that results stay comparable.
_POOLED_TEST_SHARE, _POOLED_TEST_SEED = 0.2, 42
_POOLED_VALIDATION_SHARE, _POOLED_VALIDATION_SEED = 0.25, 21
_OFFICIAL_VALIDATION_SEED = 21


def split_cases(label_index: np.ndarray, n_train: int, settings: SplitSettings) -> dict[str, np.ndarray]:
    """Divide the cases into train, validation and test.

    Parameters
    ----------
    label_index : ndarray of int64, shape (n_cases,)
        Class of each case.
    n_train : int
        How many cases, the first ones, come from the archive's TRAIN file.
    settings : SplitSettings

    Returns
    -------
    dict of str to ndarray of int64
        Indices of the cases of ``train``, ``validation`` and ``test``: disjoint, together all cases.

    Raises
    ------
    InputError
        If there are too few cases, or too few of a class, for such a split.
    """
    if settings.protocol == "pooled":
        parts = _pooled(len(label_index))
    else:
        parts = _official(label_index, n_train, settings.validation_share)
    return {name: np.asarray(part, dtype=np.int64) for name, part in zip(PARTS, parts, strict=True)}


def _pooled(n_cases: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    if n_cases < 3:
        raise InputError(f"pooled split: {n_cases} cases; needed are at least 3")
    rest, test = train_test_split(
        np.arange(n_cases), test_size=_POOLED_TEST_SHARE, random_state=_POOLED_TEST_SEED
    )
    train, validation = train_test_split(
        rest, test_size=_POOLED_VALIDATION_SHARE, random_state=_POOLED_VALIDATION_SEED
    )
    return train, validation, test


def _official(
    label_index: np.ndarray, n_train: int, share: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    if n_train == len(label_index):
        raise InputError("official split: no TEST cases; the pooled split works without them")
    classes, counts = np.unique(label_index[:n_train], return_counts=True)
    if counts.min() < 2:
        raise InputError(
            f"official split: the class with index {classes[counts.argmin()]} has one TRAIN case, needed "
            "are two (one for train, one for validation); the pooled split does not stratify"
        )
    n_validation = math.ceil(share * n_train)
    if min(n_validation, n_train - n_validation) < len(classes):
        raise InputError(
            f"official split: validation_share {share} of {n_train} TRAIN cases leaves "
            f"{n_train - n_validation} and takes {n_validation}; "
            f"needed is a case of each of the {len(classes)} classes in both"
        )
    train, validation = train_test_split(
        np.arange(n_train),
        test_size=share,
        random_state=_OFFICIAL_VALIDATION_SEED,
        stratify=label_index[:n_train],
    )
    return train, validation, np.arange(n_train, len(label_index))
