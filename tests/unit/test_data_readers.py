"""Readers: every format gives the same arrays, and a fault names file and line."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest

from vlmtsc.data import readers
from vlmtsc.data.readers import read_table, read_unlabelled
from vlmtsc.data.series import LabelledSeries
from vlmtsc.errors import InputError

TS = """# comment
@problemName Tiny
@univariate true
@equalLength true
@classLabel true Walk Run

@data
0.1,?,-3e-1:Walk
1,2,NaN:Run
"""
TSV = "Walk\t0.1\tNaN\t-0.3\nRun\t1\t2\t\n"
TXT = "  1.0000000e+00   1.0e-01  NaN  -3.0e-01\n  2.0e+00  1  2  NaN\n"
ARFF = """@relation tiny
@attribute t0 numeric
@attribute t1 numeric
@attribute t2 numeric
@attribute label {Walk,Run}
@data
0.1,?,-0.3,Walk
1,2,?,Run
"""
MULTIVARIATE_TS = "@equalLength true\n@classLabel true Up Down\n@data\n1,2,3:4,5,6:Up\n7,8,9:0,?,2:Down\n"
MULTIVARIATE_ARFF = """@relation 'two'
@attribute relationalAtt relational
@attribute att0 numeric
@attribute att1 numeric
@attribute att2 numeric
@end relationalAtt
@attribute activity {Up,Down}
@data
'1,2,3\\n4,5,6',Up
'7,8,9\\n0,?,2',Down
"""


def digest_of(part):
    return LabelledSeries.from_parts(part, part).digest()


@pytest.mark.parametrize(("content", "name"), [(TS, "a.ts"), (TSV, "a.tsv"), (ARFF, "a.arff")])
def test_univariate_formats_agree(content, name):
    series, labels, _ = readers.read_part(content.encode(), name)
    assert labels == ["Walk", "Run"]
    np.testing.assert_array_equal(series[0], [[0.1, np.nan, -0.3]])
    assert digest_of((series, labels)) == digest_of(readers.read_part(TSV.encode(), "b.tsv"))


def test_old_text_format_agrees_with_tsv():
    tsv = TSV.replace("Walk", "1").replace("Run", "2")
    assert digest_of(readers.read_part(TXT.encode(), "a.txt")) == digest_of(
        readers.read_part(tsv.encode(), "a.tsv")
    )


def test_multivariate_formats_agree():
    series, labels, _ = readers.read_part(MULTIVARIATE_TS.encode(), "a.ts")
    assert series[1].tolist()[0] == [7, 8, 9]
    assert series[0].shape == (2, 3)
    assert digest_of((series, labels)) == digest_of(readers.read_part(MULTIVARIATE_ARFF.encode(), "a.arff"))


def test_unequal_lengths_agree():
    ts = readers.read_part(b"@equalLength false\n@classLabel true 1 2\n@data\n1,2:1\n1,?,3,4:2\n", "a.ts")
    tsv = readers.read_part(b"1\t1\t2\tNaN\tNaN\n2\t1\tNaN\t3\t4\n", "a.tsv")
    assert LabelledSeries.from_parts(ts, ts).lengths.tolist() == [2, 4, 2, 4]
    assert digest_of(ts) == digest_of(tsv)


def test_numbers_are_read_exactly():
    numbers = np.random.default_rng(0).normal(size=1000)
    text = "1\t" + "\t".join(repr(float(number)) for number in numbers)
    np.testing.assert_array_equal(readers.read_part(text.encode(), "a.tsv")[0][0][0], numbers)


def test_marks_and_old_encodings():
    assert readers.read_part(b"\xef\xbb\xbf1\t2\r\n", "a.tsv")[1] == ["1"]
    assert readers.read_part("# caf\u00e9\n@data\n1,2:a\n".encode("latin-1"), "a.ts")[1] == ["a"]


def test_only_line_breaks_break_lines():
    """`str.splitlines` would make two cases of one."""
    label = "caf\u0085\u2028\x1c!"
    series, labels, _ = readers.read_part(f"{label}\t1\t2\r\nb\t3\t4\rc\t5\t6\n".encode(), "a.tsv")
    assert labels == [label, "b", "c"]
    assert [case.tolist() for case in series] == [[[1, 2]], [[3, 4]], [[5, 6]]]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.tsv", "1\t2\t3\n1\t2\n", r"a\.tsv, line 2: 1 values, the cases above have 2"),
        ("a.tsv", "1\t2\t3\n1\t2\tx7\n", r"a\.tsv, line 2: value 2 is 'x7', not a finite number"),
        ("a.tsv", "1\t2\t1_0\n", r"line 1: value 2 is '1_0'"),
        ("a.tsv", "1\t2\t-inf\n", r"line 1: value 2 is '-inf'"),
        ("a.tsv", "\t2\t3\n", r"line 1: empty class label"),
        ("a.tsv", "1\n", r"line 1: 1 field"),
        ("a.tsv", "\n\n", r"a\.tsv: no cases"),
        ("a.ts", "1,2:1\n", r"a\.ts: no line @data"),
        ("a.ts", "@data\n\n", r"a\.ts: no cases"),
        ("a.ts", "@data\n1,2\n", r"line 2: no class label"),
        ("a.ts", "@data\n1,2:\n", r"line 2: no class label"),
        ("a.ts", "@data\n1,2:3,4,5:a\n", r"line 2: channels of 2, 3 values in one case"),
        ("a.ts", "@data\n1,2:3,4:a\n1,2:a\n", r"line 3: 1 channels, the cases above have 2"),
        ("a.ts", "@equalLength true\n@data\n1,2:a\n1,2,3:a\n", r"line 4: 3 values, the cases above have 2"),
        ("a.ts", "@timeStamps\ttrue\n@data\n(0,1:a\n", r"a\.ts, line 3: '\(0,1'; allowed with @timeStamps"),
        ("a.ts", "@targetLabel true\n@data\n1,2:0.5\n", r"a\.ts: no class labels"),
        ("a.arff", "@relation x\n", r"a\.arff"),
        ("a.arff", ARFF.replace("0.1", "zero"), r"a\.arff, line 7: value 1 is 'zero'"),
        ("a.arff", ARFF + "1,2,Run\n", r"a\.arff, line 9: 3 fields, .* 4 attributes"),
        ("a.arff", ARFF + "{0 1}\n", r"a\.arff, line 9: a sparse row"),
        ("a.tsv", "1\t2\0\n", r"a\.tsv: holds zero bytes"),
        ("a.xls", "1,2", r"a\.xls: format '\.xls'; allowed are \.tsv, \.txt, \.csv, \.ts, \.arff"),
    ],
)
def test_faults_are_named(name, content, message):
    with pytest.raises(InputError, match=message):
        readers.read_part(content.encode(), name)


def test_keel_rows_alternate_between_channels():
    text = "@relation x\n1, 10, 2, 20, 7\n3, 30, 4, 40, 8\n5, 50, 6, 60, 0\n"
    train, test = readers.read_keel(text, "pen.dat", train_size=2, channels=2)
    assert train[1] == ["7", "8"]
    assert train[0][0].tolist() == [[1, 2], [10, 20]]
    assert test[0][0].tolist() == [[5, 6], [50, 60]]
    with pytest.raises(InputError, match="3 rows, needed are more than the 3"):
        readers.read_keel(text, "pen.dat", train_size=3, channels=2)
    with pytest.raises(InputError, match="line 2: 4 values"):
        readers.read_keel(text, "pen.dat", train_size=2, channels=3)


def test_npz_of_cases_timepoints_channels():
    buffer = io.BytesIO()
    x = np.arange(12.0).reshape(2, 3, 2)
    np.savez(buffer, X_train=x, y_train=np.array([1, 2]), X_test=x + 1, y_test=np.array([2, 1]))
    train, test = readers.read_npz(buffer.getvalue(), "x.npz")
    assert train[0][0].shape == (2, 3)
    assert train[0][0].tolist() == [[0, 2, 4], [1, 3, 5]]
    assert test[1] == ["2", "1"]
    with pytest.raises(InputError, match=r"x\.npz: not an \.npz file"):
        readers.read_npz(b"no", "x.npz")


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


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "latin-1", "cp1252"])
def test_numbers_are_those_of_training_in_any_encoding(tmp_path: Path, encoding: str) -> None:
    numbers = [
        "0.10000000000000001",
        "1.7976931348623157e308",
        "-2.2250738585072014e-308",
        "123456789.12345678",
    ]
    path = tmp_path / "a.csv"
    path.write_bytes(f"höhe,b,c,d\n{','.join(numbers)}\n".encode(encoding))
    _, series = read_unlabelled(path, 1)
    (of_training,), *_ = read_table("\t".join(["1", *numbers]) + "\n", "a.tsv")
    same(series, [of_training])


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
    with pytest.raises(InputError, match=r"a\.csv: text in UTF-16"):
        read_unlabelled(tmp_path / "a.csv", 1)
