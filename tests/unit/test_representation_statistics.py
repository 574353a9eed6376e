"""The 22 features against plain definitions."""

import itertools
import math
import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vlmtsc.representation.statistics import format_features, format_moments, series_features

NAMES = [
    "mean",
    "std_dev",
    "max_amplitude",
    "min_amplitude",
    "median",
    "peak_count",
    "mean_peak_amplitude",
    "max_peak_amplitude",
    "range",
    "skewness",
    "kurtosis",
    "energy",
    "entropy",
    "zero_crossing_rate",
    "signal_slope",
    "autocorrelation",
    "psd_mean",
    "psd_max",
    "snr",
    "wavelet_mean",
    "wavelet_std",
    "hurst_exponent",
]


def reference(x: list[float]) -> dict[str, float]:
    """Every feature in plain Python, from its definition."""
    n = len(x)
    mean = sum(x) / n
    m2, m3, m4 = (sum((v - mean) ** power for v in x) / n for power in (2, 3, 4))
    peaks = [b for a, b, c in zip(x, x[1:], x[2:], strict=False) if a < b > c]
    low, high = min(x), max(x)
    bins = [0] * 10
    for v in x:
        bins[min(int((v - low) / (high - low) * 10), 9)] += 1
    sign = [(v > 0) - (v < 0) for v in x]
    before, after = x[:-1], x[1:]
    mean_before, mean_after = sum(before) / (n - 1), sum(after) / (n - 1)
    covariance = sum((a - mean_before) * (b - mean_after) for a, b in zip(before, after, strict=True))
    spread = math.sqrt(
        sum((a - mean_before) ** 2 for a in before) * sum((b - mean_after) ** 2 for b in after)
    )
    middle = (n - 1) / 2
    hurst = []
    for lag in range(2, 20):
        d = [x[i + lag] - x[i] for i in range(n - lag)]
        d_mean = sum(d) / len(d)
        hurst.append((math.log(lag), 0.5 * math.log(sum((v - d_mean) ** 2 for v in d) / len(d))))
    a_mean, b_mean = (sum(column) / len(hurst) for column in zip(*hurst, strict=True))
    # Welch: one Hann window (periodic) of the whole series, its mean removed, one-sided, at 1000 Hz.
    window = [0.5 - 0.5 * math.cos(2 * math.pi * i / n) for i in range(n)]
    power = []
    for k in range(n // 2 + 1):
        terms = [
            ((v - mean) * w, 2 * math.pi * k * i / n) for i, (v, w) in enumerate(zip(x, window, strict=True))
        ]
        real, imaginary = sum(t * math.cos(p) for t, p in terms), sum(t * math.sin(p) for t, p in terms)
        sides = 1 if k == 0 or 2 * k == n else 2
        power.append(sides * (real**2 + imaginary**2) / (1000 * sum(w * w for w in window)))
    haar = [sum(x[i : i + 16]) / 4 for i in range(0, n, 16)]
    haar_mean = sum(haar) / len(haar)
    return {
        "mean": mean,
        "std_dev": math.sqrt(m2),
        "max_amplitude": high,
        "min_amplitude": low,
        "median": (sorted(x)[(n - 1) // 2] + sorted(x)[n // 2]) / 2,
        "peak_count": len(peaks),
        "mean_peak_amplitude": sum(peaks) / len(peaks),
        "max_peak_amplitude": max(peaks),
        "range": high - low,
        "skewness": math.sqrt(n * (n - 1)) / (n - 2) * m3 / m2**1.5,
        "kurtosis": (n - 1) / ((n - 2) * (n - 3)) * ((n + 1) * m4 / m2**2 - 3 * (n - 1)),
        "energy": sum(v * v for v in x),
        "entropy": -sum(c / n * math.log(c / n) for c in bins if c),
        "zero_crossing_rate": sum(a != b for a, b in itertools.pairwise(sign)) / n,
        "signal_slope": sum((i - middle) * (v - mean) for i, v in enumerate(x))
        / sum((i - middle) ** 2 for i in range(n)),
        "autocorrelation": covariance / spread,
        "psd_mean": sum(power) / len(power),
        "psd_max": max(power),
        "snr": 10 * math.log10(sum(v * v for v in x) / n / m2),
        "wavelet_mean": haar_mean,
        "wavelet_std": math.sqrt(sum((v - haar_mean) ** 2 for v in haar) / len(haar)),
        "hurst_exponent": sum((a - a_mean) * (b - b_mean) for a, b in hurst)
        / sum((a - a_mean) ** 2 for a, _ in hurst),
    }


@pytest.mark.parametrize("n_timepoints", [32, 96, 240])
def test_features_equal_their_definitions(n_timepoints: int) -> None:
    x = np.random.default_rng(n_timepoints).normal(0.3, 2.0, n_timepoints).cumsum()
    features = series_features(x)
    assert list(features) == NAMES
    assert features == pytest.approx(reference(x.tolist()), rel=1e-6)


@given(
    st.one_of(
        st.tuples(st.floats(-1e6, 1e6), st.integers(1, 50)).map(lambda pair: [pair[0]] * pair[1]),
        st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=50),
        st.lists(st.sampled_from([0.0, 1.0, 1.0 + 1e-16, 1e6, 1e6 + 1e-9]), min_size=1, max_size=50),
    )
)
@settings(max_examples=150, deadline=None)
def test_no_text_ever_has_nan_or_inf(numbers: list[float]) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        text = format_features(np.array(numbers))
    assert "nan" not in text
    assert "inf" not in text
    assert text.startswith("mean: ")


def test_undefined_features_are_left_out() -> None:
    constant = series_features(np.ones(50))
    assert {"autocorrelation", "snr", "hurst_exponent", "mean_peak_amplitude"}.isdisjoint(constant)
    assert constant["std_dev"] == 0
    assert "hurst_exponent" not in series_features(np.random.default_rng(0).normal(size=20))
    assert "hurst_exponent" in series_features(np.random.default_rng(0).normal(size=21))


def test_format_is_the_papers() -> None:
    text = format_features(np.array([0.0, 1.0, 0.0, 2.0]))
    assert text.startswith(
        "mean: 7.5000e-01, std_dev: 8.2916e-01, max_amplitude: 2.0000e+00, min_amplitude: 0.0000e+00, "
        "median: 5.0000e-01, peak_count: 1.0000e+00, mean_peak_amplitude: 1.0000e+00, "
    )


def test_six_statistics_of_signal_analysis() -> None:
    x = np.array([0.0, 1.0, 2.0, 1.0, 0.0, -1.0])
    features = series_features(x)
    assert format_moments(x) == (
        f"mean:0.50 std_deviation:{features['std_dev']:.2f} variance:{features['std_dev'] ** 2:.2f} "
        f"skewness:{features['skewness']:.2f} kurtosis:{features['kurtosis']:.2f} "
        f"autocorrelation:{features['autocorrelation']:.2f}"
    )
    assert format_moments(np.array([-1e-9, 1e-9, -1e-9])).startswith("mean:0.00 ")  # not -0.00


@settings(max_examples=100, deadline=None)
@given(st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=30))
def test_the_six_statistics_are_never_nan(x: list[float]) -> None:
    text = format_moments(np.array(x))
    assert text.startswith("mean:")
    assert "nan" not in text
    assert "inf" not in text


def test_statistics_that_are_undefined_are_left_out() -> None:
    assert format_moments(np.array([2.0])) == "mean:2.00 std_deviation:0.00 variance:0.00"
    assert "autocorrelation" not in format_moments(np.full(9, 2.0))
