"""Data and results of a baseline, and the files of its results: those of a fine-tuned run."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from vlmtsc.data.series import CleanSeries, load_arrays
from vlmtsc.data.splits import SETS
from vlmtsc.errors import InputError
from vlmtsc.evaluation.metrics import INVALID, compute_metrics, generation_metrics, prediction_table
from vlmtsc.files import write_csv, write_json
from vlmtsc.settings import BASELINE_SEED
from vlmtsc.training.record import git_revision, package_versions, peak_memory_mb

logger = logging.getLogger(__name__)

#: Packages that baselines depend on.
PACKAGES = (
    "numpy",
    "scipy",
    "scikit-learn",
    "numba",
    "tslearn",
    "aeon",
    "torch",
    "transformers",
    "snakemake",
)
#: Log-probability of a class without a training case.
ABSENT = -50.0
#: Metrics that need probabilities.
PROBABILITY_METRICS = ("log_loss", "expected_calibration_error", "brier_score", "reliability_curve")


@dataclass(frozen=True)
class BaselineData:
    """The cases of a dataset by set, without the labels of the test set.

    Attributes
    ----------
    train, validation, test : ndarray of float, shape (n_cases, ...)
        Series of shape (n_channels, n_timepoints), or features of shape (n_features,).
    train_labels, validation_labels : ndarray of int64, shape (n_cases,)
        Class indices.
    n_classes : int
        Classes of the whole dataset; some may be absent from the training set.
    """

    train: np.ndarray
    train_labels: np.ndarray
    validation: np.ndarray
    validation_labels: np.ndarray
    test: np.ndarray
    n_classes: int

    @classmethod
    def of_split(
        cls, values: np.ndarray, series: CleanSeries, split: Mapping[str, np.ndarray]
    ) -> BaselineData:
        """Divide the values of all cases, shape (n_cases, ...), by a split; raise InputError if a set is empty."""
        for name, cases in split.items():
            if len(cases) == 0:
                raise InputError(f"the {name} set has no case; allowed: at least one")
        train, validation, test = (split[name] for name in SETS)
        labels = series.label_index
        return cls(
            values[train],
            labels[train],
            values[validation],
            labels[validation],
            values[test],
            len(series.classes),
        )


@dataclass(frozen=True)
class BaselineResult:
    """Scores of a fitted baseline; the class with the highest one is predicted.

    Attributes
    ----------
    validation_scores, test_scores : ndarray of float64, shape (n_cases, n_classes)
        Log-probabilities in nats; without probabilities 1 for the predicted class and 0 for others. None of validation
        if only the test set was classified.
    probabilistic : bool
        Whether the scores are log-probabilities.
    chosen : dict
        Settings chosen on the validation set, and limits that were reached; JSON-ready.
    generated : (list of str, ndarray of int64), optional
        Answers as text, and the class index of each, or `INVALID`, which counts as wrong.
    """

    validation_scores: np.ndarray | None
    test_scores: np.ndarray
    probabilistic: bool
    chosen: dict[str, Any]
    generated: tuple[list[str], np.ndarray] | None = None

    def metrics(self, labels: np.ndarray, classes: list[str]) -> dict[str, Any]:
        """Return the metrics on the test set, with None for those that need probabilities if there are none."""
        texts = self.generated
        valid = None if texts is None else texts[1] != INVALID
        metrics = compute_metrics(labels, self.test_scores, classes, valid)
        if texts is not None:
            metrics |= generation_metrics(labels, texts[1])
        if not self.probabilistic:
            metrics |= dict.fromkeys(PROBABILITY_METRICS)
        return metrics | {"probabilistic": self.probabilistic}


def one_hot(predicted: np.ndarray, n_classes: int) -> np.ndarray:
    """Return scores of a method without probabilities: 1 for the predicted class, if there is one, 0 for the others."""
    return (predicted[:, None] == np.arange(n_classes)).astype(np.float64)


def all_classes(log_probabilities: np.ndarray, present: np.ndarray, n_classes: int) -> np.ndarray:
    """Add columns for classes without a training case, with the log-probability `ABSENT`.

    `log_probabilities` has shape (n_cases, n_present), `present` the class index of each column. Values below
    `ABSENT` are raised to it, so that none is infinite.
    """
    scores = np.full((len(log_probabilities), n_classes), ABSENT)
    scores[:, present] = np.maximum(log_probabilities, ABSENT)
    return scores


def read_split(path: Path, n_cases: int) -> dict[str, np.ndarray]:
    """Read the case indices of each set; raise InputError if sets overlap or exceed the dataset."""
    split = load_arrays(path, SETS)
    cases = np.concatenate(list(split.values()))
    if len(np.unique(cases)) < len(cases) or cases.min() < 0 or cases.max() >= n_cases:
        raise InputError(
            f"{path}: sets that overlap or exceed the dataset's {n_cases} cases; allowed: disjoint sets of its cases"
        )
    return split


def evaluate_baseline(
    key: Mapping[str, Any],
    series: Path,
    split: Path,
    output: Path,
    fit: Callable[[BaselineData], BaselineResult],
    features: Callable[[CleanSeries, Mapping[str, np.ndarray]], np.ndarray] | None = None,
) -> None:
    """Fit a baseline, measure it on the test set, and write predictions.csv, metrics.json, record.json.

    `key` identifies the result in the record. `features` returns those of all cases, shape (n_cases, n_features); by
    default the series are used.
    """
    clean = CleanSeries.load(series)
    sets = read_split(split, len(clean.values))
    begin = time.monotonic()
    values = clean.values if features is None else features(clean, sets)
    result = fit(BaselineData.of_split(values, clean, sets))
    seconds = time.monotonic() - begin
    classes = [str(name) for name in clean.classes]
    labels = {name: clean.label_index[cases] for name, cases in sets.items()}
    measured = result.metrics(labels["test"], classes)
    validation = None
    if result.validation_scores is not None:
        validation = compute_metrics(labels["validation"], result.validation_scores, classes)["accuracy"]
    ids = clean.case_ids[sets["test"]].tolist()
    table = prediction_table(ids, result.test_scores, classes, labels["test"], result.generated)
    if result.generated is not None:
        table["predicted"] = table["generated_class"]
    write_csv(output / "predictions.csv", table)
    write_json(output / "metrics.json", measured)
    record = {
        **key,
        "seed": BASELINE_SEED,
        "chosen": result.chosen,
        "probabilistic": result.probabilistic,
        "validation_accuracy": validation,
        "wall_seconds": round(seconds, 3),
        "peak_memory_mb": peak_memory_mb(),
        "versions": package_versions(PACKAGES),
        "git_revision": git_revision(Path(__file__).parent),
    }
    write_json(output / "record.json", record)
    accuracy = 100 * measured["accuracy"]
    logger.info("%s: accuracy %.1f%% in %.1f s, chosen: %s", dict(key), accuracy, seconds, result.chosen)
