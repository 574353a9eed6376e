"""Readers of the archive's formats: bytes in, series and labels out. InputError names file and line of a fault.

aeon's readers are not used: they lower-case class labels (.ts), their numbers come from pandas' fast parser (.tsv),
which is off by one unit in the last place for a third of the numbers with 17 digits, and no error would name a line.
"""

from __future__ import annotations

import gzip
import io
import logging
import re
import zlib
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from typing import NamedTuple

import numpy as np

from vlmtsc.data.series import FAULTS, canonical_label
from vlmtsc.errors import InputError

logger = logging.getLogger(__name__)

#: Spellings of a missing value, in lower case: those of the archive, and those that pandas knows.
MISSING = frozenset(["?", "nan", "-nan", "na", "n/a", "<na>", "#n/a", "#na", "null", "none"]) | {""}


class Part(NamedTuple):
    """One part of a dataset: series of shape (n_channels, n_timepoints), their labels as written.

    `equal_length` says that missing values at the end of a series are part of it.
    """

    series: list[np.ndarray]
    labels: list[str]
    equal_length: bool = False


class Row(NamedTuple):
    """One case of a text file: where it is, its label, the fields of each channel."""

    place: str
    label: str
    channels: list[list[str]]


def decode(content: bytes, name: str) -> str:
    """Return the text of a file: UTF-8 (with or without a mark), otherwise cp1252 or Latin-1, as old files are.

    InputError if it is UTF-16, or not text.
    """
    if content.startswith((b"\xff\xfe", b"\xfe\xff")):
        raise InputError(f"{name}: text in UTF-16; allowed: UTF-8 or Latin-1")
    for encoding in ("utf-8-sig", "cp1252", "latin-1"):
        try:
            text = content.decode(encoding)
            break
        except UnicodeDecodeError:
            continue
    if "\0" in text:
        raise InputError(f"{name}: holds zero bytes; allowed: text in UTF-8 or Latin-1")
    return text


def decompress(content: bytes, name: str) -> bytes:
    """Return the content of a file that may be compressed with gzip."""
    if not content.startswith(b"\x1f\x8b"):
        return content
    try:
        return gzip.decompress(content)
    except (OSError, EOFError, zlib.error) as error:
        raise InputError(f"{name}: a damaged gzip file ({error})") from error


def shown(text: object) -> str:
    """Quote a value of a file in a message, cut if it is long."""
    text = str(text).strip()
    return repr(text if len(text) <= 60 else f"{text[:57]}...")


def _lines(text: str) -> Iterator[tuple[int, str]]:
    """Yield the lines that are not blank with their number, as editors count them.

    `str.splitlines` also breaks at characters that a label may contain, such as U+0085.
    """
    for number, line in enumerate(re.split("\r\n|\r|\n", text), start=1):
        if line.strip():
            yield number, line


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
        text = _unquoted(field)
        try:  # float() accepts 1_000
            values[position] = np.nan if text.lower() in MISSING else float(text.replace("_", "?"))
        except ValueError:
            values[position] = np.inf
        if np.isinf(values[position]):
            raise InputError(f"{place}: value {position + 1} is {shown(field)}, not a finite number")
    return values


def _unquoted(field: str) -> str:
    """Return a field without surrounding blanks and double quotes, which pandas writes around text."""
    text = field.strip()
    return text[1:-1].replace('""', '"').strip() if len(text) > 1 and text[0] == text[-1] == '"' else text


def _collect(
    rows: Iterable[Row],
    name: str,
    *,
    equal: Callable[[], bool],
    declared: Collection[str] = (),
    labelled: bool = True,
) -> Part:
    """Parse the rows of a file, and check that cases fit each other.

    `equal`, asked once a row exists, says whether all cases have one length. `declared` are the allowed labels, if the
    header names any; it may grow until the first row. Without `labelled` any label is allowed, and none.
    """
    series: list[np.ndarray] = []
    labels: list[str] = []
    allowed: set[str] = set()
    for place, label, channels in rows:
        try:
            canonical = canonical_label(label) if labelled else label
            allowed = allowed or {canonical_label(known).lower() for known in declared if labelled}
        except InputError as error:
            raise InputError(f"{place}: {error}") from error
        # A label of several words is declared as such words.
        words = f" {label.strip().lower()} " in f" {' '.join(declared).lower()} "
        if allowed and canonical.lower() not in allowed and not words:
            raise InputError(
                f"{place}: class label {shown(label)} is not declared in the header; allowed: "
                f"{', '.join(declared)}"
            )
        parsed = [_numbers(fields, place) for fields in channels]
        lengths = sorted({channel.size for channel in parsed})
        if len(lengths) > 1:
            raise InputError(f"{place}: channels of {', '.join(map(str, lengths))} values in one case")
        series.append(np.stack(parsed))
        labels.append(label.strip())
        for found, first, what in zip(series[-1].shape, series[0].shape, ("channels", "values"), strict=True):
            if found != first and (equal() or what == "channels"):
                raise InputError(f"{place}: {found} {what}, the cases above have {first}")
    if not series:
        raise InputError(f"{name}: no cases")
    return Part(series, labels)


def read_table(text: str, name: str, *, labelled: bool = True) -> Part:
    """Read a UCR table (.tsv, .txt, .csv): one univariate case a line, its label first.

    Separated by tabs, semicolons, commas or blanks.
    """

    def rows() -> Iterator[Row]:
        for number, line in _lines(text):
            place = f"{name}, line {number}"
            separator = next((sign for sign in "\t;," if sign in line), None)
            fields = line.split(separator)
            # A label in quotes may contain the separator.
            if quoted := re.match(r'\s*("(?:[^"]|"")*")\s*([\t;, ])', line):
                fields = [quoted[1], *line[quoted.end() :].split(quoted[2].strip(" ") or None)]
            if len(fields) < 2:
                raise InputError(f"{place}: {len(fields)} field, needed are a label and at least one value")
            if number == 1 and len(fields) > 2 and fields == [str(column) for column in range(len(fields))]:
                logger.warning("%s: 0, 1, 2, ... is read as a case; if it is a header, remove it", place)
            yield Row(place, _unquoted(fields[0]), [fields[1:]])

    return _collect(rows(), name, equal=lambda: True, labelled=labelled)


_STAMPED = re.compile(r"\s*\(([^()]*),([^(),]*)\)\s*(?:,|$)")


def _without_stamps(channel: str, place: str) -> list[str]:
    """Return the values of a channel of pairs (time, value), after a check that its times are regular."""
    pairs = _STAMPED.findall(channel)
    if not pairs or _STAMPED.sub("", channel).strip():
        raise InputError(
            f"{place}: {shown(channel)}; allowed with @timeStamps true: pairs (time,value), separated by commas"
        )
    stamps = [time.strip() for time, _ in pairs]
    try:
        times = np.array(stamps, dtype=float)
    except ValueError:
        try:
            times = np.array(stamps, dtype="datetime64[ns]").astype(float)
        except ValueError:
            raise InputError(
                f"{place}: time {shown(stamps[0])}; allowed: numbers or dates in ISO 8601"
            ) from None
    steps = np.diff(times)
    if len(steps) and not (steps[0] > 0 and np.allclose(steps, steps[0], rtol=1e-6, atol=0)):
        raise InputError(
            f"{place}: time steps from {steps.min():g} to {steps.max():g}; allowed: regular steps (a table with a "
            "row for each time may have others: data=PATH)"
        )
    return [value for _, value in pairs]


def read_ts(text: str, name: str, *, labelled: bool = True) -> Part:
    """Read the archive's .ts format: channels separated by colons, the label last. Regular time stamps are left out.

    Without `labelled` the header may say that there are no labels.
    """
    header: dict[str, str] = {}
    declared: list[str] = []

    def rows() -> Iterator[Row]:
        for number, line in _lines(text):
            line, place = line.strip(), f"{name}, line {number}"
            if line.startswith("#"):
                continue
            if "@data" not in header:
                key, *words = line.split()
                read_header(place, key.lower(), words)
                continue
            stamped = header.get("@timestamps") == "true"
            *channels, label = re.split(r":(?![^(]*\))", line) if stamped else line.split(":")
            if unlabelled():
                channels, label = [*channels, label], ""
            if not channels or (labelled and not label.strip()):
                raise InputError(f"{place}: no class label at the end")
            if not declared and "," in label:
                raise InputError(
                    f"{place}: class label {shown(label)} is a list of values; is the label missing?"
                )
            fields = [_without_stamps(c, place) if stamped else c.split(",") for c in channels]
            yield Row(place, label, fields)

    def read_header(place: str, key: str, words: list[str]) -> None:
        header[key] = " ".join(words).lower()
        if key == "@classlabel":
            declared.extend(words[1:])
        if key == "@data" and words:
            raise InputError(
                f"{place}: {shown(' '.join(words))} behind @data; allowed: cases on the lines below"
            )
        if key == "@data" and (header.get("@targetlabel", "")[:4] == "true" or (labelled and unlabelled())):
            raise InputError(
                f"{name}: no class labels (@classLabel false or @targetLabel true); needed are class labels"
            )

    def unlabelled() -> bool:
        return header.get("@classlabel", "")[:5] == "false"

    def equal() -> bool:
        return header.get("@equallength") == "true"

    try:
        part = _collect(rows(), name, equal=equal, declared=declared, labelled=labelled)
    except InputError:
        if "@data" not in header:
            raise InputError(f"{name}: no line @data") from None
        raise
    return part._replace(equal_length=equal())


_ATTRIBUTE = re.compile(
    r"""@attribute\s+('(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*"|[^\s{]+)\s*(.*)""", re.IGNORECASE
)
#: A field in quotes of either kind, or up to the next comma; what ends it.
_FIELD = re.compile(
    r"""\s*(?:'([^'\\]*(?:\\.[^'\\]*)*)'|"([^"\\]*(?:\\.[^"\\]*)*)"|([^,]*?))\s*(,|$)""", re.DOTALL
)
_NUMERIC = ("numeric", "real", "integer")


def _arff_fields(line: str) -> list[str]:
    """Split a line at commas outside quotes; escapes remain."""
    if "'" not in line and '"' not in line:
        return [field.strip() for field in line.split(",")]
    fields, position, sign = [], 0, ","
    while sign == ",":
        match = _FIELD.match(line, position)
        assert match is not None  # its last alternative matches anything up to a comma
        fields.append(match[1] or match[2] or match[3] or "")
        position, sign = match.end(), match[4]
    return fields


def _unescaped(text: str) -> str:
    return re.sub(r"\\(.)", r"\1", text)


def read_arff(text: str, name: str, *, labelled: bool = True) -> Part:
    """Read a WEKA .arff file, one channel as plain attributes or several as a relational one.

    The class is the last attribute, or the only nominal one. A relational value contains a line for each channel.
    """
    attributes: list[tuple[str, str]] = []  # name and type
    inside = [0, 0]  # whether the header is in a relational attribute; number of its timepoints
    declared: list[str] = []
    shorter: list[str] = []

    def rows() -> Iterator[Row]:
        lines = ((number, line.strip()) for number, line in _lines(text) if not line.lstrip().startswith("%"))
        for number, line in lines:
            if read_header(f"{name}, line {number}", line):
                break
        else:
            raise InputError(f"{name}: no line @data")
        label_at, relational = find_class()
        for number, line in lines:
            place, fields = f"{name}, line {number}", _arff_fields(line)
            if line.startswith("{"):
                raise InputError(f"{place}: a sparse row; allowed: a value for each attribute")
            if len(fields) != len(attributes):
                raise InputError(
                    f"{place}: {len(fields)} fields, but the header declares {len(attributes)} attributes"
                )
            label = _unescaped(fields.pop(label_at))
            channels = [fields]
            if relational:
                channels = [
                    line.split(",") for line in re.split(r"\\n|\n", fields[0].strip()) if line.strip()
                ]
                longest = max(map(len, channels), default=0)
                if not longest:
                    raise InputError(f"{place}: no values")
                if longest > inside[1]:
                    raise InputError(
                        f"{place}: {longest} values in a channel, but the header declares {inside[1]}"
                    )
                if longest < inside[1]:
                    shorter.append(place)
            yield Row(place, label, channels)

    def read_header(place: str, line: str) -> bool:
        key = line.split()[0].lower()
        if key == "@data":
            if line[5:].strip():
                raise InputError(
                    f"{place}: {shown(line[5:])} behind @data; allowed: cases on the lines below"
                )
            return True
        if key == "@end":
            inside[0] = 0
        elif match := _ATTRIBUTE.fullmatch(line):
            kind = match[2].strip()
            if inside[0]:
                inside[1] += 1
                return False
            if kind.startswith("{"):
                closed = re.match(r"""\{((?:'(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*"|[^}])*)\}""", kind)
                if closed is None:
                    raise InputError(f"{place}: {shown(kind)}; allowed: values between {{ and }}")
                declared[:] = [_unescaped(value) for value in _arff_fields(closed[1])]
                kind = "nominal"
            kind = (kind.lower().split() or [""])[0]
            inside[0] = kind == "relational"
            attributes.append((match[1].strip("'\""), kind))
        elif key != "@relation":
            raise InputError(
                f"{place}: {shown(line)}; allowed in front of @data: @relation, @attribute and @end"
            )
        return False

    def find_class() -> tuple[int, bool]:
        """Return the position of the class attribute, and whether the other one is relational."""
        kinds = [kind for _, kind in attributes]
        named = [place for place, kind in enumerate(kinds) if kind in ("nominal", "string")]
        position = named[0] if len(named) == 1 else len(kinds) - 1
        if kinds[position : position + 1] != ["nominal"]:
            declared.clear()
        others = [entry for place, entry in enumerate(attributes) if place != position]
        if not others:
            raise InputError(f"{name}: {len(attributes)} attributes; needed are values and a class")
        if [kind for _, kind in others] == ["relational"]:
            return position, True
        for attribute, kind in others:
            if kind not in _NUMERIC:
                raise InputError(
                    f"{name}: attribute {attribute!r} is {kind or 'of no type'}; allowed: numeric attributes, or one "
                    "relational attribute, and one nominal attribute, the class"
                )
        return position, False

    part = _collect(rows(), name, equal=lambda: not inside[1], declared=declared, labelled=labelled)
    if shorter:
        logger.warning(
            "%s: %d cases have fewer values than declared, and are shorter", shorter[0], len(shorter)
        )
    return part


def read_npz(content: bytes, name: str) -> tuple[Part, Part]:
    """Read tslearn's .npz: ``X_*`` of shape (n_cases, n_timepoints, n_channels) and ``y_*``, of train and test."""
    keys = ("X_train", "y_train", "X_test", "y_test")
    try:
        with np.load(io.BytesIO(content), allow_pickle=False) as file:
            x_train, y_train, x_test, y_test = (file[key] for key in keys)
    except FAULTS as error:
        raise InputError(f"{name}: not an .npz file with {', '.join(keys)} ({error})") from error
    return _part_of_arrays(x_train, y_train, name), _part_of_arrays(x_test, y_test, name)


def _part_of_arrays(values: np.ndarray, labels: np.ndarray, name: str) -> Part:
    values = np.asarray(values, dtype=np.float64)
    if values.ndim != 3 or not len(values):
        raise InputError(
            f"{name}: array of shape {values.shape}, needed is (n_cases, n_timepoints, n_channels)"
        )
    return Part(list(values.transpose(0, 2, 1)), [str(label) for label in labels.tolist()])


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
            yield Row(place, label, [values[channel::channels] for channel in range(channels)])

    series, labels, _ = _collect(rows(), name, equal=lambda: True)
    if len(series) <= train_size:
        raise InputError(f"{name}: {len(series)} rows, needed are more than the {train_size} of TRAIN")
    return Part(series[:train_size], labels[:train_size]), Part(series[train_size:], labels[train_size:])


#: Readers by ending. The archive of 2015 has files without one.
TEXT_READERS: dict[str, Callable[..., Part]] = {
    ".tsv": read_table,
    ".txt": read_table,
    ".csv": read_table,
    "": read_table,
    ".ts": read_ts,
    ".arff": read_arff,
}


_HEADER = re.compile(
    "@(?:(relation|attribute)|(?:problemname|timestamps|missing|univariate|dimensions|equallength|serieslength|"
    "classlabel|data))\\b"
)


def read_part(content: bytes, name: str, *, labelled: bool = True) -> Part:
    """Read one part of a dataset in the format of the file's ending; a table's ending may have another format.

    Without `labelled`, labels may be missing or others than those in the header.
    """
    ending = re.search(r"(\.[A-Za-z]+)?(\.gz)?$", name)
    suffix = (ending[1] or "").lower() if ending else ""
    if suffix not in TEXT_READERS:
        raise InputError(f"{name}: format {suffix!r}; allowed are {', '.join(filter(None, TEXT_READERS))}")
    text = decode(decompress(content, name), name)
    reader = TEXT_READERS[suffix]
    if reader is read_table and text.lstrip()[:1] in ("@", "#", "%"):
        tag = next((line.strip().lower() for _, line in _lines(text) if line.strip()[0] not in "#%"), "")
        if match := _HEADER.match(tag):
            kind = ".arff" if match[1] else ".ts"
            logger.warning("%s: its content is that of a file %s, and read as such", name, kind)
            reader = TEXT_READERS[kind]
    return reader(text, name, labelled=labelled)
