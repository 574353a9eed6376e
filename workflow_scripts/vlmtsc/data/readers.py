"""Readers of the archive's file formats: text in, series and labels out.

aeon's readers are not used: they lower-case class labels (.ts), and their numbers come from pandas (.tsv),
which is off by one unit in the last place for a third of the numbers with 17 digits. Two sources of one
dataset would not give the same arrays, and no error would name a line.
"""

from __future__ import annotations

import io
import re
import zipfile
import zlib
from collections.abc import Callable, Sequence

import numpy as np
from scipy.io import arff

from vlmtsc.errors import InputError

Part = tuple[list[np.ndarray], list[str]]  # series of shape (n_channels, n_timepoints), and their labels
_ARFF_ERRORS = (arff.ArffError, NotImplementedError, ValueError, IndexError, StopIteration, TypeError)
_MISSING = {"", "?", "nan"}


def decode(content: bytes) -> str:
    """Text of a file: UTF-8 (with or without a mark), otherwise Latin-1, as some old archive files are."""
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError:
        return content.decode("latin-1")


def lines_of(text: str) -> list[str]:
    """Lines as editors count them. `str.splitlines` also breaks at signs that a label may hold, such as U+0085."""
    return re.split("\r\n|\r|\n", text)


def _number(field: str) -> float:
    text = field.strip()
    if text.lower() in _MISSING:
        return float("nan")
    if "_" in text:  # float() takes 1_000
        raise ValueError(text)
    number = float(text)
    if np.isinf(number):
        raise ValueError(text)
    return number


def _numbers(fields: Sequence[str], place: str) -> np.ndarray:
    """Parse one channel; the error names the place and the field."""
    try:
        if not any("_" in field for field in fields):
            values = np.array(list(map(float, fields)))  # also reads NaN; three times as fast as one by one
            if not np.isinf(values).any():
                return values
    except ValueError:
        pass  # "?" or an empty field, which float() does not read, or a fault: one by one
    values = np.empty(len(fields))
    for position, field in enumerate(fields):
        try:
            values[position] = _number(field)
        except ValueError:
            raise InputError(
                f"{place}: value {position + 1} is {field.strip()!r}, not a finite number"
            ) from None
    return values


def read_table(text: str, name: str) -> Part:
    """Read a UCR table (.tsv, .txt): one univariate case a line, its label first.

    Separated by tabs, commas or blanks. Empty, ``NaN`` and ``?`` are missing.

    Raises
    ------
    InputError
        If a line has another number of fields than the first, or a field that is no number.
    """
    series: list[np.ndarray] = []
    labels: list[str] = []
    for number, line in enumerate(lines_of(text), start=1):
        if not line.strip():
            continue
        fields = line.split("\t") if "\t" in line else line.split(",") if "," in line else line.split()
        place = f"{name}, line {number}"
        if len(fields) < 2:
            raise InputError(f"{place}: {len(fields)} field, needed are a label and at least one value")
        if series and len(fields) != series[0].shape[1] + 1:
            raise InputError(f"{place}: {len(fields)} fields, the lines above have {series[0].shape[1] + 1}")
        if not fields[0].strip():
            raise InputError(f"{place}: empty class label")
        labels.append(fields[0].strip())
        series.append(_numbers(fields[1:], place)[np.newaxis, :])
    return _checked(series, labels, name)


def read_ts(text: str, name: str) -> Part:
    """Read the archive's .ts format: channels separated by colons, the label last.

    Raises
    ------
    InputError
        If there is no ``@data``, no class label, there are time stamps, or a case is not as declared.
    """
    series: list[np.ndarray] = []
    labels: list[str] = []
    header: dict[str, str] = {}
    in_data = False
    for number, raw in enumerate(lines_of(text), start=1):
        line = raw.strip()
        if not line or line.startswith("#"):
            continue
        place = f"{name}, line {number}"
        if not in_data:
            key, *value = line.lower().split()
            in_data = key == "@data"
            header[key] = " ".join(value)
            if in_data:
                _check_ts_header(header, name)
            continue
        *channels, label = line.split(":")
        if not channels or not label.strip():
            raise InputError(f"{place}: no class label at the end")
        parsed = [_numbers(channel.split(","), place) for channel in channels]
        lengths = {channel.size for channel in parsed}
        if len(lengths) > 1:
            raise InputError(
                f"{place}: channels of {', '.join(map(str, sorted(lengths)))} values in one case"
            )
        case = np.stack(parsed)
        if series and case.shape[0] != series[0].shape[0]:
            raise InputError(f"{place}: {case.shape[0]} channels, the cases above have {series[0].shape[0]}")
        if series and header.get("@equallength") == "true" and case.shape[1] != series[0].shape[1]:
            raise InputError(
                f"{place}: {case.shape[1]} values, the cases above have {series[0].shape[1]} "
                "(@equalLength is true)"
            )
        series.append(case)
        labels.append(label.strip())
    if not in_data:
        raise InputError(f"{name}: no line @data")
    return _checked(series, labels, name)


def _check_ts_header(header: dict[str, str], name: str) -> None:
    if header.get("@timestamps", "false") == "true":
        raise InputError(f"{name}: @timeStamps true; allowed are files without time stamps")
    if header.get("@targetlabel", "false").startswith("true") or header.get("@classlabel", "").startswith(
        "false"
    ):
        raise InputError(
            f"{name}: no class labels (@classLabel false or @targetLabel true); needed are class labels"
        )


def read_arff(text: str, name: str) -> Part:
    """Read a WEKA .arff file, one channel as plain attributes or several as a relational one.

    Raises
    ------
    InputError
        If scipy cannot read it.
    """
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
    try:
        if len(columns) == 1 and meta.types()[0] == "relational":
            series = [
                np.array([list(row) for row in case.tolist()], dtype=float) for case in data[columns[0]]
            ]
        else:
            rows = np.array([list(row) for row in data[columns].tolist()], dtype=float)
            series = list(rows[:, np.newaxis, :])
    except (ValueError, TypeError) as error:
        raise InputError(f"{name}: a value is not a number ({error})") from error
    return _checked(series, labels, name)


def _first_unreadable_row(text: str) -> int | None:
    """Return the number of the first row of an .arff file that cannot be read by itself; None if it is not a row."""
    lines = lines_of(text)
    start = next((n for n, line in enumerate(lines, 1) if line.strip().lower() == "@data"), None)
    for number, line in enumerate(lines[start:], (start or 0) + 1) if start else ():
        if line.strip() and not line.startswith("%"):
            try:
                arff.loadarff(io.StringIO("\n".join([*lines[:start], line])))
            except NotImplementedError:  # of the header
                return None
            except _ARFF_ERRORS:
                return number
    return None


def read_npz(content: bytes, name: str) -> tuple[Part, Part]:
    """Read tslearn's .npz: X_train, y_train, X_test, y_test (see `arrays_to_part`)."""
    try:
        with np.load(io.BytesIO(content), allow_pickle=False) as file:
            x_train, y_train, x_test, y_test = (
                file[key] for key in ("X_train", "y_train", "X_test", "y_test")
            )
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        raise InputError(
            f"{name}: not an .npz file with X_train, y_train, X_test, y_test ({error})"
        ) from error
    return arrays_to_part(x_train, y_train, name), arrays_to_part(x_test, y_test, name)


def arrays_to_part(values: np.ndarray, labels: np.ndarray, name: str) -> Part:
    """Series and labels of tslearn's arrays.

    Parameters
    ----------
    values : ndarray of shape (n_cases, n_timepoints, n_channels)
    labels : ndarray of integers or text, shape (n_cases,)
    name : str
        Named in errors.
    """
    values = np.asarray(values, dtype=np.float64)
    if values.ndim != 3:
        raise InputError(
            f"{name}: array of shape {values.shape}, needed is (n_cases, n_timepoints, n_channels)"
        )
    return _checked(list(values.transpose(0, 2, 1)), [str(label) for label in labels.tolist()], name)


def read_keel(text: str, name: str, train_size: int, channels: int) -> tuple[Part, Part]:
    """Read a table of TRAIN rows followed by TEST rows: comma-separated values, the label last.

    Parameters
    ----------
    text, name : str
        Content, and name for errors. Lines that start with ``@`` are a header.
    train_size : int
        How many rows are TRAIN.
    channels : int
        How many channels alternate in a row (x, y, x, y, ... is 2).
    """
    series: list[np.ndarray] = []
    labels: list[str] = []
    for number, line in enumerate(lines_of(text), start=1):
        if not line.strip() or line.startswith("@"):
            continue
        *values, label = line.split(",")
        place = f"{name}, line {number}"
        if len(values) == 0 or len(values) % channels or not label.strip():
            raise InputError(
                f"{place}: {len(values)} values and {label!r}, needed are a label and {channels} channels"
            )
        if series and len(values) != series[0].size:
            raise InputError(f"{place}: {len(values)} values, the lines above have {series[0].size}")
        series.append(_numbers(values, place).reshape(-1, channels).T)
        labels.append(label.strip())
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
    """Read one part of a dataset in the format that the file's suffix says."""
    suffix = name[name.rfind(".") :].lower()
    if suffix not in TEXT_READERS:
        raise InputError(f"{name}: format {suffix!r}; allowed are {', '.join(TEXT_READERS)}")
    text = decode(content)
    if "\0" in text:
        raise InputError(f"{name}: holds zero bytes; allowed: text in UTF-8 or Latin-1")
    return TEXT_READERS[suffix](text, name)
