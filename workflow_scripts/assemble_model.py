"""Assemble a checkpoint from a language model and a vision tower."""

from __future__ import annotations

import logging
from pathlib import Path

from vlmtsc.files import atomic_path
from vlmtsc.script import paused_collection, run_script
from vlmtsc.settings import AssemblySettings

logger = logging.getLogger("vlmtsc.assemble_model")


def assemble_model(
    language_model: Path,
    vision_tower: Path,
    settings: AssemblySettings,
    output: Path,
) -> None:
    """Assemble a LLaVA from a language model and a vision tower.

    Parameters
    ----------
    language_model : Path
        GGUF file.
    vision_tower : Path
        State dictionary of EfficientNet-Lite.
    settings : AssemblySettings
        Layers, strides, share of the columns, and seed.
    output : Path
        Checkpoint folder to write.
    """
    with paused_collection(), atomic_path(output) as folder:  # imports, and the objects of 49,000 tokens
        from vlmtsc.model.assembly import assemble_checkpoint

        model = assemble_checkpoint(language_model, vision_tower, settings, folder)
    logger.info("%s: %.1f million parameters", output, model.num_parameters() / 1e6)


if __name__ == "__main__":
    run_script(assemble_model)
