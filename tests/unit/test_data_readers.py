"""Readers: every format gives the same arrays, and a fault names file and line."""

from __future__ import annotations

import io

import numpy as np
import pytest

from vlmtsc.data import readers
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
