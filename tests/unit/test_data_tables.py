"""Data of users: layouts, guesses and their corrections, what is refused, splits."""

from __future__ import annotations

import gzip
import json
import re
from decimal import Decimal
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from vlmtsc.configuration import load_configuration_files
from vlmtsc.data.cleaning import clean_series
from vlmtsc.data.download import WheelStore, get_dataset
from vlmtsc.data.own import describe_own, own_series, read_own
from vlmtsc.data.series import LabelledSeries
from vlmtsc.data.splits import split_cases
from vlmtsc.errors import InputError
from vlmtsc.settings import CleaningSettings, ColumnOptions, SplitSettings

ROOT = Path(__file__).parents[2]
nan = np.nan
WIDE = "id,label,t0,t1,t2\na,up,1,2,3\nb,down,3,,1\nc,up,1.5,2,\n"
WIDE_CASES = ([[[1, 2, 3]], [[3, nan, 1]], [[1.5, 2]]], ["up", "down", "up"])
LONG = "id,time,x,y,label\na,0,1,10,up\nb,2,6,60,down\na,1,2,20,up\nb,0,4,40,down\nb,1,5,50,down\n"
LONG_CASES = ([[[1, 2], [10, 20]], [[4, 5, 6], [40, 50, 60]]], ["up", "down"])


def read(path: Path, group: str | None = None, **columns: object):
    return read_own(path, ColumnOptions(**columns), group)


def same(cases, expected) -> None:
    series, labels = expected
    assert cases.labels == labels
    assert len(cases.series) == len(series)
    for one, other in zip(cases.series, series, strict=True):
        np.testing.assert_array_equal(one, np.array(other, dtype=float))
        assert one.dtype == np.float64


def write(path: Path, content: str | bytes) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


THREE = ([[[1, 2, 3]], [[3, 2, 1]]], ["u", "v"])
THREE_YN = (THREE[0] + THREE[0][:1], ["y", "n", "y"])
#: Text of tables: name of the file, content, columns that are named, cases.
TEXT = {
    "wide": ("a.csv", WIDE, {}, WIDE_CASES),
    "tabs": ("a.tsv", WIDE.replace(",", "\t"), {}, WIDE_CASES),
    "semicolons and decimal commas": ("a.csv", WIDE.replace(",", ";").replace(".", ","), {}, WIDE_CASES),
    "with a mark": ("a.csv", b"\xef\xbb\xbf" + WIDE.encode(), {}, WIDE_CASES),
    "compressed": ("a.csv.gz", gzip.compress(WIDE.encode()), {}, WIDE_CASES),
    "NA words": ("a.csv", WIDE.replace(",,", ",N/A,"), {}, WIDE_CASES),
    "NA words and decimal commas": (
        "a.csv",
        WIDE.replace(",,", ",na,").replace(",", ";").replace("1.5", "1,5"),
        {},
        WIDE_CASES,
    ),
    "cp1252": (
        "a.csv",
        WIDE.replace("up", "\u20ac").encode("cp1252"),
        {},
        (WIDE_CASES[0], ["\u20ac", "down", "\u20ac"]),
    ),
    "quoted text": (
        "a.csv",
        WIDE.replace("up", '"up, then"'),
        {},
        (WIDE_CASES[0], ["up, then", "down", "up, then"]),
    ),
    "labels as written": (
        "a.csv",
        "label,t0,t1\n007,1,2\nNone,3,4\n",
        {},
        ([[[1, 2]], [[3, 4]]], ["007", "None"]),
    ),
    "other names": ("a.csv", WIDE.replace("id,label", "name,kind of"), {"label": "kind of"}, WIDE_CASES),
    "label by content": ("a.csv", WIDE.replace("label", "movement"), {}, WIDE_CASES),
    "without a header, label first": (
        "a.csv",
        "1,.1,.2\n2,.3,.4\n1,.5,.6\n",
        {},
        ([[[0.1, 0.2]], [[0.3, 0.4]], [[0.5, 0.6]]], ["1", "2", "1"]),
    ),
    "without a header, label last": (
        "a.csv",
        ".1,.2,u\n.3,.4,v\n.5,.6,u\n",
        {},
        ([[[0.1, 0.2]], [[0.3, 0.4]], [[0.5, 0.6]]], ["u", "v", "u"]),
    ),
    "an index of pandas": (
        "a.csv",
        ",label,0,1,2\n0,u,5,6,7\n1,v,7,8,9\n",
        {},
        ([[[5, 6, 7]], [[7, 8, 9]]], ["u", "v"]),
    ),
    "columns out of order": (
        "a.csv",
        "t10,t9,t2,label\n3,2,1,u\n6,5,4,v\n",
        {},
        ([[[1, 2, 3]], [[4, 5, 6]]], ["u", "v"]),
    ),
    "channels in a row": (
        "a.csv",
        "x_0,x_1,y_0,y_1,label\n1,2,3,4,u\n5,6,7,8,v\n",
        {},
        ([[[1, 2], [3, 4]], [[5, 6], [7, 8]]], ["u", "v"]),
    ),
    "other numbers": (
        "a.csv",
        "label,age,t0,t1,t2\nu,50,1,2,3\nv,60,3,2,1\n",
        {},
        ([[[1, 2, 3]], [[3, 2, 1]]], ["u", "v"]),
    ),
    "other numbers beside numbers as names": (
        "a.csv",
        "label,age,0,1,2,3,4,5\nu,50,1,2,3,4,5,6\nv,60,3,2,1,0,0,0\n",
        {},
        ([[[1, 2, 3, 4, 5, 6]], [[3, 2, 1, 0, 0, 0]]], ["u", "v"]),
    ),
    "values named": (
        "a.csv",
        "label,age,t0,t1,t2\nu,50,1,2,3\nv,60,3,2,1\n",
        {"values": ["t2", "t0"]},
        ([[[3, 1]], [[1, 3]]], ["u", "v"]),
    ),
    "long": ("a.csv", LONG, {}, LONG_CASES),
    "long of several names": (
        "a.csv",
        "subject,event,timepoint,signal\na,u,0,1\na,u,1,2\na,v,0,3\na,v,1,4\n",
        {"id": ["subject", "event"], "label": "event"},
        ([[[1, 2]], [[3, 4]]], ["u", "v"]),
    ),
    "names that are mostly numbers": (
        "a.csv",
        "who,time,v,kind of\n1,0,1,u\n1,1,2,u\n2a,0,3,v\n2a,1,4,v\n3,0,5,v\n",
        {"id": ["who"], "label": "kind of"},
        ([[[1, 2]], [[3, 4]], [[5]]], ["u", "v", "v"]),
    ),
    "long with a trait": (
        "a.csv",
        LONG.replace("id,", "room,id,").replace("\na", "\n1,a").replace("\nb", "\n2,b"),
        {},
        LONG_CASES,
    ),
    "long with missing values": (
        "a.csv",
        LONG.replace("2,20", ",").replace("4,40", ","),
        {},
        ([[[1], [10]], [[nan, 5, 6], [nan, 50, 60]]], ["up", "down"]),
    ),
    "long without time": (
        "a.csv",
        LONG.replace("time", "z"),
        {"values": ["x", "y"]},
        ([[[1, 2], [10, 20]], [[6, 4, 5], [60, 40, 50]]], ["up", "down"]),
    ),
    "a row for each value": (
        "a.csv",
        "case_id,dim_id,reading_id,value,label\n0,x,0,1,u\n0,y,0,10,u\n0,x,1,2,u\n0,y,1,20,u\n1,x,0,4,v\n1,y,0,40,v\n1,x,1,5,v\n",
        {},
        ([[[1, 2], [10, 20]], [[4, 5], [40, nan]]], ["u", "v"]),
    ),
    "dates": (
        "a.csv",
        "id,date,v,label\na,2020-01-02,2,u\na,2020-01-01,1,u\nb,2020-01-01 00:00,3,v\nb,2020-01-02 00:00,4,v\n",
        {},
        ([[[1, 2]], [[3, 4]]], ["u", "v"]),
    ),
    "irregular steps": (
        "a.csv",
        "id,t,v,label\na,0,0,u\na,1,1,u\na,2,2,u\na,4,4,u\nb,0,3,v\nb,1,4,v\n",
        {},
        ([[[0, 1, 2, 3, 4]], [[3, 4]]], ["u", "v"]),
    ),
    "a header of wavelengths": ("a.csv", "label,400,402,404\nu,1,2,3\nv,3,2,1\n", {}, THREE),
    "a header of seconds": ("a.csv", "0.0,0.1,0.2,class\n1,2,3,u\n3,2,1,v\n", {}, THREE),
    "a class that names a column": ("a.csv", "y,1,2,3\nn,3,2,1\ny,1,2,3\n", {}, THREE_YN),
    "a header of times of day": ("a.csv", "label,00:00,00:15,00:30\nu,1,2,3\nv,3,2,1\n", {}, THREE),
    "a header of dates": ("a.csv", "label,2020-01-31,2020-02-01,2020-02-02\nu,1,2,3\nv,3,2,1\n", {}, THREE),
    "stems and numbers with points": (
        "a.csv",
        "label,t_401.0,t_400.0,t_399.5\nu,3,2,1\nv,1,2,3\n",
        {},
        THREE,
    ),
    "channels and numbers with points": (
        "a.csv",
        "label,x1.0,x1.1,x1.2,x2.0,x2.1,x2.2\nu,1,2,3,4,5,6\nv,3,2,1,6,5,4\n",
        {},
        ([[[1, 2, 3], [4, 5, 6]], [[3, 2, 1], [6, 5, 4]]], ["u", "v"]),
    ),
    "a header with decimal commas": (
        "a.csv",
        "label;0,5;1,0;1,5\nu;1;2;3\nv;3,0;2;1\n",
        {},
        THREE,
    ),
    "equal steps beside an unknown name": (
        "a.csv",
        "species,400,402,404,406,408,410\nu,1,2,3,4,5,6\nv,3,2,1,0,0,0\nu,1,2,3,4,5,6\n",
        {},
        ([[[1, 2, 3, 4, 5, 6]], [[3, 2, 1, 0, 0, 0]], [[1, 2, 3, 4, 5, 6]]], ["u", "v", "u"]),
    ),
    "a class y and values in order": (
        "a.csv",
        "y,1,2,4\nn,3,2,1\nn,5,1,1\n",
        {},
        ([[[1, 2, 4]], [[3, 2, 1]], [[5, 1, 1]]], ["y", "n", "n"]),
    ),
    "a class y and a value": ("a.csv", "y,1\nn,2\nn,3\n", {}, ([[[1]], [[2]], [[3]]], ["y", "n", "n"])),
    "a class that is a known word": (
        "a.csv",
        "person,1,2,3,4.5\ncar,4,3,2,1\ncar,1,1,1,1\n",
        {},
        ([[[1, 2, 3, 4.5]], [[4, 3, 2, 1]], [[1, 1, 1, 1]]], ["person", "car", "car"]),
    ),
    "channels and tenths": (
        "a.csv",
        ",".join(["label", *(f"ch{number / 10:.1f}" for number in range(10, 40))])
        + "".join(f"\n{label}," + ",".join(map(str, range(30))) for label in "uv"),
        {},
        ([np.arange(30).reshape(3, 10)] * 2, ["u", "v"]),
    ),
    "tenths of seconds": (
        "a.csv",
        ",".join(["label", *(f"t{number / 10:.1f}" for number in range(10, 30))])
        + "".join(f"\n{label}," + ",".join(map(str, range(20))) for label in "uv"),
        {},
        ([np.arange(20).reshape(1, 20)] * 2, ["u", "v"]),
    ),
    "halves": ("a.csv", "label,t0.0,t0.5,t1.0,t1.5\nu,1,2,3,4\n", {}, ([[[1, 2, 3, 4]]], ["u"])),
    "channels of equal names": (
        "a.csv",
        ",".join(["label", *["x1,x2"] * 10]) + "\nu" + ",1,2" * 10 + "\nv" + ",3,4" * 10 + "\n",
        {},
        ([[[1] * 10, [2] * 10], [[3] * 10, [4] * 10]], ["u", "v"]),
    ),
    "numbers of two parts": (
        "a.csv",
        ",".join(["label", *(f"v1.{n}" for n in range(5, 15))]) + "\nu,0,1,2,3,4,5,6,7,8,9\n",
        {},
        ([[range(10)]], ["u"]),
    ),
    "numbers of two parts, sorted as text": (
        "a.csv",
        "label,acc.1.1,acc.1.10,acc.1.11,acc.1.2\nu,1,3,4,2\n",
        {},
        ([[[1, 2, 3, 4]]], ["u"]),
    ),
    "channels that look like years": (
        "a.csv",
        "label,ch1001-00,ch1001-01,ch1002-00,ch1002-01\nu,1,2,3,4\n",
        {},
        ([[[1, 2], [3, 4]]], ["u"]),
    ),
    "text with another ending": ("a.dat", WIDE.replace(",", "\t"), {}, WIDE_CASES),
    "negative numbers as names": ("a.csv", "label,-2,-1,0\nu,1,2,3\nv,3,2,1\n", {}, THREE),
    "equal names": ("a.csv", "label,value,value,value\nu,1,2,3\nv,3,2,1\n", {}, THREE),
    "identifiers among names": (
        "a.csv",
        "patient_id,age,Mon,Tue,Wed,group\n7,50,1,2,3,u\n8,60,3,2,1,v\n9,60,1,2,3,u\n",
        {},
        (THREE[0] + THREE[0][:1], ["u", "v", "u"]),
    ),
    "a text of groups is no label": (
        "a.csv",
        "who,subject,a,b,c\nu,s,1,2,3\nv,s,3,2,1\nu,t,1,2,3\n",
        {},
        (THREE[0] + THREE[0][:1], ["u", "v", "u"]),
    ),
    "long with values y": (
        "a.csv",
        "id,t,y,label\na,0,1.5,u\na,1,2,u\nb,0,3,v\n",
        {},
        ([[[1.5, 2]], [[3]]], ["u", "v"]),
    ),
    "long with values sample": (
        "a.csv",
        "id;t;sample;label\na;0;1,5;u\na;1;2;u\nb;0;3;v\n",
        {},
        ([[[1.5, 2]], [[3]]], ["u", "v"]),
    ),
    "values named y": (
        "a.csv",
        "id,t,y,kind of\na,0,1,u\na,1,2,u\nb,0,3,v\n",
        {"values": ["y"], "label": "kind of"},
        ([[[1, 2]], [[3]]], ["u", "v"]),
    ),
    "long with dates of digits": (
        "a.csv",
        "id,date,v,label\na,20200229,1,u\na,20200301,2,u\na,20200228,0,u\nb,20200101,3,v\n",
        {},
        ([[[0, 1, 2]], [[3]]], ["u", "v"]),
    ),
    "nanoseconds": (
        "a.csv",
        "id,time,v,label\n" + "".join(f"a,{1577836800000000001 + n * 7},{n},u\n" for n in (0, 1, 2)),
        {},
        ([[[0, 1, 2]]], ["u"]),
    ),
    "dates at a high rate": (
        "a.csv",
        "id,time,v,label\n" + "".join(f"a,2020-01-01T00:00:00.{n:09d},{n},u\n" for n in (0, 100, 200, 300)),
        {},
        ([[[0, 100, 200, 300]]], ["u"]),
    ),
    "of Excel": (
        "a.csv",
        "sep=;\nlabel;a;b;c\nu;1;2;3\nv;3E+00;2,0E+00;1\n;;;\n;;;\n",
        {},
        THREE,
    ),
}

#: Tables that are refused, and the choice that the message names.
REFUSED = {
    "no label": (
        "x,y,z\n1,2,3\n4,5,6\n",
        {},
        r"no column is the label; allowed: columns=\{label: COLUMN\} with one of x, y, z",
    ),
    "two labels": (
        "label,class,t0\nu,a,1\nv,b,2\n",
        {},
        r"'label' and 'class' may be the label; allowed: columns=\{label: label\}",
    ),
    "a text of names": (
        "filename,t0,t1,activity\na,1,2,0\nb,1,2,1\n",
        {},
        r"no column is the label; .* one of filename, t0, t1, activity",
    ),
    "names that repeat in a wide table": (
        "id,t0,t1,t2,label\n7,1,2,3,u\n7,1,2,3,u\n",
        {},
        r"id '7' is in several rows, but t0, t1, t2 look like .* columns=\{layout: wide\}",
    ),
    "two texts": ("a,b,t0\nu,x,1\nv,y,2\nu,y,2\nv,x,2\n", {}, r"'a' or 'b' may be the label"),
    "label first or last": ("1,.5,1\n2,.5,1\n1,.5,2\n2,.5,2\n", {}, r"'1' or '3' may be the label"),
    "unknown column": (WIDE, {"label": "lable"}, r"label: unknown column 'lable'; did you mean 'label'\?"),
    "text named as values": (
        WIDE,
        {"values": ["t0", "id"]},
        r"values: the column 'id' is of text; allowed: columns of numbers",
    ),
    "time without series": (
        "time,v,label\n0,1,u\n1,2,u\n",
        {},
        r"'time' is of times, .* columns=\{id: COLUMN\}",
    ),
    "labels that change": (
        LONG.replace("20,up", "20,down"),
        {},
        r"series a: 'label' is 'up' and 'down'; allowed: one",
    ),
    "a time twice": (LONG.replace("a,1,", "a,0,"), {}, r"series a: time 0 is there twice"),
    "no time": (LONG.replace("a,1,", "a,,"), {}, r"row 3 of the table: no value of 'time'"),
    "days or months": (
        "id,date,v,label\na,01/02/2020,1,u\na,03/02/2020,2,u\n",
        {},
        r"'01/02/2020' may be day or month first",
    ),
    "a fault": (WIDE.replace("1.5", "x"), {}, r"a\.csv, row 4, column 3: 'x'; allowed: a finite number"),
    "infinite": (WIDE.replace("1.5", "inf"), {}, r"series c: an infinite value"),
    "too many cells": (WIDE.replace("3,,1", "3,,1,9"), {}, r"a\.csv, row 3: 6 cells, but the header has 5"),
    "two signs": ("label;t0;t1\nu;1,5;2.5\n", {}, r"decimal points and decimal commas; allowed: one"),
    "nothing": ("", {}, r"no series; allowed: one or more"),
    "header alone": ("id,label,t0\n", {}, r"no series; allowed: one or more"),
    "no value": (WIDE.replace("1.5,2,", ",,"), {}, r"series c: 1 channels of 0 timepoints"),
    "no label in a row": (WIDE.replace("down", ""), {}, r"series b: empty class label"),
    "a word for no label": (
        WIDE.replace("down", "NA"),
        {},
        r"series b: class label 'NA' means that there is none",
    ),
    "another set": (
        WIDE.replace("id", "split").replace("b,down", "later,down"),
        {"split": "split"},
        r"row 1 of the table: split: unknown value 'a'",
    ),
    "a set that is misspelled": (
        "set,label,t0\ntrain,u,1\ntets,v,2\ntest,u,3\n",
        {},
        r"row 2 of the table: set: unknown value 'tets'; did you mean 'test'",
    ),
    "a set that is missing": ("split,label,t0\ntrain,u,1\n,v,2\ntest,u,3\n", {}, r"split: unknown value ''"),
}


@pytest.mark.parametrize(("name", "text", "columns", "expected"), TEXT.values(), ids=TEXT)
def test_text(name, text, columns, expected, tmp_path):
    same(read(write(tmp_path / name, text), **columns), expected)


@pytest.mark.parametrize(("text", "columns", "message"), REFUSED.values(), ids=REFUSED)
def test_refused(text, columns, message, tmp_path):
    with pytest.raises(InputError, match=message) as error:
        own_series(read(write(tmp_path / "a.csv", text), **columns))
    assert "\n" not in str(error.value)


def test_numbers_are_read_exactly(tmp_path):
    values = np.random.default_rng(0).normal(size=(20, 50)) * 1e3
    rows = [",".join(["u" if case % 2 else "v", *map(repr, row.tolist())]) for case, row in enumerate(values)]
    head = ",".join(["label", *(f"t{number}" for number in range(50))])
    cases = read(write(tmp_path / "a.csv", "\n".join([head, *rows])))
    np.testing.assert_array_equal(np.stack(cases.series)[:, 0], values)


@settings(deadline=None, max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_one_content_in_every_layout(data, tmp_path):
    """Wide and long, with any separator, as parquet and as array: the same cases."""
    n, length = data.draw(st.integers(2, 5)), data.draw(st.integers(2, 4))
    values = np.array(
        data.draw(st.lists(st.floats(-1e6, 1e6), min_size=n * length, max_size=n * length))
    ).reshape(n, length)
    labels = [f"class {case % 2}" for case in range(n)]
    expected = (values[:, np.newaxis], labels)
    wide = pd.DataFrame(values, columns=[f"t{number}" for number in range(length)]).assign(
        label=labels, id=[f"s{case}" for case in range(n)]
    )
    long = wide.melt(["id", "label"], var_name="time").assign(
        time=lambda table: table["time"].str[1:].astype(int)
    )
    long = long.sample(frac=1, random_state=data.draw(st.integers(0, 99)))
    separator = data.draw(st.sampled_from(",;\t"))
    for frame in (wide, long):
        frame.to_csv(
            tmp_path / "a.csv",
            sep=separator,
            index=data.draw(st.booleans()),
            decimal="," if separator == ";" else ".",
        )
        frame.to_parquet(tmp_path / "a.parquet")
        frame.reset_index(drop=True).to_feather(tmp_path / "a.feather")
        for name in ("a.csv", "a.parquet", "a.feather"):
            cases = read(tmp_path / name)
            order = np.argsort(cases.ids)  # of the first rows in a long table
            assert [cases.ids[index] for index in order] == wide["id"].tolist()
            same_cases = ([cases.series[index] for index in order], [cases.labels[index] for index in order])
            np.testing.assert_array_equal(np.stack(same_cases[0]), expected[0])
            assert same_cases[1] == labels
    np.savez(tmp_path / "a.npz", X=values, y=labels)
    same(read(tmp_path / "a.npz"), expected)


def test_arrays(tmp_path):
    x = np.arange(24.0).reshape(2, 3, 4)
    x[1, :, 3] = nan
    np.savez(tmp_path / "a.npz", X=x, y=[1, 2])
    same(read(tmp_path / "a.npz"), ([x[0], x[1][:, :3]], ["1", "2"]))
    np.save(tmp_path / "X_all.npy", x.transpose(0, 2, 1))
    with pytest.raises(InputError, match=r"labels y are none; allowed: an array y of as many, in y_all\.npy"):
        read(tmp_path / "X_all.npy")
    np.save(tmp_path / "y_all.npy", np.array(["u", "v"]))
    same(read(tmp_path / "X_all.npy"), ([x[0], x[1][:, :3]], ["u", "v"]))
    same(read(tmp_path / "X_all.npy", axes="channels_first"), ([x[0].T, x[1].T], ["u", "v"]))
    np.savez(tmp_path / "b.npz", X_train=x, y_train=[1, 2], X_test=x[:1], y_test=[2])
    assert own_series(read(tmp_path / "b.npz")).n_train == 2
    np.savez(tmp_path / "b.npz", X=x, y=[1, 2], X_test=x, y_test=[1, 2])
    with pytest.raises(InputError, match=r"b\.npz: arrays X, .*; allowed: X and y, or X_train"):
        read(tmp_path / "b.npz")
    np.savez(tmp_path / "b.npz", X=x, y=np.array([b"a", "\u20ac".encode()]))
    assert read(tmp_path / "b.npz").labels == ["a", "\u20ac"]
    np.savez(tmp_path / "c.npz", X=x[:, :, :3], y=[1, 2])
    with pytest.raises(InputError, match=r"shape \(2, 3, 3\); allowed: columns=\{axes: channels_first\}"):
        read(tmp_path / "c.npz")
    np.savez(tmp_path / "d.npz", X=np.array([[1], [1, 2]], dtype=object), y=[1, 2])
    with pytest.raises(InputError, match=r"d\.npz: not arrays that can be read"):
        read(tmp_path / "d.npz")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("time,v\n", "1.csv: a header alone; allowed: one or more rows"),
        (
            "time,v\n0,1\n1,\n2,x\n3,y\n",
            "1.csv, row 3 of the table, column 'v': 'x'; allowed: a finite number",
        ),
    ],
)
def test_faults_in_a_folder_of_classes_are_named(text, message, tmp_path):
    write(tmp_path / "up/0.csv", "time,v\n0,1\n1,2\n")
    write(tmp_path / "up/1.csv", text)
    with pytest.raises(InputError, match=message):
        read(tmp_path)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("tets/u/1.csv", "unknown set 'tets'; did you mean 'test'"),
        ("test/1.csv", "no folder of a class in it"),
    ],
)
def test_a_folder_of_sets_has_no_other_folders(name, message, tmp_path):
    for file in ("train/u/0.csv", "test/v/0.csv", name):
        write(tmp_path / file, "1\n2\n")
    with pytest.raises(InputError, match=f"{name}: .*{message}"):
        read(tmp_path)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("a.ts", "@equalLength true\n@classLabel false\n@data\n1,2:3,4\n5,6:7,8\n"),
        ("a.ts", "@classLabel true u v\n@data\n1,2:3,4:?\n5,6:7,8:w\n"),
        (
            "a.arff",
            "@relation a\n@attribute x relational\n@attribute p numeric\n@attribute q numeric\n@end x\n"
            "@attribute c {u,v}\n@data\n'1,2\\n3,4',?\n'5,6\\n7,8',?\n",
        ),
    ],
)
def test_new_series_in_the_formats_of_the_archive_need_no_label(name, text, tmp_path):
    path = write(tmp_path / name, text)
    new = read_own(path, ColumnOptions(), labelled=False)
    np.testing.assert_array_equal(new.series, [[[1, 2], [3, 4]], [[5, 6], [7, 8]]])
    with pytest.raises(InputError, match="class label"):
        read(path)


def test_columns_of_objects_are_numbers_if_their_cells_are(tmp_path):
    table = pd.DataFrame({"label": ["u", "v"], "t0": [1.0, 3], "t1": ["2", " 2.0"], "note": [None, None]})
    table["t2"] = [Decimal("3"), Decimal("1.0")]
    table.to_parquet(tmp_path / "a.parquet")
    same(read(tmp_path / "a.parquet"), THREE)
    pd.DataFrame({"label": [*"uvu"], "t0": ["1", "x", "2"]}).to_parquet(tmp_path / "a.parquet")
    with pytest.raises(InputError, match=r"row 2 of the table, column 't0': 'x'; allowed: a finite number"):
        read(tmp_path / "a.parquet")


@pytest.mark.parametrize(
    ("columns", "given", "label"),
    [
        ({"activity": ["1", "2", "1"]}, {}, "121"),
        ({"activity": ["1", "2", "2", "walk"]}, {}, ["1", "2", "2", "walk"]),
        ({"t2": ["1", "2", "1"], "activity": [*"uvu"]}, {}, "uvu"),
        ({"price": [Decimal(1)] * 3, "activity": [*"uvu"]}, {}, "uvu"),
        ({"filename": ["000", "001", "002", "003b"], "activity": [*"uvuv"]}, {"label": "activity"}, "uvuv"),
    ],
)
def test_the_label_is_found_before_text_is_read_as_numbers(columns, given, label, tmp_path):
    series = np.arange(2 * len(label)).reshape(-1, 2)
    pd.DataFrame(series, columns=["t0", "t1"]).assign(**columns).to_parquet(tmp_path / "a.parquet")
    cases = read(tmp_path / "a.parquet", **given)
    assert cases.labels == [*label]
    assert [case[0, :2].tolist() for case in cases.series] == series.tolist()
    assert {len(case[0]) for case in cases.series} == {3 if {"t2", "price"} & {*columns} else 2}


def test_faults_in_text_named_as_values_are_refused(tmp_path):
    table = pd.DataFrame({"a": [1.5, 2, 3], "b": ["1", "2", "x"], "label": [*"uvu"]})
    table.to_parquet(tmp_path / "a.parquet")
    assert [case.tolist() for case in read(tmp_path / "a.parquet").series] == [[[1.5]], [[2]], [[3]]]
    with pytest.raises(InputError, match="row 3 of the table, column 'b': 'x'"):
        read(tmp_path / "a.parquet", values=["a", "b"])


@pytest.mark.parametrize("name", ["a.jsonl", "a.xlsx", "a.jsonl.gz"])
def test_other_endings_are_refused(name, tmp_path):
    with pytest.raises(InputError, match=r"a file \.(jsonl|xlsx); allowed: \.csv, .*\.npy"):
        read(write(tmp_path / name, WIDE))


@pytest.mark.parametrize(
    ("files", "table"),
    [
        ("s1.rec1.csv s1.rec2.csv", "file,label\ns1.rec2.csv,v\ns1.rec1.csv,u\n"),
        ("s1.rec1.csv s1.rec2.csv", "file,label\ns1.rec2,v\ns1.rec1,u\n"),
        ("001.csv 002.csv.gz", "file,label\n002,v\n001,u\n"),
        ("r0.csv r1.csv", ",file,label\n0,data/r1.csv,v\n1,data/r0.csv,u\n"),
        ("in/r0.csv in/r1.csv", "file,label\nr1.csv,v\nr0.csv,u\n"),
        ("r0.csv r1.csv", "file,label\nr1.wav,v\nr0.wav,u\n"),
        ("s.0.csv s.1.csv", "file,label\nwav/s.1.wav,v\nwav/s.0.wav,u\n"),
        ("r0.csv r1.csv", "file,label\nr1.csv,v\nr0.csv,u\nr0.csv,u\nr2.csv,u\nr2.csv,v\n"),
    ],
)
def test_names_of_files_in_a_table_of_labels(files, table, tmp_path):
    for value, name in enumerate(files.split()):
        text = f"t,y\n0,{value}\n1,5\n".encode()
        write(tmp_path / name, gzip.compress(text) if name.endswith(".gz") else text)
    write(tmp_path / "labels.csv", table)
    same(read(tmp_path), ([[[0, 5]], [[1, 5]]], ["u", "v"]))
    write(tmp_path / "labels.csv", table + table.splitlines()[1].replace(",v", ",w") + "\n")
    with pytest.raises(InputError, match=r"labels\.csv: .* is 'v' and 'w'; allowed: one label a file"):
        read(tmp_path)


@pytest.mark.parametrize("label", [None, nan])
def test_no_label_is_no_class(label, tmp_path):
    table = pd.DataFrame({"label": ["u", label, "v"], "t0": [1.0, 2, 3], "t1": [1.0, 2, 3]})
    table.to_parquet(tmp_path / "a.parquet")
    with pytest.raises(InputError, match="series 2: empty class label"):
        own_series(read(tmp_path / "a.parquet"))


def test_a_folder_of_one_file_a_case(tmp_path):
    for label in ("up", "down"):
        for case in range(2):
            write(tmp_path / f"by_folder/{label}/{case}.csv", f"time,x,y\n1,2,20\n0,{case},10\n,,\n,,\n")
            write(tmp_path / f"by_table/{label}{case}.csv", f"{case},10\n2,20\n")
    write(tmp_path / "by_folder/up/._0.csv", b"\0\1")  # of macOS
    write(
        tmp_path / "by_table/labels.csv",
        "file,label\nup0.csv,up\nup1.csv,up\ndown0.csv,down\ndown1.csv,down\n",
    )
    expected = ([[[0, 2], [10, 20]], [[1, 2], [10, 20]]] * 2, ["down", "down", "up", "up"])
    cases = read(tmp_path / "by_folder")
    same(cases, expected)
    assert "8 empty rows at the ends of files left out" in cases.understood
    same(read(tmp_path / "by_table"), expected)
    write(tmp_path / "by_folder/up/3.csv", "x,z\n1,2\n")
    with pytest.raises(InputError, match=r"3\.csv: the columns x, z, but 0\.csv has x, y"):
        read(tmp_path / "by_folder")
    (tmp_path / "by_table/labels.csv").unlink()
    with pytest.raises(
        InputError, match=r"no labels; allowed: a subfolder for each class, or a table labels\.csv"
    ):
        read(tmp_path / "by_table")
    assert len(read_own(tmp_path / "by_table", ColumnOptions(), labelled=False).series) == 4


@pytest.mark.parametrize(
    ("columns", "given", "expected"),
    [
        ("time,x,label", {}, [[5, 6]]),
        ("time,label,class", {}, [[5, 6], [7, 8]]),
        ("id,x,split", {}, [[5, 6]]),
        ("time,x,y", {}, [[5, 6], [7, 8]]),
        ("time,z,y", {}, [[5, 6]]),
        ("time,z,y", {"values": ["y"]}, [[7, 8]]),
        ("time,y,label", {"values": ["x"]}, "values: unknown column 'x'"),
    ],
)
def test_labels_and_names_in_the_files_of_cases_are_no_channels(columns, given, expected, tmp_path):
    names = columns.split(",")
    for label in "ab":
        write(tmp_path / label / "0.csv", f"{columns}\n0,5,7\n1,6,8\n")
    if isinstance(expected, str):
        with pytest.raises(InputError, match=expected):
            read(tmp_path, **given)
        return
    cases = read(tmp_path, **given)
    same(cases, ([expected] * 2, ["a", "b"]))
    used = names[0] == "time" and len(expected) == 2
    assert any(note.startswith("left out: ") for note in cases.understood) != used


HOURS = [f"{hour}:00" for hour in (7, 8, 9, 10, 11, 12)]
DAYS = [f"2020-{month}-{day}" for month, day in ((1, 9), (1, 10), (1, 8), (1, 11))]


@pytest.mark.parametrize(
    ("times", "irregular", "expected"),
    [
        (HOURS, "refuse", [0, 1, 2, 3, 4, 5]),  # as text 10:00 is before 7:00
        (DAYS, "refuse", [2, 0, 1, 3]),
        ([0, 1, 3, 4], "interpolate", [0, 1, 1.5, 2, 3]),
        ([0, 1, 3, 4], "ignore", [0, 1, 2, 3]),
        ([0, 1, 9, 10], "refuse", "time steps from 1 to 8, irregular=refuse"),
        (["1/8/2020", "1/9/2020"], "ignore", "'1/8/2020' may be day or month first"),
        (["2020-01-13", "1/8/2020"], "ignore", "'1/8/2020' may be day or month first"),
        ([1, 2, 1], "ignore", "time 1 is there twice"),
        ([1, "", 2], "ignore", "row 2 of the table: no value of 'time'"),
        ([1, "inf", 2], "ignore", "'time': not times"),
        (["early", "late"], "ignore", "'time': not times"),
    ],
)
def test_times_in_a_folder_mean_what_they_mean_in_a_long_table(times, irregular, expected, tmp_path):
    rows = [f"{time},{value}" for value, time in enumerate(times)]
    paths = [tmp_path / "long.csv", tmp_path / "folder"]
    write(paths[0], "id,time,x,label\n" + "".join(f"a,{row},u\n" for row in rows))
    write(paths[1] / "u/a.csv", "\n".join(["time,x", *rows]))
    for path, place in zip(paths, (r"long\.csv", r"folder/u/a\.csv"), strict=True):
        if isinstance(expected, str):
            with pytest.raises(InputError, match=f"{place}.*{re.escape(expected)}"):
                read_own(path, ColumnOptions(), irregular=irregular)
            continue
        cases = read_own(path, ColumnOptions(), irregular=irregular)
        np.testing.assert_allclose(cases.series[0], [expected])
        assert ("rows sorted by time" in cases.understood) == (times == DAYS)
        interpolated = "1 series with irregular time steps, interpolated to regular ones"
        assert (interpolated in cases.understood) == (irregular == "interpolate")


def test_the_time_of_a_folder_is_the_named_column_or_the_only_one(tmp_path):
    write(tmp_path / "u/a.csv", "date,step,x\n1,2,5\n2,1,6\n")
    assert read(tmp_path, time="step").series[0].tolist() == [[6, 5]]
    assert read(tmp_path, time="date").series[0].tolist() == [[5, 6]]
    with pytest.raises(
        InputError, match=r"a\.csv: 'date' and 'step' may be the time; allowed: columns=\{time"
    ):
        read(tmp_path)
    with pytest.raises(InputError, match=r"a\.csv: time: unknown column 'steps'; did you mean 'step'"):
        read(tmp_path, time="steps")
    write(tmp_path / "u/a.csv", "time\n1\n2\n4\n")
    with pytest.raises(InputError, match=r"a\.csv: 0 channels"):
        read(tmp_path)


def test_datasets_saved_by_hugging_face(tmp_path):
    """The files that `datasets` 4 writes: a stream of Arrow, its features, and a dictionary of sets."""
    features = {"series": {"_type": "List"}, "label": {"names": ["down", "up"], "_type": "ClassLabel"}}
    for name, labels in (("train", [1, 0]), ("test", [1])):
        place = tmp_path / "saved" / name
        place.mkdir(parents=True)
        table = pa.table({"series": [[1.0, 2.0, float(label)] for label in labels], "label": labels})
        with (
            pa.OSFile(str(place / "data-00000-of-00001.arrow"), "wb") as file,
            pa.ipc.new_stream(file, table.schema) as stream,
        ):
            stream.write_table(table)
        (place / "state.json").write_text(
            json.dumps({"_data_files": [{"filename": "data-00000-of-00001.arrow"}]})
        )
        (place / "dataset_info.json").write_text(json.dumps({"features": features}))
    (tmp_path / "saved/dataset_dict.json").write_text(json.dumps({"splits": ["train", "test"]}))
    cases = read(tmp_path / "saved")
    same(cases, ([[[1, 2, 1]], [[1, 2, 0]], [[1, 2, 1]]], ["up", "down", "up"]))
    assert own_series(cases).n_train == 2
    same(read(tmp_path / "saved/test"), ([[[1, 2, 1]]], ["up"]))


def test_what_was_understood_is_said(tmp_path):
    cases = read(
        write(
            tmp_path / "a.csv",
            "id,label,subject,age,t0,t1,t2\na,up,s,5,1,2,3\nb,down,s,6,3,,1\nc,up,t,7,1,2,\n",
        )
    )
    assert describe_own(cases, own_series(cases)) == [
        "wide table separated by commas, with a header: label 'label', id 'id', 3 columns of values (t0, t1, t2)",
        "left out: subject, age (columns={values: [...]} names the columns of values)",
        "'subject' may be in two sets (group=subject keeps each in one)",
        "3 cases, 1 channels, 2 to 3 timepoints, 1 missing values",
        "2 classes: down (1), up (2)",
        "no split given: 60/20/20 at random, stratified by class",
    ]


def test_irregular_times_by_policy(tmp_path):
    path = write(tmp_path / "a.csv", "id,t,v,label\na,0,0,u\na,1,1,u\na,2,2,u\na,4,4,u\n")
    assert read_own(path, ColumnOptions(), irregular="ignore").series[0].tolist() == [[0, 1, 2, 4]]
    with pytest.raises(InputError, match="time steps from 1 to 2, irregular=refuse"):
        read_own(path, ColumnOptions(), irregular="refuse")
    # Missing values at the end of all channels end the series, at the end of one they are missing.
    write(path, "id,t,x,y,label\na,0,0,0,u\na,2,2,2,u\na,3,,3,u\na,4,,,u\n")
    assert read(path, values=["x", "y"]).series[0].tolist() == [
        [0, 1, 2, pytest.approx(nan, nan_ok=True)],
        [0, 1, 2, 3],
    ]
    write(path, "id,t,v,label\na,0,0,u\na,1,1,u\na,2,2,u\na,1000,4,u\n")
    with pytest.raises(InputError, match="time steps from 1 to 998; allowed: steps that differ less"):
        read(path)


#: New series: rows as they come from pandas, Excel and others; their values, and their names.
UNLABELLED = {
    "plain": ("1,2,3\n-4.5,1e3,0\n", [[1, 2, 3], [-4.5, 1000, 0]], ["1", "2"]),
    "header": ("t1,t2,t3\n1,2,3\n-4.5,1e3,0\n", [[1, 2, 3], [-4.5, 1000, 0]], ["1", "2"]),
    "numbers as header": ("0,1,2\n5,6,7\n", [[5, 6, 7]], ["1"]),
    "index and numbers as header": (",0,1,2\n0,5,6,7\n1,7,8,9\n", [[5, 6, 7], [7, 8, 9]], ["0", "1"]),
    "with a label": ("id,label,t0,t1\na,up,1,2\nb,down,3,4\n", [[1, 2], [3, 4]], ["a", "b"]),
    "semicolons": ("0,1;0,2\n0,3;0,4\n", [[0.1, 0.2], [0.3, 0.4]], ["1", "2"]),
    "uneven numbers as header": ("id,400,401.5,404\na,1,2,4\n", [[1, 2, 4]], ["a"]),
    "one row of semicolons": ("1;2;3\n", [[1, 2, 3]], ["1"]),
    "tabs": ("1\t2\n3\t4\n", [[1, 2], [3, 4]], ["1", "2"]),
    "one row that counts": ("0,1,2,3,4,5,6\n", [[0, 1, 2, 3, 4, 5, 6]], ["1"]),
    "one column": ("1\n2\n", [[1], [2]], ["1", "2"]),
    "missing values, shorter rows": (
        "1,2,3,4\n5,,6,\n,7,8,9\n",
        [[1, 2, 3, 4], [5, nan, 6], [nan, 7, 8, 9]],
        ["1", "2", "3"],
    ),
    "rows of other lengths": ("1,2\n3,4,5\n6\n", [[1, 2], [3, 4, 5], [6]], ["1", "2", "3"]),
}


@pytest.mark.parametrize(("text", "expected", "ids"), UNLABELLED.values(), ids=UNLABELLED)
def test_new_series(text, expected, ids, tmp_path):
    cases = read_own(write(tmp_path / "a.csv", text), ColumnOptions(), labelled=False)
    assert cases.ids == ids
    same(cases, ([[row] for row in expected], []))


def test_new_series_are_read_as_the_training_table_was(tmp_path):
    def series(training: str, new: str) -> list[list[float]]:
        columns = read(write(tmp_path / "a.csv", training)).columns
        return [
            case[0].tolist()
            for case in read_own(write(tmp_path / "b.csv", new), columns, labelled=False).series
        ]

    assert series(WIDE, "t0,t1,t2\n7,8,9\n") == [[7, 8, 9]]
    assert series("0.1,0.2,u\n0.3,0.4,v\n0,0,v\n", "0.5,0.6\n") == [[0.5, 0.6]]
    assert series(LONG.replace("10,", "20,"), "id,time,x,y\na,0,1,5\na,1,1,5\n") == [[1, 1]]
    # Of the numbers of columns without a header, the first would be taken for the label.
    assert series("u,0.1,0.2\nv,0.3,0.4\nv,0,0\n", "u,0.5,0.6\n") == [[0.5, 0.6]]
    with pytest.raises(InputError, match=r"b\.csv: values: unknown column '3'"):
        series("u,0.1,0.2\nv,0.3,0.4\nv,0,0\n", "0.5,0.6\n")


def test_a_long_line_of_another_separator_is_no_traceback(tmp_path):
    """Python's csv module has a limit of 131,072 characters in a cell."""
    path = write(tmp_path / "a.csv", ";".join(["1.5"] * 40_000) + "\n")
    assert read_own(path, ColumnOptions(), labelled=False).series[0].shape == (1, 40_000)
    with pytest.raises(InputError, match=r"a\.csv: not a table that can be read") as error:
        read(write(path, 'label,t0\n"' + "u," * 70_000 + "\n"))
    assert len(str(error.value)) < 500


def sets_of(labels: list[str], groups: list[str] | None = None, **options: object) -> dict[str, np.ndarray]:
    index = np.unique(labels, return_inverse=True)[1]
    return split_cases(
        index, len(labels), SplitSettings(own=True, **options), groups=np.array(groups or [], dtype=str)
    )


def test_the_split_of_ones_own_data_is_stratified():
    labels = ["a"] * 50 + ["b"] * 10
    sets = sets_of(labels)
    counts = {
        name: [sum(labels[case] == label for case in cases) for label in "ab"] for name, cases in sets.items()
    }
    assert counts == {"train": [30, 6], "validation": [10, 2], "test": [10, 2]}
    assert sorted(np.concatenate(list(sets.values())).tolist()) == list(range(60))
    # A single case of a class is in the train set, and the others are stratified as before.
    typo = sets_of([*labels, "typo"])
    assert 60 in typo["train"]
    assert [sum(labels[case] == "b" for case in typo[name]) for name in ("validation", "test")] == [2, 2]
    many = sets_of([*map(str, range(40)), *"uuuuuvvvvv"])
    assert [len(cases) for cases in many.values()] == [30, 10, 10]


@settings(deadline=None, max_examples=50)
@given(st.lists(st.tuples(st.sampled_from("abcdefgh"), st.sampled_from("uv")), min_size=12, max_size=60))
@example(
    [("a", "u")] * 6 + [("a", "v")] * 4 + [("b", "u"), ("c", "v")]
)  # one case of each class remains for two sets
def test_no_group_is_in_two_sets(cases):
    groups, labels = [group for group, _ in cases], [label for _, label in cases]
    if len({*groups}) < 3 or min(labels.count("u"), labels.count("v")) < 5:
        return
    sets = sets_of(labels, groups)
    assert sorted(np.concatenate(list(sets.values())).tolist()) == list(range(len(cases)))
    seen = [{groups[case] for case in part} for part in sets.values()]
    assert all(seen)
    assert sum(map(len, seen)) == len({*groups})


def test_splits_of_other_seeds_have_other_groups_of_the_wanted_share():
    generator, differing, largest = np.random.default_rng(0), 0, 0
    for _ in range(20):
        sizes = generator.integers(5, 60, 20)
        groups = np.repeat(np.arange(20), sizes).astype(str).tolist()
        labels = np.repeat(generator.permutation(20) % 2, sizes).astype(str).tolist()
        tests = [
            sets_of(labels, groups, protocol=name)["test"] for name in ("pooled", "pooled_2", "pooled_3")
        ]
        differing += len({tuple(test.tolist()) for test in tests}) == 3
        for test in tests:
            assert 0.15 < len(test) / sizes.sum() < 0.25
            assert 0.25 < np.mean([labels[case] == "0" for case in test]) < 0.75
            largest += str(sizes.argmax()) in {groups[case] for case in test}
    assert differing >= 19
    assert largest < 30  # of 60, of which a fifth is expected


def test_a_given_split_without_test_cases_is_refused(tmp_path):
    x, y = np.arange(20.0).reshape(10, 2), np.arange(10) % 2
    np.savez(tmp_path / "a.npz", X_train=x[:7], y_train=y[:7], X_val=x[7:], y_val=y[7:])
    with pytest.raises(InputError, match=r"a\.npz: no test cases in the given split"):
        read(tmp_path / "a.npz")
    np.savez(tmp_path / "a.npz", X_train=x, y_train=y)
    write(tmp_path / "folder/train/u/0.csv", "1\n2\n")
    for path in (tmp_path / "a.npz", tmp_path / "folder"):
        cases = read(path)
        assert not cases.sets
        assert "one set alone, which is no split" in cases.understood


def test_a_given_split_is_used(tmp_path):
    rows = [
        f"s{case},{'uv'[case % 2]},{part},{case % 4},{case},1\n"
        for case, part in enumerate(["test", "train", "dev", "Train"] * 4)
    ]
    path = write(tmp_path / "a.csv", "id,label,split,who,t0,t1\n" + "".join(rows))
    series = own_series(read(path, values=["t0", "t1"]))
    assert series.values[:, 0, 0].tolist() == [1, 3, 5, 7, 9, 11, 13, 15, 2, 6, 10, 14, 0, 4, 8, 12]
    clean, _ = clean_series(series, "a", CleaningSettings())
    assert (clean.n_train, clean.n_validation) == (12, 4)
    for protocol in ("pooled", "official"):
        sets = split_cases(clean.label_index, 12, SplitSettings(own=True, protocol=protocol), n_validation=4)
        assert [len(cases) for cases in sets.values()] == [8, 4, 4]
        assert sets["test"].tolist() == [12, 13, 14, 15]
    grouped = own_series(
        read(write(path, path.read_text().replace("s1,v,train,1", "s1,v,train,0")), group="who")
    )
    with pytest.raises(InputError, match="the group '0' is in two of the given sets"):
        split_cases(clean.label_index, 12, SplitSettings(own=True), n_validation=4, groups=grouped.groups)


def test_the_configuration_names_the_dataset_after_the_file(tmp_path):
    def configured(**options: object):
        return load_configuration_files([], ROOT, options)

    path = write(tmp_path / "my walks.csv", WIDE)
    configuration = configured(data=str(path), columns={"label": "label"}, group="id")
    assert configuration.datasets == ("my_walks",)
    assert configuration.own_files("my_walks") == [path]
    settings_ = configuration.download_settings("my_walks")
    assert settings_.sources == (f"file:{path}",)
    sourced = configured(data=str(path), download={"sources": ["wheel", "archive"]})
    assert sourced.download_settings("my_walks").sources == (f"file:{path}",)
    assert settings_.columns.label == "label"
    assert configuration.split_settings("pooled", "my_walks").own
    series, record = get_dataset(settings_, WheelStore(path, tmp_path))
    assert record["ids"] == ["a", "b", "c"]
    assert series.groups.tolist() == ["a", "b", "c"]
    series.save(tmp_path / "archive.npz")
    assert LabelledSeries.load(tmp_path / "archive.npz").groups.tolist() == ["a", "b", "c"]
    # Identifiers are in the order of the stored cases: the test cases of a given split come last.
    path.write_text("id,label,split,t0,t1\na,a,test,1,2\nb,b,train,1,2\nc,c,train,1,2\n")
    series, record = get_dataset(
        configured(data=str(path)).download_settings("my_walks"), WheelStore(path, tmp_path)
    )
    assert (record["ids"], series.labels.tolist()) == (["b", "c", "a"], ["b", "c", "a"])
    # The same in a folder, by name; a row of the table names a path.
    write(tmp_path / "Walks.csv", WIDE)
    assert configured(folder=str(tmp_path), datasets=["Walks"]).own_files("Walks") == [tmp_path / "Walks.csv"]
    write(tmp_path / "Upper.CSV", WIDE)
    assert configured(folder=str(tmp_path), datasets=["Upper"]).own_files("Upper") == [tmp_path / "Upper.CSV"]
    row = write(tmp_path / "datasets.tsv", f"name\tsources\nMine\tfile:{tmp_path}/Walks.csv\n")
    mine = configured(datasets=["Mine"], tables={"datasets": str(row)})
    assert mine.own_table("Mine") == tmp_path / "Walks.csv"
    with pytest.raises(InputError, match=r"data: .*absent\.csv: no such file"):
        configured(data=str(tmp_path / "absent.csv"))
    named_like_another = configured(data=str(write(tmp_path / "GunPoint.csv", WIDE)))
    assert named_like_another.datasets == ("GunPoint_own",)
    assert not named_like_another.download_settings("GunPoint_own").digest
    write(tmp_path / "Walks.parquet", b"")
    with pytest.raises(
        InputError, match=r"dataset Walks: .*Walks\.csv and .*Walks\.parquet; allowed: one of them"
    ):
        configured(folder=str(tmp_path), datasets=["Walks"])
    assert re.search("GunPoint", str(configuration.dataset_table.keys()))
