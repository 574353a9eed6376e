"""What is asked of a describer: kinds of text, the endpoint's parameters, and the limits on requests."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from vlmtsc.errors import InputError

#: What a description is about; the names of `context_text` that need one.
DescriptionKind = Literal["signal_analysis", "rationale"]
#: A rationale whose describer is told the case's answer: that of its class, or of its class after the original's
#: merging of labels. A fault of the original, to measure what it is worth.
LeakedKind = Literal["leaked_rationale", "leaked_rationale_merged_labels"]

#: Environment variables that alone hold the address of the endpoint, such as ``https://host/v1``, and its key.
URL_VARIABLE = "VLMTSC_DESCRIBER_URL"
KEY_VARIABLE = "VLMTSC_DESCRIBER_KEY"


def leaked_kind(*, merged_labels: bool) -> LeakedKind:
    """Return the kind of the rationales that give the class away."""
    return "leaked_rationale_merged_labels" if merged_labels else "leaked_rationale"


@dataclass(frozen=True)
class EndpointSettings:
    """What a hosted model is asked: everything that its text depends on.

    Parameters
    ----------
    model : str
        Name that the endpoint knows the model by.
    temperature : float
        0, as in the paper: the most likely text.
    max_tokens : int
        Tokens of a description at most; the paper's 300.
    round_to : int
        Decimals of the numbers in the request.
    max_timepoints : int
        Longer series are downsampled by the smallest integer factor that leaves no more timepoints: it bounds the
        cost of a request.

    Raises
    ------
    InputError
        If a number is out of range.
    """

    model: str = "gpt-4o-mini"
    temperature: float = 0.0
    max_tokens: int = 300
    round_to: int = 2
    max_timepoints: int = 500

    def __post_init__(self) -> None:
        _check(self, "temperature", 0, 2)
        _check(self, "max_tokens", 1, 100_000)
        _check(self, "round_to", 0, 10)
        _check(self, "max_timepoints", 1, 1_000_000)


@dataclass(frozen=True)
class RequestLimits:
    """How requests are sent; no text depends on it.

    Parameters
    ----------
    max_requests : int
        Requests for one dataset and kind of text at most, those counted whose answers are in the cache already.
        So the same command, given again, spends nothing more.
    requests_per_minute : float
        Attempts a minute at most, over all jobs that share the cache.
    timeout_s : float
        Seconds without a byte from the endpoint after which an attempt has failed.
    attempts : int
        Attempts for one text, where the endpoint is overloaded, slow or broken.

    Raises
    ------
    InputError
        If a number is out of range.
    """

    max_requests: int = 1000
    requests_per_minute: float = 60.0
    timeout_s: float = 60.0
    attempts: int = 5

    def __post_init__(self) -> None:
        _check(self, "max_requests", 0, 10**9)
        _check(self, "requests_per_minute", 1e-3, 1e6)
        _check(self, "timeout_s", 1e-3, 3600)
        _check(self, "attempts", 1, 100)


def _check(settings: object, key: str, low: float, high: float) -> None:
    value = getattr(settings, key)
    if not low <= value <= high:
        raise InputError(f"describe: {key}={value}; allowed: {low:g} to {high:g}")
