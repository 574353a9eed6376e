"""Download a checkpoint from the Hugging Face hub."""

from __future__ import annotations

from pathlib import Path

from vlmtsc.model.download import fetch_checkpoint
from vlmtsc.script import run_script
from vlmtsc.settings import HubSettings


def download_model(settings: HubSettings, output: Path) -> None:
    """Download a checkpoint at a pinned revision, unless the user's cache of the hub has it.

    Parameters
    ----------
    settings : HubSettings
        Repository and revision.
    output : Path
        Checkpoint folder to write.
    """
    fetch_checkpoint(settings, output)


if __name__ == "__main__":
    run_script(download_model)
