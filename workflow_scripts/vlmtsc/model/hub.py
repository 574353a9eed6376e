"""Checkpoints of the Hugging Face hub: taken from the machine's own cache, which is filled where it lacks something."""

from __future__ import annotations

import hashlib
import logging
import os
import shutil
from pathlib import Path

from vlmtsc.errors import InputError
from vlmtsc.files import atomic_path, sha256
from vlmtsc.model.files import check_files, check_processor_files
from vlmtsc.settings import HubSettings

logger = logging.getLogger(__name__)

#: Weights as safetensors only: no pickle is ever fetched, and no code.
PATTERNS = ("*.json", "*.safetensors", "*.jinja", "tokenizer.model")
#: Digits of the names that the hub gives to files: of Git's own digest, and of the SHA-256 of large files.
GIT_DIGITS, SHA256_DIGITS = 40, 64


def fetch_checkpoint(settings: HubSettings, output: Path) -> None:
    """Put a checkpoint of the hub into a folder.

    It is downloaded into the cache of the machine's user (``HF_HOME``), which other projects share: what is there is
    not downloaded again, also not the whole files that an interrupted call has left, and with ``HF_HUB_OFFLINE=1``
    nothing is asked. Weights are hard links into the cache where that is possible. All else is copied, since a
    configuration may be corrected by hand.

    Parameters
    ----------
    settings : HubSettings
        Repository and revision.
    output : Path
        Checkpoint folder to write.

    Raises
    ------
    InputError
        If the hub cannot or will not give it, a file is damaged, or it is no complete LLaVA checkpoint.
    """
    snapshot = download_snapshot(settings)
    files = sorted(path for pattern in PATTERNS for path in snapshot.glob(pattern))
    for path in files:
        if fault := fault_of_download(path):
            raise InputError(f"{describe(settings)}: {fault}; {remove_from_cache(path)}")
    try:
        check_files(snapshot)
        check_processor_files(snapshot)
    except InputError as error:
        raise InputError(f"{describe(settings)} is not a complete checkpoint: {error}") from error
    try:
        with atomic_path(output) as folder:
            folder.mkdir()
            for path in files:
                if path.suffix == ".safetensors":
                    link_or_copy(path.resolve(), folder / path.name)
                else:
                    shutil.copyfile(path, folder / path.name)
    except FileNotFoundError as error:
        raise InputError(
            f"{describe(settings)}: {error.filename} has gone from the cache meanwhile; the same command fetches it "
            "again"
        ) from error


def describe(settings: HubSettings) -> str:
    """Name a checkpoint in messages."""
    return f"{settings.repository} at {settings.revision}"


def download_snapshot(settings: HubSettings) -> Path:
    """Download what the cache lacks of a checkpoint, and return its folder there.

    Raises
    ------
    InputError
        In one line, with what to do about it.
    """
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import GatedRepoError
    from huggingface_hub.utils import httpx

    try:
        return Path(
            snapshot_download(
                settings.repository,
                revision=settings.revision,
                allow_patterns=list(PATTERNS),
                ignore_patterns=["*/*"],  # the patterns above also match what lies in folders
            )
        )
    except GatedRepoError as error:
        raise InputError(
            f"{describe(settings)}: access is restricted; accept its licence on the hub and set HF_TOKEN "
            f"({one_line(error)})"
        ) from error
    # ValueError: an answer that is no JSON. RuntimeError: the hub's own transport of large files.
    except (httpx.HTTPError, OSError, ValueError, RuntimeError) as error:
        raise InputError(
            f"{describe(settings)}: could not be downloaded ({one_line(error)}). On a machine without the hub, give "
            "the model a folder in config/models.yaml: source: {folder: {path: ...}}"
        ) from error


def one_line(error: Exception) -> str:
    """Return what an error says, and what it came from, without line breaks."""
    cause = error.__cause__
    said = [str(error)] if cause is None or str(cause) in str(error) else [str(cause), str(error)]
    return " ".join(". ".join(said).split())


def fault_of_download(path: Path) -> str | None:
    """Say what is wrong with a file of the cache; None if nothing is, or if the cache does not tell.

    Parameters
    ----------
    path : Path
        File of a snapshot: a link to a file that is named by the digest of its content.
    """
    if not path.is_symlink():
        return None
    # Not where the link ends: the file may itself lead to one that several repositories share, of another name.
    digest = path.readlink().name
    if len(digest) == SHA256_DIGITS:
        found = sha256(path)
    elif len(digest) == GIT_DIGITS:
        content = path.read_bytes()
        found = hashlib.sha1(b"blob %d\0" % len(content) + content, usedforsecurity=False).hexdigest()
    else:
        return None
    if found == digest:
        return None
    return f"{path.name} is damaged: its digest is {found}, and that of the hub's file {digest} ({path})"


def remove_from_cache(path: Path) -> str:
    """Remove a file of a snapshot, so that it is downloaded again; return what came of it, for a message."""
    try:
        path.resolve().unlink(missing_ok=True)
        path.unlink(missing_ok=True)
    except OSError as error:
        return f"it cannot be removed ({error.strerror}): remove it, and the same command downloads it again"
    return "removed; the same command downloads it again, where the hub can be reached"


def link_or_copy(source: Path, target: Path) -> None:
    """Make `target` the same file as `source`, or a copy on another file system or where links are forbidden."""
    try:
        os.link(source, target)
    except OSError as error:
        logger.info("%s: copied, since it cannot be linked (%s)", target.name, error.strerror)
        shutil.copyfile(source, target)
