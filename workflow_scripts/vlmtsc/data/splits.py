"""Splits: the cases of a dataset divided into train, validation and test sets."""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

import numpy as np

from vlmtsc.data.series import NO_GROUPS, CleanSeries
from vlmtsc.errors import InputError
from vlmtsc.settings import SplitSettings

logger = logging.getLogger(__name__)

#: Random divisions of groups of which the one nearest to the wanted counts is taken. With more of them, the splits of
#: other seeds would be the same.
GROUP_DIVISIONS = 20
#: The sets that a dataset is divided into.
SETS = ("train", "validation", "test")

# Shares of the pooled splits, and seeds of the first, are those of the paper's code. None depends on a run's seed,
# so that results stay comparable.
POOLED_TEST_SHARE, POOLED_VALIDATION_SHARE = 0.2, 0.25
#: By protocol, the seeds of the test and validation sets.
POOLED_SEEDS = {"pooled": (42, 21), "pooled_2": (43, 22), "pooled_3": (44, 23)}
OFFICIAL_VALIDATION_SEED = 21


def split_cases(
    label_index: np.ndarray,
    n_train: int,
    settings: SplitSettings,
    *,
    n_validation: int = 0,
    groups: np.ndarray = NO_GROUPS,
) -> dict[str, np.ndarray]:
    """Divide the cases into `SETS` of indices, int64: disjoint, together all cases.

    `label_index` has the class of each case; the first `n_train` are those of the archive's TRAIN file, the last
    `n_validation` of them a given validation set. No group of `groups` is in two sets. InputError if there are too few
    cases, or too few of a class, for such a split.
    """
    if settings.own:
        sets = _own(label_index, n_train, n_validation, groups, settings)
    elif settings.protocol in POOLED_SEEDS:
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


def _own(
    label_index: np.ndarray, n_train: int, n_validation: int, groups: np.ndarray, settings: SplitSettings
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Divide a user's cases: as given, or at random in the pooled split's shares, stratified by class."""
    cases = np.arange(len(label_index))
    train, test = cases[:n_train], cases[n_train:]
    share = settings.validation_share if len(test) else POOLED_VALIDATION_SHARE
    test_seed, validation_seed = POOLED_SEEDS.get(settings.protocol, (0, OFFICIAL_VALIDATION_SEED))
    if not len(test):
        if settings.protocol == "official":
            raise InputError("official split: no test cases; the pooled split works without them")
        train, test = _drawn(cases, label_index, groups, POOLED_TEST_SHARE, test_seed)
    validation = train[len(train) - n_validation :]
    train = train[: len(train) - n_validation]
    if not n_validation:
        train, validation = _drawn(train, label_index, groups, share, validation_seed)
    if len(groups):
        seen: set[str] = set()
        for part in (train, validation, test):
            if twice := seen & {*groups[part].tolist()}:
                raise InputError(f"the group {min(twice)!r} is in two of the given sets; allowed: one")
            seen |= {*groups[part].tolist()}
    return train, validation, test


def _drawn(
    cases: np.ndarray, label_index: np.ndarray, groups: np.ndarray, share: float, seed: int
) -> tuple[np.ndarray, np.ndarray]:
    """Divide cases at random into the rest and a share, stratified by class, whole groups at a time.

    With groups this is the best of some random divisions. Not scikit-learn's StratifiedGroupKFold: whatever the seed,
    its first fold has the same groups where these differ in size or classes.
    """
    from sklearn.model_selection import GroupShuffleSplit, train_test_split

    if len(cases) < 2:
        raise InputError(f"{len(cases)} cases to divide into two sets; needed are at least 2")
    labels = label_index[cases]
    if len(groups):
        n_groups = len(np.unique(groups[cases]))
        if n_groups < 2:
            raise InputError(f"{n_groups} group to divide into two sets; needed are at least 3 groups in all")
        shuffle = GroupShuffleSplit(GROUP_DIVISIONS, test_size=share, random_state=seed)
        wanted = share * np.bincount(labels)
        rest, drawn = min(
            shuffle.split(cases, groups=groups[cases]),
            key=lambda parts: np.abs(np.bincount(labels[parts[1]], minlength=len(wanted)) - wanted).sum(),
        )
        return cases[rest], cases[drawn]
    single = np.bincount(labels)[labels] == 1
    if single.sum() <= math.ceil(share * (~single).sum()):
        with suppress(InputError):
            rest, drawn = split_training_cases(labels, share, seed)
            return cases[rest], cases[drawn]
    logger.warning("not stratified: %s cases of %s classes", len(cases), len(np.unique(labels)))
    rest, drawn = train_test_split(cases, test_size=share, random_state=seed)
    return rest, drawn


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


def split_training_cases(
    label_index: np.ndarray, share: float, seed: int = OFFICIAL_VALIDATION_SEED
) -> tuple[np.ndarray, np.ndarray]:
    """Divide training cases into train and validation indices, stratified by class; `share` is that of validation.

    A class with a single case is in the train set only. InputError if there are too few cases.
    """
    from sklearn.model_selection import train_test_split

    counts = np.bincount(label_index)
    single = counts[label_index] == 1
    divided, n_classes = np.flatnonzero(~single), int((counts > 1).sum())
    n_validation = math.ceil(share * len(divided))
    if not n_classes:
        raise InputError(
            "every class has one TRAIN case; needed are several of a class, for a validation set"
        )
    if min(n_validation, len(divided) - n_validation) < n_classes:
        raise InputError(
            f"validation_share {share} of {len(divided)} TRAIN cases leaves {len(divided) - n_validation} and takes "
            f"{n_validation}; needed is a case of each of the {n_classes} classes with several cases in both"
        )
    train, validation = train_test_split(
        divided, test_size=share, random_state=seed, stratify=label_index[divided]
    )
    return np.concatenate([train, np.flatnonzero(single)]), validation


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
    given = settings.own and series.n_train < len(series.label_index)
    return {
        "given": given,
        "grouped": len(series.groups) > 0,
        "settings": settings.model_dump(),
        "n_cases": counts,
        "class_balance": balance,
    }
