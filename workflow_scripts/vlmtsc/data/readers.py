"""Readers of data files: text or bytes in, series and labels out. InputError names file and line of a fault.

aeon's readers are not used: they lower-case class labels (.ts), and their numbers come from pandas (.tsv), which is off
by one unit in the last place for a third of the numbers with 17 digits. Two sources of one dataset would not agree, and
no error would name a line.
"""

from __future__ import annotations

import csv
import io
import re
import zipfile
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np
from scipy.io import arff

from vlmtsc.errors import InputError

Part = tuple[list[np.ndarray], list[str]]  # series of shape (n_channels, n_timepoints), and their labels
Row = tuple[
    str, str, list[list[str]], bool
]  # place, label, fields by channel, whether cases have the same length
_ARFF_ERRORS = (arff.ArffError, NotImplementedError, ValueError, IndexError, StopIteration, TypeError)
_MISSING = {"", "?", "nan"}
#: Further spellings of a missing value that are common in CSV files.
_MISSING_CSV = _MISSING | {"na", "<na>", "n/a", "#n/a", "#na", "null", "none", "-nan"}


def decode(content: bytes) -> str:
    """Return the text of a file: UTF-8 (with or without a mark), otherwise Latin-1, as some old archive files are."""
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError:
        return content.decode("latin-1")


def _lines(text: str) -> Iterator[tuple[int, str]]:
    """Yield the lines that are not blank with their number, as editors count them.

    `str.splitlines` also breaks at characters that a label may contain, such as U+0085.
    """
    for number, line in enumerate(re.split("\r\n|\r|\n", text), start=1):
        if line.strip():
            yield number, line


def _number(field: str, missing: set[str] = _MISSING) -> float:
    """Return the number of a field, NaN if it is missing; ValueError if it is not a number."""
    text = field.strip()
    return float("nan") if text.lower() in missing else float(text.replace("_", "?"))  # float() accepts 1_000


def _numbers(fields: Sequence[str], place: str) -> np.ndarray:
    """Return the finite numbers of one channel; an error names the place and the field."""
    try:
        values = np.array(list(map(float, fields)))  # also reads NaN; three times as fast as one by one
        if not np.isinf(values).any() and not any("_" in field for field in fields):
            return values
    except ValueError:
        pass  # a missing value that float() does not read, or a fault
    values = np.empty(len(fields))
    for position, field in enumerate(fields):
        try:
            values[position] = _number(field)
        except ValueError:
            values[position] = np.inf
        if np.isinf(values[position]):
            raise InputError(f"{place}: value {position + 1} is {field.strip()!r}, not a finite number")
    return values


def _collect(rows: Iterable[Row]) -> Part:
    """Parse the values of rows and check that cases fit each other."""
    series: list[np.ndarray] = []
    labels: list[str] = []
    for place, label, channels, equal in rows:
        if not label.strip():
            raise InputError(f"{place}: empty class label")
        parsed = [_numbers(fields, place) for fields in channels]
        lengths = sorted({channel.size for channel in parsed})
        if len(lengths) > 1:
            raise InputError(f"{place}: channels of {', '.join(map(str, lengths))} values in one case")
        series.append(np.stack(parsed))
        labels.append(label.strip())
        for found, first, what in zip(series[-1].shape, series[0].shape, ("channels", "values"), strict=True):
            if found != first and (equal or what == "channels"):
                raise InputError(f"{place}: {found} {what}, the cases above have {first}")
    return series, labels


def read_table(text: str, name: str) -> Part:
    """Read a UCR table (.tsv, .txt): one univariate case a line, its label first.

    Separated by tabs, commas or blanks. Empty, ``NaN`` and ``?`` are missing.
    """

    def rows() -> Iterator[Row]:
        for number, line in _lines(text):
            fields = line.split("\t") if "\t" in line else line.split(",") if "," in line else line.split()
            place = f"{name}, line {number}"
            if len(fields) < 2:
                raise InputError(f"{place}: {len(fields)} field, needed are a label and at least one value")
            yield place, fields[0], [fields[1:]], True

    return _checked(*_collect(rows()), name)


def read_ts(text: str, name: str) -> Part:
    """Read the archive's .ts format: channels separated by colons, the label last, no time stamps."""
    header: dict[str, str] = {}

    def rows() -> Iterator[Row]:
        for number, line in _lines(text):
            line = line.strip()
            if "@data" in header and not line.startswith("#"):
                *channels, label = line.split(":")
                if not channels or not label.strip():
                    raise InputError(f"{name}, line {number}: no class label at the end")
                equal = header.get("@equallength") == "true"
                yield f"{name}, line {number}", label, [channel.split(",") for channel in channels], equal
            elif not line.startswith("#"):
                key, *value = line.lower().split()
                header[key] = " ".join(value)
                if key == "@data":
                    check_header()

    def check_header() -> None:
        if header.get("@timestamps") == "true":
            raise InputError(f"{name}: @timeStamps true; allowed are files without time stamps")
        if header.get("@targetlabel", "")[:4] == "true" or header.get("@classlabel", "")[:5] == "false":
            raise InputError(
                f"{name}: no class labels (@classLabel false or @targetLabel true); needed are class labels"
            )

    series, labels = _collect(rows())
    if "@data" not in header:
        raise InputError(f"{name}: no line @data")
    return _checked(series, labels, name)


def read_arff(text: str, name: str) -> Part:
    """Read a WEKA .arff file, one channel as plain attributes or several as a relational one."""
    try:
        data, meta = arff.loadarff(io.StringIO(text))
    except _ARFF_ERRORS as error:
        row = _first_unreadable_row(text)
        place = name if row is None else f"{name}, line {row}"
        raise InputError(
            f"{place}: not an .arff file that can be read ({error or type(error).__name__})"
        ) from error
    *columns, label = meta.names()
    if not columns or len(data) == 0:
        raise InputError(f"{name}: {len(data)} cases with {len(columns)} values")
    labels = [value.decode() if isinstance(value, bytes) else str(value) for value in data[label].tolist()]
    relational = len(columns) == 1 and meta.types()[0] == "relational"
    try:
        if relational:
            cases = [[list(row) for row in case.tolist()] for case in data[columns[0]]]
        else:
            cases = [[list(row)] for row in data[columns].tolist()]
        series = [np.array(case, dtype=float) for case in cases]
    except (ValueError, TypeError) as error:
        raise InputError(f"{name}: a value is not a number ({error})") from error
    return _checked(series, labels, name)


def _first_unreadable_row(text: str) -> int | None:
    """Return the number of the first row of an .arff file that cannot be read alone; None if the fault is elsewhere."""
    lines = list(_lines(text))
    header = next((n for n, (_, line) in enumerate(lines, 1) if line.strip().lower() == "@data"), len(lines))
    head = [line for _, line in lines[:header]]
    for number, line in lines[header:]:
        if not line.startswith("%"):
            try:
                arff.loadarff(io.StringIO("\n".join([*head, line])))
            except NotImplementedError:  # of the header
                return None
            except _ARFF_ERRORS:
                return number
    return None


def read_npz(content: bytes, name: str) -> tuple[Part, Part]:
    """Read tslearn's .npz: ``X_*`` of shape (n_cases, n_timepoints, n_channels) and ``y_*``, of train and test."""
    keys = ("X_train", "y_train", "X_test", "y_test")
    try:
        with np.load(io.BytesIO(content), allow_pickle=False) as file:
            x_train, y_train, x_test, y_test = (file[key] for key in keys)
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        raise InputError(f"{name}: not an .npz file with {', '.join(keys)} ({error})") from error
    return _part_of_arrays(x_train, y_train, name), _part_of_arrays(x_test, y_test, name)


def _part_of_arrays(values: np.ndarray, labels: np.ndarray, name: str) -> Part:
    values = np.asarray(values, dtype=np.float64)
    if values.ndim != 3:
        raise InputError(
            f"{name}: array of shape {values.shape}, needed is (n_cases, n_timepoints, n_channels)"
        )
    return _checked(list(values.transpose(0, 2, 1)), [str(label) for label in labels.tolist()], name)


def read_keel(text: str, name: str, train_size: int, channels: int) -> tuple[Part, Part]:
    """Read a table of TRAIN rows followed by TEST rows: comma-separated values, the label last.

    Lines that start with ``@`` are a header; `channels` alternate in a row (x, y, x, y, ... is 2).
    """

    def rows() -> Iterator[Row]:
        for number, line in _lines(text):
            if line.startswith("@"):
                continue
            *values, label = line.split(",")
            place = f"{name}, line {number}"
            if len(values) == 0 or len(values) % channels or not label.strip():
                raise InputError(
                    f"{place}: {len(values)} values and {label!r}, needed are a label and {channels} channels"
                )
            yield place, label, [values[channel::channels] for channel in range(channels)], True

    series, labels = _collect(rows())
    if len(series) <= train_size:
        raise InputError(f"{name}: {len(series)} rows, needed are more than the {train_size} of TRAIN")
    return (series[:train_size], labels[:train_size]), (series[train_size:], labels[train_size:])


def _checked(series: list[np.ndarray], labels: list[str], name: str) -> Part:
    if not series:
        raise InputError(f"{name}: no cases")
    return series, labels


TEXT_READERS: dict[str, Callable[[str, str], Part]] = {
    ".tsv": read_table,
    ".txt": read_table,
    ".ts": read_ts,
    ".arff": read_arff,
}


def read_part(content: bytes, name: str) -> Part:
    """Read one part of a dataset in the format of the file's suffix."""
    suffix = name[name.rfind(".") :].lower()
    if suffix not in TEXT_READERS:
        raise InputError(f"{name}: format {suffix!r}; allowed are {', '.join(TEXT_READERS)}")
    text = decode(content)
    if "\0" in text:
        raise InputError(f"{name}: holds zero bytes; allowed: text in UTF-8 or Latin-1")
    return TEXT_READERS[suffix](text, name)


def read_unlabelled(path: Path, n_channels: int) -> tuple[list[str], list[np.ndarray]]:
    """Read series without labels from a CSV file or a folder of CSV files.

    Parameters
    ----------
    path : Path
        A CSV file contains univariate series, one per row. A folder contains one series per file (``*.csv``), one
        timepoint per row and one channel per column. A first row of names is allowed. Empty cells are missing; empty
        cells at the end of a row are not part of the series.
    n_channels : int
        Channels that the model was trained on.

    Returns
    -------
    ids : list of str
        Row numbers (from 1, header not counted), or file names without ending.
    series : list of ndarray of float64, shape (n_channels, n_timepoints)
        NaN is missing.
    """
    if path.is_dir():
        files = sorted(path.glob("*.csv"))
        if not files:
            raise InputError(f"{path}: no *.csv file; allowed: a folder with one CSV file a series")
        series = [_read_csv(file).T for file in files]
        ids, places = [file.stem for file in files], [str(file) for file in files]
    else:
        if n_channels != 1:
            raise InputError(
                f"{path}: a file holds univariate series, but the model was trained on {n_channels} channels; "
                "allowed: a folder with one CSV file a series, one column a channel"
            )
        table = _read_csv(path)
        used = [np.flatnonzero(~np.isnan(row)) for row in table]
        series = [
            row[np.newaxis, : max(present, default=-1) + 1] for row, present in zip(table, used, strict=True)
        ]
        ids = [str(number) for number in range(1, len(table) + 1)]
        places = [f"{path}, series {number}" for number in ids]
    for place, case in zip(places, series, strict=True):
        if case.shape[0] != n_channels or case.shape[1] == 0:
            raise InputError(
                f"{place}: {case.shape[0]} channels of {case.shape[1]} timepoints; allowed: {n_channels} "
                "channels of one or more timepoints"
            )
    return ids, series


def _read_csv(path: Path) -> np.ndarray:
    """Read a CSV file of numbers, shape (rows, columns); a first row without any number is a header."""
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            rows = [row for row in csv.reader(file) if any(row) or len(row) > 1]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"{path}: not a readable CSV file ({error})") from error
    numbers = np.full((len(rows), max(map(len, rows), default=0)), np.nan)
    faults = []
    header = 0
    for index, row in enumerate(rows):
        for column, cell in enumerate(row):
            try:
                numbers[index, column] = _number(cell, _MISSING_CSV)
            except ValueError:
                faults.append((index, column))
        if index == 0 and faults and np.isnan(numbers[0]).all():
            header, faults = 1, []
    for index, column in [*faults, *np.argwhere(np.isinf(numbers))][:1]:
        raise InputError(
            f"{path}, row {index + 1}, column {column + 1}: {rows[index][column]!r}; "
            "allowed: a finite number, or nothing for a missing value"
        )
    if len(rows) == header:
        raise InputError(f"{path}: no series; allowed: one or more rows of numbers")
    return numbers[header:]
