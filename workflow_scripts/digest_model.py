"""Record the files of a model with their digests, and its architecture."""

from __future__ import annotations

import logging
from pathlib import Path

from vlmtsc.files import write_json
from vlmtsc.reporting.provenance import digest_checkpoint
from vlmtsc.script import run_script

logger = logging.getLogger("vlmtsc.digest_model")


def digest_model(checkpoint: Path, output: Path) -> None:
    """Record the files of a model with their digests, and its architecture.

    Parameters
    ----------
    checkpoint : Path
        Checkpoint folder; no files are recorded if it was removed.
    output : Path
        JSON to write.
    """
    content = digest_checkpoint(checkpoint)
    write_json(output, content)
    logger.info("%s: %d files", checkpoint, len(content["files"]))


if __name__ == "__main__":
    run_script(digest_model)
