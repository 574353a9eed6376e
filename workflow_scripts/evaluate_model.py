"""Classify the test set of a dataset with a fine-tuned model."""

from __future__ import annotations

from pathlib import Path

from vlmtsc.data.series import CleanSeries, load_arrays
from vlmtsc.files import read_json, write_csv, write_json
from vlmtsc.model.devices import claim_gpus
from vlmtsc.script import paused_collection, run_script
from vlmtsc.settings import OcclusionOptions


def evaluate_model(
    model: Path,
    adapter: Path,
    parameters: Path,
    test: Path,
    predictions: Path,
    metrics: Path,
    plots: Path | None = None,
    features: Path | None = None,
    validation: Path | None = None,
    generate: bool = False,
    controls: Path | None = None,
    explanations: Path | None = None,
    occlusion: OcclusionOptions = OcclusionOptions(),  # noqa: B008 (frozen)
    series: Path | None = None,
    split: Path | None = None,
    threads: int = 1,
    gpus: int = 0,
    batch_size: int = 16,
) -> None:
    """Classify the test set of a dataset with a fine-tuned model.

    The predicted class is the one with the most likely answer. Generated answers and the calibration of class
    probabilities are additional metrics.

    Parameters
    ----------
    model : Path
        Checkpoint folder.
    adapter : Path
        Adapter folder of `finetune_model`.
    parameters : Path
        Its resolved settings (.json), which set precision and attention.
    test : Path
        Conversations (.json).
    predictions : Path
        One row a case (.csv) to write: id, true, predicted, log-likelihood of each class, generated answer.
    metrics : Path
        Metrics (.json) to write.
    plots : Path, optional
        Folder of plots.
    features : Path, optional
        Features of the plots (.npy) of `encode_plots`; without, they are computed.
    validation : Path, optional
        Conversations (.json) to fit one temperature of the scores to; without, none is fitted.
    generate : bool, default False
        Whether the model also generates answers.
    controls : Path, optional
        One row a control (.csv) to write: the test set scored again with one input corrupted at a time.
    explanations : Path, optional
        Explanations of some cases (.json) to write; needs `series` and `split`.
    occlusion : OcclusionOptions
        Number of cases to explain, and forward passes of each.
    series : Path, optional
        Clean series of `preprocess_dataset` (.npz).
    split : Path, optional
        Case indices of `split_dataset` (.npz).
    threads : int, default 1
        Threads of each tensor operation.
    gpus : int, default 0
        GPUs to reserve for this job; 0: those that PyTorch sees.
    batch_size : int, default 16
        Cases in one forward pass.
    """
    with paused_collection():
        from vlmtsc.evaluation.controls import evaluate_controls
        from vlmtsc.evaluation.metrics import read_predictions
        from vlmtsc.evaluation.occlusion import explain_test_set
        from vlmtsc.evaluation.predictor import Predictor, evaluate_test_set

    cases = read_json(test)
    fitted_on = [] if validation is None else read_json(validation)
    with claim_gpus(gpus):
        predictor = Predictor.load(
            model, adapter, read_json(parameters), threads, batch_size, features, plots
        )
        table, result = evaluate_test_set(predictor, cases, fitted_on, plots, generate=generate)
        write_csv(predictions, table)
        write_json(metrics, result)
        if controls is not None:
            write_csv(controls, evaluate_controls(predictor, cases, predictions, plots))
        if explanations is not None and series is not None and split is not None:
            clean, sets = CleanSeries.load(series), load_arrays(split, ["train", "test"])
            _, _, scores = read_predictions(predictions)
            mean = clean.values[sets["train"]].mean(axis=0)
            values = clean.values[sets["test"]]
            write_json(explanations, explain_test_set(predictor, cases, values, scores, mean, occlusion))


if __name__ == "__main__":
    run_script(evaluate_model)
