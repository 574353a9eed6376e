"""Data of users in whatever file they have: tables (wide, long), arrays, folders of CSV files, saved datasets."""

from __future__ import annotations

import io
import logging
import re
import zipfile
import zlib
from collections.abc import Collection, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from vlmtsc.data.readers import MISSING, decode, decompress, read_part, shown
from vlmtsc.data.series import LabelledSeries
from vlmtsc.data.sources import files_of
from vlmtsc.errors import InputError
from vlmtsc.files import read_json
from vlmtsc.settings import ColumnOptions, unknown

logger = logging.getLogger(__name__)

#: Names of columns by which their meaning is recognised: in lower case, letters and digits alone.
NAMES = {
    "label": "label labels class classlabel classname target y category",
    "id": "id ids case caseid caseindex seriesid series sample sampleid instance instanceid uid sequenceid",
    "time": "time t timestamp timestamps datetime date timepoint timestep step readingid timeindex",
    "channel": "kind channel dim dimension dimid variable sensor",
    "split": "split set subset part partition",
}
#: Columns that often name what should not be in two sets.
GROUPS = {
    "subject",
    "subjectid",
    "participant",
    "participantid",
    "patient",
    "patientid",
    "person",
    "user",
    "userid",
}
SETS = {
    **dict.fromkeys(("train", "training"), 0),
    **dict.fromkeys(("val", "valid", "validation", "dev"), 1),
    **dict.fromkeys(("test", "testing"), 2),
}
_FAULTS = (OSError, ValueError, KeyError, EOFError, OverflowError, zipfile.BadZipFile, zlib.error)


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


def read_own(
    path: Path,
    columns: ColumnOptions,
    group: str | None = None,
    *,
    labelled: bool = True,
    irregular: str = "interpolate",
) -> OwnCases:
    """Read the cases of a user's file or folder.

    Parameters
    ----------
    path : Path
        A table with a case a row (wide) or a timepoint a row (long): text, .parquet or .feather. Arrays (.npz, .npy).
        A file of the archive's formats (.ts, .arff). A folder of one CSV file a case, whose labels are the names of
        its subfolders or in a table. A folder to which Hugging Face's `datasets` saved.
    columns : ColumnOptions
        What columns mean; what is left out is recognised by name or content.
    group : str, optional
        Column of values that no two sets may share.
    labelled : bool
        Whether labels are needed; otherwise they are left out.
    irregular : str
        Treatment of irregular time steps: interpolate, ignore or refuse.
    """
    suffix = path.name.lower().removesuffix(".gz").rpartition(".")[2] if "." in path.name else ""
    if not path.exists():
        raise InputError(f"{path}: no such file or folder")
    if path.is_dir() and not _is_saved_dataset(path):
        cases = _read_folder(path, columns, labelled)
    elif suffix in ("npz", "npy"):
        cases = _read_arrays(path, columns, labelled)
    elif suffix in ("ts", "arff"):
        series, labels, _ = read_part(path.read_bytes(), str(path))
        cases = OwnCases(
            series, _numbered(series), labels, understood=[f"file in the archive's format .{suffix}"]
        )
    else:
        cases = _read_table(path, suffix, columns, group, labelled, irregular)
    if group and not cases.groups and labelled:
        raise InputError(f"{path}: group={group}; allowed: a column of a table")
    cases.places = cases.places or [f"{path}, case {number}" for number in cases.ids]
    if not cases.series:
        raise InputError(f"{path}: no series; allowed: one or more")
    for place, case in zip(cases.places, cases.series, strict=True):
        if np.isinf(case).any() or case.shape[1] == 0:
            what = "an infinite value" if case.shape[1] else f"{len(case)} channels of 0 timepoints"
            raise InputError(f"{place}: {what}; allowed: finite numbers, or nothing for a missing value")
    return cases


def own_series(cases: OwnCases) -> LabelledSeries:
    """Return labelled cases as a dataset: train, validation and test cases if a split is given, else in their order."""
    order = np.argsort(cases.sets, kind="stable") if cases.sets else np.arange(len(cases.series))
    counts = np.bincount(cases.sets, minlength=3) if cases.sets else np.array([len(order), 0, 0])
    return LabelledSeries.from_cases(
        [cases.series[index] for index in order],
        [cases.labels[index] for index in order],
        [cases.places[index] for index in order],
        int(counts[:2].sum()),
        n_validation=int(counts[1]),
        groups=np.array([cases.groups[index] for index in order] if cases.groups else [], dtype=str),
    )


def describe_own(cases: OwnCases, series: LabelledSeries) -> list[str]:
    """Say in a few lines what was understood: layout, cases, channels, lengths, classes, missing values, split."""
    lengths, classes = series.lengths, pd.Series(series.labels).value_counts(sort=False).sort_index()
    length = str(lengths.max()) if lengths.min() == lengths.max() else f"{lengths.min()} to {lengths.max()}"
    missing = sum(int(np.isnan(v[:, :n]).sum()) for v, n in zip(series.values, lengths, strict=True))
    lines = [
        *cases.understood,
        f"{len(lengths)} cases, {series.values.shape[1]} channels, {length} timepoints, {missing} missing values",
        f"{len(classes)} classes: "
        + ", ".join(f"{name} ({count})" for name, count in list(classes.items())[:20]),
    ]
    if cases.sets:
        n = [cases.sets.count(number) for number in range(3)]
        drawn = "" if n[1] else " (validation is drawn from train)"
        lines.append(f"split as given: {n[0]} train, {n[1]} validation, {n[2]} test{drawn}")
    else:
        grouped = f", none of {len({*cases.groups})} groups in two sets" if cases.groups else ""
        lines.append(f"no split given: 60/20/20 at random, stratified by class{grouped}")
    return lines


def _numbered(cases: Sequence[object]) -> list[str]:
    return [str(number) for number in range(1, len(cases) + 1)]


# Tables


def _read_table(
    path: Path, suffix: str, columns: ColumnOptions, group: str | None, labelled: bool, irregular: str
) -> OwnCases:
    try:
        if path.is_dir():
            frame, how = _read_saved_dataset(path), "dataset saved by Hugging Face datasets"
        elif suffix in ("parquet", "pq"):
            frame, how = pd.read_parquet(path), "table"
        elif suffix in ("feather", "arrow"):
            frame, how = pd.read_feather(path), "table"
        else:
            frame, how = _read_text(path, {*columns.id, columns.label, columns.split, group})
    except InputError:
        raise
    except _FAULTS as error:
        raise InputError(f"{path}: not a table that can be read ({' '.join(str(error).split())})") from error
    if not isinstance(frame.index, pd.RangeIndex):
        frame = frame.reset_index()
    frame.columns = [str(name) for name in frame.columns]
    if frame.empty:
        raise InputError(f"{path}: no series; allowed: one or more rows of numbers")
    table = _Table(path, frame, how, columns, group, labelled)
    table.irregular = irregular
    return table.cases()


def _is_number(cell: str) -> bool:
    try:
        return np.isfinite(float(cell.replace("_", "?")))
    except ValueError:
        return False


def _read_text(path: Path, named: Collection[str | None] = ()) -> tuple[pd.DataFrame, str]:
    """Read a table from text: separator, decimal sign and header are found out. Columns without names are numbered.

    The columns `named`, and those that their name says to be labels or names, stay text.
    """
    text = decode(decompress(path.read_bytes(), str(path)), str(path))
    lines = [line for line in text.splitlines() if line.strip()]
    if not lines:
        raise InputError(f"{path}: no series; allowed: one or more rows of numbers")
    first = lines[:50]
    separator = next((sign for sign in "\t;|," if all(sign in line for line in first)), None)
    if separator is None:  # of a single column, or blanks
        separator = "," if "," in text else r"\s+"
    sign = separator if separator != r"\s+" else None
    cells = [cell.strip().strip('"') for line in first for cell in line.split(sign)]
    comma = separator != "," and any(re.fullmatch(r"[+-]?\d+,\d+", cell) for cell in cells)
    if comma and any(re.fullmatch(r"[+-]?\d+\.\d+", cell) for cell in cells):
        raise InputError(f"{path}: decimal points and decimal commas; allowed: one of them")
    head = [cell.strip().strip('"') for cell in lines[0].split(sign)]
    plain = [cell.replace(",", ".") if comma else cell for cell in head]
    numbers = [float(cell) for cell in plain if _is_number(cell)]
    text_cells = [cell for cell in plain if cell.lower() not in MISSING and not _is_number(cell)]
    counted = len(numbers) > 1 and all(number == numbers[0] + place for place, number in enumerate(numbers))
    # A row of data may begin with text and count too.
    counted &= len(numbers) > 5 or all(map(_meaning, text_cells))
    # A header has no number, or counts its columns as pandas does: 0, 1, 2, ...
    header = (not numbers and bool(text_cells)) or (
        counted and len(lines) > 1 and (bool(text_cells) or head[0] == "" or numbers[0] == 0)
    )
    options: dict[str, Any] = {
        "sep": separator,
        "decimal": "," if comma else ".",
        "float_precision": "round_trip",
    }
    options |= {"low_memory": False, "skipinitialspace": True, "na_values": ["?"], "index_col": False}
    width = len(head)
    if '"' not in text:
        widths = [
            len(line.split(sign)) - (sign is not None and line.rstrip().endswith(sign)) for line in lines
        ]
        width = max(widths)
        if header and width > len(head):
            row = next(number for number, found in enumerate(widths, 1) if found > len(head))
            raise InputError(f"{path}, row {row}: {widths[row - 1]} cells, but the header has {len(head)}")
    if not header:
        options |= {"header": None, "names": range(1, width + 1)}
    names = pd.read_csv(io.StringIO(text), nrows=0, **options).columns
    # Text of columns that may be labels or names stays as it is written.
    frame = pd.read_csv(io.StringIO(text), nrows=1000, **options)
    as_text = [
        name
        for name in names
        if frame[name].dtype == object
        or str(name) in named
        or _meaning(name, names) in ("id", "label", "split")
    ]
    frame = pd.read_csv(io.StringIO(text), converters=dict.fromkeys(as_text, str.strip), **options)
    for place, name in enumerate(names):
        if (
            frame[name].dtype != object
            or str(name) in named
            or _meaning(name, names)
            or _plain(name) in GROUPS
        ):
            continue
        cells_of = frame[name].astype(str).str.strip()
        gone = cells_of.str.lower().isin(MISSING)
        numeric = pd.to_numeric(
            cells_of.str.replace(",", ".") if comma else cells_of, errors="coerce"
        ).notna()
        faults = np.flatnonzero(~gone & ~numeric)
        if not len(faults):
            frame[name] = [np.nan if lost else float(cell) for cell, lost in zip(cells_of, gone, strict=True)]
        elif numeric.sum() > len(faults):  # numbers with a fault, not text
            raise InputError(
                f"{path}, row {faults[0] + 1 + header}, column {place + 1}: {shown(cells_of[faults[0]])}; "
                "allowed: a finite number, or nothing for a missing value"
            )
    by = {"\t": "tabs", ";": "semicolons", "|": "bars", ",": "commas"}.get(separator, "blanks")
    extra = ", decimal commas" if comma else ""
    return frame, f"table separated by {by}{extra}, {'with' if header else 'without'} a header"


def _plain(name: Hashable) -> str:
    return re.sub(r"[^a-z0-9]", "", str(name).lower())


def _meaning(name: Hashable, beside: Iterable[Hashable] = ()) -> str | None:
    """Return what a column's name says that it is; y is no label beside x."""
    if _plain(name) == "y" and "x" in map(_plain, beside):
        return None
    return next((key for key, names in NAMES.items() if _plain(name) in names.split()), None)


class _Table:
    """A table and what its columns mean."""

    irregular = "interpolate"

    def __init__(
        self,
        path: Path,
        frame: pd.DataFrame,
        how: str,
        columns: ColumnOptions,
        group: str | None,
        labelled: bool,
    ) -> None:
        self.path, self.frame, self.labelled, self.group = path, frame, labelled, group
        self.notes: list[str] = []
        names = list(frame.columns)
        given = {
            key: value
            for key, value in columns.model_dump().items()
            if value and key not in ("layout", "axes")
        }
        for key, value in [*given.items(), ("group", group or [])]:
            for name in [value] if isinstance(value, str) else value:
                if name not in names and (labelled or key in ("id", "time", "channel", "values")):
                    raise InputError(f"{path}: {key}: {unknown('column', name, names)}")
        used = {name for value in given.values() for name in ([value] if isinstance(value, str) else value)}
        self.free = [name for name in names if name not in used]
        self.id = [name for name in columns.id if name in names]
        self.label, self.time = columns.label, columns.time
        self.channel, self.split = columns.channel, columns.split
        index = next(
            (n for n in self.free[:1] if re.fullmatch(r"(Unnamed: 0|index|level_0)?", n, re.IGNORECASE)), None
        )
        if index is None and self.free and len(frame) > 2 and not self.id and _counts(frame[self.free[0]]):
            index = self.free[0] if _meaning(self.free[0]) in (None, "id") else None
        if not self.id:
            self.id = self._find("id")[:1]
        self.index = index if index in self.free else None
        if self.index:
            self.free.remove(self.index)
        self.time = self.time or self._one("time")
        self.channel = self.channel or self._one("channel")
        if self.split is None:
            found = [n for n in self._find("split") if {str(v).lower() for v in frame[n]} <= {*SETS}]
            self.split = found[0] if found else None
        repeated = bool(self.id) and bool(frame.duplicated(self.id).any())
        self.long = columns.layout == "long" or (
            columns.layout == "auto" and (repeated or bool(columns.channel))
        )
        if self.time and not self.long and columns.layout == "auto":
            raise InputError(
                f"{path}: the column {self.time!r} is of times, but no column names the series of a row; allowed: "
                "columns={id: COLUMN} (or a list of columns), or columns={layout: wide}"
            )
        if self.long and not self.id:
            raise InputError(f"{path}: no column names the series of a row; allowed: columns={{id: COLUMN}}")
        if not self.long:
            self.time = self.channel = None
            self.id = self.id or [name for name in [self.index] if name is not None]
        self._find_label()
        self.values = list(columns.values) or self._find_values()
        self.columns = columns.changed(
            **{
                **{
                    "layout": "long" if self.long else "wide",
                    "label": self.label,
                    "id": self.id,
                    "time": self.time,
                },
                **{"channel": self.channel, "split": self.split, "axes": columns.axes},
                "values": self.values if columns.values else (),
            }
        )
        self.notes.insert(0, f"{'long' if self.long else 'wide'} {how}: {self._roles()}")

    def _find(self, meaning: str) -> list[str]:
        names = [name for name in self.free if not self._listed(name)]
        return [name for name in names if _meaning(name, self.frame.columns) == meaning]

    def _one(self, meaning: str) -> str | None:
        found = self._find(meaning)
        if meaning == "label" and len(found) > 1:
            found = [name for name in found if _plain(name) != "y"]
        if len(found) > 1:
            raise InputError(
                f"{self.path}: {' and '.join(map(repr, found))} may be the {meaning}; allowed: "
                f"columns={{{meaning}: {found[0]}}}, or another of them"
            )
        return found[0] if found else None

    def _find_label(self) -> None:
        """Find the label by its name, else the only column of text, else the only first or last one of few numbers."""
        named = self._one("label")
        self.label = self.label if self.label in self.frame.columns else named
        if self.label is not None or not self.labelled:
            return
        left = [n for n in self.free if n not in {*self.id, self.time, self.channel, self.split, self.group}]
        text = [name for name in left if not self._numeric(name) and not self._listed(name)]
        repeated = [name for name in text if self.frame[name].nunique() < len(self.frame)]
        numbered = all(name.isdigit() for name in self.frame.columns)
        ends = [n for n in (left[:1] + left[-1:]) if self._numeric(n) and self._few(n)] if numbered else []
        found = repeated or text or list(dict.fromkeys(ends))
        if len(found) != 1:
            what = (
                f"{' or '.join(map(repr, found[:6]))} may be the label" if found else "no column is the label"
            )
            raise InputError(
                f"{self.path}: {what}; allowed: columns={{label: COLUMN}} with one of "
                f"{', '.join(self.frame.columns[:8])}{', ...' if len(self.frame.columns) > 8 else ''}"
            )
        self.label = found[0]

    def _numeric(self, name: str) -> bool:
        return pd.api.types.is_numeric_dtype(self.frame[name]) and self.frame[name].dtype != bool

    def _listed(self, name: str) -> bool:
        return isinstance(next(iter(self.frame[name]), None), list | tuple | np.ndarray)

    def _few(self, name: str) -> bool:
        values = self.frame[name]
        return bool((values == values.round()).all()) and 2 <= values.nunique() <= max(2, len(values) // 3)

    def _find_values(self) -> list[str]:
        """Return the columns of values: of a wide table those that are numbered alike, if there are such."""
        roles = {*self.id, self.label, self.time, self.channel, self.split, self.group}
        left = [name for name in self.free if name not in roles]
        listed = [name for name in left if self._listed(name)]
        values = listed or [name for name in left if self._numeric(name)]
        patterns: dict[str, list[str]] = {}
        for name in values:
            match = re.fullmatch(r"(.*?)[\W_]*\d+", name)
            patterns.setdefault(match[1] if match else "", []).append(name)
        counted = max(patterns.values(), key=len, default=[])
        if not self.long and not listed and len(counted) > 2 and re.search(r"\d$", counted[0]):
            values = [name for names in patterns.values() if len(names) == len(counted) for name in names]
        if out := [name for name in left if name not in values]:
            named = ", ".join(out[:6]) + (", ..." if len(out) > 6 else "")
            self.notes.append(f"left out: {named} (columns={{values: [...]}} names the columns of values)")
        for name in left:
            if self.labelled and self.group is None and _plain(name) in GROUPS:
                self.notes.append(f"{name!r} may be in two sets (group={name} keeps each in one)")
        if not values:
            raise InputError(f"{self.path}: no column of numbers; allowed: columns={{values: [COLUMN, ...]}}")
        return values

    def _roles(self) -> str:
        parts = [
            f"{key} {value!r}"
            for key, value in (
                ("label", self.label),
                ("time", self.time),
                ("channel", self.channel),
                ("split", self.split),
                ("group", self.group),
            )
            if value
        ]
        parts += [f"id {'+'.join(self.id)!r}"] if self.id else []
        values = self.values if len(self.values) < 4 else [self.values[0], "...", self.values[-1]]
        return ", ".join([*parts, f"{len(self.values)} columns of values ({', '.join(values)})"])

    def cases(self) -> OwnCases:
        rows = self.frame
        if self.long:
            series, first, ids = self._long_series()
        else:
            series, first = self._wide_series(), np.arange(len(rows))
            ids = (
                [" ".join(map(str, row)) for row in rows[self.id].to_numpy()] if self.id else _numbered(rows)
            )
        cases = OwnCases(series, ids, understood=self.notes, columns=self.columns)
        cases.places = [f"{self.path}, series {name}" for name in ids]
        if self.labelled:
            for key, name in (("labels", self.label), ("groups", self.group), ("sets", self.split)):
                if name is not None:
                    setattr(cases, key, self._of_cases(name, first))
            unknown_sets = {value.lower() for value in map(str, cases.sets)} - {*SETS}
            if unknown_sets:
                raise InputError(f"{self.path}: split: {unknown('value', min(unknown_sets), SETS)}")
            cases.sets = [SETS[str(value).lower()] for value in cases.sets]
            if cases.sets and not {0, 2} <= {*cases.sets}:
                raise InputError(f"{self.path}: split: no {'test' if 0 in cases.sets else 'train'} cases")
        return cases

    def _of_cases(self, name: str, first: np.ndarray) -> list[str]:
        """Return a column's value of each case, as text; of a long table it is the same in all rows of a case."""
        column = self.frame[name]
        if self.long:
            counts = self.frame.groupby(self._code)[name].nunique(dropna=False)
            if (counts > 1).any():
                case = int(counts.index[(counts > 1).to_numpy().argmax()])
                found = column[self._code == case].unique()[:3]
                raise InputError(
                    f"{self.path}, series {self._ids[case]}: {name!r} is {' and '.join(map(repr, map(str, found)))}; "
                    "allowed: one value in each series (columns={id: [...]} may name several columns)"
                )
        return [str(value) for value in column.iloc[first]]

    def _wide_series(self) -> list[np.ndarray]:
        if self._listed(self.values[0]):
            return [self._from_lists(row) for row in self.frame[self.values].itertuples(index=False)]
        numbers: dict[str, list[tuple[int, str]]] = {}
        for name in self.values:
            match = re.fullmatch(r"(.*?)[\W_]*(\d+)", name)
            numbers.setdefault(match[1] if match else "", []).append((int(match[2]) if match else 0, name))
        same = len({tuple(sorted(number for number, _ in names)) for names in numbers.values()}) == 1
        every = all(len({number for number, _ in names}) == len(names) > 1 for names in numbers.values())
        channels = [self.values]
        if same and every:  # columns that are named stay in that order
            in_order = (names if self.columns.values else sorted(names) for names in numbers.values())
            channels = [[name for _, name in names] for names in in_order]
        if len(channels) > 1:
            self.notes.append(f"{len(channels)} channels: {', '.join(numbers)}")
        elif channels[0] != self.values:
            self.notes.append("columns of values in the order of their numbers")
        values = np.stack([self.frame[names].to_numpy(dtype=np.float64) for names in channels], axis=1)
        used = [np.flatnonzero(~np.isnan(case).all(axis=0)) for case in values]
        return [case[:, : max(present, default=-1) + 1] for case, present in zip(values, used, strict=True)]

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

    def _long_series(self) -> tuple[list[np.ndarray], np.ndarray, list[str]]:
        """Return series, first row and identifier of each case, and remember the case of each row."""
        for name in [*self.id, *filter(None, [self.time])]:
            gone = self.frame[name].isna() | (self.frame[name].astype(str).str.strip() == "")
            if gone.any():
                raise InputError(
                    f"{self.path}, row {int(gone.to_numpy().argmax()) + 1} of the table: no value of {name!r}"
                )
        code = self.frame.groupby(self.id, sort=False).ngroup().to_numpy()
        first = np.unique(code, return_index=True)[1]
        ids = [" ".join(map(str, row)) for row in self.frame[self.id].iloc[first].to_numpy()]
        self._code, self._ids = code, ids
        times = np.arange(len(code), dtype=float) if self.time is None else self._times(self.frame[self.time])
        values = self.frame[self.values].to_numpy(dtype=np.float64)
        if self.channel is not None:
            if len(self.values) > 1 or self.time is None:
                raise InputError(
                    f"{self.path}: channel {self.channel!r}; allowed with it: a time, and one column of values"
                )
            keys = [code, times, self.frame[self.channel].astype(str).to_numpy()]
            stacked = pd.Series(values[:, 0], index=pd.MultiIndex.from_arrays(keys))
            if (twice := stacked.index.duplicated()).any():
                case, time, name = stacked.index[twice.argmax()]
                raise InputError(
                    f"{self.path}, series {ids[case]}: time {time:g} of channel {name} is there twice"
                )
            table = stacked.unstack()
            self.notes.append(f"{table.shape[1]} channels: {', '.join(table.columns)}")
            code, times = (table.index.get_level_values(level).to_numpy() for level in (0, 1))
            values = table.to_numpy()
        order = np.lexsort((times, code))
        parts = np.split(order, np.flatnonzero(np.diff(code[order])) + 1)
        if any((np.diff(part) < 0).any() for part in parts):
            self.notes.append("rows sorted by time")
        regular = [self._regular(values[part].T, times[part], ids[code[part[0]]]) for part in parts]
        if changed := sum(one for _, one in regular):
            self.notes.append(f"{changed} series with irregular time steps, interpolated to regular ones")
        return [series for series, _ in regular], first, ids

    def _times(self, column: pd.Series) -> np.ndarray:
        """Return times as numbers; dates as seconds."""
        if pd.api.types.is_numeric_dtype(column):
            return column.to_numpy(dtype=float)
        text = column.astype(str).str.strip()
        numbers = pd.to_numeric(text, errors="coerce")
        if numbers.notna().all():
            return numbers.to_numpy(dtype=float)
        read = []
        for dayfirst in (False, True):
            try:
                read.append(
                    pd.to_datetime(text, dayfirst=dayfirst, utc=True, format="mixed")
                    .astype("int64")
                    .to_numpy()
                    / 1e9
                )
            except ValueError as error:
                fault = " ".join(str(error).split())
        if not read:
            raise InputError(
                f"{self.path}: {self.time!r}: not times ({fault[:120]}); allowed: numbers or dates"
            )
        if len(read) == 2 and (read[0] != read[1]).any():
            raise InputError(
                f"{self.path}: {self.time!r}: {shown(text[0])} may be day or month first; allowed: ISO 8601, such as "
                "2020-12-31"
            )
        return read[0]

    def _regular(self, values: np.ndarray, times: np.ndarray, name: str) -> tuple[np.ndarray, bool]:
        """Interpolate a series to regular steps (the median one) if its own are not; say whether they were not."""
        if self.time is None or len(times) < 2:
            return values, False
        steps = np.diff(times)
        if steps.min() <= 0:
            raise InputError(
                f"{self.path}, series {name}: time {times[steps.argmin()]:g} is there twice; allowed: once in a series "
                "(columns={id: [...]} may name several columns, columns={channel: ...} that of the channels)"
            )
        step = float(np.median(steps))
        if np.allclose(steps, step, rtol=1e-3, atol=0) or self.irregular == "ignore":
            return values, False
        if self.irregular == "refuse":
            raise InputError(
                f"{self.path}, series {name}: time steps from {steps.min():g} to {steps.max():g}, irregular=refuse; "
                "preprocess={irregular: interpolate} or ignore allows them"
            )
        count = round((times[-1] - times[0]) / step) + 1
        if count > 20 * len(times):
            raise InputError(
                f"{self.path}, series {name}: time steps from {steps.min():g} to {steps.max():g}; allowed: steps that "
                "differ less, or without columns={time: ...} the order of the rows alone"
            )
        grid = np.linspace(times[0], times[-1], count)
        present = [~np.isnan(channel) for channel in values]
        return np.stack(
            [
                np.interp(grid, times[there], channel[there]) if there.any() else np.full(count, np.nan)
                for channel, there in zip(values, present, strict=True)
            ]
        ), True


def _counts(column: pd.Series) -> bool:
    """Return whether a column is 0, 1, 2, ... or 1, 2, 3, ..."""
    values = pd.to_numeric(column, errors="coerce").to_numpy(dtype=float)
    return bool(values[0] in (0, 1) and (np.diff(values) == 1).all())


# Folders


def _is_saved_dataset(path: Path) -> bool:
    return any((path / name).is_file() for name in ("dataset_dict.json", "dataset_info.json", "state.json"))


def _read_saved_dataset(path: Path) -> pd.DataFrame:
    """Read the folder of a dataset, or of a dictionary of datasets, whose keys are the sets."""
    from pyarrow import ipc

    if (path / "dataset_dict.json").is_file():
        splits = read_json(path / "dataset_dict.json")["splits"]
        return pd.concat(
            [_read_saved_dataset(path / name).assign(split=name) for name in splits], ignore_index=True
        )
    tables = []
    for entry in read_json(path / "state.json")["_data_files"]:
        with (path / entry["filename"]).open("rb") as file:
            tables.append(ipc.open_stream(file).read_all().to_pandas())
    frame = pd.concat(tables, ignore_index=True)
    for name, feature in (read_json(path / "dataset_info.json").get("features") or {}).items():
        if feature.get("_type") == "ClassLabel":
            frame[name] = [feature["names"][index] if index >= 0 else "" for index in frame[name]]
    return frame


def _read_folder(path: Path, columns: ColumnOptions, labelled: bool) -> OwnCases:
    """Read one CSV file a case; labels are names of subfolders (below those of sets, if any), or in a table."""
    files = [file for file in files_of(path) if file.name.lower().endswith((".csv", ".tsv", ".csv.gz"))]
    table = next(
        (
            f
            for f in files
            if labelled
            and f.parent == path
            and _plain(f.name.split(".")[0]) in ("labels", "label", "metadata", "classes")
        ),
        None,
    )
    files = [file for file in files if file != table]
    if not files:
        raise InputError(f"{path}: no *.csv file; allowed: a folder with one CSV file a series")
    ids = [file.relative_to(path).as_posix().split(".")[0] for file in files]
    cases = OwnCases([], ids, places=[str(file) for file in files], columns=columns)
    names: list[str] | None = None
    cut = 0
    for file in files:
        frame, _ = _read_text(file)
        frame.columns = [str(name) for name in frame.columns]
        times = [name for name in frame.columns if (columns.time or "") == name or _meaning(name) == "time"]
        if times:
            frame = frame.sort_values(times[0], kind="stable")
        channels = [name for name in frame.columns if name not in times and not name.startswith("Unnamed: ")]
        if names is not None and channels != names:
            raise InputError(
                f"{file}: the columns {', '.join(channels)}, but {files[0].name} has {', '.join(names)}"
            )
        names = channels
        text = [name for name in channels if not pd.api.types.is_numeric_dtype(frame[name])]
        if text:
            raise InputError(
                f"{file}, column {text[0]!r}: {shown(frame[text[0]].iloc[0])}; allowed: a finite number, or nothing "
                "for a missing value"
            )
        values = frame[channels].to_numpy(dtype=np.float64).T
        present = np.flatnonzero(~np.isnan(values).all(axis=0))
        end = max(present, default=-1) + 1
        cut += values.shape[1] - end
        cases.series.append(values[:, :end])
    cases.understood = [f"folder of {len(files)} CSV files, one a case; channels: {', '.join(names or [])}"]
    if cut:
        cases.understood.append(f"{cut} empty rows at the ends of files left out")
        logger.warning("%s: %s empty rows at the ends of files left out", path, cut)
    if not labelled:
        return cases
    if table is not None:
        labels = _labels_of_files(table, columns)
        lacking = [name for name in ids if name not in labels]
        if lacking:
            raise InputError(f"{table}: no label of {lacking[0]}; listed are {', '.join(list(labels)[:5])}")
        cases.labels = [labels[name] for name in ids]
        cases.understood.append(f"labels in {table.name}")
        return cases
    parts = [file.relative_to(path).parts[:-1] for file in files]
    if all(len(part) > 1 and part[0].lower() in SETS for part in parts):
        cases.sets = [SETS[part[0].lower()] for part in parts]
    if not all(parts):
        raise InputError(
            f"{path}: no labels; allowed: a subfolder for each class, or a table labels.csv of file names and labels"
        )
    cases.labels = [part[-1] for part in parts]
    cases.understood.append("labels are the names of the folders")
    return cases


def _labels_of_files(table: Path, columns: ColumnOptions) -> Mapping[str, str]:
    frame, _ = _read_text(table)
    frame.columns = [str(name) for name in frame.columns]
    label = columns.label or next(
        (name for name in frame.columns if _meaning(name) == "label"), frame.columns[-1]
    )
    rest = [name for name in frame.columns if name != label]
    if label not in frame.columns or not rest:
        raise InputError(f"{table}: the columns {', '.join(frame.columns)}; allowed: file names and labels")
    return {
        str(name).split(".")[0]: str(value) for name, value in zip(frame[rest[0]], frame[label], strict=True)
    }


# Arrays


def _read_arrays(path: Path, columns: ColumnOptions, labelled: bool) -> OwnCases:
    """Read X (cases, timepoints) or (cases, channels, timepoints), and y; or X_train, y_train, X_test, y_test."""
    try:
        loaded = np.load(path, allow_pickle=False)
        arrays = {key: loaded[key] for key in loaded.files} if path.suffix == ".npz" else {"X": loaded}
        labels = path.with_name(
            re.sub("^(X|x|data)", lambda m: "y" if m[1] != "data" else "labels", path.name)
        )
        if path.suffix == ".npy" and labels != path and labels.is_file():
            arrays["y"] = np.load(labels, allow_pickle=False)
    except _FAULTS as error:
        raise InputError(f"{path}: not arrays that can be read ({error})") from error
    named = {_plain(key): value for key, value in arrays.items()}
    cases = OwnCases([], [], columns=columns)
    for suffix, part in {"": 0, **SETS}.items():
        x = next(
            (named[key + suffix] for key in ("x", "data", "values", "series") if key + suffix in named), None
        )
        y = next(
            (named[key + suffix] for key in ("y", "labels", "label", "target") if key + suffix in named), None
        )
        if x is None:
            continue
        if labelled and (y is None or y.ndim != 1 or len(y) != len(x)):
            found = "none" if y is None else f"of shape {y.shape}"
            raise InputError(
                f"{path}: X{suffix} has {len(x)} cases, labels y{suffix} are {found}; allowed: an array y of as many"
                + (f", in {labels.name} beside it" if path.suffix == ".npy" else "")
            )
        cases.series += _split_array(x, columns.axes, f"{path}: X{suffix}", cases.understood)
        cases.labels += [] if y is None else [str(label) for label in y.tolist()]
        cases.sets += [part] * len(x) if suffix else []
    if not cases.series:
        raise InputError(
            f"{path}: arrays {', '.join(arrays)}; allowed: X and y, or X_train, y_train, X_test, y_test"
        )
    cases.ids = _numbered(cases.series)
    return cases


def _split_array(x: np.ndarray, axes: str, place: str, notes: list[str]) -> list[np.ndarray]:
    if x.dtype.kind not in "fiub" or x.ndim not in (2, 3):
        raise InputError(
            f"{place}: {x.dtype} of shape {x.shape}; allowed: numbers (cases, timepoints) or of three axes"
        )
    x = x[:, np.newaxis] if x.ndim == 2 else x
    if axes == "auto" and x.shape[1] == x.shape[2] > 1:
        raise InputError(
            f"{place}: shape {x.shape}; allowed: columns={{axes: channels_first}}, which is (cases, channels, "
            "timepoints), or channels_last"
        )
    last = axes == "channels_last" or (axes == "auto" and x.shape[1] > x.shape[2])
    x = np.asarray(x.transpose(0, 2, 1) if last else x, dtype=np.float64)
    notes.append(
        f"array of {len(x)} cases, {x.shape[1]} channels, {x.shape[2]} timepoints, channels "
        f"{'last' if last else 'first'} (columns={{axes: ...}} names the other order)"
    )
    ends = [np.flatnonzero(~np.isnan(case).all(axis=0)) for case in x]
    return [case[:, : max(end, default=-1) + 1] for case, end in zip(x, ends, strict=True)]
