"""Data of users in whatever file they have: tables, arrays, folders of CSV files, saved datasets."""

from __future__ import annotations

import logging
import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from vlmtsc.data.readers import MISSING, decode, read_part, shown
from vlmtsc.data.series import FAULTS, LabelledSeries, without_end
from vlmtsc.data.sources import OWN_SUFFIXES, files_of
from vlmtsc.data.tables import (
    SETS,
    OwnCases,
    Table,
    filled,
    in_time,
    is_saved_dataset,
    meaning,
    only,
    plain,
    read_frame,
    read_text,
    read_times,
)
from vlmtsc.errors import InputError
from vlmtsc.settings import ColumnOptions, unknown

logger = logging.getLogger(__name__)
#: Ending of the files of a folder of one file a case; other points belong to the name.
_CASE_ENDING = re.compile(r"\.[ct]sv(\.gz)?$", re.IGNORECASE)
#: Endings of files that are no tables of text.
_NO_TEXT = (".xlsx", ".xls", ".json", ".jsonl", ".mat", ".h5", ".hdf5", ".zip", ".pkl", ".xml")


def read_own(
    path: Path,
    columns: ColumnOptions,
    group: str | None = None,
    *,
    labelled: bool = True,
    irregular: str = "interpolate",
    least: int = 0,
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
        Treatment of irregular time steps, in long tables and folders of CSV files: interpolate, ignore or refuse.
    least : int
        First timepoints that remain even if they are missing values at the end.
    """
    if not path.exists():
        raise InputError(f"{path}: no such file or folder")
    suffix = Path(path.name.lower().removesuffix(".gz")).suffix
    if path.is_dir() and not is_saved_dataset(path):
        cases = _read_folder(path, columns, labelled, irregular)
    elif suffix in (".npz", ".npy"):
        cases = _read_arrays(path, columns, labelled)
    elif suffix in (".ts", ".arff"):
        series, labels, _ = read_part(path.read_bytes(), str(path), labelled=labelled)
        cases = OwnCases(series, [], labels, understood=[f"file in the archive's format {suffix}"])
    elif suffix in _NO_TEXT and path.is_file():
        raise InputError(f"{path}: a file {suffix}; allowed: {', '.join(OWN_SUFFIXES)}, or other text")
    else:
        cases = Table(path, columns, group, labelled).cases(irregular)
    if group and not cases.groups and labelled:
        raise InputError(f"{path}: group={group}; allowed: a column of a table")
    cases.ids = cases.ids or [str(number + 1) for number in range(len(cases.series))]
    cases.places = cases.places or [f"{path}, series {name}" for name in cases.ids]
    if not cases.series:
        raise InputError(f"{path}: no series; allowed: one or more")
    if labelled and cases.sets and not {0, 2} <= {*cases.sets}:
        if len({*cases.sets}) > 1:
            absent = "test" if 0 in cases.sets else "train"
            raise InputError(
                f"{path}: no {absent} cases in the given split; allowed: train and test cases, or one set alone"
            )
        cases.understood.append("one set alone, which is no split")
        cases.sets = []
    cases.series = [without_end(case, least) for case in cases.series]
    for place, case in zip(cases.places, cases.series, strict=True):
        if np.isinf(case).any() or case.shape[1] == 0:
            what = "an infinite value" if case.shape[1] else f"{len(case)} channels of 0 timepoints"
            raise InputError(f"{place}: {what}; allowed: finite numbers, or nothing for a missing value")
    return cases


def order_of_sets(cases: OwnCases) -> np.ndarray:
    """Return the positions of the train, the validation and the test cases if a split is given, else of all cases."""
    return np.argsort(cases.sets, kind="stable") if cases.sets else np.arange(len(cases.series))


def own_series(cases: OwnCases) -> LabelledSeries:
    """Return labelled cases as a dataset, in `order_of_sets`."""
    order = order_of_sets(cases)
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
    counts = ", ".join(f"{name} ({count})" for name, count in list(classes.items())[:20])
    lines = [
        *cases.understood,
        f"{len(lengths)} cases, {series.values.shape[1]} channels, {length} timepoints, {missing} missing values",
        f"{len(classes)} classes: {counts}{', ...' if len(classes) > 20 else ''}",
    ]
    if cases.sets:
        n = np.bincount(cases.sets, minlength=3)
        drawn = "" if n[1] else " (validation is drawn from train)"
        lines.append(f"split as given: {n[0]} train, {n[1]} validation, {n[2]} test{drawn}")
    else:
        grouped = f", none of {len({*cases.groups})} groups in two sets" if cases.groups else ""
        lines.append(f"no split given: 60/20/20 at random, stratified by class{grouped}")
    return lines


# Folders


def _read_folder(path: Path, columns: ColumnOptions, labelled: bool, irregular: str) -> OwnCases:
    """Read one CSV file a case; labels are names of subfolders (below those of sets, if any), or in a table."""
    files = [file for file in files_of(path) if _CASE_ENDING.search(file.name)]
    listed = ("labels", "label", "metadata", "classes")
    tables = [file for file in files if file.parent == path and plain(file.name.split(".")[0]) in listed]
    table = tables[0] if tables and labelled else None
    files = [file for file in files if file != table]
    if not files:
        raise InputError(f"{path}: no *.csv file; allowed: a folder with one CSV file a series")
    ids = [_CASE_ENDING.sub("", file.relative_to(path).as_posix()) for file in files]
    names: list[str] = []
    series, times = [], []
    cut, left_out = 0, dict[str, None]()
    for file in files:
        channels, values, when, empty, out = _read_case(file, columns)
        left_out |= dict.fromkeys(out)
        names = names or channels
        if channels != names:
            raise InputError(
                f"{file}: the columns {', '.join(channels)}, but {files[0].name} has {', '.join(names)}"
            )
        series.append(values)
        times.append(when)
        cut += empty
    cases = OwnCases([], ids, places=[str(file) for file in files], columns=columns)
    cases.understood = [f"folder of {len(files)} CSV files, one a case; channels: {', '.join(names)}"]
    if left_out:
        named = "(columns={values: [...]} names the columns of values)"
        cases.understood.append(f"left out: {', '.join(left_out)} {named}")
    cases.series = in_time(series, times, irregular, cases.places, cases.understood)
    if cut:
        cases.understood.append(f"{cut} empty rows at the ends of files left out")
        logger.warning("%s: %s empty rows at the ends of files left out", path, cut)
    if table is not None:
        cases.labels = _labels_of_files(table, columns, ids)
        cases.understood.append(f"labels in {table.name}")
    elif labelled:
        parts = [file.relative_to(path).parts[:-1] for file in files]
        if not all(parts):
            raise InputError(
                f"{path}: no labels; allowed: a subfolder for each class, or a table labels.csv of files and labels"
            )
        if any(len(part) > 1 and part[0].lower() in SETS for part in parts):
            for file, part in zip(files, parts, strict=True):
                if len(part) < 2 or part[0].lower() not in SETS:
                    raise InputError(
                        f"{file}: {unknown('set', part[0], SETS)}, or no folder of a class in it"
                    )
            cases.sets = [SETS[part[0].lower()] for part in parts]
        cases.labels = [part[-1] for part in parts]
        cases.understood.append("labels are the names of the folders")
    return cases


def _read_case(
    file: Path, columns: ColumnOptions
) -> tuple[list[str], np.ndarray, np.ndarray, int, list[str]]:
    """Return channels, values, times (0, 1, ... without a column of them), number of empty last rows, unused columns.

    Columns named like labels, identifiers or sets are no channels beside others.
    """
    time = columns.time
    frame, _ = read_text(file, by_name=False)
    if frame.empty:
        raise InputError(f"{file}: a header alone; allowed: one or more rows of numbers below it")
    given = {"values": columns.values, "time": [time] if time else []}
    for key, name in ((key, name) for key, names in given.items() for name in names if name not in frame):
        raise InputError(f"{file}: {key}: {unknown('column', name, frame.columns)}")
    found = [name for name in frame.columns if meaning(name) == "time"]
    time = time or only(found, "time", file)
    left = [name for name in frame if name not in (*found, time) and not name.startswith("Unnamed: ")]
    likely = [name for name in left if meaning(name, frame.columns) not in ("label", "id", "split")]
    channels = [*columns.values] or likely or left
    for name in channels:
        if not pd.api.types.is_numeric_dtype(frame[name]):
            fault = pd.to_numeric(frame[name].str.replace(",", "."), errors="coerce").isna()
            row = int((fault & ~frame[name].str.lower().isin(MISSING)).argmax())
            raise InputError(
                f"{file}, row {row + 1} of the table, column {name!r}: {shown(frame[name].iloc[row])}; allowed: a "
                "finite number, or nothing for a missing value"
            )
    end = filled(frame[channels if time is None else [time, *channels]])
    values = frame[channels].to_numpy(dtype=np.float64)[:end].T
    times = np.arange(end, dtype=float) if time is None else read_times(frame[time][:end], file)
    return channels, values, times, len(frame) - end, [name for name in left if name not in channels]


def _labels_of_files(table: Path, columns: ColumnOptions, ids: Sequence[str]) -> list[str]:
    """Return the labels of the files `ids` in a table that lists them with or without endings and folders."""
    frame, _ = read_frame(table, None)
    named = [name for name in frame.columns if meaning(name) == "label"]
    label = columns.label or [*named, frame.columns[-1]][0]
    rest = [name for name in frame.columns if name != label]
    if label not in frame.columns or not rest:
        raise InputError(f"{table}: the columns {', '.join(frame.columns)}; allowed: file names and labels")
    # The column and the way of comparing by which most files are found: the table's names as they are, without their
    # folders, without another ending, or without both.
    bare, folders, ending = [name.rpartition("/")[2] for name in ids], r".*/", r"\.[^./]*$"
    ways = [(ids, "^"), (bare, folders), (ids, ending), (bare, f"{folders}|{ending}")]
    read = [
        (files, [re.sub(unwanted, "", _CASE_ENDING.sub("", cell)) for cell in frame[name]])
        for files, unwanted in ways
        for name in rest
        if len({*files}) == len(ids)
    ]
    ids, names = max(read, key=lambda way: len({*way[0]} & {*way[1]}))
    labels = dict(zip(names, frame[label], strict=True))
    if lacking := [name for name in ids if name not in labels]:
        raise InputError(f"{table}: no label of {lacking[0]}; listed are {', '.join([*labels][:5])}")
    for name, other in zip(names, frame[label], strict=True):
        if name in ids and other != labels[name]:
            raise InputError(f"{table}: {name} is {other!r} and {labels[name]!r}; allowed: one label a file")
    return [labels[name] for name in ids]


# Arrays


def _read_arrays(path: Path, columns: ColumnOptions, labelled: bool) -> OwnCases:
    """Read X (cases, timepoints) or (cases, channels, timepoints), and y; or X_train, y_train, X_test, y_test."""
    beside = path.with_name(re.sub("^(X|x|data)", lambda m: "labels" if m[1] == "data" else "y", path.name))
    try:
        loaded = np.load(path, allow_pickle=False)
        arrays = {"X": loaded} if isinstance(loaded, np.ndarray) else dict(loaded.items())
        if isinstance(loaded, np.ndarray) and beside != path and beside.is_file():
            arrays["y"] = np.load(beside, allow_pickle=False)
    except FAULTS as error:
        raise InputError(f"{path}: not arrays that can be read ({error})") from error
    named = {plain(key): value for key, value in arrays.items()}
    cases = OwnCases([], [], columns=columns)
    for suffix, part in {"": 0, **SETS}.items():
        x, y = (
            next((named[key + suffix] for key in keys.split() if key + suffix in named), None)
            for keys in ("x data values series", "y labels label target")
        )
        if x is None:
            continue
        if labelled and (y is None or y.shape != x.shape[:1]):
            found = "none" if y is None else f"of shape {y.shape}"
            raise InputError(
                f"{path}: X{suffix} has {len(x)} cases, labels y{suffix} are {found}; allowed: an array y of as many"
                + (f", in {beside.name} beside it" if path.suffix == ".npy" else "")
            )
        cases.series += _split_array(x, columns.axes, f"{path}: X{suffix}", cases.understood)
        if y is not None:
            place = f"{path}: y{suffix}"
            labels = y.tolist()
            cases.labels += [decode(one, place) if isinstance(one, bytes) else str(one) for one in labels]
        cases.sets += [part] * len(x) if suffix else []
    if not cases.series or 0 < len(cases.sets) < len(cases.series):
        raise InputError(
            f"{path}: arrays {', '.join(arrays)}; allowed: X and y, or X_train, y_train, X_test, y_test"
        )
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
    return [*x]
