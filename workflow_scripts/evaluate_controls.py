"""Score the test set of a dataset again with one input corrupted at a time."""

from __future__ import annotations

from pathlib import Path

from vlmtsc.files import read_json, write_csv
from vlmtsc.model.devices import claim_gpus
from vlmtsc.script import heavy_imports, run_script


def evaluate_controls(
    model: Path,
    adapter: Path,
    parameters: Path,
    test: Path,
    predictions: Path,
    controls: Path,
    plots: Path | None = None,
    features: Path | None = None,
    seed: int = 0,
    threads: int = 1,
    gpus: int = 0,
    batch_size: int = 16,
) -> None:
    """Score the test set of a dataset again with one input corrupted at a time.

    Parameters
    ----------
    model : Path
        Checkpoint folder.
    adapter : Path
        Adapter folder of `finetune_model`.
    parameters : Path
        Its resolved settings (.json).
    test : Path
        Conversations (.json).
    predictions : Path
        Predictions (.csv) of `evaluate_model` on these conversations.
    controls : Path
        One row a control (.csv) to write, the unchanged test set first.
    plots : Path, optional
        Folder of plots.
    features : Path, optional
        Features of the plots (.npy) of `encode_plots`; without, they are computed.
    seed : int, default 0
        Of the choice of other cases' plots, and of the order of numbers.
    threads : int, default 1
        Threads of each tensor operation.
    gpus : int, default 0
        GPUs to reserve for this job; 0: those that PyTorch sees.
    batch_size : int, default 16
        Cases in one forward pass.
    """
    with heavy_imports():
        from vlmtsc.evaluation import controls as library
        from vlmtsc.evaluation.predictor import Predictor

    with claim_gpus(gpus):
        predictor = Predictor.load(model, adapter, read_json(parameters), threads, batch_size, features)
        table = library.evaluate_controls(predictor, read_json(test), predictions, plots, seed)
    write_csv(controls, table)


if __name__ == "__main__":
    run_script(evaluate_controls)
