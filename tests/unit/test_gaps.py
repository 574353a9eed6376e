"""What a failed job has left missing between newer and older files."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from vlmtsc.gaps import TIMESTAMP, hidden_gaps, time_of


@pytest.mark.parametrize(
    ("times", "gaps"),
    [
        ({}, []),  # nothing has run yet
        ({"a": 1.0, "b": 2.0, "c": 3.0, "d": 4.0}, []),
        ({"a": 1.0, "d": 4.0}, []),  # removed to save space
        ({"a": 5.0, "d": 4.0}, ["b", "c"]),
        ({"a": 1.0, "b": 5.0, "d": 4.0}, ["c"]),
        ({"a": 5.0, "b": 2.0, "c": 3.0, "d": 4.0}, []),  # Snakemake sees it
        ({"a": 5.0}, []),  # nothing stale
        ({"d": 4.0}, []),  # no input: Snakemake says so if it is needed
    ],
)
def test_only_what_hides_something_stale_is_a_gap(times: dict[str, float], gaps: list[str]) -> None:
    assert hidden_gaps(["abcd"], times.get) == gaps


def test_chains_with_the_same_files_are_looked_at_once() -> None:
    asked: list[str] = []
    times = {"a": 9.0, "d": 1.0}

    def time(path: str) -> float | None:
        asked.append(path)
        return times.get(path)

    assert hidden_gaps([["a", "b", "d"], ["a", "b", "c", "d"]], time) == ["b", "c"]
    assert sorted(asked) == ["a", "b", "c", "d"]


def test_a_folder_is_as_old_as_its_timestamp(tmp_path: Path) -> None:
    assert time_of(str(tmp_path / "nowhere")) is None
    (tmp_path / TIMESTAMP).touch()
    os.utime(tmp_path / TIMESTAMP, (5, 5))
    assert time_of(str(tmp_path)) == 5
    os.utime(tmp_path / TIMESTAMP, (5, 7))
    assert time_of(str(tmp_path / TIMESTAMP)) == 7
