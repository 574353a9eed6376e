"""From a dataset as its source gives it to one that a model can take. Pure functions of arrays."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from vlmtsc.data.series import CleanSeries, LabelledSeries
from vlmtsc.errors import InputError
from vlmtsc.settings import CleaningSettings


@dataclass(frozen=True)
class CleaningReport:
    """What cleaning changed.

    Attributes
    ----------
    dropped : tuple of str
        Identifiers of the cases that were left out.
    interpolated : int
        Missing values that were filled in.
    resampled : tuple of str
        Identifiers of the cases that were brought to another length.
    """

    dropped: tuple[str, ...]
    interpolated: int
    resampled: tuple[str, ...]


def order_classes(labels: np.ndarray) -> np.ndarray:
    """Distinct labels in the order of their indices: numeric if all are numbers, otherwise as text.

    Parameters
    ----------
    labels : ndarray of str, shape (n_cases,)
        Canonical labels.

    Returns
    -------
    ndarray of str, shape (n_classes,)

    Examples
    --------
    >>> order_classes(np.array(["10", "9", "-1", "9"])).tolist()
    ['-1', '9', '10']
    """
    distinct = np.unique(labels)
    try:
        numbers = [float(label) for label in distinct]
    except ValueError:
        return distinct
    if not np.isfinite(numbers).all():
        return distinct
    # Integers too long for a float keep their order through their exact value.
    exact = [int(label) if label.lstrip("-").isdecimal() else float(label) for label in distinct.tolist()]
    return distinct[sorted(range(len(exact)), key=exact.__getitem__)]


def index_labels(labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Map labels to 0 ... n_classes - 1, a bijection between labels and indices.

    Returns
    -------
    label_index : ndarray of int64, shape (n_cases,)
    classes : ndarray of str, shape (n_classes,)
        ``classes[label_index]`` are the labels again.
    """
    classes = order_classes(labels)
    index_of = {label: index for index, label in enumerate(classes.tolist())}
    return np.array([index_of[label] for label in labels.tolist()], dtype=np.int64), classes


def fill_missing(case: np.ndarray) -> np.ndarray:
    """Fill missing values linearly between their neighbours in the channel, at the edges with the nearest.

    Parameters
    ----------
    case : ndarray of float64, shape (n_channels, n_timepoints)
        NaN is missing; each channel has at least one value.

    Returns
    -------
    ndarray of float64, shape (n_channels, n_timepoints)
    """
    filled = case.copy()
    for channel in filled:
        missing = np.isnan(channel)
        if missing.any():
            channel[missing] = np.interp(np.flatnonzero(missing), np.flatnonzero(~missing), channel[~missing])
    return filled


def resample_case(case: np.ndarray, n_timepoints: int) -> np.ndarray:
    """Resample each channel linearly to `n_timepoints`; the first and the last value stay.

    Parameters
    ----------
    case : ndarray of float64, shape (n_channels, any)
    n_timepoints : int

    Returns
    -------
    ndarray of float64, shape (n_channels, n_timepoints)
    """
    if case.shape[1] == n_timepoints:
        return case
    positions = np.linspace(0, case.shape[1] - 1, n_timepoints)
    return np.stack([np.interp(positions, np.arange(case.shape[1]), channel) for channel in case])


def z_normalize(values: np.ndarray) -> np.ndarray:
    """Bring each channel of each case to mean 0 and standard deviation 1 (population); constant ones to 0.

    Parameters
    ----------
    values : ndarray of float64, shape (n_cases, n_channels, n_timepoints)

    Returns
    -------
    ndarray of float64, shape (n_cases, n_channels, n_timepoints)
    """
    centred = values - values.mean(axis=-1, keepdims=True)
    deviation = values.std(axis=-1, keepdims=True)
    # A constant channel deviates from its own mean by rounding only; that is not a signal.
    constant = deviation <= 1e-12 * np.abs(values).max(axis=-1, keepdims=True)
    return np.where(constant, 0.0, centred / np.where(constant, 1.0, deviation))


def prepare_case(case: np.ndarray, n_timepoints: int, settings: CleaningSettings, place: str) -> np.ndarray:
    """Treat one new series as the policies treated those that a model was trained on.

    Parameters
    ----------
    case : ndarray of float64, shape (n_channels, any)
        NaN is missing.
    n_timepoints : int
        Length of the training series.
    settings : CleaningSettings
        A policy that drops or refuses training cases refuses a new one.
    place : str
        What messages begin with.

    Returns
    -------
    ndarray of float64, shape (n_channels, n_timepoints)

    Raises
    ------
    InputError
        If a policy refuses the series, or a channel has no value.
    """
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

    Missing values come first, each case within its own length; then lengths; then normalisation.

    Parameters
    ----------
    series : LabelledSeries
    dataset : str
        Name, the first part of each case's identifier.
    settings : CleaningSettings

    Returns
    -------
    CleanSeries, CleaningReport

    Raises
    ------
    InputError
        If a policy refuses what it finds, a channel to be interpolated has no value at all, or fewer
        than two classes or no TRAIN case are left.
    """
    case_ids = np.array([f"{dataset}-{index:05d}" for index in range(len(series.labels))])
    cases = [values[:, :length] for values, length in zip(series.values, series.lengths, strict=True)]
    complete, interpolated = _treat_missing(cases, case_ids, settings, dataset)
    lengths = series.lengths
    n_timepoints = _target_length(lengths[complete], settings) if complete.any() else 0
    other = complete & (lengths != n_timepoints)
    if other.any() and settings.unequal_length == "refuse":
        raise InputError(
            f"dataset {dataset}: lengths from {lengths[complete].min()} to {n_timepoints} timepoints, "
            f"the first shorter case is {case_ids[other][0]}; unequal_length=refuse does not allow it, "
            "resample or drop does"
        )
    resampled = other if settings.unequal_length == "resample" else np.zeros_like(other)
    keep = complete & ~(other & ~resampled)
    kept = np.flatnonzero(keep)
    n_train = int((kept < series.n_train).sum())
    labels = series.labels[keep]
    distinct = np.unique(labels).tolist()
    if n_train == 0 or len(distinct) < 2:
        raise InputError(
            f"dataset {dataset}: of {len(cases)} cases {n_train} TRAIN cases and {len(distinct)} classes "
            f"({', '.join(distinct)}) are left; needed are a TRAIN case and two classes"
        )
    values = np.stack([resample_case(cases[index], n_timepoints) for index in kept])
    if settings.normalize:
        values = z_normalize(values)
    label_index, classes = index_labels(labels)
    clean = CleanSeries(values, label_index, classes, case_ids[keep], n_train)
    return clean, CleaningReport(
        tuple(case_ids[~keep].tolist()), interpolated, tuple(case_ids[resampled].tolist())
    )


def _treat_missing(
    cases: list[np.ndarray], case_ids: np.ndarray, settings: CleaningSettings, dataset: str
) -> tuple[np.ndarray, int]:
    """Fill missing values in place if so configured; return the complete cases and how many were filled."""
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
    if settings.unequal_length != "drop":
        return int(lengths.max())
    distinct, counts = np.unique(lengths, return_counts=True)
    return int(distinct[counts == counts.max()].max())
