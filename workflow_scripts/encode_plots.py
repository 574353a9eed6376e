"""Encode every plot of a dataset once with a model's frozen vision tower."""

from __future__ import annotations

from pathlib import Path

from vlmtsc.files import atomic_path
from vlmtsc.model.devices import claim_gpus
from vlmtsc.script import paused_collection, run_script


def encode_plots(
    model: Path,
    plots: Path,
    output: Path,
    precision: str = "bf16",
    threads: int = 1,
    gpus: int = 0,
) -> None:
    """Encode every plot of a dataset once with a model's frozen vision tower.

    Parameters
    ----------
    model : Path
        Checkpoint folder.
    plots : Path
        Folder of plots.
    output : Path
        Features of the plots (.npy) to write.
    precision : {"bf16", "tf32", "fp32"}, default "bf16"
        Of the model.
    threads : int, default 1
        Threads of each tensor operation.
    gpus : int, default 0
        GPUs to reserve for this job; 0: those that PyTorch sees.
    """
    with paused_collection():
        import torch

        from vlmtsc.model.vision import write_features

    torch.set_num_threads(threads)
    with claim_gpus(gpus), atomic_path(output) as path:
        write_features(model, plots, precision, path)


if __name__ == "__main__":
    run_script(encode_plots)
