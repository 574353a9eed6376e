"""Sentences computed from a series: the same series always gives the same text, and nothing else goes in."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from scipy.signal import detrend, find_peaks

from vlmtsc.settings import DescriptionKind

#: A trend explains at least this share of the variance (r squared of a straight line).
TREND_SHARE = 0.3
#: A level shift or a peak counts from this share of the channel's range.
SHIFT_SHARE = 0.35
PEAK_SHARE = 0.25
#: A period counts from this autocorrelation.
PERIOD_CORRELATION = 0.4
#: Level shifts told at most: the largest ones.
MAX_SHIFTS = 3
#: Differences between the quarters' means count from this share of the range.
QUARTER_SHARE = 0.1
#: A range below this share of the values is rounding errors.
FLAT = 1e-12


@dataclass(frozen=True)
class ChannelShape:
    """What there is to say about one channel. Positions are shares of the length, from 0 to 1.

    Attributes
    ----------
    low, high : float
        Minimum and maximum.
    start, end : float
        First and last value of the least-squares line.
    trend_share : float
        Share of the variance that the line explains; 0 for a constant.
    shifts : tuple of (position, level before, level after)
        Abrupt changes of level, in order of time; none where there is a period.
    peaks, troughs : tuple of (position, value)
        Extremes that stand out, in order of time.
    period : int or None
        Timepoints of a repetition.
    quarters : tuple of float
        Means of four parts of equal length; empty below eight timepoints.
    """

    low: float
    high: float
    start: float
    end: float
    trend_share: float
    shifts: tuple[tuple[float, float, float], ...]
    peaks: tuple[tuple[float, float], ...]
    troughs: tuple[tuple[float, float], ...]
    period: int | None
    quarters: tuple[float, ...]

    @property
    def is_constant(self) -> bool:
        """Whether all values are the same, but for rounding errors."""
        return _is_flat(self.low, self.high)

    def number(self, value: float) -> str:
        """Write a value in decimals that suit the channel's range: three digits of it."""
        span = self.high - self.low
        if self.is_constant or not 1e-4 <= span <= 1e6:
            return f"{value + 0.0:.3g}"
        decimals = max(0, 2 - math.floor(math.log10(span)))
        return f"{round(value, decimals) + 0.0:.{decimals}f}"


def describe_template(values: np.ndarray, kind: DescriptionKind, *, leaked_label: str | None = None) -> str:
    """Describe one series in a paragraph.

    Parameters
    ----------
    values : ndarray of float64, shape (n_channels, n_timepoints)
        Finite values.
    kind : {"signal_analysis", "rationale"}
        `signal_analysis` tells trend, level shifts, peaks, periodicity and the course of each channel, with
        numbers; `rationale` what stands out and speaks for a class, without naming one.
    leaked_label : str, optional
        The class to name, as the paper's request did. Only for measuring what that fault is worth.

    Returns
    -------
    str
        One paragraph, without line breaks.
    """
    several = len(values) > 1
    tell = _analysis if kind == "signal_analysis" else _traits
    sentences = []
    for channel, x in enumerate(np.asarray(values, dtype=np.float64)):
        name = f"Dimension {channel}" if several else "The signal"
        sentences += tell(name, channel_shape(x))
    if kind == "rationale":
        verdict = "A class whose signals share these traits is the likely one."
        if leaked_label is not None:
            verdict = f"These traits are those of class {leaked_label}."
        sentences.append(verdict)
    return " ".join(sentences)


def channel_shape(x: np.ndarray) -> ChannelShape:
    """Measure one channel.

    Parameters
    ----------
    x : ndarray of float64, shape (n_timepoints,)
        One timepoint or more, finite.
    """
    n = len(x)
    # Every measure is relative to the range; without one, rounding errors would be taken for shape.
    scale = float(np.ptp(x))
    if n < 3 or _is_flat(float(x.min()), float(x.max())):
        flat = float(x.mean())
        return ChannelShape(
            float(x.min()), float(x.max()), float(x[0]) if n < 3 else flat, float(x[-1]) if n < 3 else flat,
            0.0, (), (), (), None, (),
        )  # fmt: skip
    t = np.arange(n)
    slope, offset = np.polyfit(t, x, 1)
    share = float(np.corrcoef(t, x)[0, 1] ** 2)
    period = period_of(x)
    return ChannelShape(
        low=float(x.min()),
        high=float(x.max()),
        start=float(offset),
        end=float(offset + slope * (n - 1)),
        trend_share=share,
        # The flanks of a wave with steep ones are told by its period.
        shifts=() if period else level_shifts(x),
        peaks=_extremes(x, x, scale),
        troughs=_extremes(-x, x, scale),
        period=period,
        quarters=tuple(float(part.mean()) for part in np.array_split(x, 4)) if n >= 8 else (),
    )


def level_shifts(x: np.ndarray) -> tuple[tuple[float, float, float], ...]:
    """Find abrupt changes of level.

    At each timepoint the windows before and after it (a twentieth of the length each, three timepoints at
    least) are compared. Their means differ at a shift by much of the range, and by much more than the values do
    inside either window, which a slope, a wave or a spike does not give.

    Parameters
    ----------
    x : ndarray of float64, shape (n_timepoints,)

    Returns
    -------
    tuple of (position, level before, level after)
        The largest, in order of time; positions as shares of the length.
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
    found = find_peaks(np.pad(strength, 1), height=SHIFT_SHARE * float(np.ptp(x)), distance=width)[0] - 1
    largest = sorted(sorted(found.tolist(), key=lambda i: -strength[i])[:MAX_SHIFTS])
    return tuple(((i + width) / n, float(means[i]), float(means[i + width])) for i in largest)


def period_of(x: np.ndarray) -> int | None:
    """Return the lag of the first high peak of the autocorrelation, or None where nothing repeats.

    A period fits into the series twice at least. A straight line is taken off first.

    Parameters
    ----------
    x : ndarray of float64, shape (n_timepoints,)
    """
    n = len(x)
    if n < 8:
        return None
    rest = detrend(x)
    if np.ptp(rest) <= FLAT * np.ptp(x):
        return None
    spectrum = np.fft.rfft(rest, 2 * n)
    power = np.fft.irfft(spectrum * spectrum.conj())[: n // 2 + 1]
    # Over as many products as each lag has, so that a long lag does not look weaker than it is.
    correlation = power / power[0] * n / (n - np.arange(n // 2 + 1))
    peaks = find_peaks(correlation, height=PERIOD_CORRELATION, prominence=0.3)[0]
    return int(peaks[0]) if len(peaks) else None


def _extremes(signed: np.ndarray, x: np.ndarray, scale: float) -> tuple[tuple[float, float], ...]:
    found = find_peaks(signed, prominence=PEAK_SHARE * scale)[0]
    return tuple((float(i) / len(x), float(x[i])) for i in found)


def _is_flat(low: float, high: float) -> bool:
    return high - low <= FLAT * max(1.0, abs(low), abs(high))


def _at(position: float) -> str:
    return f"{round(100 * position)}%"


def _count(number: int, noun: str) -> str:
    return f"{'no' if number == 0 else number} {noun}{'' if number == 1 else 's'}"


def _analysis(name: str, shape: ChannelShape) -> list[str]:
    """Tell one channel's course with its numbers."""
    if shape.is_constant:
        return [f"{name} is constant at {shape.number(shape.low)}."]
    direction = "rises" if shape.end > shape.start else "falls"
    line = f"from {shape.number(shape.start)} to {shape.number(shape.end)}"
    trend = f"{direction} along a line {line}" if shape.trend_share >= TREND_SHARE else "has no overall trend"
    sentences = [f"{name} ranges from {shape.number(shape.low)} to {shape.number(shape.high)} and {trend}."]
    for position, before, after in shape.shifts:
        sentences.append(
            f"At {_at(position)} of its length the level shifts from {shape.number(before)} to {shape.number(after)}."
        )
    for extremes, noun, pick in ((shape.peaks, "peak", max), (shape.troughs, "trough", min)):
        if extremes:
            position, value = pick(extremes, key=lambda extreme: extreme[1])
            word = "it is" if len(extremes) == 1 else f"the {'highest' if noun == 'peak' else 'lowest'} is"
            sentences.append(
                f"It has {_count(len(extremes), noun)}; {word} {shape.number(value)} at {_at(position)}."
            )
    if not shape.peaks and not shape.troughs:
        sentences.append("It has no peak or trough that stands out.")
    sentences.append(
        f"It repeats about every {shape.period} timepoints." if shape.period else "It does not repeat."
    )
    if shape.quarters:
        sentences.append(f"The means of its quarters are {', '.join(map(shape.number, shape.quarters))}.")
    return sentences


def _traits(name: str, shape: ChannelShape) -> list[str]:
    """Tell what stands out in one channel, the most telling first, in words rather than numbers."""
    if shape.is_constant:
        return [f"{name} does not change at all."]
    traits = []
    for position, before, after in shape.shifts:
        traits.append(f"an abrupt step {'up' if after > before else 'down'} at {_at(position)} of its length")
    if shape.trend_share >= TREND_SHARE:
        firm = "steady" if shape.trend_share >= 0.8 else "general"
        traits.append(f"a {firm} {'rise' if shape.end > shape.start else 'fall'}")
    if shape.period:
        traits.append(f"a pattern that repeats about every {shape.period} timepoints")
    if shape.peaks or shape.troughs:
        traits.append(
            f"{_count(len(shape.peaks), 'marked peak')} and {_count(len(shape.troughs), 'marked trough')}"
        )
    if shape.peaks:
        highest = max(shape.peaks, key=lambda extreme: extreme[1])
        traits.append(f"its highest peak at {_at(highest[0])}")
    if shape.quarters and np.ptp(shape.quarters) >= QUARTER_SHARE * (shape.high - shape.low):
        order = ("first", "second", "third", "last")
        most, least = int(np.argmax(shape.quarters)), int(np.argmin(shape.quarters))
        traits.append(
            f"a level that is highest in the {order[most]} quarter and lowest in the {order[least]} one"
        )
    if not traits:
        return [f"{name} has no trait that stands out."]
    listed = traits[0] if len(traits) == 1 else f"{', '.join(traits[:-1])}, and {traits[-1]}"
    return [f"{name} shows {listed}."]
