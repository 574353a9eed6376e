"""The paper's 22 features of a channel (WITH_STATS), each where it is defined."""

from __future__ import annotations

import math
import warnings

import numpy as np

# pandas, SciPy and PyWavelets are imported where they are used: most scenarios tell no features, and every job that
# reads a representation would wait for them.

#: Hz; the paper takes it for every dataset.
SAMPLING_RATE = 1000


def peak_amplitudes(x: np.ndarray) -> np.ndarray:
    """Return the values at local maxima, ``x[i]`` with ``x[i-1] < x[i] > x[i+1]`` (middle of a flat top)."""
    from scipy.signal import find_peaks

    return x[find_peaks(x)[0]]


def skewness(x: np.ndarray) -> float:
    """Return the bias-corrected skewness (pandas); nan below 3 values.

    ``sqrt(n (n-1)) / (n-2) * m3 / m2**1.5``, with the central moments m2 and m3.
    """
    import pandas as pd

    return float(pd.Series(x).skew())


def kurtosis(x: np.ndarray) -> float:
    """Return the bias-corrected excess kurtosis (pandas); nan below 4 values.

    ``(n-1) / ((n-2)(n-3)) * ((n+1) m4 / m2**2 - 3 (n-1))``, with the central moments m2 and m4.
    """
    import pandas as pd

    return float(pd.Series(x).kurtosis())


def entropy(x: np.ndarray) -> float:
    """Return ``-sum p log p`` (nats) of a histogram with 10 bins of equal width from minimum to maximum.

    nan where the values differ by so little that floating point has no 10 bins between them.
    """
    from scipy.stats import entropy as shannon

    edges = np.linspace(x.min(), x.max(), 11)
    if x.min() < x.max() and not np.all(np.diff(edges) > 0):
        return math.nan
    return float(shannon(np.histogram(x, bins=10, density=True)[0]))


def zero_crossing_rate(x: np.ndarray) -> float:
    """Return the number of changes of ``sign(x)`` over that of timepoints; zero has a sign of its own."""
    return np.count_nonzero(np.diff(np.sign(x))) / len(x)


def signal_slope(x: np.ndarray) -> float:
    """Return the least-squares slope per timepoint, ``cov(t, x) / var(t)``; nan for one timepoint."""
    if len(x) < 2:
        return math.nan
    t = np.arange(len(x)) - (len(x) - 1) / 2
    return float(t @ x / (t @ t))


def autocorrelation(x: np.ndarray) -> float:
    """Return Pearson's correlation of ``x[:-1]`` with ``x[1:]`` (lag 1); nan where either is constant."""
    if len(x) < 3:
        return math.nan
    return float(np.corrcoef(x[:-1], x[1:])[0, 1])


def power_spectral_density(x: np.ndarray) -> np.ndarray:
    """Return Welch's estimate (units**2 / Hz) at 1000 Hz.

    Hann windows of 256 timepoints, or of the whole series if shorter, that overlap by half.
    """
    from scipy.signal import welch

    return welch(x, fs=SAMPLING_RATE, nperseg=min(256, len(x)))[1]


def snr(x: np.ndarray) -> float:
    """Return ``10 log10(mean(x**2) / var(x))`` in dB; not finite for a constant channel."""
    return float(10 * np.log10(np.mean(x**2) / np.var(x)))


def wavelet_approximation(x: np.ndarray) -> np.ndarray:
    """Return the Haar wavelet's approximation at level 4 (db1): sums of 16 values in a row, over 4."""
    import pywt

    with warnings.catch_warnings():
        # Below 16 timepoints the transform extends the series symmetrically, and says so each time.
        warnings.filterwarnings("ignore", message="Level value of", category=UserWarning)
        return pywt.wavedec(x, "db1", level=4)[0]


def hurst_exponent(x: np.ndarray) -> float:
    """Return the slope of ``log std(x[l:] - x[:-l])`` over ``log l``, lags l from 2 to 19.

    Not finite for 20 timepoints or fewer, or where differences at some lag are all equal.
    """
    if len(x) <= 20:
        return math.nan
    lags = np.arange(2, 20)
    spread = np.array([np.std(x[lag:] - x[:-lag]) for lag in lags])
    if not np.all(spread > 0):
        return math.nan
    return float(np.polyfit(np.log(lags), np.log(spread), 1)[0])


def series_features(x: np.ndarray) -> dict[str, float]:
    """Return the features of one channel that are defined, in the paper's order.

    Parameters
    ----------
    x : ndarray of float64, shape (n_timepoints,)
        One timepoint or more.

    Returns
    -------
    dict of str to float
        Finite values only: a feature that this channel does not have (a peak's amplitude without a peak, the
        Hurst exponent of 20 timepoints, a correlation of constants) is left out.
    """
    with np.errstate(all="ignore"):
        peaks = peak_amplitudes(x)
        density = power_spectral_density(x)
        approximation = wavelet_approximation(x)
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
            "skewness": skewness(x),
            "kurtosis": kurtosis(x),
            "energy": np.sum(x**2),
            "entropy": entropy(x),
            "zero_crossing_rate": zero_crossing_rate(x),
            "signal_slope": signal_slope(x),
            "autocorrelation": autocorrelation(x),
            "psd_mean": np.mean(density),
            "psd_max": np.max(density),
            "snr": snr(x),
            "wavelet_mean": np.mean(approximation),
            "wavelet_std": np.std(approximation),
            "hurst_exponent": hurst_exponent(x),
        }
    return {name: float(value) for name, value in features.items() if math.isfinite(value)}


def format_features(x: np.ndarray) -> str:
    """Return the features of one channel as the paper writes them: ``mean: 1.2345e-01, std_dev: ...``.

    Parameters
    ----------
    x : ndarray of float64, shape (n_timepoints,)
    """
    return ", ".join(f"{name}: {value:.4e}" for name, value in series_features(x).items())


def format_moments(x: np.ndarray) -> str:
    """Return the six statistics of WITH_SIGNAL_ANALYSIS: ``mean:0.12 std_deviation:1.00 ...``.

    Two decimals, as in the paper; by the same estimators as WITH_STATS. Those that the channel does not have
    are left out.

    Parameters
    ----------
    x : ndarray of float64, shape (n_timepoints,)
    """
    with np.errstate(all="ignore"):
        moments = {
            "mean": np.mean(x),
            "std_deviation": np.std(x),
            "variance": np.var(x),
            "skewness": skewness(x),
            "kurtosis": kurtosis(x),
            "autocorrelation": autocorrelation(x),
        }
    # Adding zero takes the sign off a value that is rounded to zero.
    return " ".join(f"{name}:{round(v, 2) + 0.0:.2f}" for name, v in moments.items() if math.isfinite(v))
