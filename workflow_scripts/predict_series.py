"""Classify unlabelled series with a model that the workflow has fine-tuned."""

from __future__ import annotations

import logging
import os
import tempfile
from pathlib import Path

import numpy as np

from vlmtsc.errors import InputError
from vlmtsc.files import read_json
from vlmtsc.script import heavy_imports, run_script
from vlmtsc.settings import DescriptionKind, EndpointSettings, RequestLimits
from vlmtsc.table_files import write_csv

logger = logging.getLogger("vlmtsc.predict_series")


def predict_series(
    run: Path,
    series: Path,
    output: Path,
    model: Path | None = None,
    facts: Path | None = None,
    descriptions: Path | None = None,
    describer_cache: Path = Path("describer_cache"),
    limits: RequestLimits = RequestLimits(),  # noqa: B008 (frozen)
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
    descriptions : Path, optional
        Descriptions (.json) of the training dataset by a hosted model, with what it was asked; looked at where the
        scenario has them. Default: in the run's own results folder.
    describer_cache : Path, default describer_cache
        Folder of answers of hosted models.
    limits : RequestLimits
        Cap, rate, timeout and attempts of requests to a hosted model.
    threads : int, default 1
        Threads of each tensor operation.
    log : Path, optional
        File for messages.
    """
    with heavy_imports():
        from scipy.special import softmax

        from vlmtsc.data.cleaning import prepare_case
        from vlmtsc.data.readers import read_unlabelled
        from vlmtsc.describe.template import describe_template
        from vlmtsc.evaluation.predictions import prediction_table
        from vlmtsc.evaluation.predictor import Predictor
        from vlmtsc.representation.plots import make_plotter, write_png
        from vlmtsc.representation.representation import Representation
        from vlmtsc.settings import CleaningSettings

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
    paragraphs: list[str] | list[None] = [None] * len(cases)
    kind = representation.scenario.described_context
    if kind == "leaked_rationale" or kind == "leaked_rationale_merged_labels":
        raise InputError(
            f"{run}: its questions hold rationales by a describer that was told the class (compat='leaked_rationale'), "
            "and nobody knows the class of a new series; allowed: a run of a scenario without this switch"
        )
    if kind is not None and representation.scenario.describer == "template":
        paragraphs = [describe_template(case, kind) for case in cases]
    elif kind is not None:
        descriptions = (
            descriptions or results / "descriptions" / name["dataset"] / "endpoint" / f"{kind}.json"
        )
        paragraphs = _requested(cases, kind, name["dataset"], descriptions, describer_cache, limits)
    predictor = Predictor.load(model, run / "adapter", parameters, threads=threads)
    with tempfile.TemporaryDirectory() as folder:
        plots = Path(folder) if representation.plot is not None else None
        if representation.plot is not None:
            drawn = representation.values_to_draw(np.stack(cases))
            plotter = make_plotter(representation.plot, drawn.shape[1], representation.plot_limits)
            for index, case in enumerate(drawn):
                write_png(plotter.render(case), Path(folder) / f"{index}.png")
        records = [
            representation.record(
                identity, representation.prompt(case, description=paragraph), None, f"{index}.png"
            )
            for index, (identity, case, paragraph) in enumerate(zip(ids, cases, paragraphs, strict=True))
        ]
        scores = predictor.score(records, plots)
    table = prediction_table(ids, scores, list(representation.classes))
    table.insert(2, "probability", np.round(softmax(scores, axis=1).max(axis=1), 4))
    write_csv(output, table)
    logger.info("%s: %d series classified with %s", output, len(ids), run)


def _requested(
    cases: list[np.ndarray],
    kind: DescriptionKind,
    dataset: str,
    descriptions: Path,
    cache: Path,
    limits: RequestLimits,
) -> list[str]:
    """Have new series described by a hosted model, asked as it was about the training series."""
    from vlmtsc.describe.client import DescriberClient, Endpoint, request_body

    if not descriptions.is_file():
        raise InputError(
            f"{descriptions}: no such file; allowed: with --descriptions, the descriptions of the training dataset, "
            "which hold what the hosted model was asked"
        )
    settings = EndpointSettings(**read_json(descriptions)["settings"])
    client = DescriberClient(Endpoint.from_environment(os.environ), limits, cache)
    bodies = [request_body(case, kind, dataset, settings) for case in cases]
    return client.ask(bodies, f"{dataset}, {kind} of new series").texts


if __name__ == "__main__":
    run_script(predict_series)
