"""Train one adapter as one of several processes; `finetune_model` starts them."""

from __future__ import annotations

import logging
import os
from pathlib import Path

from vlmtsc.script import paused_collection, run_script

with paused_collection():
    from vlmtsc.training.finetune import train_as_worker
    from vlmtsc.training.processes import end_with_parent


def train_adapter(job: Path) -> None:
    """Train one adapter as one of several processes.

    Parameters
    ----------
    job : Path
        Inputs and outputs of the training (.json).
    """
    end_with_parent()
    is_main = os.environ.get("RANK", "0") == "0"
    if not is_main:
        logging.getLogger("vlmtsc").setLevel(logging.ERROR)
    train_as_worker(job, is_main)


if __name__ == "__main__":
    run_script(train_adapter)
