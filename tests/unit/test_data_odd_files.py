"""Odd files of the archive's formats, in shapes that others have met: right, refused in one line, or with a warning."""

from __future__ import annotations

import gzip
import logging
import re
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vlmtsc.configuration import load_configuration_files
from vlmtsc.data.cleaning import clean_series
from vlmtsc.data.download import WheelStore, get_dataset
from vlmtsc.data.readers import read_part
from vlmtsc.data.series import LabelledSeries
from vlmtsc.errors import InputError
from vlmtsc.settings import CleaningSettings, DownloadSettings

ROOT = Path(__file__).parents[2]
nan = np.nan


def ts(data: str, classes: str = "1 2", **header: str) -> str:
    lines = {"timeStamps": "false", "univariate": "true", "equalLength": "true", **header}
    text = "".join(f"@{key} {value}\n" for key, value in lines.items())
    return f"@problemName Toy\n{text}@classLabel true {classes}\n@data{data}"


def arff(data: str, target: str = "target {1,2}", values: int = 3) -> str:
    attributes = "".join(f"@attribute att{number} numeric\n" for number in range(1, values + 1))
    return f"@relation Toy\n{attributes}@attribute {target}\n@data{data}"


def bag(data: str, name: str = "bag", values: int = 3) -> str:
    inner = "".join(f"  @attribute t{number} numeric\n" for number in range(1, values + 1))
    return f"@relation Toy\n@attribute {name} relational\n{inner}@end {name}\n@attribute class {{1,2}}\n@data\n{data}"


ROWS = "\n1.5,2,3,1\n4,5,6,2\n7,8,9,1\n-1,-2,-3,2\n"
CASES = ([[[1.5, 2, 3]], [[4, 5, 6]], [[7, 8, 9]], [[-1, -2, -3]]], ["1", "2", "1", "2"])
TWO_CHANNELS = ([[[1.5, 2, 3], [10, 20, 30]], [[4, 5, 6], [40, 50, 60]]], ["1", "2"])
CASE_LINES = "\n1.5,2,3:1\n4,5,6:2\n7,8,9:1\n-1,-2,-3:2\n"
NUMBERS = "".join(f"{np.sin(case):.6f}\t{np.cos(case):.6f}\t{case % 2}\n" for case in range(20))

#: Files that are read: ending, content of both parts, values and labels, a warning.
READ = {
    "date stamps": (
        "ts",
        ts(
            "\n(2020-01-01 00:00:00,1.5),(2020-01-01 00:01:00,?):1\n(2020-01-01,2),(2020-01-02,3):2\n",
            timeStamps="true",
        ),
        ([[[1.5, nan]], [[2, 3]]], ["1", "2"]),
        "",
    ),
    "integer stamps of two channels": (
        "ts",
        ts(
            "\n(0,1.5),(1,2),(2,3):(0,10),(1,20),(2,30):1\n(0,4),(1,5),(2,6):(0,40),(1,50),(2,60):2\n",
            timeStamps="true",
        ),
        TWO_CHANNELS,
        "",
    ),
    ".ts in .txt": ("txt", ts(CASE_LINES), CASES, r"Toy_TRAIN\.txt: its content is that of a file \.ts"),
    ".arff in .txt": (
        "txt",
        "% x\n" + arff(ROWS),
        CASES,
        r"Toy_TRAIN\.txt: its content is that of a file \.arff",
    ),
    ".ts labels of several words": (
        "ts",
        ts("\n1,2:up there\n2,1:down\n", "up there down"),
        ([[[1, 2]], [[2, 1]]], ["up there", "down"]),
        "",
    ),
    ".ts labels in another form": ("ts", ts("\n1,2:1.0\n2,1:2\n"), ([[[1, 2]], [[2, 1]]], ["1", "2"]), ""),
    "labels in quotes": (
        "tsv",
        '"walk"\t1\t2\n"sit, or ""stand"""\t3\t4\n',
        ([[[1, 2]], [[3, 4]]], ["walk", 'sit, or "stand"']),
        "",
    ),
    "everything in quotes": ("csv", '"a","1","2"\n"b,c","3","4"\n', ([[[1, 2]], [[3, 4]]], ["a", "b,c"]), ""),
    "NA words": ("tsv", "1\t1\tNA\t3\n2\tnull\t2\tn/a\n", ([[[1, nan, 3]], [[nan, 2, nan]]], ["1", "2"]), ""),
    "semicolons": ("tsv", "1;1.5;2\n2;3;4\n", ([[[1.5, 2]], [[3, 4]]], ["1", "2"]), ""),
    "a header 0, 1, 2": (
        "tsv",
        "0\t1\t2\n1\t5\t6\n2\t7\t8\n",
        ([[[1, 2]], [[5, 6]], [[7, 8]]], ["0", "1", "2"]),
        r"Toy_TRAIN\.tsv, line 1: 0, 1, 2, \.\.\. is read as a case; if it is a header",
    ),
    "the layout of 2015": ("", "1,1.5,2\n2,3,4\n", ([[[1.5, 2]], [[3, 4]]], ["1", "2"]), ""),
    "cp1252": (
        "tsv",
        "caf\xe9\u20ac\t1\t2\nb\t3\t4\n".encode("cp1252"),
        ([[[1, 2]], [[3, 4]]], ["caf\xe9\u20ac", "b"]),
        "",
    ),
    "comment behind the class": ("arff", arff(ROWS, "target {1,2} %{low,high}"), CASES, ""),
    "a class of text": ("arff", arff(ROWS, "target string"), CASES, ""),
    "the class first": (
        "arff",
        "@relation Toy\n@attribute target {a,b}\n@attribute att1 numeric\n@attribute att2 REAL\n@data\na,1,2\nb,3,4\n",
        ([[[1, 2]], [[3, 4]]], ["a", "b"]),
        "",
    ),
    "a numeric class first": (
        "arff",
        "@relation Toy\n@attribute target {1,2}\n@attribute a numeric\n@attribute b real\n@data\n1,.1,.2\n2,.3,.4\n",
        ([[[0.1, 0.2]], [[0.3, 0.4]]], ["1", "2"]),
        "",
    ),
    "relational value with a line break at its end": (
        "arff",
        bag("'1.5,2,3\\n10,20,30\\n',1\n'4,5,6\\n40,50,60\\n',2\n"),
        TWO_CHANNELS,
        "",
    ),
    "relational name in quotes": (
        "arff",
        bag("'1.5,2,3\\n10,20,30',1\n'4,5,6\\n40,50,60',2\n", "'relational att'"),
        TWO_CHANNELS,
        "",
    ),
    "relational rows shorter than declared": (
        "arff",
        bag("'1,2\\n3,4',1\n'1,2,3\\n4,5,6',2\n"),
        ([[[1, 2], [3, 4]], [[1, 2, 3], [4, 5, 6]]], ["1", "2"]),
        r"Toy_TRAIN\.arff, line 9: 1 cases have fewer values than declared",
    ),
    "one name for all attributes": (
        "arff",
        arff(ROWS).replace("att2", "att1").replace("att3", "att1"),
        CASES,
        "",
    ),
    "names of classes that are not ASCII": (
        "arff",
        arff("\n1,2,3,m\xfcnchen\n4,,6,k\xf6ln\n", "target {m\xfcnchen, k\xf6ln}"),
        ([[[1, 2, 3]], [[4, nan, 6]]], ["m\xfcnchen", "k\xf6ln"]),
        "",
    ),
    "escaped quotes in labels": (
        "arff",
        arff('\n1,2,3,\'it\\\'s, "so"\'\n4,5,6,"b"\n', "target {'it\\'s, \"so\"',b}"),
        ([[[1, 2, 3]], [[4, 5, 6]]], ['it\'s, "so"', "b"]),
        "",
    ),
    "labels where values are expected": (
        "tsv",
        NUMBERS,
        None,
        "Toy: 20 classes in 40 cases; are the labels where",
    ),
}

#: Files that are refused: ending, TRAIN, TEST (None: as TRAIN), the message.
REFUSED = {
    ".ts case behind @data": ("ts", ts(" 1,2,3:1\n4,5,6:2\n"), None, r"line 6: '1,2,3:1' behind @data"),
    ".ts label missing": (
        "ts",
        ts("\n1,2,3:4,5,6\n7,8,9:1,2,3\n", univariate="false", dimensions="2"),
        None,
        r"line 8: class label '4,5,6' is not declared in the header; allowed: 1, 2",
    ),
    ".ts label missing and none declared": (
        "ts",
        "@data\n1,2,3:4,5,6\n",
        None,
        r"line 2: class label '4,5,6' is a list of values",
    ),
    ".ts TEST without labels": (
        "ts",
        ts(CASE_LINES),
        ts("\n1,2,3:?\n"),
        r"Toy_TEST\.ts, line 7: class label '\?' means",
    ),
    ".ts label not declared": (
        "ts",
        ts("\n1,2:a\n2,3:c\n", "a b"),
        None,
        r"line 8: class label 'c' is not declared .*: a, b",
    ),
    ".ts irregular stamps": (
        "ts",
        ts("\n(0,1),(1,2),(3,3):1\n", timeStamps="true"),
        None,
        r"line 7: time steps from 1 to 2; allowed: regular steps",
    ),
    ".ts stamps that are none": (
        "ts",
        ts("\n1,2,3:1\n", timeStamps="true"),
        None,
        r"line 7: '1,2,3'; allowed .* pairs",
    ),
    "label NaN": ("tsv", "NaN\t5\t6\n1\t6\t7\n", None, r"line 1: class label 'NaN' means that there is none"),
    "UTF-16": (
        "tsv",
        "1\t2\n".encode("utf-16"),
        None,
        r"Toy_TRAIN\.tsv: text in UTF-16; allowed: UTF-8 or Latin-1",
    ),
    "a long cell": (
        "tsv",
        f"1\t{'1:' * 9000}\n",
        None,
        r"line 1: value 1 is '(1:){28}1\.\.\.', not a finite number$",
    ),
    "a damaged .gz": (
        "tsv.gz",
        gzip.compress(b"1\t2\n" * 99)[:-9],
        None,
        r"Toy_TRAIN\.tsv\.gz: a damaged gzip file",
    ),
    "date among the values": (
        "arff",
        arff("\n2020-01-01,2,1\n", values=1).replace(
            "att1 numeric", "att1 date yyyy-MM-dd\n@attribute att2 numeric"
        ),
        None,
        r"attribute 'att1' is date; allowed: numeric attributes",
    ),
    "class ? in TEST": (
        "arff",
        arff(ROWS),
        arff("\n1,2,3,?\n4,5,6,2\n"),
        r"Toy_TEST\.arff, line 7: class label '\?' means",
    ),
    "channels of other lengths": (
        "arff",
        bag("'1,2,3\\n4,5',1\n"),
        None,
        r"line 9: channels of 2, 3 values in one case",
    ),
    "no @data": (
        "arff",
        arff("").replace("@data", "1.5,2,3,1"),
        None,
        r"line 6: '1\.5,2,3,1'; allowed in front of @data",
    ),
    "an empty file": ("arff", "", None, r"Toy_TRAIN\.arff: no line @data"),
    "case behind @data": ("arff", arff(" 1.5,2,3,1\n4,5,6,2\n"), None, r"line 6: '1\.5,2,3,1' behind @data"),
    "fewer values": (
        "arff",
        arff("\n1.5,2,1\n"),
        None,
        r"line 7: 3 fields, but the header declares 4 attributes",
    ),
    "more values": (
        "arff",
        arff("\n1.5,2,3,4,1\n"),
        None,
        r"line 7: 5 fields, but the header declares 4 attributes",
    ),
    "more values that could be labels": ("arff", arff("\n1,2,3,1,2\n4,5,6,2,1\n"), None, r"line 7: 5 fields"),
    "nominal value": (
        "arff",
        arff("\n1,a,1\n", values=1).replace("att1 numeric", "att1 numeric\n@attribute att2 {a,b}"),
        None,
        r"attribute 'att2' is nominal; allowed: numeric attributes",
    ),
    "relational value without quotes": (
        "arff",
        bag("1.5,2,3\\n10,20,30,1\n"),
        None,
        r"line 9: 6 fields, .* 2 attributes",
    ),
    "more relational values": (
        "arff",
        bag("'1,2,9\\n3,4,9',1\n", values=2),
        None,
        r"line 8: 3 values in a channel, .* declares 2",
    ),
    "not declared": (
        "arff",
        arff("\n1,2,3,7\n"),
        None,
        r"line 7: class label '7' is not declared in the header; allowed: 1, 2",
    ),
    "infinite value": ("tsv", "1\tinf\t2\n2\t3\t4\n", None, r"line 1: value 1 is 'inf', not a finite number"),
}


def load(folder: Path, name: str = "Toy") -> LabelledSeries:
    (folder / "hashes.txt").write_text("")
    source = DownloadSettings(name=name, sources=("folder",), folder=str(folder))
    return get_dataset(source, WheelStore(folder / "hashes.txt", folder / "wheels"))[0]


def write(folder: Path, suffix: str, train: str | bytes, test: str | bytes | None = None) -> None:
    (folder / "Toy").mkdir()
    for split, content in (("TRAIN", train), ("TEST", train if test is None else test)):
        path = folder / "Toy" / f"Toy_{split}{suffix and '.'}{suffix}"
        path.write_bytes(content if isinstance(content, bytes) else content.encode())


@pytest.mark.parametrize(("suffix", "content", "expected", "warning"), READ.values(), ids=READ)
def test_read(suffix, content, expected, warning, tmp_path, caplog):
    write(tmp_path, suffix, content)
    with caplog.at_level(logging.WARNING):
        series = load(tmp_path)
    assert re.search(warning, caplog.text) if warning else not caplog.records, caplog.text
    if expected is not None:
        values, labels = expected
        half = series.n_train
        assert series.labels.tolist() == labels * 2
        for one, length, other in zip(series.values[:half], series.lengths[:half], values, strict=True):
            np.testing.assert_array_equal(one[:, :length], np.array(other)[:, :length])


@pytest.mark.parametrize(("suffix", "train", "test", "message"), REFUSED.values(), ids=REFUSED)
def test_refused(suffix, train, test, message, tmp_path):
    write(tmp_path, suffix, train, test)
    with pytest.raises(InputError) as error:
        load(tmp_path)
    assert re.search(message, str(error.value)), str(error.value)
    assert "\n" not in str(error.value)
    assert len(str(error.value)) < 600


def test_missing_values_at_the_end_are_filled_where_the_header_says_equal_lengths(tmp_path):
    data = "\n1,2,3,4,?,?:1\n1,2,3,4,5,6:2\n6,5,4,3,2,1:1\n"
    write(tmp_path, "ts", ts(data, missing="true"))
    series = load(tmp_path)
    clean, report = clean_series(series, "Toy", CleaningSettings())
    assert clean.values[0, 0].tolist() == [1, 2, 3, 4, 4, 4]
    assert report.resampled == 0
    # The digest does not depend on it: a table cannot say it.
    (tmp_path / "other").mkdir()
    write(tmp_path / "other", "tsv", "1\t1\t2\t3\t4\t?\t?\n2\t1\t2\t3\t4\t5\t6\n1\t6\t5\t4\t3\t2\t1\n")
    other = load(tmp_path / "other")
    assert other.digest() == series.digest()
    assert clean_series(other, "Toy", CleaningSettings())[0].values[0, 0].tolist() == [
        1,
        1.6,
        2.2,
        2.8,
        3.4,
        4,
    ]


@settings(deadline=None, max_examples=60)
@given(st.data())
def test_a_row_with_another_number_of_fields_is_refused(data):
    """In both formats, whatever the row's values are."""
    width, wrong = data.draw(st.integers(1, 5)), data.draw(st.integers(1, 8))
    values = data.draw(st.lists(st.sampled_from("12"), min_size=wrong, max_size=wrong))
    right = ",".join("1" * width)
    for name, text in (
        ("x.arff", arff(f"\n{right},1\n{','.join([*values, '2'])}\n", values=width)),
        ("x.ts", ts(f"\n{right}:1\n{','.join(values)}:2\n")),
        (
            "x.arff",
            bag(f"'{right}\\n{right}',1\n'{','.join(values)}\\n{','.join(values)}',2\n", values=width),
        ),
    ):
        if wrong == width or ("relational" in text and wrong < width):
            part = read_part(text.encode(), name)
            assert [case.shape[1] for case in part.series] == [width, wrong]
        else:
            with pytest.raises(InputError, match=rf"^x\.\w+, line {len(text.splitlines())}: "):
                read_part(text.encode(), name)


@settings(deadline=None, max_examples=60)
@given(
    st.lists(
        st.text(st.characters(codec="utf-8", categories=["L", "N", "P", "S", "Zs"]), min_size=1, max_size=6),
        min_size=2,
    ),
)
def test_labels_survive_quotes(labels):
    labels = [label for label in map(str.strip, labels) if label and not label.isascii()]
    table = "".join('"' + label.replace('"', '""') + '"\t1\t2\n' for label in labels)
    quoted = ["'" + re.sub(r"(['\\])", r"\\\1", label) + "'" for label in labels]
    nominal = arff("".join(f"\n1,2,{label}" for label in quoted), f"c {{{','.join(quoted)}}}", 2)
    for name, text in (("x.tsv", table), ("x.arff", nominal)):
        if labels:
            assert read_part(text.encode(), name).labels == labels


LINES = "1\t0\t1\n2\t1\t2\n1\t2\t3\n2\t3\t4\n"
#: Files in the configured folder, which are read as the dataset Toy.
FOUND = {
    "upper-case ending": ["Toy/Toy_TRAIN.TSV", "Toy/Toy_TEST.TSV"],
    "lower-case parts": ["Toy/Toy_train.tsv", "Toy/Toy_test.tsv"],
    "folder in lower case": ["toy/Toy_TRAIN.tsv", "toy/Toy_TEST.tsv"],
    "other case": ["Toy/TOY_TRAIN.tsv", "Toy/TOY_TEST.tsv"],
    "compressed": ["Toy/Toy_TRAIN.tsv.gz", "Toy/Toy_TEST.tsv.gz"],
    "without ending": ["Toy/Toy_TRAIN", "Toy/Toy_TEST"],
    "commas": ["Toy/Toy_TRAIN.csv", "Toy/Toy_TEST.csv"],
    "flat, or the dataset's own folder": ["Toy_TRAIN.tsv", "Toy_TEST.tsv"],
}
#: Files that are not, and what the message says of them.
LACKING = {
    "TEST missing": (["Toy/Toy_TRAIN.ts"], r"both with one ending out of \.tsv.*; found: Toy/Toy_TRAIN\.ts;"),
    "two endings": (
        ["Toy/Toy_TRAIN.ts", "Toy/Toy_TEST.arff"],
        r"found: Toy/Toy_TEST\.arff, Toy/Toy_TRAIN\.ts",
    ),
    "deeper": (
        ["a/Toy/Toy_TRAIN.ts", "a/Toy/Toy_TEST.ts"],
        r"a/Toy/Toy_TRAIN\.ts lies deeper \(folder=.*/a\)",
    ),
    "another dataset": (["Tay/Tay_TRAIN.ts", "Tay/Tay_TEST.ts"], r"did you mean 'Tay'\?.*it contains Tay;"),
    "nothing": ([], r"it contains nothing;"),
}


def fill(folder: Path, files: list[str]) -> str:
    folder.mkdir()
    for file in files:
        (folder / file).parent.mkdir(parents=True, exist_ok=True)
        content = LINES.encode()
        (folder / file).write_bytes(gzip.compress(content) if file.endswith(".gz") else content)
    return str(folder)


def configured(folder: str, dataset: str = "Toy", **options: object):
    return load_configuration_files([], ROOT, {"datasets": [dataset], "folder": folder, **options})


@pytest.mark.parametrize("files", FOUND.values(), ids=FOUND)
def test_files_that_are_found(files, tmp_path):
    folder = fill(tmp_path / "data", files)
    own = configured(folder).own_files("Toy")
    assert [str(path.relative_to(folder)) for path in own] == files
    assert load(tmp_path / "data").values.shape == (8, 1, 2)


@pytest.mark.parametrize(("files", "message"), LACKING.values(), ids=LACKING)
def test_files_that_are_not_found(files, message, tmp_path):
    folder = fill(tmp_path / "data", files)
    with pytest.raises(InputError, match=message) as error:
        configured(folder)
    assert "\n" not in str(error.value)


def test_a_folder_that_is_none(tmp_path):
    with pytest.raises(InputError, match=r"the folder .*/absent does not exist"):
        configured(str(tmp_path / "absent"))
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match=r"the folder .*/file is a file \(data=PATH reads a single file\)"):
        configured(str(tmp_path / "file"))
    folder = fill(tmp_path / "data", ["Toy/Toy_TRAIN.tsv"])
    (tmp_path / "data/Toy/Toy_TEST.tsv").symlink_to("nowhere")
    with pytest.raises(InputError, match=r"Toy/Toy_TEST\.tsv \(a broken link\), Toy/Toy_TRAIN\.tsv"):
        configured(folder)


def test_braces_in_a_path(tmp_path):
    folder = fill(tmp_path / "{data}", ["Toy/Toy_TRAIN.tsv", "Toy/Toy_TEST.tsv"])
    with pytest.raises(InputError, match="braces are wildcards in Snakemake"):
        configured(folder)


def test_a_folder_never_yields_silently_to_another_source(tmp_path):
    """GunPoint has a row in the table, with a package that holds it."""
    folder = fill(tmp_path / "data", ["GunPoint/GunPoint_TRAIN.tsv", "Other/Other_TRAIN.tsv"])
    with pytest.raises(
        InputError, match=r"dataset GunPoint: looked for .*found: GunPoint/GunPoint_TRAIN\.tsv"
    ):
        configured(folder, "GunPoint")
    assert configured(folder, "ItalyPowerDemand").download_settings("ItalyPowerDemand").folder == ""
    with pytest.raises(InputError, match=r"download\.sources allows only folder"):
        configured(folder, "ItalyPowerDemand", download={"sources": ["folder"]})
