"""Cleaning: labels as indices, missing values, unequal lengths, normalisation. Pure functions of arrays."""

from __future__ import annotations

import dataclasses
import logging
from dataclasses import dataclass
from typing import Any

import numpy as np

from vlmtsc.data.series import CleanSeries, LabelledSeries, check_case, without_end
from vlmtsc.errors import InputError
from vlmtsc.settings import CleaningSettings

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class CleaningReport:
    """Identifiers of the cases left out, number of values filled in and of cases whose length was changed."""

    dropped: list[str]
    interpolated: int
    resampled: int


def index_labels(labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Map canonical labels to indices from 0; return ``label_index`` (int64) and ``classes``, as text.

    ``classes[label_index]`` are the labels again. In numeric order if all are numbers, otherwise as text.

    Examples
    --------
    >>> index_labels(np.array(["10", "9", "-1", "9"]))[1].tolist()
    ['-1', '9', '10']
    """
    classes = np.unique(labels)
    try:
        numbers = [float(label) for label in classes]
    except ValueError:
        numbers = [np.nan]
    if np.isfinite(numbers).all():
        # Integers too long for a float are ordered by their exact value.
        exact = [int(label) if label.lstrip("-").isdecimal() else float(label) for label in classes.tolist()]
        classes = classes[sorted(range(len(exact)), key=exact.__getitem__)]
    index_of = {label: index for index, label in enumerate(classes.tolist())}
    return np.array([index_of[label] for label in labels.tolist()], dtype=np.int64), classes


def merge_labels(series: CleanSeries) -> CleanSeries:
    """Rename the labels "0" and "-1" to "2", as the original does (switch `merged_labels`).

    Where a dataset has several of these labels, classes merge: nine of ten remain in PenDigits. The merged label
    counts as the true one, so that accuracy is what the original would have reported. InputError if only one class
    remains.
    """
    renamed = np.array(["2" if label in ("0", "-1") else label for label in series.classes.tolist()])
    merged, classes = index_labels(renamed)
    if len(classes) < 2:
        raise InputError(
            f"compat='merged_labels': the classes {', '.join(series.classes)} become one; allowed: a dataset with "
            "two classes left"
        )
    return dataclasses.replace(series, label_index=merged[series.label_index], classes=classes)


def fill_missing(case: np.ndarray) -> np.ndarray:
    """Interpolate missing values (NaN) of a case linearly in each channel; at the edges the nearest value.

    Each channel has at least one value.
    """
    filled = case.copy()
    for channel in filled:
        missing = np.isnan(channel)
        if missing.any():
            channel[missing] = np.interp(np.flatnonzero(missing), np.flatnonzero(~missing), channel[~missing])
    return filled


def resample_case(case: np.ndarray, n_timepoints: int) -> np.ndarray:
    """Resample each channel (n_channels, any) linearly to `n_timepoints`; the first and the last value remain.

    Equal to tslearn's ``TimeSeriesResampler`` up to rounding, which would change the last digit of some prompts.
    """
    if case.shape[1] == n_timepoints:
        return case
    positions = np.linspace(0, case.shape[1] - 1, n_timepoints)
    return np.stack([np.interp(positions, np.arange(case.shape[1]), channel) for channel in case])


def z_normalize(values: np.ndarray) -> np.ndarray:
    """Scale the last axis to mean 0 and standard deviation 1 (population); where it is constant, to 0."""
    centred = values - values.mean(axis=-1, keepdims=True)
    deviation = values.std(axis=-1, keepdims=True)
    # A constant channel deviates from its own mean by rounding only.
    constant = deviation <= 1e-12 * np.abs(values).max(axis=-1, keepdims=True)
    return np.where(constant, 0.0, centred / np.where(constant, 1.0, deviation))


def prepare_case(
    case: np.ndarray, n_timepoints: int, settings: CleaningSettings, place: str, *, equal_length: bool = False
) -> np.ndarray:
    """Clean one new series (n_channels, any), NaN where missing, like the training series of `n_timepoints`.

    `equal_length` is that of the training data (`LabelledSeries`): missing values at the end are filled, not cut off.
    A policy that drops or refuses training cases refuses a new one. InputError, beginning with `place`, if a policy
    refuses the series, a channel has no value, or a value is as large as in training none may be.
    """
    check_case(case, len(case), place)
    case = without_end(case, n_timepoints if equal_length else 0)
    if np.isnan(case).any():
        if settings.missing != "interpolate" or np.isnan(case).all(axis=1).any():
            raise InputError(
                f"{place}: missing values, missing={settings.missing}; allowed: a complete series, or with "
                "missing=interpolate a value in each channel"
            )
        case = fill_missing(case)
    if case.shape[1] != n_timepoints and settings.unequal_length != "resample":
        raise InputError(
            f"{place}: {case.shape[1]} timepoints, unequal_length={settings.unequal_length}; "
            f"allowed: {n_timepoints}"
        )
    case = resample_case(case, n_timepoints)
    return z_normalize(case[np.newaxis])[0] if settings.normalize else case


def clean_series(
    series: LabelledSeries, dataset: str, settings: CleaningSettings
) -> tuple[CleanSeries, CleaningReport]:
    """Apply the policies for missing values and unequal lengths, and index the labels.

    Missing values come first, each case within its own length; then lengths; then normalisation. `dataset` is the
    first part of each case's identifier. InputError if a policy refuses the series, a channel to interpolate has no
    value, or fewer than two classes or no TRAIN case are left.
    """
    case_ids = np.array([f"{dataset}-{index:05d}" for index in range(len(series.labels))])
    # The end of a series that lacks its last values, unless the source says that all cases have one length.
    ends = np.full_like(series.lengths, series.values.shape[2]) if series.equal_length else series.lengths
    cases = [values[:, :length] for values, length in zip(series.values, ends, strict=True)]
    complete, interpolated = _treat_missing(cases, case_ids, settings, dataset)
    lengths = ends[complete]
    n_timepoints = _target_length(lengths, settings) if complete.any() else 0
    other = complete & (ends != n_timepoints)
    if other.any() and settings.unequal_length == "refuse":
        raise InputError(
            f"dataset {dataset}: lengths from {lengths.min()} to {n_timepoints} timepoints, "
            f"the first shorter case is {case_ids[other][0]}; unequal_length=refuse does not allow it, "
            "resample or drop does"
        )
    resampled = other if settings.unequal_length == "resample" else np.zeros_like(other)
    keep = complete & ~(other & ~resampled)
    kept = np.flatnonzero(keep)
    n_train = int((kept < series.n_train).sum())
    label_index, classes = index_labels(series.labels[keep])
    if n_train == 0 or len(classes) < 2:
        raise InputError(
            f"dataset {dataset}: of {len(cases)} cases {n_train} TRAIN cases and {len(classes)} classes "
            f"({', '.join(classes)}) are left; needed are a TRAIN case and two classes"
        )
    values = np.stack([resample_case(cases[index], n_timepoints) for index in kept])
    if settings.normalize:
        values = z_normalize(values)
    n_validation = n_train - int((kept < series.n_train - series.n_validation).sum())
    groups = series.groups[keep] if len(series.groups) else series.groups
    clean = CleanSeries(values, label_index, classes, case_ids[keep], n_train, n_validation, groups)
    return clean, CleaningReport(case_ids[~keep].tolist(), interpolated, int(resampled.sum()))


def _treat_missing(
    cases: list[np.ndarray], case_ids: np.ndarray, settings: CleaningSettings, dataset: str
) -> tuple[np.ndarray, int]:
    """Fill missing values in place if so configured; return the complete cases and the number of filled values."""
    complete = np.array([not np.isnan(case).any() for case in cases])
    if complete.all() or settings.missing == "drop":
        return complete, 0
    incomplete = np.flatnonzero(~complete)
    if settings.missing == "refuse":
        raise InputError(
            f"dataset {dataset}: missing values in {len(incomplete)} cases, the first is "
            f"{case_ids[incomplete[0]]}; missing=refuse does not allow it, interpolate or drop does"
        )
    filled = 0
    for index in incomplete:
        empty = np.flatnonzero(np.isnan(cases[index]).all(axis=1))
        if empty.size:
            raise InputError(
                f"dataset {dataset}: channel {empty[0]} of {case_ids[index]} has no value to interpolate "
                "from; missing=drop leaves such cases out"
            )
        filled += int(np.isnan(cases[index]).sum())
        cases[index] = fill_missing(cases[index])
    return np.ones_like(complete), filled


def _target_length(lengths: np.ndarray, settings: CleaningSettings) -> int:
    """Return the longest length, or where other lengths are dropped the most common one (of two, the longer)."""
    if settings.unequal_length != "drop":
        return int(lengths.max())
    distinct, counts = np.unique(lengths, return_counts=True)
    return int(distinct[counts == counts.max()].max())


def dataset_facts(
    parsed: LabelledSeries,
    clean: CleanSeries,
    report: CleaningReport,
    dataset: str,
    settings: CleaningSettings,
) -> dict[str, Any]:
    """Return the facts of a cleaned dataset: counts, lengths, class balance, digest, changes; log what was lost."""
    lost = sorted({*parsed.labels.tolist()} - {*clean.classes.tolist()})
    if report.dropped:
        logger.warning("%s: %s of %s cases dropped", dataset, len(report.dropped), len(parsed.labels))
    if lost:
        logger.warning("%s: no case left of class %s", dataset, ", ".join(lost))
    logger.info(
        "%s: %s values interpolated, %s cases resampled", dataset, report.interpolated, report.resampled
    )
    # Padding is missing too, but no missing value.
    missing = sum(np.isnan(v[:, :n]).sum() for v, n in zip(parsed.values, parsed.lengths, strict=True))
    n_cases, n_channels, n_timepoints = clean.values.shape
    return {
        "dataset": dataset,
        "digest": parsed.digest(),
        "settings": settings.model_dump(),
        "equal_length": parsed.equal_length,
        "archive": {
            "train_size": parsed.n_train,
            "test_size": len(parsed.labels) - parsed.n_train,
            "channels": parsed.values.shape[1],
            "length_min": int(parsed.lengths.min()),
            "length_max": int(parsed.lengths.max()),
            "missing_values": int(missing),
        },
        "n_cases": n_cases,
        "n_train": clean.n_train,
        "n_test": n_cases - clean.n_train,
        "n_channels": n_channels,
        "n_timepoints": n_timepoints,
        "n_classes": len(clean.classes),
        "label_map": {label: index for index, label in enumerate(clean.classes.tolist())},
        "class_balance": clean.class_balance(),
        "cases_dropped": report.dropped,
        "classes_dropped": lost,
        "values_interpolated": report.interpolated,
        "cases_resampled": report.resampled,
    }
