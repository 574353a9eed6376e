"""Descriptions of series: the template, computed from a series alone; descriptions of a dataset, and their file."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import scipy  # whose modules are imported when used

from vlmtsc.data.cleaning import merge_labels
from vlmtsc.data.series import CleanSeries
from vlmtsc.errors import InputError
from vlmtsc.files import read_json
from vlmtsc.representation.prompts import label_texts
from vlmtsc.settings import DescriptionKind, LeakedKind, leaked_kind

logger = logging.getLogger(__name__)

#: Smallest share of the variance (r squared of a straight line) that makes a trend.
TREND_SHARE = 0.3
#: Smallest level shift, peak prominence and difference between quarters, as shares of the channel's range.
SHIFT_SHARE = 0.35
PEAK_SHARE = 0.25
QUARTER_SHARE = 0.1
#: Smallest autocorrelation at a period.
PERIOD_CORRELATION = 0.4
#: Number of level shifts that are described: the largest ones.
MAX_SHIFTS = 3
#: A range below this share of the values is rounding errors.
FLAT = 1e-12
#: From values (n_cases, n_channels, n_timepoints), kind of text, and the class to name in each request or None: the
#: texts, and facts about them.
Describer = Callable[[np.ndarray, DescriptionKind, Sequence[str | None]], tuple[list[str], dict[str, Any]]]


def describe_dataset(
    series: CleanSeries, dataset: str, kind: DescriptionKind | LeakedKind, hosted: Describer | None = None
) -> dict[str, Any]:
    """Return the content of a description file.

    Parameters
    ----------
    kind : {"signal_analysis", "rationale", "leaked_rationale", "leaked_rationale_merged_labels"}
        The leaked kinds name the number that is the answer for the case's class (switch `leaked_rationale`): in the
        original, label and answer are the same text.
    hosted : callable, optional
        Texts of a hosted model; by default the template's, computed from the series.
    """
    named: Sequence[str | None] = [None] * len(series.label_index)
    if kind == "signal_analysis" or kind == "rationale":
        asked: DescriptionKind = kind
    else:
        merged = merge_labels(series) if kind == leaked_kind(merged_labels=True) else series
        answers = label_texts("numbers", merged.classes.tolist())
        asked, named = "rationale", [answers[index] for index in merged.label_index.tolist()]
    if hosted is None:
        texts = [
            describe_template(values, asked, leaked_label=label)
            for values, label in zip(series.values, named, strict=True)
        ]
        facts: dict[str, Any] = {}
    else:
        texts, facts = hosted(series.values, asked, named)
    mean = sum(map(len, texts)) / len(texts)
    logger.info("%s: %d texts of %.0f characters on average", dataset, len(texts), mean)
    describer = "template" if hosted is None else "endpoint"
    head = {"dataset": dataset, "kind": kind, "describer": describer, "cases": len(texts)}
    return head | facts | {"texts": dict(zip(series.case_ids.tolist(), texts, strict=True))}


def read_descriptions(path: Path, kind: DescriptionKind | LeakedKind, describer: str) -> dict[str, str]:
    """Read the texts of a description file, by case identifier.

    InputError if they are of another kind or by another describer.
    """
    content = read_json(path)
    for key, wanted in (("kind", kind), ("describer", describer)):
        found = content.get(key) if isinstance(content, dict) else None
        if found != wanted:
            raise InputError(f"{path}: {key}={found!r}; allowed: {wanted!r}")
    texts: dict[str, str] = content["texts"]
    return texts


@dataclass(frozen=True)
class ChannelShape:
    """Properties of one channel. Positions are shares of the length, from 0 to 1.

    Attributes
    ----------
    low, high : float
        Minimum and maximum.
    start, end : float
        First and last value of the least-squares line.
    trend_share : float
        Share of the variance that the line explains; 0 for a constant.
    shifts : tuple of (position, level before, level after)
        Abrupt changes of level, in order of time; empty for a periodic channel.
    peaks, troughs : tuple of (position, value)
        Prominent extremes, in order of time.
    period : int or None
        In timepoints.
    quarters : tuple of float
        Means of four segments of equal length; empty below eight timepoints.
    """

    low: float
    high: float
    start: float
    end: float
    trend_share: float = 0.0
    shifts: tuple[tuple[float, float, float], ...] = ()
    peaks: tuple[tuple[float, float], ...] = ()
    troughs: tuple[tuple[float, float], ...] = ()
    period: int | None = None
    quarters: tuple[float, ...] = ()

    @property
    def is_constant(self) -> bool:
        """Whether all values are equal up to rounding errors."""
        return _is_flat(self.low, self.high)

    def number(self, value: float) -> str:
        """Format a value with three significant digits of the channel's range."""
        span = self.high - self.low
        if self.is_constant or not 1e-4 <= span <= 1e6:
            return f"{value + 0.0:.3g}"
        decimals = max(0, 2 - math.floor(math.log10(span)))
        return f"{round(value, decimals) + 0.0:.{decimals}f}"


def describe_template(values: np.ndarray, kind: DescriptionKind, *, leaked_label: str | None = None) -> str:
    """Describe one series, finite float64 of shape (n_channels, n_timepoints), in one paragraph.

    `signal_analysis`: trend, level shifts, peaks, periodicity and quarters of each channel, with numbers;
    `rationale`: the traits that speak for a class, without naming one, or naming `leaked_label`, to measure the
    effect of that fault.
    """
    sentences_of = _analysis if kind == "signal_analysis" else _traits
    sentences = []
    for channel, x in enumerate(np.asarray(values, dtype=np.float64)):
        name = f"Dimension {channel}" if len(values) > 1 else "The signal"
        sentences += sentences_of(name, channel_shape(x))
    if kind == "rationale" and leaked_label is None:
        sentences.append("A class whose signals share these traits is the likely one.")
    elif kind == "rationale":
        sentences.append(f"These traits are those of class {leaked_label}.")
    return " ".join(sentences)


def channel_shape(x: np.ndarray) -> ChannelShape:
    """Measure one channel, float64 of shape (n_timepoints,), finite, of one timepoint or more."""
    n, low, high = len(x), float(x.min()), float(x.max())
    # Every measure is relative to the range; without one, rounding errors would be taken for shape.
    if n < 3:
        return ChannelShape(low, high, float(x[0]), float(x[-1]))
    if _is_flat(low, high):
        return ChannelShape(low, high, float(x.mean()), float(x.mean()))
    t = np.arange(n)
    slope, offset = np.polyfit(t, x, 1)
    period = period_of(x)
    return ChannelShape(
        low=low,
        high=high,
        start=float(offset),
        end=float(offset + slope * (n - 1)),
        trend_share=float(np.corrcoef(t, x)[0, 1] ** 2),
        shifts=() if period else level_shifts(x),  # steep flanks of a wave are no shifts
        peaks=_extremes(x, x),
        troughs=_extremes(-x, x),
        period=period,
        quarters=tuple(float(part.mean()) for part in np.array_split(x, 4)) if n >= 8 else (),
    )


def level_shifts(x: np.ndarray) -> tuple[tuple[float, float, float], ...]:
    """Find abrupt changes of level in one channel: position as a share of the length, level before, level after.

    At each timepoint the windows before and after it (a twentieth of the length, at least three timepoints) are
    compared. At a shift their means differ by much of the range, and by much more than the values within either
    window, unlike on a slope, a wave or a spike. The largest are returned, in order of time.
    """
    n = len(x)
    width = max(3, n // 20)
    if n < 2 * width:
        return ()
    windows = np.lib.stride_tricks.sliding_window_view(x, width)
    means, spreads = windows.mean(axis=1), np.ptp(windows, axis=1)
    jump = means[width:] - means[:-width]
    spread = np.maximum(spreads[width:], spreads[:-width])
    strength = np.where(np.abs(jump) >= 2 * spread, np.abs(jump), 0.0)
    # Zeros at both ends, so that a jump at the first or last place is a peak too.
    padded, height = np.pad(strength, 1), SHIFT_SHARE * float(np.ptp(x))
    found = scipy.signal.find_peaks(padded, height=height, distance=width)[0] - 1
    largest = sorted(sorted(found.tolist(), key=lambda i: -strength[i])[:MAX_SHIFTS])
    return tuple(((i + width) / n, float(means[i]), float(means[i + width])) for i in largest)


def period_of(x: np.ndarray) -> int | None:
    """Return the lag of the first high peak of a channel's detrended autocorrelation, up to half its length."""
    n = len(x)
    if n < 8:
        return None
    rest = scipy.signal.detrend(x)
    if np.ptp(rest) <= FLAT * np.ptp(x):
        return None
    spectrum = np.fft.rfft(rest, 2 * n)
    power = np.fft.irfft(spectrum * spectrum.conj())[: n // 2 + 1]
    # Divided by the number of products at each lag, so that long lags do not look weaker than they are.
    correlation = power / power[0] * n / (n - np.arange(n // 2 + 1))
    peaks = scipy.signal.find_peaks(correlation, height=PERIOD_CORRELATION, prominence=0.3)[0]
    return int(peaks[0]) if len(peaks) else None


def _extremes(signed: np.ndarray, x: np.ndarray) -> tuple[tuple[float, float], ...]:
    found = scipy.signal.find_peaks(signed, prominence=PEAK_SHARE * float(np.ptp(x)))[0]
    return tuple((float(i) / len(x), float(x[i])) for i in found)


def _is_flat(low: float, high: float) -> bool:
    return high - low <= FLAT * max(abs(low), abs(high))


def _percent(position: float) -> str:
    return f"{round(100 * position)}%"


def _count(number: int, noun: str) -> str:
    return f"{'no' if number == 0 else number} {noun}{'' if number == 1 else 's'}"


def _analysis(name: str, shape: ChannelShape) -> list[str]:
    """Return sentences with the numbers of one channel."""
    if shape.is_constant:
        return [f"{name} is constant at {shape.number(shape.low)}."]
    direction = "rises" if shape.end > shape.start else "falls"
    line = f"from {shape.number(shape.start)} to {shape.number(shape.end)}"
    trend = f"{direction} along a line {line}" if shape.trend_share >= TREND_SHARE else "has no overall trend"
    sentences = [f"{name} ranges from {shape.number(shape.low)} to {shape.number(shape.high)} and {trend}."]
    for position, before, after in shape.shifts:
        levels = f"from {shape.number(before)} to {shape.number(after)}"
        sentences.append(f"At {_percent(position)} of its length the level shifts {levels}.")
    for extremes, noun, pick in ((shape.peaks, "peak", max), (shape.troughs, "trough", min)):
        if extremes:
            position, value = pick(extremes, key=lambda extreme: extreme[1])
            word = "it is" if len(extremes) == 1 else f"the {'highest' if noun == 'peak' else 'lowest'} is"
            where = f"{shape.number(value)} at {_percent(position)}"
            sentences.append(f"It has {_count(len(extremes), noun)}; {word} {where}.")
    if not shape.peaks and not shape.troughs:
        sentences.append("It has no peak or trough that stands out.")
    sentences.append(
        f"It repeats about every {shape.period} timepoints." if shape.period else "It does not repeat."
    )
    if shape.quarters:
        sentences.append(f"The means of its quarters are {', '.join(map(shape.number, shape.quarters))}.")
    return sentences


def _traits(name: str, shape: ChannelShape) -> list[str]:
    """Return a sentence on the salient traits of one channel, the most salient first, in words rather than numbers."""
    if shape.is_constant:
        return [f"{name} does not change at all."]
    traits = [
        f"an abrupt step {'up' if after > before else 'down'} at {_percent(position)} of its length"
        for position, before, after in shape.shifts
    ]
    if shape.trend_share >= TREND_SHARE:
        strength = "steady" if shape.trend_share >= 0.8 else "general"
        traits.append(f"a {strength} {'rise' if shape.end > shape.start else 'fall'}")
    if shape.period:
        traits.append(f"a pattern that repeats about every {shape.period} timepoints")
    if shape.peaks or shape.troughs:
        peaks, troughs = _count(len(shape.peaks), "marked peak"), _count(len(shape.troughs), "marked trough")
        traits.append(f"{peaks} and {troughs}")
    if shape.peaks:
        highest = max(shape.peaks, key=lambda extreme: extreme[1])
        traits.append(f"its highest peak at {_percent(highest[0])}")
    if shape.quarters and np.ptp(shape.quarters) >= QUARTER_SHARE * (shape.high - shape.low):
        order = ("first", "second", "third", "last")
        most, least = order[np.argmax(shape.quarters)], order[np.argmin(shape.quarters)]
        traits.append(f"a level that is highest in the {most} quarter and lowest in the {least} one")
    if not traits:
        return [f"{name} has no trait that stands out."]
    listed = traits[0] if len(traits) == 1 else f"{', '.join(traits[:-1])}, and {traits[-1]}"
    return [f"{name} shows {listed}."]
