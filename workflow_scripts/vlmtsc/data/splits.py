"""Splits: the cases of a dataset divided into train, validation and test sets."""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from vlmtsc.data.series import CleanSeries
from vlmtsc.errors import InputError
from vlmtsc.settings import SplitSettings

logger = logging.getLogger(__name__)

#: The sets that a dataset is divided into.
SETS = ("train", "validation", "test")

# Shares of the pooled splits, and seeds of the first, are those of the paper's code. None depends on a run's seed,
# so that results stay comparable.
POOLED_TEST_SHARE, POOLED_VALIDATION_SHARE = 0.2, 0.25
#: By protocol, the seeds of the test and validation sets.
POOLED_SEEDS = {"pooled": (42, 21), "pooled_2": (43, 22), "pooled_3": (44, 23)}
OFFICIAL_VALIDATION_SEED = 21


def split_cases(label_index: np.ndarray, n_train: int, settings: SplitSettings) -> dict[str, np.ndarray]:
    """Divide the cases into `SETS` of indices, int64: disjoint, together all cases.

    `label_index` has the class of each case; the first `n_train` are those of the archive's TRAIN file. InputError if
    there are too few cases, or too few of a class, for such a split.
    """
    if settings.protocol in POOLED_SEEDS:
        sets = _pooled(len(label_index), *POOLED_SEEDS[settings.protocol])
    else:
        sets = _official(label_index, n_train, settings.validation_share)
    return {name: np.asarray(cases, dtype=np.int64) for name, cases in zip(SETS, sets, strict=True)}


def _pooled(n_cases: int, test_seed: int, validation_seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    from sklearn.model_selection import (
        train_test_split,  # imported here: a second, for many that need `SETS` alone
    )

    if n_cases < 3:
        raise InputError(f"pooled split: {n_cases} cases; needed are at least 3")
    rest, test = train_test_split(np.arange(n_cases), test_size=POOLED_TEST_SHARE, random_state=test_seed)
    train, validation = train_test_split(
        rest, test_size=POOLED_VALIDATION_SHARE, random_state=validation_seed
    )
    return train, validation, test


def _official(
    label_index: np.ndarray, n_train: int, share: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    if n_train == len(label_index):
        raise InputError("official split: no TEST cases; the pooled split works without them")
    try:
        train, validation = split_training_cases(label_index[:n_train], share)
    except InputError as error:
        raise InputError(f"official split: {error}; the pooled split does not stratify") from error
    return train, validation, np.arange(n_train, len(label_index))


def split_training_cases(label_index: np.ndarray, share: float) -> tuple[np.ndarray, np.ndarray]:
    """Divide training cases into train and validation indices, stratified by class; `share` is that of validation.

    InputError if there are too few cases, or too few of a class.
    """
    from sklearn.model_selection import train_test_split

    n_cases = len(label_index)
    classes, counts = np.unique(label_index, return_counts=True)
    if counts.min() < 2:
        raise InputError(
            f"the class with index {classes[counts.argmin()]} has one TRAIN case, needed are two (one for train, "
            "one for validation)"
        )
    n_validation = math.ceil(share * n_cases)
    if min(n_validation, n_cases - n_validation) < len(classes):
        raise InputError(
            f"validation_share {share} of {n_cases} TRAIN cases leaves {n_cases - n_validation} and takes "
            f"{n_validation}; needed is a case of each of the {len(classes)} classes in both"
        )
    train, validation = train_test_split(
        np.arange(n_cases), test_size=share, random_state=OFFICIAL_VALIDATION_SEED, stratify=label_index
    )
    return train, validation


def split_facts(
    series: CleanSeries, split: Mapping[str, np.ndarray], settings: SplitSettings, name: str
) -> dict[str, Any]:
    """Return count and class balance of each set; log what is absent, with `name` at the beginning."""
    balance = {key: series.class_balance(split[key]) for key in SETS}
    for key in SETS:
        logger.info("%s: %s cases in the %s set", name, len(split[key]), key)
        absent = [label for label, count in balance[key].items() if count == 0]
        if absent:
            logger.warning("%s: the %s set has no case of class %s", name, key, ", ".join(absent))
    counts = {key: len(split[key]) for key in SETS}
    return {"settings": settings.model_dump(), "n_cases": counts, "class_balance": balance}
