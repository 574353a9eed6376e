"""Messages on the way of long work."""

from __future__ import annotations

import logging
import time

import pytest

from vlmtsc import progress
from vlmtsc.progress import Progress


def test_it_says_now_and_then_how_far_it_is(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    clock = iter([0.0, 10.0, 40.0, 40.0, 50.0, 100.0])
    monkeypatch.setattr(time, "monotonic", lambda: next(clock))
    assert progress.EVERY_SECONDS == 30
    with caplog.at_level(logging.INFO):
        work = Progress(logging.getLogger("work"), "scoring", 100, "cases")
        work.tell(10)  # too early
        work.tell(40)
        work.tell(60)  # too early again
        work.tell(100)  # nothing left to wait for
    assert caplog.messages == ["scoring: 40 of 100 cases, 1.0 min left"]
