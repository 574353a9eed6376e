"""Reading zip files that others made: bounded in size, and nothing of them is ever unpacked to the disk."""

from __future__ import annotations

import re
import stat
import zipfile
import zlib
from pathlib import Path, PurePosixPath

from vlmtsc.errors import InputError

#: Bytes, unpacked, of one file, and of all files of an unpinned zip file: more than any dataset of the archive has.
LIMIT_BYTES = 4 * 2**30


def check_zip(path: Path, name: str, limit: int = LIMIT_BYTES) -> list[str]:
    """List the files of a zip file, if it holds nothing that has no business in one.

    Parameters
    ----------
    path : Path
        The zip file.
    name : str
        Named in errors.
    limit : int
        Bytes that all files may have together, unpacked.

    Raises
    ------
    InputError
        If it is no zip file, an entry is a link or leads out of the folder, or the entries are larger than `limit`.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            entries = archive.infolist()
    except (OSError, zipfile.BadZipFile, ValueError, NotImplementedError) as error:
        with path.open("rb") as file:
            start = file.read(40)
        raise InputError(
            f"{name}: not a zip file that can be read ({error}); it begins with {start!r}"
        ) from error
    for entry in entries:
        _check_place(entry, name)
    size = sum(entry.file_size for entry in entries)
    if size > limit:
        raise InputError(f"{name}: {size} bytes unpacked; allowed: {limit}")
    return [entry.filename for entry in entries if not entry.is_dir()]


def read_member(path: Path, member: str, name: str, limit: int = LIMIT_BYTES) -> bytes:
    """Read one file out of a zip file.

    Raises
    ------
    InputError
        If there is no such file, it is a link or larger than `limit`, or its bytes are damaged.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            entry = archive.getinfo(member)
            _check_place(entry, name)
            if entry.file_size > limit:
                raise InputError(f"{name}: {member} has {entry.file_size} bytes unpacked; allowed: {limit}")
            # A header that tells less than there is ends the reading there, with another checksum.
            return archive.read(entry)
    except KeyError:
        raise InputError(f"{name}: holds no file {member}") from None
    # Encrypted files are a RuntimeError, unknown compression is NotImplementedError.
    except (OSError, EOFError, RuntimeError, zipfile.BadZipFile, zlib.error) as error:
        raise InputError(f"{name}: {member} cannot be read ({error})") from error


def _check_place(entry: zipfile.ZipInfo, name: str) -> None:
    place = entry.filename.replace("\\", "/")
    if place.startswith("/") or re.match("[A-Za-z]:", place) or ".." in PurePosixPath(place).parts:
        raise InputError(
            f"{name}: the entry {entry.filename!r} leads out of the folder; allowed: paths below it"
        )
    if stat.S_ISLNK(entry.external_attr >> 16):
        raise InputError(f"{name}: the entry {entry.filename!r} is a link; allowed: files and folders")
