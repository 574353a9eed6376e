"""Classify unlabelled series with a model that the workflow has fine-tuned."""

from __future__ import annotations

import logging
import tempfile
from pathlib import Path

import numpy as np

from vlmtsc.errors import InputError
from vlmtsc.files import atomic_path, read_json
from vlmtsc.script import run_script

logger = logging.getLogger("vlmtsc.predict_series")


def predict_series(
    run: Path,
    series: Path,
    output: Path,
    model: Path | None = None,
    facts: Path | None = None,
    threads: int = 1,
    log: Path | None = None,
) -> None:
    """Classify unlabelled series with a model that the workflow has fine-tuned.

    Parameters
    ----------
    run : Path
        Folder of a finished run: results/runs/MODEL/DATASET/PROTOCOL/SCENARIO/seed-SEED.
    series : Path
        A CSV file of univariate series, one a row; or a folder of CSV files, one series a file, one timepoint
        a row, one channel a column.
    output : Path
        Predictions (.csv) to write: id, predicted class, probability, log-likelihood of each class.
    model : Path, optional
        Checkpoint folder of the base model. Default: the one in the run's own results folder.
    facts : Path, optional
        Facts (.json) of the training dataset, with what preprocessing did. Default: in the run's own results folder.
    threads : int, default 1
        Threads of each tensor operation.
    log : Path, optional
        File for messages.
    """
    from scipy.special import softmax

    from vlmtsc.data.cleaning import prepare_case
    from vlmtsc.data.settings import CleaningSettings
    from vlmtsc.data.unlabelled import read_unlabelled
    from vlmtsc.evaluation.predictions import prediction_table
    from vlmtsc.evaluation.predictor import Predictor
    from vlmtsc.representation.conversations import question_record
    from vlmtsc.representation.plots import make_plotter, write_png
    from vlmtsc.representation.representation import Representation

    run = run.resolve()
    if not (run / "parameters.json").is_file():
        raise InputError(f"{run}: no parameters.json; allowed: the folder of a finished run")
    parameters = read_json(run / "parameters.json")
    name = parameters["run"]
    results = run.parents[5]
    model = model or results / "models" / name["model"]
    facts = facts or results / "datasets" / name["dataset"] / "facts.json"
    representation = Representation.from_json(parameters["representation"])
    settings = CleaningSettings(**read_json(facts)["settings"])
    ids, raw = read_unlabelled(series, representation.n_channels)
    cases = [
        prepare_case(case, representation.n_timepoints, settings, place=f"{series}, series {identity}")
        for identity, case in zip(ids, raw, strict=True)
    ]
    predictor = Predictor.load(model, run / "adapter", parameters, threads=threads)
    with tempfile.TemporaryDirectory() as folder:
        plots = Path(folder) if representation.plot is not None else None
        if representation.plot is not None:
            plotter = make_plotter(representation.plot, representation.n_channels, representation.plot_limits)
            for index, case in enumerate(cases):
                write_png(plotter.render(representation.values_to_draw(case)), Path(folder) / f"{index}.png")
        records = [
            question_record(identity, case, representation, f"{index}.png")
            for index, (identity, case) in enumerate(zip(ids, cases, strict=True))
        ]
        scores = predictor.score(records, plots)
    table = prediction_table(ids, scores, list(representation.classes))
    table.insert(2, "probability", np.round(softmax(scores, axis=1).max(axis=1), 4))
    with atomic_path(output) as path:
        table.to_csv(path, index=False)
    logger.info("%s: %d series classified with %s", output, len(ids), run)


if __name__ == "__main__":
    run_script(predict_series)
