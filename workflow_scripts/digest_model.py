"""Record the files of a model with their digests, and its architecture."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

from vlmtsc.files import read_json, sha256, write_json
from vlmtsc.script import run_script

logger = logging.getLogger("vlmtsc.digest_model")

#: What is told of the configuration of a checkpoint's language model and of its vision tower.
TEXT_KEYS = ("model_type", "hidden_size", "num_hidden_layers", "num_attention_heads", "vocab_size")
VISION_KEYS = (
    *("model_type", "variant", "hidden_size", "num_hidden_layers", "image_size", "patch_size", "strides"),
)


def digest_model(checkpoint: Path, output: Path, log: Path | None = None) -> None:
    """Record the files of a model with their digests, and its architecture.

    Parameters
    ----------
    checkpoint : Path
        Checkpoint folder. If it is no longer there, this is what is recorded.
    output : Path
        JSON to write: ``files`` (path, bytes, sha256) and ``architecture``.
    log : Path, optional
        File for messages.
    """
    if not checkpoint.is_dir():
        logger.warning("%s: not there any more; its files are not recorded", checkpoint)
        write_json(output, {"files": [], "architecture": {}})
        return
    paths = sorted(path for path in checkpoint.rglob("*") if path.is_file() and not path.name.startswith("."))
    files = [
        {
            "path": path.relative_to(checkpoint).as_posix(),
            "bytes": path.stat().st_size,
            "sha256": sha256(path),
        }
        for path in paths
    ]
    write_json(output, {"files": files, "architecture": architecture(checkpoint / "config.json")})
    logger.info("%s: %d files", checkpoint, len(files))


def architecture(config: Path) -> dict[str, Any]:
    """Return what a checkpoint's ``config.json`` says of its two models; what it leaves out is left out here."""
    content = read_json(config) if config.is_file() else {}
    parts = {"language": ("text_config", TEXT_KEYS), "vision": ("vision_config", VISION_KEYS)}
    return {
        part: {key: content[name][key] for key in keys if key in content[name]}
        for part, (name, keys) in parts.items()
        if name in content
    }


if __name__ == "__main__":
    run_script(digest_model)
