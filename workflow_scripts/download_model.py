"""Download a checkpoint from the Hugging Face hub."""

from __future__ import annotations

import logging
from pathlib import Path

from vlmtsc.errors import InputError
from vlmtsc.files import atomic_path
from vlmtsc.model.settings import HubSettings
from vlmtsc.script import run_script

logger = logging.getLogger("vlmtsc.download_model")

#: Weights as safetensors only: no pickle is ever fetched, and no code.
PATTERNS = ("*.json", "*.safetensors", "*.jinja", "tokenizer.model")


def download_model(settings: HubSettings, output: Path, log: Path | None = None) -> None:
    """Download a checkpoint at a pinned revision.

    Parameters
    ----------
    settings : HubSettings
        Repository and revision.
    output : Path
        Checkpoint folder to write.
    log : Path, optional
        File for messages.
    """
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import GatedRepoError
    from huggingface_hub.utils import httpx

    from vlmtsc.model.files import check_files, check_processor_files

    where = f"{settings.repository} at {settings.revision}"
    try:
        with atomic_path(output) as folder:
            snapshot_download(
                settings.repository,
                revision=settings.revision,
                local_dir=folder,
                allow_patterns=list(PATTERNS),
            )
            try:
                check_files(folder)
                check_processor_files(folder)
            except InputError as error:
                raise InputError(f"{where} is not a complete checkpoint: {error}") from error
    except GatedRepoError as error:
        raise InputError(
            f"{where}: access is restricted; accept its licence on the hub and set HF_TOKEN ({error})"
        ) from error
    except (httpx.HTTPError, OSError) as error:
        raise InputError(
            f"{where}: could not be downloaded ({error}). On a machine without the hub, give the model a "
            "folder in config/models.yaml: source: {folder: {path: ...}}"
        ) from error
    logger.info("%s: %s", output, where)


if __name__ == "__main__":
    run_script(download_model)
