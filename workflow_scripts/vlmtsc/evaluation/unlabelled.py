"""Classification of unlabelled series by a finished run."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from scipy.special import softmax

from vlmtsc.data.cleaning import prepare_case
from vlmtsc.data.readers import read_unlabelled
from vlmtsc.describe.descriptions import describe_template
from vlmtsc.errors import InputError
from vlmtsc.evaluation.metrics import prediction_table
from vlmtsc.evaluation.predictor import Predictor
from vlmtsc.files import read_json
from vlmtsc.representation.plots import make_plotter, write_png
from vlmtsc.representation.representation import Representation
from vlmtsc.settings import CleaningSettings, EndpointSettings, RequestLimits, ScenarioSettings


@dataclass(frozen=True)
class DescriberFiles:
    """Files and limits for descriptions by a hosted model.

    `descriptions` (.json) are those of the training dataset, with the settings of the requests; by default those in
    the run's results folder. `cache` is a folder of answers.
    """

    descriptions: Path | None
    cache: Path
    limits: RequestLimits


def classify_series(
    run: Path,
    series: Path,
    model: Path | None,
    facts: Path | None,
    describer: DescriberFiles,
    threads: int = 1,
) -> pd.DataFrame:
    """Prepare series (`read_unlabelled`) as a finished run's dataset was prepared, and classify them.

    `run` is a folder below its results folder, where by default the checkpoint folder `model` and the `facts` (.json)
    of the training dataset are. Returns a `prediction_table` with the column ``probability`` of the predicted class.
    """
    run = run.resolve()
    if not (run / "parameters.json").is_file():
        raise InputError(f"{run}: no parameters.json; allowed: the folder of a finished run")
    parameters = read_json(run / "parameters.json")
    name, results = parameters["run"], run.parents[5]
    representation = Representation.from_json(parameters["representation"])
    facts = facts or results / "datasets" / name["dataset"] / "facts.json"
    settings = CleaningSettings(**read_json(facts)["settings"])
    ids, raw = read_unlabelled(series, representation.n_channels)
    cases = [
        prepare_case(case, representation.n_timepoints, settings, place=f"{series}, series {identity}")
        for identity, case in zip(ids, raw, strict=True)
    ]
    stored = results / "descriptions" / name["dataset"] / "endpoint"
    paragraphs = _describe(cases, representation.scenario, name["dataset"], run, stored, describer)
    model = model or results / "models" / name["model"]
    predictor = Predictor.load(model, run / "adapter", parameters, threads)
    with tempfile.TemporaryDirectory() as folder:
        plots = Path(folder) if representation.plot is not None else None
        if representation.plot is not None:
            drawn = representation.values_to_draw(np.stack(cases))
            plotter = make_plotter(representation.plot, drawn.shape[1], representation.plot_limits)
            for index, case in enumerate(drawn):
                write_png(plotter.render(case), Path(folder) / f"{index}.png")
        prompts = [
            representation.prompt(case, description=paragraph)
            for case, paragraph in zip(cases, paragraphs, strict=True)
        ]
        records = [
            representation.record(identity, prompt, None, f"{index}.png")
            for index, (identity, prompt) in enumerate(zip(ids, prompts, strict=True))
        ]
        scores = predictor.score(records, plots)
    table = prediction_table(ids, scores, list(representation.classes))
    table.insert(2, "probability", np.round(softmax(scores, axis=1).max(axis=1), 4))
    return table


def _describe(
    cases: Sequence[np.ndarray],
    scenario: ScenarioSettings,
    dataset: str,
    run: Path,
    stored: Path,
    describer: DescriberFiles,
) -> Sequence[str | None]:
    """Return the paragraphs in the questions about new series, described as the training series were."""
    kind = scenario.described_context
    if kind is None:
        return [None] * len(cases)
    if kind == "leaked_rationale" or kind == "leaked_rationale_merged_labels":
        raise InputError(
            f"{run}: its questions contain rationales that name the class (compat='leaked_rationale'), and the class "
            "of a new series is unknown; allowed: a run of a scenario without this switch"
        )
    if scenario.describer == "template":
        return [describe_template(case, kind) for case in cases]
    from vlmtsc.describe.client import DescriberClient, Endpoint, request_body  # network libraries

    descriptions = describer.descriptions or stored / f"{kind}.json"
    if not descriptions.is_file():
        raise InputError(
            f"{descriptions}: no such file; allowed: with --descriptions, the descriptions of the training dataset, "
            "which contain the settings of the requests"
        )
    settings = EndpointSettings(**read_json(descriptions)["settings"])
    client = DescriberClient(Endpoint.from_environment(os.environ), describer.limits, describer.cache)
    bodies = [request_body(case, kind, dataset, settings) for case in cases]
    return [answer["text"] for answer in client.ask(bodies, f"{dataset}, {kind} of new series")]
