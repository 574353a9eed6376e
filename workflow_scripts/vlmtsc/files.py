"""Reading and writing files so that a reader never sees half of one."""

from __future__ import annotations

import hashlib
import json
import logging
import shutil
import tempfile
import zipfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from vlmtsc.errors import InputError

logger = logging.getLogger(__name__)


@contextmanager
def atomic_path(path: Path) -> Iterator[Path]:
    """Yield a temporary sibling of `path`, moved into place only if the block succeeds.

    The block may create a file or a directory at the temporary path. On an exception whatever it
    wrote is removed and `path` keeps its former content.

    Parameters
    ----------
    path : Path
        Final place of the file or directory. Its parent is created.

    Yields
    ------
    Path
        A path on the same file system that does not exist yet.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    workspace = Path(tempfile.mkdtemp(prefix=f".{path.name}.", dir=path.parent))
    temporary = workspace / path.name
    try:
        yield temporary
        if not temporary.exists():
            raise FileNotFoundError(f"nothing was written for {path}")
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        temporary.replace(path)
    finally:
        shutil.rmtree(workspace, ignore_errors=True)


@contextmanager
def exclusive(folder: Path) -> Iterator[None]:
    """Hold a folder alone: another process that wants it waits until this one ends, however it ends.

    Parameters
    ----------
    folder : Path
        Need not exist. The lock is a file beside it, removed at the end.
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
        # While it is held: whoever waits sees that the file has gone, and makes a new one.
        Path(lock.lock_file).unlink(missing_ok=True)
        lock.release()


def write_json(path: Path, content: Any) -> None:
    """Write `content` as indented JSON, atomically, refusing NaN and infinity."""
    with atomic_path(path) as temporary:
        temporary.write_text(
            json.dumps(content, indent=2, ensure_ascii=False, allow_nan=False) + "\n", encoding="utf-8"
        )


def read_json(path: Path) -> Any:
    """Read a JSON file.

    Raises
    ------
    InputError
        If the file is not JSON; the message names the file and the position.
    """
    try:
        return json.loads(Path(path).read_text(encoding="utf-8"))
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: not a JSON file ({error})") from error


def digest_of_files(paths: Iterable[Path | zipfile.Path]) -> str:
    """Return the SHA-256 of the contents of files, in their order; of their names, the last part counts.

    A file in a zip file counts like any other.
    """
    digest = hashlib.sha256()
    for path in paths:
        file: Any  # the standard library's types tell the two kinds of open files apart
        with path.open("rb") as file:
            content = hashlib.file_digest(file, "sha256").hexdigest()
        digest.update(f"{path.name} {content}\n".encode())
    return digest.hexdigest()
