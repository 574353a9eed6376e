"""Classification of unlabelled series by a finished run."""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from scipy.special import softmax

from vlmtsc.data.cleaning import prepare_case
from vlmtsc.data.own import read_own
from vlmtsc.data.tables import OwnCases
from vlmtsc.errors import InputError
from vlmtsc.evaluation.metrics import prediction_table
from vlmtsc.evaluation.new_series import score_cases, template_paragraphs
from vlmtsc.evaluation.predictor import Predictor
from vlmtsc.examples import check_without_training_plots
from vlmtsc.files import read_json
from vlmtsc.paths import Paths, Run
from vlmtsc.representation.representation import Representation
from vlmtsc.settings import (
    CleaningSettings,
    ColumnOptions,
    EndpointSettings,
    RequestLimits,
)

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class DescriberFiles:
    """Files and limits for descriptions by a hosted model.

    `descriptions` (.json) are those of the training dataset, with the settings of the requests; by default those in
    the run's results folder. `cache` is a folder of answers.
    """

    descriptions: Path | None
    cache: Path
    limits: RequestLimits


@dataclass(frozen=True)
class FinishedRun:
    """A fine-tuned model in its results folder, and the preparation of the series that it was trained on.

    `paths` are those of its results folder, `parameters` the content of the run's parameters.json, `checkpoint` the
    folder of its base model, `equal_length` as in `LabelledSeries`.
    """

    folder: Path
    run: Run
    paths: Paths
    parameters: Mapping[str, Any]
    representation: Representation
    cleaning: CleaningSettings
    equal_length: bool
    checkpoint: Path

    @classmethod
    def open(cls, run: Path, model: Path | None = None, facts: Path | None = None) -> FinishedRun:
        """Read a run's folder, ``results/runs/MODEL/DATASET/PROTOCOL/SCENARIO/seed-SEED``.

        The checkpoint folder `model` and the dataset's `facts` (.json) are by default those in the results folder.
        """
        run = run.resolve()
        if not (run / "parameters.json").is_file():
            raise InputError(f"{run}: no parameters.json; allowed: the folder of a finished run")
        parameters = read_json(run / "parameters.json")
        name = Run(**parameters["run"])
        paths = Paths(str(run.parents[5] if len(run.parents) > 5 else run))  # else no facts are found
        facts = facts or Path(paths.dataset(name)) / "facts.json"
        if not facts.is_file():
            raise InputError(
                f"{run}: no {facts}; allowed: a run in its results folder, results/runs/MODEL/DATASET/PROTOCOL/"
                "SCENARIO/seed-SEED (a saved or exported classifier is read by VLMClassifier.load)"
            )
        found = read_json(facts)
        return cls(
            run,
            name,
            paths,
            parameters,
            Representation.from_json(parameters["representation"]),
            CleaningSettings(**found["settings"]),
            found.get("equal_length", False),  # results of earlier versions lack it
            model or Path(paths.model(name.model)),
        )

    def read(self, series: Path, columns: ColumnOptions | None = None) -> OwnCases:
        """Read new series (`read_own`), and check their channels; columns mean what they mean in the training data."""
        if columns is None:
            source = Path(self.paths.dataset(self.run)) / "source.json"
            columns = ColumnOptions(**(read_json(source).get("columns") or {}) if source.is_file() else {})
        expected = self.representation
        own = read_own(
            series,
            columns,
            labelled=False,
            irregular=self.cleaning.irregular,
            least=expected.n_timepoints if self.equal_length else 0,
        )
        if columns == ColumnOptions() and self._label_is_first(own):
            first = own.columns.values[0]
            logger.warning(
                "%s: its first column is read as the label, since its values are classes; with --columns "
                '\'{"layout": "wide"}\' it is the first value',
                series,
            )
            return self.read(series, ColumnOptions(label=first))
        for line in own.understood:
            logger.info("%s: %s", series, line)
        for place, case in zip(own.places, own.series, strict=True):
            if len(case) != expected.n_channels:
                raise InputError(
                    f"{place}: {len(case)} channels of {case.shape[1]} timepoints; allowed: the "
                    f"{expected.n_channels} channels of the training data (a folder with one CSV file a series, a "
                    "table with a row for each timepoint, or an array)"
                )
        lengths = [case.shape[1] for case in own.series]
        if other := sum(length != expected.n_timepoints for length in lengths):
            logger.warning(
                "%s: %s of %s series have %s to %s timepoints, in training %s",
                *(series, other, len(lengths), min(lengths), max(lengths), expected.n_timepoints),
            )
        return own

    def _label_is_first(self, own: OwnCases) -> bool:
        """Return whether a wide table without names has one column too many, the first, of class labels: as UCR's."""
        labels = pd.to_numeric(pd.Series(self.representation.classes), errors="coerce")
        return (
            own.columns.layout == "wide"
            and len(own.columns.values) == self.representation.n_timepoints + 1
            and bool(np.isin([case[0, 0] for case in own.series], labels).all())
        )

    def prepare(self, case: np.ndarray, place: str) -> np.ndarray:
        """Clean a new series as the training series: `prepare_case`."""
        n_timepoints = self.representation.n_timepoints
        return prepare_case(case, n_timepoints, self.cleaning, place, equal_length=self.equal_length)

    def load(self, threads: int = 1) -> Predictor:
        """Load the model; InputError if its questions show plots of training cases."""
        check_without_training_plots(self.representation)
        return Predictor.load(self.checkpoint, self.folder / "adapter", self.parameters, threads)


def classify_series(
    run: Path,
    series: Path,
    model: Path | None,
    facts: Path | None,
    describer: DescriberFiles,
    threads: int = 1,
    columns: ColumnOptions | None = None,
) -> pd.DataFrame:
    """Read series (`read_own`), prepare them as a finished run's dataset was prepared, and classify them.

    `run` is a folder below its results folder, where by default the checkpoint folder `model` and the `facts` (.json)
    of the training dataset are. `columns` are by default those of the training dataset. Returns a `prediction_table`
    with the column ``probability`` of the predicted class.
    """
    finished = FinishedRun.open(run, model, facts)
    own = finished.read(series, columns)
    cases = [finished.prepare(case, place) for place, case in zip(own.places, own.series, strict=True)]
    paragraphs = _describe(cases, finished, describer)
    scores = score_cases(finished.load(threads), own.ids, np.stack(cases), paragraphs)
    table = prediction_table(own.ids, scores, list(finished.representation.classes))
    table.insert(2, "probability", np.round(softmax(scores, axis=1).max(axis=1), 4))
    return table


def _describe(
    cases: Sequence[np.ndarray], finished: FinishedRun, describer: DescriberFiles
) -> Sequence[str | None]:
    """Return the paragraphs in the questions about new series, described as the training series were."""
    scenario, run = finished.representation.scenario, finished.run
    kind = scenario.described_context
    if scenario.describer == "template" or (kind != "signal_analysis" and kind != "rationale"):
        return template_paragraphs(cases, scenario, str(finished.folder))
    from vlmtsc.describe.client import DescriberClient, Endpoint, request_body  # network libraries

    descriptions = describer.descriptions or Path(finished.paths.descriptions(run, f"endpoint/{kind}"))
    if not descriptions.is_file():
        raise InputError(
            f"{descriptions}: no such file; allowed: with --descriptions, the descriptions of the training dataset, "
            "which contain the settings of the requests"
        )
    settings = EndpointSettings(**read_json(descriptions)["settings"])
    client = DescriberClient(Endpoint.from_environment(os.environ), describer.limits, describer.cache)
    bodies = [request_body(case, kind, run.dataset, settings) for case in cases]
    return [answer["text"] for answer in client.ask(bodies, f"{run.dataset}, {kind} of new series")]
