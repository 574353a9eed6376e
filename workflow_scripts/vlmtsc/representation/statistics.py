"""The paper's 22 features of a channel (WITH_STATS) and six statistics (WITH_SIGNAL_ANALYSIS), where defined."""

from __future__ import annotations

import math
import warnings

import numpy as np

# pandas, SciPy and PyWavelets are imported where they are used: most scenarios have no features, and every job that
# reads a representation would wait for them.

#: Hz; the paper assumes it for every dataset.
SAMPLING_RATE = 1000


def series_features(x: np.ndarray) -> dict[str, float]:
    """Return the features of one channel, in the paper's order.

    Parameters
    ----------
    x : ndarray of float64, shape (n_timepoints,)
        One timepoint or more.

    Returns
    -------
    dict of str to float
        Finite values only: undefined features (the amplitude of peaks without a peak, the Hurst exponent of 20
        timepoints, a correlation of constants) are omitted.

    Notes
    -----
    Peaks are local maxima, ``x[i-1] < x[i] > x[i+1]`` (the middle of a flat top). ``std_dev`` is the population's.
    ``skewness`` and ``kurtosis`` (excess) are bias-corrected as in pandas: with central moments m2, m3, m4,
    ``sqrt(n (n-1)) / (n-2) * m3 / m2**1.5`` and
    ``(n-1) / ((n-2)(n-3)) * ((n+1) m4 / m2**2 - 3 (n-1))``. ``energy`` is the sum of squares. ``zero_crossing_rate`` is
    the number of changes of ``sign(x)``, where zero has a sign of its own, per timepoint. ``snr`` is
    ``10 log10(mean(x**2) / var(x))`` in dB. ``psd_*``: of Welch's estimate in units**2 / Hz at 1000 Hz, Hann windows of
    256 timepoints (the whole series if shorter) that overlap by half. ``wavelet_*``: of the approximation of the Haar
    wavelet (db1) at level 4, sums of 16 consecutive values divided by 4.
    """
    import pandas as pd
    from scipy.signal import find_peaks, welch

    with np.errstate(all="ignore"):
        peaks = x[find_peaks(x)[0]]
        density = welch(x, fs=SAMPLING_RATE, nperseg=min(256, len(x)))[1]
        approximation = _wavelet_approximation(x)
        features = {
            "mean": np.mean(x),
            "std_dev": np.std(x),
            "max_amplitude": np.max(x),
            "min_amplitude": np.min(x),
            "median": np.median(x),
            "peak_count": len(peaks),
            "mean_peak_amplitude": np.mean(peaks) if len(peaks) else math.nan,
            "max_peak_amplitude": np.max(peaks) if len(peaks) else math.nan,
            "range": np.ptp(x),
            "skewness": pd.Series(x).skew(),
            "kurtosis": pd.Series(x).kurtosis(),
            "energy": np.sum(x**2),
            "entropy": _entropy(x),
            "zero_crossing_rate": np.count_nonzero(np.diff(np.sign(x))) / len(x),
            "signal_slope": _slope(x),
            "autocorrelation": _autocorrelation(x),
            "psd_mean": np.mean(density),
            "psd_max": np.max(density),
            "snr": 10 * np.log10(np.mean(x**2) / np.var(x)),
            "wavelet_mean": np.mean(approximation),
            "wavelet_std": np.std(approximation),
            "hurst_exponent": _hurst_exponent(x),
        }
    return {name: float(value) for name, value in features.items() if math.isfinite(value)}


def format_features(x: np.ndarray) -> str:
    """Return the features of one channel as the paper writes them: ``mean: 1.2345e-01, std_dev: ...``."""
    return ", ".join(f"{name}: {value:.4e}" for name, value in series_features(x).items())


def format_moments(x: np.ndarray) -> str:
    """Return the six statistics of one channel, as in the paper: ``mean:0.12 std_deviation:1.00 ...``.

    The estimators are those of `series_features`; undefined ones are omitted.
    """
    import pandas as pd

    with np.errstate(all="ignore"):
        moments = {
            "mean": np.mean(x),
            "std_deviation": np.std(x),
            "variance": np.var(x),
            "skewness": float(pd.Series(x).skew()),
            "kurtosis": float(pd.Series(x).kurtosis()),
            "autocorrelation": _autocorrelation(x),
        }
    # Adding zero removes the sign of a value that is rounded to zero.
    return " ".join(f"{name}:{round(v, 2) + 0.0:.2f}" for name, v in moments.items() if math.isfinite(v))


def _entropy(x: np.ndarray) -> float:
    """Return ``-sum p log p`` (nats) of a histogram with 10 bins of equal width from minimum to maximum.

    nan where the values differ by so little that floating point has no 10 bins between them.
    """
    from scipy.stats import entropy

    edges = np.linspace(x.min(), x.max(), 11)
    if x.min() < x.max() and not np.all(np.diff(edges) > 0):
        return math.nan
    return float(entropy(np.histogram(x, bins=10, density=True)[0]))


def _slope(x: np.ndarray) -> float:
    """Return the least-squares slope per timepoint, ``cov(t, x) / var(t)``; nan for one timepoint."""
    if len(x) < 2:
        return math.nan
    t = np.arange(len(x)) - (len(x) - 1) / 2
    return float(t @ x / (t @ t))


def _autocorrelation(x: np.ndarray) -> float:
    """Return Pearson's correlation of ``x[:-1]`` with ``x[1:]`` (lag 1); nan where either is constant."""
    return float(np.corrcoef(x[:-1], x[1:])[0, 1]) if len(x) > 2 else math.nan


def _wavelet_approximation(x: np.ndarray) -> np.ndarray:
    import pywt

    with warnings.catch_warnings():
        # Below 16 timepoints the transform extends the series symmetrically and warns each time.
        warnings.filterwarnings("ignore", message="Level value of", category=UserWarning)
        return pywt.wavedec(x, "db1", level=4)[0]


def _hurst_exponent(x: np.ndarray) -> float:
    """Return the slope of ``log std(x[l:] - x[:-l])`` over ``log l``, lags l from 2 to 19.

    nan for 20 timepoints or fewer, or where all differences at some lag are equal.
    """
    if len(x) <= 20:
        return math.nan
    lags = np.arange(2, 20)
    spread = np.array([np.std(x[lag:] - x[:-lag]) for lag in lags])
    if not np.all(spread > 0):
        return math.nan
    return float(np.polyfit(np.log(lags), np.log(spread), 1)[0])
