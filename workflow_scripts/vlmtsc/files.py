"""Atomic files, locks of folders, checksums, JSON and CSV."""

from __future__ import annotations

import fcntl
import glob
import hashlib
import io
import json
import logging
import os
import shutil
import tempfile
import time
import zipfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from filelock import FileLock, Timeout

from vlmtsc.errors import InputError

if TYPE_CHECKING:
    import pandas as pd

logger = logging.getLogger(__name__)

#: Name of the file with the digests of the others in its folder.
SUMS = "SHA256SUMS"
#: Age in seconds from which an unlocked temporary folder counts as abandoned; a younger one may be locked next.
ABANDONED_SECONDS = 10.0


@contextmanager
def atomic_path(path: Path) -> Iterator[Path]:
    """Yield a temporary sibling of `path`, moved into place only if the block succeeds.

    The block creates a file or a directory there, on the same file system; the parent of `path` is created. On an
    exception whatever was written is removed and `path` keeps its former content; so does a folder that a file would
    replace (IsADirectoryError). Files get the permissions of new ones: libraries write some (.safetensors) for their
    owner alone.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    _remove_abandoned(path)
    workspace = Path(tempfile.mkdtemp(prefix=f".{path.name}.", dir=path.parent))
    temporary = workspace / path.name
    with _locked(workspace):
        try:
            yield temporary
            if not temporary.exists():
                raise FileNotFoundError(f"nothing was written for {path}")
            (new := workspace / ".new").touch()
            permissions = new.stat().st_mode
            for file in (temporary, *temporary.rglob("*")):
                if file.is_file() and (mode := file.stat().st_mode) | permissions != mode:
                    file.chmod(mode | permissions)
            if temporary.is_dir() and path.is_dir() and not path.is_symlink():
                shutil.rmtree(path)
            temporary.replace(path)
        finally:
            shutil.rmtree(workspace, ignore_errors=True)


@contextmanager
def _locked(workspace: Path) -> Iterator[bool]:
    """Lock a folder until the end; yield False if another process holds it, or the file system has no such locks."""
    handle, locked = os.open(workspace, os.O_RDONLY), False
    try:
        with suppress(OSError):
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            locked = True
        yield locked
    finally:
        os.close(handle)


def _remove_abandoned(path: Path) -> None:
    """Remove the incomplete files of processes that were killed while they wrote `path`."""
    for left in path.parent.glob(f".{glob.escape(path.name)}.????????"):
        with suppress(FileNotFoundError, NotADirectoryError):
            if time.time() - left.stat().st_mtime > ABANDONED_SECONDS:
                with _locked(left) as free:
                    if free:
                        logger.warning("%s: removed, left by a process that was killed", left)
                        shutil.rmtree(left, ignore_errors=True)


def hold_folder(folder: Path) -> FileLock:
    """Lock a folder until `release_folder`, or until this process ends, however it ends.

    InputError if another process holds it, or it cannot be written to.
    """
    lock = FileLock(folder / ".workflow.lock", timeout=0)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock.acquire()
    except Timeout:
        raise InputError(
            f"{folder}: another workflow is writing into this folder ({lock.lock_file}); wait until it has ended, or "
            "choose another folder (--config results=PATH)"
        ) from None
    except OSError as error:
        raise InputError(
            f"{folder}: cannot be written to ({error.strerror}); allowed: --config results=PATH"
        ) from error
    except NotImplementedError:
        logger.warning("%s: the file system has no locks: run one workflow at a time in this folder", folder)
    return lock


def release_folder(lock: FileLock) -> None:
    """Release the lock of `hold_folder`."""
    Path(lock.lock_file).unlink(missing_ok=True)
    lock.release()


@contextmanager
def exclusive(folder: Path) -> Iterator[None]:
    """Lock a folder for the block; other processes wait until then, or until this process ends, however it ends.

    The folder need not exist: the lock is a file beside it, removed at the end.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    lock = FileLock(folder.parent / f".{folder.name}.lock", timeout=0)
    try:
        lock.acquire()
    except Timeout:
        logger.warning(
            "another process works in %s, maybe left by an interrupted run: waiting for it", folder
        )
        lock.acquire(timeout=-1)
    try:
        yield
    finally:
        # Before the release: waiting processes notice that the file is gone, and create a new one.
        Path(lock.lock_file).unlink(missing_ok=True)
        lock.release()


def check_new_folder(folder: Path) -> None:
    """Raise InputError if something is where a folder will be written, which would be lost."""
    if folder.exists():
        raise InputError(f"{folder}: exists; allowed: a new folder")


def check_output(output: Path, *inputs: Path) -> None:
    """Raise InputError if a file to write is a folder, or would replace one of `inputs` or a file in them."""
    if output.is_dir():
        raise InputError(f"{output}: a folder; allowed: a file to write")
    for given in inputs:
        if output.exists() and output.resolve().is_relative_to(given.resolve()):
            raise InputError(f"{output}: would replace what is read from {given}; allowed: another file")


def link_or_copy(source: str | Path, target: str | Path) -> None:
    """Make `target` a hard link to `source`, or a copy where the file system has no such links."""
    try:
        os.link(source, target)
    except OSError as error:
        logger.info("%s: copied, since it cannot be linked (%s)", Path(target).name, error.strerror)
        shutil.copyfile(source, target)


def write_json(path: Path, content: Any) -> None:
    """Write `content` as indented JSON, atomically, refusing NaN and infinity."""
    with atomic_path(path) as temporary:
        temporary.write_text(
            json.dumps(content, indent=2, ensure_ascii=False, allow_nan=False) + "\n", encoding="utf-8"
        )


def read_json(path: Path) -> Any:
    """Read a JSON file.

    InputError if the file is not JSON; the message names the file and the position.
    """
    try:
        return json.loads(Path(path).read_text(encoding="utf-8"))
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: not a JSON file ({error})") from error


def write_sums(folder: Path, pattern: str = "*") -> None:
    """Write the SHA-256 of each file of a folder that matches into its ``SHA256SUMS``, for ``sha256sum --check``."""
    files = sorted(path for path in folder.glob(pattern) if path.is_file() and path.name != SUMS)
    with atomic_path(folder / SUMS) as temporary:
        temporary.write_text("".join(f"{sha256(path)}  {path.name}\n" for path in files), encoding="utf-8")


def fault_of_sums(folder: Path) -> str | None:
    """Return which file of a folder differs from its ``SHA256SUMS``; None if none does, or there is no such file."""
    sums = folder / SUMS
    if not sums.is_file():
        return None
    for line in sums.read_text(encoding="utf-8", errors="replace").splitlines():
        digest, _, name = line.partition("  ")
        path = folder / Path(name).name
        if not name or not path.is_file():
            return f"{SUMS} names {name!r}, which is not there"
        if sha256(path) != digest:
            return f"{name} is damaged: its SHA-256 is not that in {SUMS}"
    return None


def sha256(path: Path | zipfile.Path) -> str:
    """Return the SHA-256 of a file's content, 64 hexadecimal digits; of a file in a zip file like of any other."""
    file: Any  # the standard library types the two kinds of open files differently
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def digest_of_files(paths: Iterable[Path | zipfile.Path]) -> str:
    """Return the SHA-256 of the contents of files, in their order; of their names, the last part counts.

    A file in a zip file counts like any other.
    """
    digest = hashlib.sha256()
    for path in paths:
        digest.update(f"{path.name} {sha256(path)}\n".encode())
    return digest.hexdigest()


def read_csv(path: Path, **options: Any) -> pd.DataFrame:
    """Read a CSV file that another step has written; `options` as for `pandas.read_csv`.

    InputError if the file is empty, truncated (its last line has no end) or no table.
    """
    content = path.read_bytes()
    if not content.endswith(b"\n"):
        raise InputError(f"{path}: {'truncated' if content else 'empty'}; remove it to have it rebuilt")
    import pandas as pd  # not needed by Snakemake and most steps

    try:
        return pd.read_csv(io.BytesIO(content), **options)
    except (ValueError, UnicodeDecodeError) as error:  # pandas' own errors are ValueErrors
        raise InputError(f"{path}: not a table ({error})") from error


def write_csv(path: Path, table: pd.DataFrame) -> None:
    """Write a table atomically, without its index."""
    with atomic_path(path) as temporary:
        table.to_csv(temporary, index=False)


def write_files(folder: Path, contents: Mapping[str, pd.DataFrame | str]) -> None:
    """Write files by name, each atomically: a DataFrame as CSV without its index, a text as it is.

    The folder is created if needed; other files in it are left alone.
    """
    for name, content in contents.items():
        if isinstance(content, str):
            with atomic_path(folder / name) as temporary:
                temporary.write_text(content, encoding="utf-8")
        else:
            write_csv(folder / name, content)
