"""Series without labels: CSV files as people have them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from vlmtsc.data.readers import read_unlabelled
from vlmtsc.errors import InputError

nan = np.nan


def write(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def same(series: list[np.ndarray], expected: list[object]) -> None:
    assert len(series) == len(expected)
    for one, other in zip(series, expected, strict=True):
        np.testing.assert_array_equal(one, np.array(other, dtype=float))
        assert one.dtype == np.float64


@pytest.mark.parametrize("head", ["", "t1,t2,t3\n"])
def test_a_file_holds_one_univariate_series_a_row(tmp_path: Path, head: str) -> None:
    ids, series = read_unlabelled(write(tmp_path / "a.csv", f"{head}1,2,3\n-4.5,1e3,0\n"), 1)
    assert ids == ["1", "2"]
    same(series, [[[1, 2, 3]], [[-4.5, 1000, 0]]])


def test_missing_values_stay_and_shorter_rows_end_earlier(tmp_path: Path) -> None:
    path = write(tmp_path / "a.csv", "1,2,3,4\n5,,6,\n,7,8,9\n")
    _, series = read_unlabelled(path, 1)
    same(series, [[[1, 2, 3, 4]], [[5, nan, 6]], [[nan, 7, 8, 9]]])


def test_rows_of_unequal_length(tmp_path: Path) -> None:
    """Rows may end without trailing commas, whichever of them is the longest."""
    _, series = read_unlabelled(write(tmp_path / "a.csv", "1,2\n3,4,5\n6\n"), 1)
    same(series, [[[1, 2]], [[3, 4, 5]], [[6]]])


def test_a_folder_holds_one_series_a_file(tmp_path: Path) -> None:
    write(tmp_path / "b.csv", "x,y\n1,2\n3,4\n5,\n")
    write(tmp_path / "a.csv", "6,7\n8,9\n")
    write(tmp_path / "notes.txt", "not a series")
    ids, series = read_unlabelled(tmp_path, 2)
    assert ids == ["a", "b"]
    same(series, [[[6, 8], [7, 9]], [[1, 3, 5], [2, 4, nan]]])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("1,2\n3,x\n", r"a\.csv, row 2, column 2: 'x'; allowed: a finite number"),
        ("t1,t2\n1,2\n3,x\n", r"a\.csv, row 3, column 2: 'x'"),
        ("1,inf\n", r"a\.csv, row 1, column 2: 'inf'; allowed: a finite number"),
        ("t1,t2\n", r"a\.csv: no series; allowed: one or more rows of numbers"),
        ("", r"a\.csv: no series; allowed: one or more rows"),
        ("1,2\n,\n", r"a\.csv, series 2: 1 channels of 0 timepoints"),
    ],
)
def test_what_is_no_series(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        read_unlabelled(write(tmp_path / "a.csv", text), 1)


def test_channels_have_to_be_those_of_training(tmp_path: Path) -> None:
    path = write(tmp_path / "folder" / "a.csv", "1,2,3\n4,5,6\n")
    with pytest.raises(InputError, match=r"a file holds univariate series, .* trained on 3 channels"):
        read_unlabelled(path, 3)
    with pytest.raises(InputError, match=r"a\.csv: 3 channels of 2 timepoints; allowed: 2 channels"):
        read_unlabelled(path.parent, 2)


def test_nothing_to_read(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"no \*\.csv file"):
        read_unlabelled(tmp_path, 1)
    with pytest.raises(InputError, match=r"absent\.csv: not a readable CSV file"):
        read_unlabelled(tmp_path / "absent.csv", 1)


def test_a_file_that_is_no_text(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_bytes(b"\xff\xfe\x00\x01")
    with pytest.raises(InputError, match=r"a\.csv: not a readable CSV file"):
        read_unlabelled(tmp_path / "a.csv", 1)
