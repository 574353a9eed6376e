"""Tables of users: text, parquet, feather; a case a row (wide) or a timepoint a row (long)."""

from __future__ import annotations

import io
import math
import re
from collections.abc import Collection, Hashable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from vlmtsc.data.readers import MISSING, decode, decompress, shown
from vlmtsc.data.series import FAULTS
from vlmtsc.errors import InputError
from vlmtsc.files import read_json
from vlmtsc.settings import ColumnOptions, unknown

#: Names of columns by which their meaning is recognised: in lower case, letters and digits alone.
NAMES = {
    "label": "label labels class classlabel classname target y category",
    "id": "id ids case caseid caseindex seriesid series sample sampleid instance instanceid uid sequenceid",
    "time": "time t timestamp timestamps datetime date timepoint timestep step readingid timeindex",
    "channel": "kind channel dim dimension dimid variable sensor",
    "split": "split set subset part partition",
    # What should often not be in two sets.
    "group": "subject subjectid participant participantid patient patientid person user userid",
    # What describes a case beside its values.
    "trait": "age gender sex fold",
}
SETS = {
    **dict.fromkeys(("train", "training"), 0),
    **dict.fromkeys(("val", "valid", "validation", "dev"), 1),
    **dict.fromkeys(("test", "testing"), 2),
}
#: A number with its decimal sign.
_DECIMAL = re.compile(r"[+-]?\d+([.,])\d+(?:[eE][+-]?\d+)?")
#: A stem and a number, as in t_12; with decimals, as in t0.5; a date or a time of day, as in 2020-12-31, 12:30.
_NUMBERED = re.compile(r"(.*?)[\W_]*(\d+)")
_WITH_DECIMALS = re.compile(r"(.*?)[\W_]*(\d+\.\d+)")
_TIME = re.compile(r"(\d{4}-\d\d|\d+:\d\d|\d+/\d+/\d+)[\d:. TZ+-]*")


@dataclass
class OwnCases:
    """Cases of a user's file: series of shape (n_channels, n_timepoints), NaN where missing.

    `labels`, `groups` and `sets` (0 train, 1 validation, 2 test) may be empty. `places` name the cases in messages,
    `understood` says how the file was read, `columns` with what columns.
    """

    series: list[np.ndarray]
    ids: list[str]
    labels: list[str] = field(default_factory=list)
    groups: list[str] = field(default_factory=list)
    sets: list[int] = field(default_factory=list)
    places: list[str] = field(default_factory=list)
    understood: list[str] = field(default_factory=list)
    columns: ColumnOptions = ColumnOptions()  # noqa: RUF009 (frozen)


def plain(name: Hashable) -> str:
    """Return a column's name in lower case, letters and digits alone."""
    return re.sub(r"[^a-z0-9]", "", str(name).lower())


def meaning(name: Hashable, beside: Iterable[Hashable] = ()) -> str | None:
    """Return what a column's name says that it is; y is no label beside x."""
    word = plain(name)
    if word == "y" and "x" in map(plain, beside):
        return None
    return next((key for key, names in NAMES.items() if word in names.split()), None)


def only(found: Sequence[str], what: str, path: Path) -> str | None:
    """Return the column found to be `what`, if any; InputError if there are several."""
    if len(found) > 1:
        raise InputError(
            f"{path}: {' and '.join(map(repr, found))} may be the {what}; allowed: columns={{{what}: {found[0]}}}, or "
            "another of them"
        )
    return found[0] if found else None


# Frames


def _number(cell: str) -> float:
    """Return the number in a cell; NaN if it is none. float() accepts 1_000."""
    try:
        return float(cell.replace("_", "?"))
    except ValueError:
        return math.nan


def _sniffed(path: Path, lines: list[str]) -> tuple[str | None, bool, list[str], bool]:
    """Find out separator (None: blanks), decimal commas, cells of the first line, and whether they are a header."""
    separator = next((sign for sign in "\t;|," if all(sign in line for line in lines[:50])), None)
    if separator is None and any("," in line for line in lines):  # of a single column
        separator = ","
    rows = [[cell.strip().strip('"') for cell in line.split(separator)] for line in lines[:50]]
    signs = {match[1] for row in rows for cell in row if (match := _DECIMAL.fullmatch(cell))}
    commas = separator != "," and "," in signs
    if commas and "." in signs:
        raise InputError(f"{path}: decimal points and decimal commas; allowed: one of them")
    head = [cell.replace(",", ".") if commas else cell for cell in rows[0]]
    numbers = [number for number in map(_number, head) if math.isfinite(number)]
    cells = enumerate(zip(rows[0], map(_number, head), strict=True))
    words = {
        place: cell
        for place, (cell, number) in cells
        if cell.lower() not in MISSING and not math.isfinite(number)
    }
    # A header has no number; or its words do not recur below it, and its numbers are in order beside a word for labels
    # or names (y and person may be labels), or more than five with equal steps; or it counts its columns as pandas
    # does (0, 1, 2, ...), beside known words alone.
    steps = np.diff(numbers)
    recurs = any(row[place : place + 1] == [word] for row in rows[1:] for place, word in words.items())
    known = [meaning(word) for word in words.values() if word.lower() != "y"]
    in_order = len(steps) > 0 and bool((steps > 0).all() or (steps < 0).all())
    counts = {*steps} == {1} and (all(known) if words else head[0] == "" or numbers[0] == 0)
    counts |= in_order and bool({"label", "id"} & {*known})
    counts |= bool(words) and len(numbers) > 5 and _even(numbers)
    header = counts and not recurs and len(lines) > 1 if numbers else bool(words)
    return separator, commas, head, header


def read_text(
    path: Path, named: Collection[str | None] | None = (), *, by_name: bool = True
) -> tuple[pd.DataFrame, str]:
    """Read a table from text: separator, decimal sign and header are found out. Columns without names are numbered.

    The columns `named` (None: all), and with `by_name` those that their name says to be labels or names, stay text.
    """
    text = decode(decompress(path.read_bytes(), str(path)), str(path))
    text = re.sub(r"\Asep=.\r?\n", "", text)  # of Excel
    lines = [line for line in text.splitlines() if line.strip()]
    if not lines:
        raise InputError(f"{path}: no series; allowed: one or more rows of numbers")
    separator, commas, head, header = _sniffed(path, lines)
    widths = [len(head)]
    if '"' not in text:
        widths = [len(line.split(separator)) - line.rstrip(" ").endswith(separator or "\n") for line in lines]
    if header and max(widths) > len(head):
        row = next(number for number, width in enumerate(widths) if width > len(head))
        raise InputError(f"{path}, row {row + 1}: {widths[row]} cells, but the header has {len(head)}")
    options: dict[str, Any] = {"sep": separator or r"\s+", "skipinitialspace": True, "index_col": False}
    options |= {} if header else {"header": None, "names": [str(place + 1) for place in range(max(widths))]}
    options |= {"decimal": "," if commas else ".", "float_precision": "round_trip", "low_memory": False}
    frame = pd.read_csv(io.StringIO(text), na_values=["?"], **options)
    names = frame.columns = pd.Index(map(str, frame.columns))
    # Text stays as it is written: 007, None.
    kept, types = ("id", "label", "split") if by_name else (), [*frame.dtypes]
    as_text = [
        place
        for place, name in enumerate(names)
        if named is None or name in named or meaning(name, names) in kept or types[place].kind == "O"
    ]
    if as_text:
        written = pd.read_csv(io.StringIO(text), usecols=as_text, dtype=str, na_filter=False, **options)
    for column, place in enumerate(as_text):
        cells, name = written.iloc[:, column].str.strip(), names[place]
        if not (named is None or name in named or meaning(name)):
            cells = _numbers_or_text(cells, commas, f"{path}, row {{}}, column {place + 1}", 1 + header)
        frame.isetitem(place, cells)
    by = {"\t": "tabs", ";": "semicolons", "|": "bars", ",": "commas", None: "blanks"}[separator]
    extra = ", decimal commas" if commas else ""
    frame.attrs["commas"] = commas
    return frame, f"table separated by {by}{extra}, {'with' if header else 'without'} a header"


def filled(frame: pd.DataFrame) -> int:
    """Return the number of rows up to the last one that is not empty."""
    empty = (frame.isna() | (frame == "")).all(axis=1)
    return int(np.flatnonzero(~empty).max(initial=-1)) + 1


def _numbers_or_text(cells: pd.Series, commas: bool, place: str, first: int) -> pd.Series:
    """Return a column as numbers if all its cells are such; InputError at a `place` if most are, and others no text."""
    missing = cells.str.lower().isin(MISSING)
    numbers = (cells.str.replace(",", ".") if commas else cells).map(_number)
    faults = np.flatnonzero(numbers.isna() & ~missing)
    if not len(faults):
        return numbers
    if place and numbers.notna().sum() > len(faults):
        raise InputError(
            f"{place.format(faults[0] + first)}: {shown(cells[faults[0]])}; allowed: a finite number, or nothing for a "
            "missing value"
        )
    return cells


def is_saved_dataset(path: Path) -> bool:
    """Return whether a folder was saved by Hugging Face's `datasets`."""
    return any((path / name).is_file() for name in ("dataset_dict.json", "dataset_info.json", "state.json"))


def _read_saved_dataset(path: Path) -> pd.DataFrame:
    """Read the folder of a dataset, or of a dictionary of datasets, whose keys are the sets."""
    from pyarrow import ipc

    if (path / "dataset_dict.json").is_file():
        splits = read_json(path / "dataset_dict.json")["splits"]
        parts = [_read_saved_dataset(path / name).assign(split=name) for name in splits]
        return pd.concat(parts, ignore_index=True)
    tables = []
    for entry in read_json(path / "state.json")["_data_files"]:
        with (path / entry["filename"]).open("rb") as file:
            tables.append(ipc.open_stream(file).read_all().to_pandas())
    frame = pd.concat(tables, ignore_index=True)
    for name, feature in (read_json(path / "dataset_info.json").get("features") or {}).items():
        if feature.get("_type") == "ClassLabel":
            frame[name] = [feature["names"][index] if index >= 0 else "" for index in frame[name]]
    return frame


def read_frame(path: Path, named: Collection[str | None] | None) -> tuple[pd.DataFrame, str]:
    """Read a table, and say what it is; columns of an index become columns."""
    ending = path.name.lower().rpartition(".")[2]
    try:
        if path.is_dir():
            frame, how = _read_saved_dataset(path), "dataset saved by Hugging Face datasets"
        elif ending in ("parquet", "pq"):
            frame, how = pd.read_parquet(path), "table"
        elif ending in ("feather", "arrow"):
            frame, how = pd.read_feather(path), "table"
        else:
            frame, how = read_text(path, named)
            if (rows := filled(frame)) < len(frame):
                how += f", {len(frame) - rows} empty rows at its end left out"
                frame = frame[:rows].copy()
    except InputError:
        raise
    except FAULTS as error:
        raise InputError(f"{path}: not a table that can be read ({' '.join(str(error).split())})") from error
    if frame.empty:
        raise InputError(f"{path}: no series; allowed: one or more rows of numbers")
    if not isinstance(frame.index, pd.RangeIndex):
        frame = frame.reset_index()
    frame.columns = pd.Index(map(str, frame.columns))
    for name in frame.columns:
        if pd.api.types.infer_dtype(frame[name]) == "decimal":
            frame[name] = pd.to_numeric(frame[name])
    return frame, how


# What columns mean


class Table:
    """A table and what its columns mean: the `columns` that are given, others by name or content."""

    def __init__(self, path: Path, columns: ColumnOptions, group: str | None, labelled: bool) -> None:
        self.path, self.labelled, self.group = path, labelled, group
        self.frame, how = read_frame(path, {*columns.id, columns.label, columns.split, group})
        self.notes: list[str] = []
        self.numbered = all(name.isdigit() for name in self.frame.columns)
        self.free = self._not_given(columns)
        self.columns = self._layout(columns)
        self.columns = self.columns.changed(label=self._label())
        self._to_numbers(columns.values)
        self.values = list(columns.values) or self._values()
        if text := [name for name in self.values if not self._numeric(name) and not self._listed(name)]:
            raise InputError(
                f"{path}: values: the column {text[0]!r} is of text; allowed: columns of numbers"
            )
        # New series have the same channels; and without a label, numbers of columns would mean others.
        if self.numbered or self.columns.layout == "long":
            self.columns = self.columns.changed(values=self.values)
        self.notes.insert(0, f"{self.columns.layout} {how}: {self._said()}")

    def _layout(self, columns: ColumnOptions) -> ColumnOptions:
        """Find out whether the table is wide or long, and the columns of names, times, channels and sets."""
        index = self._index(columns)
        # A series in a row needs no name.
        given = [name for name in columns.id if name in self.frame or columns.layout != "wide"]
        ids = given or self._find("id")[:1]
        if index:
            self.free.remove(index)
        time, channel = columns.time or self._one("time"), columns.channel or self._one("channel")
        layout = columns.layout
        if layout == "auto":
            repeated = ids and self.frame.duplicated(ids).any()
            layout = "long" if repeated or columns.channel else "wide"
            values = [name for name in self.free if repeated and name not in ids and self._numeric(name)]
            if not (time or channel or columns.values) and (alike := self._alike(values)):
                twice = " ".join(map(str, self.frame[ids][self.frame.duplicated(ids)].iloc[0]))
                some = ", ".join(alike[:3]) + (", ..." if len(alike) > 3 else "")
                raise InputError(
                    f"{self.path}: {'+'.join(ids)} {twice!r} is in several rows, but {some} look like the timepoints "
                    "of a row; allowed: columns={layout: wide}, or columns={layout: long}"
                )
            if time and layout == "wide":
                raise InputError(
                    f"{self.path}: the column {time!r} is of times, but no column names the series of a row; allowed: "
                    "columns={id: COLUMN} (or a list of columns), or columns={layout: wide}"
                )
        if layout == "wide":
            time, channel, ids = None, None, ids or ([index] if index else [])
        elif not ids:
            raise InputError(
                f"{self.path}: no column names the series of a row; allowed: columns={{id: COLUMN}}"
            )
        sets = [n for n in self._find("split") if {str(value).lower() for value in self.frame[n]} & {*SETS}]
        split = columns.split or next(iter(sets), None)
        return columns.changed(id=ids, time=time, channel=channel, split=split, layout=layout)

    def _not_given(self, columns: ColumnOptions) -> list[str]:
        """Return the columns without a given meaning; InputError if a needed one does not exist."""
        names, used = list(self.frame.columns), set[str]()
        for key in ("label", "id", "time", "channel", "values", "split", "group"):
            given = self.group if key == "group" else getattr(columns, key)
            needed = key in ("time", "channel", "values") or (key == "id" and columns.layout != "wide")
            for name in [given] if isinstance(given, str) else given or ():
                if name not in names and (self.labelled or needed):
                    raise InputError(f"{self.path}: {key}: {unknown('column', name, names)}")
                if key != "group":
                    used.add(name)
        return [name for name in names if name not in used]

    def _index(self, columns: ColumnOptions) -> str | None:
        """Return the first column if it is an index of pandas, or counts the rows: 0, 1, 2, ... or 1, 2, 3, ..."""
        name = next(iter(self.free), None)
        if name is None or re.fullmatch(r"(Unnamed: 0|index|level_0)?", name, re.IGNORECASE):
            return name
        values = pd.to_numeric(self.frame[name], errors="coerce").to_numpy(dtype=float)
        counts = len(values) > 2 and values[0] in (0, 1) and (np.diff(values) == 1).all()
        return name if counts and not columns.id and meaning(name) in (None, "id", "group") else None

    def _find(self, what: str) -> list[str]:
        names = [name for name in self.free if not self._listed(name)]
        return [name for name in names if meaning(name, self.frame.columns) == what]

    def _one(self, what: str) -> str | None:
        found = self._find(what)
        if what == "label" and len(found) > 1:
            found = [name for name in found if plain(name) != "y"]
        return only(found, what, self.path)

    def _left(self) -> list[str]:
        """Return the columns that have no meaning yet."""
        roles = self.columns
        used = {*roles.id, roles.label, roles.time, roles.channel, roles.split, self.group}
        return [name for name in self.free if name not in used]

    def _to_numbers(self, given: Sequence[str]) -> None:
        """Read columns of text as numbers if they are such; InputError at other cells of those that are values."""
        left = self._left()
        values = given or self._alike(left) or ([] if any(map(self._numeric, left)) else left)
        for name in (name for name in given or left if not self._numeric(name)):
            self.frame[name] = self._as_numbers(name, name in values and not meaning(name))

    def _as_numbers(self, name: str, strict: bool = False) -> pd.Series:
        """Return a column as numbers if its cells are such, else as it is; `strict`: InputError if most are."""
        column = self.frame[name]
        if column.dtype.kind != "O" or self._listed(name) or column.isna().all():
            return column
        cells = column.astype(object).where(column.notna(), "").astype(str).str.strip()
        place = f"{self.path}, row {{}} of the table, column {name!r}" if strict else ""
        numbers = _numbers_or_text(cells, self.frame.attrs.get("commas", False), place, 1)
        return numbers if pd.api.types.is_numeric_dtype(numbers) else column

    def _label(self) -> str | None:
        """Find the label by its name, else the only column of text that repeats, else of few numbers at an end."""
        named, given = self._one("label"), self.columns.label
        label = given if given in self.frame.columns else named
        if label is not None or not self.labelled:
            return label
        left = [name for name in self._left() if meaning(name) not in ("group", "split")]
        text = [name for name in left if not self._numeric(name) and not self._listed(name)]
        # Numbers written as text are values if their columns are numbered alike, or have other names.
        numbers = [name for name in left if pd.api.types.is_numeric_dtype(self._as_numbers(name))]
        values = {*self._alike(numbers), *filter(meaning, numbers)}
        repeated = [n for n in text if n not in values and 0 < self.frame[n].nunique() < len(self.frame)]
        ends = dict.fromkeys(left[:1] + left[-1:]) if self.numbered else ()
        found = repeated or [name for name in ends if self._numeric(name) and self._few(name)]
        if len(found) != 1:
            some = f"{' or '.join(map(repr, found[:6]))} may be" if found else "no column is"
            names = self.frame.columns
            raise InputError(
                f"{self.path}: {some} the label; allowed: columns={{label: COLUMN}} with one of "
                f"{', '.join(names[:8])}{', ...' if len(names) > 8 else ''}"
            )
        return found[0]

    def _numeric(self, name: str) -> bool:
        values = self.frame[name]
        return pd.api.types.is_numeric_dtype(values.dtype) and values.dtype != bool

    def _listed(self, name: str) -> bool:
        values = self.frame[name]
        return values.dtype == object and isinstance(values.iloc[0], list | tuple | np.ndarray)

    def _few(self, name: str) -> bool:
        values = self.frame[name]
        return bool((values == values.round()).all()) and 2 <= values.nunique() <= max(2, len(values) // 3)

    def _alike(self, names: Sequence[str]) -> list[str]:
        """Return the names that are numbered alike, if they are three or more, and no fewer than those without."""
        stems = _stems(names)
        most = max((len(names) for stem, names in stems.items() if stem is not None), default=0)
        if most < 3 or most < len(stems.get(None, ())):
            return []
        alike = (names for stem, names in stems.items() if stem is not None and len(names) == most)
        return [name for names in alike for _, name in names]

    def _values(self) -> list[str]:
        """Return the columns of values: if there are such, the ones of a wide table that are numbered alike."""
        left = self._left()
        listed = [name for name in left if self._listed(name)]
        numeric = [name for name in left if self._numeric(name)]
        others = ("id", "split", "group", "trait")
        values = listed or [name for name in numeric if meaning(name) not in others] or numeric
        if self.columns.layout == "wide" and not listed:
            values = self._alike(values) or values
        elif self.columns.layout == "long" and self.labelled and values and not listed:
            # What is the same in all rows of a series is no channel, but a trait, such as an age.
            distinct = self.frame.groupby([*self.columns.id])[values].nunique().max()
            values = [name for name in values if distinct[name] > 1] or values
        shown = {*values}
        if out := [name for name in left if name not in shown]:
            named = ", ".join(out[:6]) + (", ..." if len(out) > 6 else "")
            self.notes.append(f"left out: {named} (columns={{values: [...]}} names the columns of values)")
        if self.labelled and self.group is None:
            for name in (name for name in left if meaning(name) == "group"):
                self.notes.append(f"{name!r} may be in two sets (group={name} keeps each in one)")
        if not values:
            raise InputError(f"{self.path}: no column of numbers; allowed: columns={{values: [COLUMN, ...]}}")
        return values

    def _said(self) -> str:
        found = {key: getattr(self.columns, key) for key in ("label", "time", "channel", "split")}
        found |= {"group": self.group, "id": "+".join(self.columns.id)}
        parts = [f"{key} {name!r}" for key, name in found.items() if name]
        values = self.values if len(self.values) < 4 else [self.values[0], "...", self.values[-1]]
        return ", ".join([*parts, f"{len(self.values)} columns of values ({', '.join(values)})"])

    def cases(self, irregular: str) -> OwnCases:
        """Return the cases, a long table's in the order of their first rows; `irregular` time steps are treated so."""
        frame, ids = self.frame, [*self.columns.id]
        long = self.columns.layout == "long"
        for name in ids if long else ():
            check_present(frame[name], self.path)
        case_of = frame.groupby(ids, sort=False).ngroup().to_numpy() if long else np.arange(len(frame))
        first = np.unique(case_of, return_index=True)[1]
        names = [" ".join(map(str, row)) for row in frame[ids].iloc[first].to_numpy()] if ids else []
        series = self._long_series(case_of, names, irregular) if long else self._wide_series()

        def of_cases(name: str | None) -> list[str]:
            """Return a column's value of each case, as text; in a long table all rows of a case have the same."""
            if name is None or not self.labelled:
                return []
            column = frame[name]
            several = column.groupby(case_of).nunique(dropna=False).to_numpy() > 1
            if several.any():
                case = several.argmax()
                found = " and ".join(repr(str(value)) for value in column[case_of == case].unique()[:3])
                raise InputError(
                    f"{self.path}, series {names[case]}: {name!r} is {found}; allowed: one value in each series "
                    "(columns={id: [...]} may name several columns)"
                )
            there = column.notna()  # in text all are, and the empty ones are refused below or as labels
            return [str(column.iloc[row]) if there.iloc[row] else "" for row in first]

        sets = [value.lower() for value in of_cases(self.columns.split)]
        for row, value in zip(first, sets, strict=False):  # no sets without a column of them
            if value not in SETS:
                place = f"{self.path}, row {row + 1} of the table: {self.columns.split}"
                raise InputError(f"{place}: {unknown('value', value, SETS)}")
        numbers = [SETS[value] for value in sets]
        labels, groups = of_cases(self.columns.label), of_cases(self.group)
        return OwnCases(series, names, labels, groups, numbers, understood=self.notes, columns=self.columns)

    def _wide_series(self) -> list[np.ndarray]:
        if self._listed(self.values[0]):
            return [self._from_lists(row) for row in self.frame[self.values].itertuples(index=False)]
        stems = _stems(self.values)
        numbers = [sorted(number for number, _ in names) for names in stems.values()]
        channels = [self.values]
        if all(found == numbers[0] for found in numbers) and len({*numbers[0]}) == len(numbers[0]) > 1:
            # Columns that are named stay in that order.
            in_order = (names if self.columns.values else sorted(names) for names in stems.values())
            channels = [[name for _, name in names] for names in in_order]
        if len(channels) > 1:
            self.notes.append(f"{len(channels)} channels: {', '.join(map(str, stems))}")
        elif channels[0] != self.values:
            self.notes.append("columns of values in the order of their numbers")
        return [*np.stack([self._floats(names) for names in channels], axis=1)]

    def _floats(self, names: list[str]) -> np.ndarray:
        return self.frame[names].to_numpy(dtype=np.float64, na_value=np.nan)

    def _from_lists(self, row: Iterable[Any]) -> np.ndarray:
        try:
            arrays = [np.array([*cell], dtype=np.float64) for cell in row]
            if len(arrays) == 1 and arrays[0].ndim == 2:
                return arrays[0] if arrays[0].shape[0] <= arrays[0].shape[1] else arrays[0].T
            return np.stack(arrays)
        except (TypeError, ValueError) as error:
            raise InputError(
                f"{self.path}: {', '.join(self.values)}: lists of numbers of one length in a row ({error})"
            ) from error

    def _long_series(self, case_of: np.ndarray, names: list[str], irregular: str) -> list[np.ndarray]:
        """Return the series of each case, sorted by time, and regular."""
        time, channel = self.columns.time, self.columns.channel
        times = (
            np.arange(len(case_of), dtype=float) if time is None else read_times(self.frame[time], self.path)
        )
        values = self._floats(self.values)
        if channel is not None:
            if len(self.values) > 1 or time is None:
                raise InputError(
                    f"{self.path}: channel {channel!r}; allowed with it: a time, and one column of values"
                )
            keys = [case_of, times, self.frame[channel].astype(str).to_numpy()]
            stacked = pd.Series(values[:, 0], index=pd.MultiIndex.from_arrays(keys))
            if (twice := stacked.index.duplicated()).any():
                case, when, name = stacked.index[twice.argmax()]
                raise InputError(
                    f"{self.path}, series {names[case]}: time {when:g} of channel {name} is there twice"
                )
            table = stacked.unstack()
            self.notes.append(f"{table.shape[1]} channels: {', '.join(table.columns)}")
            case_of, times = (table.index.get_level_values(level).to_numpy() for level in (0, 1))
            values = table.to_numpy()
        order = np.argsort(case_of, kind="stable")
        parts = np.split(order, np.flatnonzero(np.diff(case_of[order])) + 1)
        series = [values[part].T for part in parts]
        if time is None:
            return series
        places = [f"{self.path}, series {name}" for name in names]
        return in_time(series, [times[part] for part in parts], irregular, places, self.notes)


def _stems(names: Sequence[str]) -> dict[str | None, list[tuple[float, str]]]:
    """Return names of columns with their numbers by what is in front of the number; None: not numbered.

    Names that are numbers, dates or times of day as a whole have the stem "". Decimals belong to a number alone, or
    behind a name of times: x1.5 has the stem x1.
    """
    stems: dict[str | None, list[tuple[float, str]]] = {}
    there = {*names}
    for place, name in enumerate(names):
        # pandas names equal columns x, x.1, x.2; numbers may have decimal commas.
        text = (f"{name}.0" if f"{name}.1" in there else name).replace(",", ".")
        stem, number, match = None, 0.0, _NUMBERED.fullmatch(text)
        if math.isfinite(_number(text)):
            stem, number = "", _number(text)
        elif _TIME.fullmatch(text):
            stem, number = "", place  # in their order
        elif (decimal := _WITH_DECIMALS.fullmatch(text)) and meaning(decimal[1]) == "time":
            stem, number = decimal[1], float(decimal[2])
        elif match:
            stem, number = match[1], int(match[2])
        stems.setdefault(stem, []).append((number, name))
    return stems


def _even(numbers: Sequence[float]) -> bool:
    """Return whether numbers have equal steps."""
    steps = np.diff(numbers)
    return bool(len(steps) and steps[0] and np.allclose(steps, steps[0], rtol=1e-6, atol=0))


# Times


def check_present(column: pd.Series, path: Path) -> None:
    """Raise InputError, with the row, if a cell of a column has no value."""
    gone = (column.isna() | (column.astype(str).str.strip() == "")).to_numpy()
    if gone.any():
        raise InputError(f"{path}, row {gone.argmax() + 1} of the table: no value of {str(column.name)!r}")


def read_times(column: pd.Series, path: Path) -> np.ndarray:
    """Return times as numbers (float64, a row each), dates as seconds; InputError if one is missing or neither."""
    check_present(column, path)
    if not pd.api.types.is_numeric_dtype(column):
        column = column.astype(str).str.strip()
    parsed = pd.to_numeric(column, errors="coerce")
    if pd.api.types.is_integer_dtype(parsed) and parsed.max() > 2**53:
        parsed = parsed - parsed.min()  # nanoseconds since 1970, which float64 would round
    numbers = parsed.to_numpy(dtype=float)
    if np.isfinite(numbers).all():
        if not ((numbers >= 1e7) & (numbers < 1e8) & (numbers % 1 == 0)).all():
            return numbers
        days = pd.to_datetime(parsed.astype(int).astype(str), format="%Y%m%d", errors="coerce")  # as 20201231
        return numbers if days.isna().any() else _seconds(days)
    place = f"{path}: {str(column.name)!r}"
    try:
        one, other = (
            pd.to_datetime(column.astype(str), dayfirst=dayfirst, utc=True, format="mixed")
            for dayfirst in (False, True)
        )
    except ValueError as error:
        fault = " ".join(str(error).split())
        raise InputError(f"{place}: not times ({fault[:120]}); allowed: numbers or dates") from error
    if (differ := (one != other).to_numpy()).any():
        raise InputError(
            f"{place}: {shown(column.iloc[differ.argmax()])} may be day or month first; allowed: ISO 8601, such as "
            "2020-12-31"
        )
    return _seconds(one)


def _seconds(dates: pd.Series) -> np.ndarray:
    """Return seconds since the first date: float64 would round those since 1970."""
    return (dates - dates.min()).dt.total_seconds().to_numpy()


def in_time(
    series: Sequence[np.ndarray],
    times: Sequence[np.ndarray],
    irregular: str,
    places: Sequence[str],
    notes: list[str],
) -> list[np.ndarray]:
    """Sort series by time and make them regular; append to `notes` what was changed.

    Parameters
    ----------
    series : sequence of ndarray of float64, shape (n_channels, n_timepoints)
    times : sequence of ndarray of float64, shape (n_timepoints,)
    irregular : str
        As in `read_own`.
    places : sequence of str
        Names of the series in messages.
    notes : list of str
    """
    orders = [np.argsort(each, kind="stable") for each in times]
    if any((np.diff(order) < 0).any() for order in orders):
        notes.append("rows sorted by time")
    ordered = [case[:, order] for case, order in zip(series, orders, strict=True)]
    regular = [
        _regular(case, each[order], irregular, place)
        for case, each, order, place in zip(ordered, times, orders, places, strict=True)
    ]
    if changed := sum(one is not other for one, other in zip(ordered, regular, strict=True)):
        notes.append(f"{changed} series with irregular time steps, interpolated to regular ones")
    return regular


def _regular(values: np.ndarray, times: np.ndarray, irregular: str, place: str) -> np.ndarray:
    """Interpolate a series to regular steps (the median one), or return it as it is if its own are."""
    if len(times) < 2 or not len(values):
        return values
    steps = np.diff(times)
    if steps.min() <= 0:
        raise InputError(
            f"{place}: time {times[steps.argmin()]:g} is there twice; allowed: once in a series (in one "
            "table columns={id: [...]} may name several columns, columns={channel: ...} that of the channels)"
        )
    step, found = float(np.median(steps)), f"{place}: time steps from {steps.min():g} to {steps.max():g}"
    if irregular == "ignore" or np.allclose(steps, step, rtol=1e-3, atol=0):
        return values
    if irregular == "refuse":
        raise InputError(
            f"{found}, irregular=refuse; preprocess={{irregular: interpolate}} or ignore allows them"
        )
    count = round((times[-1] - times[0]) / step) + 1
    if count > 20 * len(times):
        raise InputError(
            f"{found}; allowed: steps that differ less, or preprocess={{irregular: ignore}}, the order of times alone"
        )
    grid, present = np.linspace(times[0], times[-1], count), ~np.isnan(values)
    # Missing values at the end remain, since they may end the series.
    return np.stack(
        [
            np.interp(grid, times[there], channel[there], right=np.nan)
            if there.any()
            else np.full(count, np.nan)
            for channel, there in zip(values, present, strict=True)
        ]
    )
