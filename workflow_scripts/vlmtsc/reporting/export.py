"""Results for other programs: predictions for tsml-eval, accuracies for aeon, a folder for a paper in LaTeX."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
from scipy.special import softmax

from vlmtsc.errors import InputError
from vlmtsc.files import atomic_path, read_json
from vlmtsc.paths import BaselineKey, Paths, Run

#: Names of baselines in aeon (`aeon.benchmarking.results_loaders.NAME_ALIASES`).
AEON_NAMES = {
    "euclidean_1nn": "1NN-ED",
    "dtw_1nn": "1NN-DTW",
    "minirocket": "MiniROCKET",
    "multirocket_hydra": "MR-Hydra",
    "fcn": "FCN",
}


def export_results(paths: Paths, runs: Sequence[Run], baselines: Sequence[BaselineKey], output: Path) -> int:
    """Write predictions in the format of tsml-eval and accuracies in that of aeon; return the number of methods.

    All runs and baselines are of one protocol. The folder `output` is replaced: it will contain
    ``PROTOCOL/ESTIMATOR/Predictions/DATASET/testResampleSEED.csv`` and
    ``PROTOCOL/classification/accuracy/ESTIMATOR_accuracy.csv``. The protocol is the first level since only
    ``official`` is comparable with published results.
    """
    several = len({run.model for run in runs}) > 1
    rows = []
    with atomic_path(output) as temporary:
        keys: list[Run | BaselineKey] = [*runs, *baselines]
        for key in keys:
            folder = Path(paths.run(key) if isinstance(key, Run) else paths.baseline(key))
            if isinstance(key, Run):
                name, record = key.scenario, read_json(folder / "run_record.json")
                settings = {"model": key.model, "scenario": name, "seed": key.seed}
                settings["recipe"] = record.get("settings", {})
            else:
                name, record = key.baseline, read_json(folder / "record.json")
                settings = record["chosen"]
            entry = {
                "estimator": estimator_name(name, key.model, several),
                "dataset": key.dataset,
                "seed": record["seed"],
            }
            metrics = read_json(folder / "metrics.json")
            predictions = pd.read_csv(
                folder / "predictions.csv",
                dtype={"id": str, "true": str, "predicted": str},
                keep_default_na=False,
            )
            text = prediction_file(
                predictions,
                metrics,
                **entry,
                description=(
                    f"protocol {key.protocol}; the number is a seed of training: the split is the same for all"
                ),
                parameters=json.dumps(settings, sort_keys=True),
                fit_seconds=record["wall_seconds"],
                memory_mb=record.get("peak_memory_mb") or 0,
            )
            place = temporary / key.protocol / entry["estimator"] / "Predictions" / key.dataset
            place.mkdir(parents=True, exist_ok=True)
            (place / f"testResample{entry['seed']}.csv").write_text(text, encoding="utf-8")
            rows.append(entry | {"accuracy": metrics["accuracy"]})
        tidy = pd.DataFrame(rows)
        summary = temporary / runs[0].protocol / "classification" / "accuracy"
        summary.mkdir(parents=True)
        for estimator, group in tidy.groupby("estimator", sort=False):
            # aeon expects datasets in rows, resamples in columns.
            wide = group.pivot_table(index="dataset", columns="seed", values="accuracy", sort=True)
            wide.rename_axis("Resamples:").to_csv(summary / f"{estimator}_accuracy.csv")
    return int(tidy["estimator"].nunique())


def estimator_name(method: str, model: str, several: bool) -> str:
    """Name the folder of a method: aeon's name of a baseline, otherwise ours; with the model if there are several."""
    name = AEON_NAMES.get(method, method)
    return f"{name}-{model}" if several and model else name


def prediction_file(
    predictions: pd.DataFrame,
    metrics: Mapping[str, Any],
    *,
    dataset: str,
    estimator: str,
    seed: int,
    description: str,
    parameters: str,
    fit_seconds: float,
    memory_mb: float,
) -> str:
    """Write one run's predictions in tsml-eval's format; InputError if a label is not among the classes.

    Line 1: dataset, estimator, TEST, resample number (here the seed), time unit, description. Line 2: parameters.
    Line 3: accuracy; fit, prediction and benchmark time; memory in bytes; number of classes; three values of an
    estimate on the training set. Unknown values are -1. Then one line per case: index of the true and of the
    predicted class (-1: none), an empty field, class probabilities; without probabilities (``probabilistic`` of the
    metrics) the scores, 1 for the predicted class.
    """
    classes = [str(name) for name in metrics["classes"]]
    probabilistic = metrics.get("probabilistic", True)
    index = {name: number for number, name in enumerate(classes)}
    answers = index if probabilistic else index | {"": -1}  # a hosted model may name no class
    unknown = sorted({*predictions["true"]} - {*index} | {*predictions["predicted"]} - {*answers})
    if unknown:
        raise InputError(f"{estimator}, {dataset}: label {unknown[0]!r}; allowed: {', '.join(classes)}")
    scores = predictions[[f"score_{name}" for name in classes]].to_numpy(dtype=float)
    probabilities = softmax(scores, axis=1) if probabilistic else scores
    lines = [
        f"{dataset},{estimator},TEST,{seed},MILLISECONDS,{description}",
        parameters,
        f"{metrics['accuracy']},{round(1000 * fit_seconds)},-1,-1,{round(memory_mb * 2**20)},{len(classes)},,-1,-1",
    ]
    for true, predicted, of_case in zip(
        predictions["true"], predictions["predicted"], probabilities.tolist(), strict=True
    ):
        lines.append(f"{index[true]},{answers[predicted]},,{','.join(map(repr, of_case))}")
    return "\n".join(lines) + "\n"


DOCUMENT = r"""% All tables and figures of this folder: pdflatex paper
% In your own paper: \input{{tables/accuracy}}, \includegraphics{{figures/controls}}; packages booktabs and graphicx.
% Methods: pandoc methods.md --citeproc --bibliography references.bib -o methods.pdf (or .docx; --natbib for .tex)
\documentclass[a4paper]{{article}}
\usepackage[T1]{{fontenc}}
\usepackage[margin=2cm]{{geometry}}
\usepackage{{booktabs, graphicx}}
% Wide tables are scaled to the width of the text.
\newsavebox{{\tablebox}}
\let\wide\tabular \let\endwide\endtabular
\renewenvironment{{tabular}}[1]{{\begin{{lrbox}}{{\tablebox}}\wide{{#1}}}}{{\endwide\end{{lrbox}}%
  \ifdim\wd\tablebox>\textwidth\resizebox{{\textwidth}}{{!}}{{\usebox{{\tablebox}}}}\else\usebox{{\tablebox}}\fi}}
\begin{{document}}
{tables}
\clearpage
{figures}
\end{{document}}
"""
FIGURE = r"""\begin{{figure}}[htbp]\centering
\includegraphics[width=\textwidth, height=0.75\textheight, keepaspectratio]{{{name}}}
\caption{{\detokenize{{{name}}}}}
\end{{figure}}"""


def collect_paper(results: Path, parts: Sequence[str], output: Path) -> None:
    """Copy tables, figures, methods and references, and write ``paper.tex``, which includes the tables and figures."""
    with atomic_path(output) as folder:
        for part in parts:
            place = folder / part.removeprefix("methods/")
            place.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(results / part, place)
        tables = sorted(path.stem for path in folder.glob("tables/*.tex"))
        figures = [
            FIGURE.format(name=path.relative_to(folder).with_suffix("").as_posix())
            # LaTeX can defer only a limited number of figures.
            + (r"\clearpage" if number % 10 == 0 else "")
            for number, path in enumerate(sorted(folder.glob("figures/**/*.pdf")), 1)
        ]
        text = DOCUMENT.format(
            tables="\n".join(rf"\input{{tables/{name}}}" for name in tables), figures="\n".join(figures)
        )
        (folder / "paper.tex").write_text(text, encoding="utf-8")
