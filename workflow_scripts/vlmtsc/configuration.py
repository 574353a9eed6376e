"""The configuration of the workflow: loaded, checked, and resolved into the settings of each step."""

from __future__ import annotations

import csv
import os
import re
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import yaml
from pydantic import Field

from vlmtsc.data.sources import (
    datasets_in,
    files_of,
    folder_files,
    lacking_files,
    own_file,
    own_name,
    resolve_sources,
)
from vlmtsc.errors import InputError
from vlmtsc.paths import BaselineKey, Run
from vlmtsc.settings import (
    BASELINES,
    HOSTED,
    NAME,
    SERIES_BASELINES,
    UNTUNED,
    UNTUNED_NAME,
    DatasetRow,
    DownloadSettings,
    EndpointSettings,
    FinetuneSettings,
    Model,
    ModelSettings,
    Only,
    Options,
    PlotRow,
    PlotSettings,
    Protocol,
    Recipe,
    RequestLimits,
    ScenarioSettings,
    SplitSettings,
    check_switches_of_plot,
    checked,
    unknown,
)

#: The default configuration, relative to the project's folder.
DEFAULT = Path("config/config.yaml")


class Configuration(Options):
    """A checked configuration and the rows of its tables by name.

    Each method returns the settings of one step: exactly those whose change reruns the step.
    """

    dataset_table: dict[str, DatasetRow] = Field(exclude=True)
    scenario_table: dict[str, ScenarioSettings] = Field(exclude=True)
    plot_table: dict[str, PlotSettings] = Field(exclude=True)
    model_table: dict[str, ModelSettings] = Field(exclude=True)

    def runs(self) -> list[Run]:
        """Return all selected runs: models x datasets x scenarios x seeds, in the configured order."""
        return [
            Run(model, dataset, self.protocol, scenario, seed)
            for model in self.models
            for dataset in self.datasets
            if dataset in (self.only.datasets or self.datasets)
            for scenario in self.scenarios
            if scenario in (self.only.scenarios or self.scenarios)
            for seed in self.seeds
        ]

    def unrestricted(self) -> Configuration:
        """Return the configuration without `only`."""
        return self.model_copy(update={"only": Only()})

    def resolved(self) -> dict[str, Any]:
        """Return the configuration with the table rows that it names, for the provenance.

        Keys that change no result are left out: with them, pages would be rewritten for nothing.
        """
        scenarios = dict.fromkeys(run.scenario for run in self.runs())
        plots = dict.fromkeys(filter(None, map(self.shown_plot, scenarios)))
        excluded: Any = {"tracking": True, "plots": True, "describe": True, "download": {"wheels"}}
        options = self.model_dump(mode="json", exclude=excluded)
        options["finetune"] = self.finetune.model_dump(exclude_unset=True)
        options["describe"] = self.endpoint_settings().model_dump(mode="json")
        return {
            "options": options,
            "models": {
                name: self.model_table[name].model_dump(mode="json", exclude={"resources"}, exclude_none=True)
                for name in dict.fromkeys(run.model for run in self.runs())
            },
            "scenarios": {name: self.scenario_table[name].model_dump(mode="json") for name in scenarios},
            "plots": {name: self.plot_table[name].model_dump(mode="json") for name in plots},
        }

    def citations(self) -> dict[str, str]:
        """Return the citations of the selected datasets in the table of datasets."""
        rows = {run.dataset: self.dataset_table.get(run.dataset) for run in self.runs()}
        return {name: row.citation for name, row in rows.items() if row and row.citation}

    def download_settings(self, dataset: str) -> DownloadSettings:
        """Return the sources of a dataset in the configured order.

        InputError if the dataset has no row and no files in the configured folder, or none of the configured sources.
        """
        known = {*self.dataset_table, *self.datasets}
        if dataset not in known:
            raise InputError(unknown("dataset", dataset, known))
        row = self.dataset_table.get(dataset) or DatasetRow(name=dataset, sources="")
        listed = [f"file:{self.data}"] if self.data else row.sources.split()
        folder = "" if self.data else self.folder or self.download.folder or ""
        order = list(self.download.sources)
        if self.folder or self.data or (folder and "folder" not in order):
            order = ["folder", *(kind for kind in order if kind != "folder")]
        sources = resolve_sources(dataset, listed, order, folder)
        if not sources:
            raise InputError(
                f"dataset {dataset}: its row has the sources {row.sources!r}, but download.sources "
                f"allows only {', '.join(order)}"
            )
        more: dict[str, Any] = {"digest": row.digest, "labels_digest": row.labels_digest}
        if sources[0].startswith("file:"):
            more |= {"columns": self.columns, "group": self.group, "irregular": self.preprocess.irregular}
        folder = folder if "folder" in sources else ""
        return DownloadSettings(name=dataset, sources=sources, folder=folder, **more)

    def own_table(self, dataset: str) -> Path | None:
        """Return the user's file or folder of a dataset that is a table of his own."""
        source = self.download_settings(dataset).sources[0]
        return Path(source.removeprefix("file:")) if source.startswith("file:") else None

    def own_files(self, dataset: str) -> list[Path]:
        """Return the user's files of a dataset that comes from a folder."""
        settings = self.download_settings(dataset)
        files: list[Path] = []
        if table := self.own_table(dataset):
            files = files_of(table)
            if not files:
                raise InputError(f"data: {table}: no such file, or a folder without files")
        elif settings.sources[0] == "folder":
            files = list(folder_files(settings.folder, dataset) or ())
        for file in files:
            if re.search("[{}]", str(file)):
                raise InputError(f"{file}: braces are wildcards in Snakemake; allowed: a path without them")
        return files

    def split_settings(self, protocol: Protocol, dataset: str = "") -> SplitSettings:
        """Return the division of a dataset; pooled splits have no other setting, as in the paper."""
        own = bool(dataset) and self.own_table(dataset) is not None
        options = dict(self.split) if protocol == "official" or own else {}
        return SplitSettings(protocol=protocol, own=own, **options)

    def shown_plot(self, scenario: str) -> str | None:
        """Return the name of the plot that the model sees in a scenario, if it sees one."""
        row = self.scenario_table[scenario]
        return row.plot if row.has_image else None

    def downsamples(self, scenario: str) -> bool:
        """Return whether a scenario's numbers or plots are of downsampled series."""
        plot = self.shown_plot(scenario)
        drawn = plot is not None and self.plot_table[plot].series == "downsampled"
        return drawn or self.scenario_table[scenario].modality != "plot"

    def descriptions(self, scenario: str) -> dict[str, str | None]:
        """Return describer and kind (``template/rationale``) of the descriptions in question and target, if any."""
        row = self.scenario_table[scenario]
        kinds = {
            "question": row.described_context,
            "target": "rationale" if row.has_rationale_target else None,
        }
        return {part: f"{row.describer}/{kind}" if kind else None for part, kind in kinds.items()}

    def endpoint_settings(self) -> EndpointSettings:
        """Return the part of `describe` on which texts depend."""
        return self.describe.part(EndpointSettings)

    def request_limits(self) -> dict[str, Any]:
        """Return the limits on requests, and the folder of answers (`cache`)."""
        return {**self.describe.part(RequestLimits).model_dump(), "cache": self.describe.cache}

    def models_from(self, kind: str) -> list[str]:
        """Return the models of the table that have one kind of source: assemble, hub or folder."""
        return [name for name, model in self.model_table.items() if getattr(model.source, kind) is not None]

    def model_resources(self, model: str) -> dict[str, Any]:
        """Return what a fine-tuning requests: see `ModelSettings.job_resources`."""
        return self.model_table[model].job_resources()

    def evaluation_resources(self, model: str) -> dict[str, Any]:
        """Return what an evaluation requests: as its fine-tuning, but one GPU at most."""
        resources = self.model_table[model].resources
        return {**resources.model_dump(), "gpu": min(1, resources.gpu)}

    def recipe(self, model: str) -> Recipe:
        """Return the model's recipe, with single keys replaced by `finetune`."""
        return self.model_table[model].recipe.changed(**self.finetune.model_dump(exclude_unset=True))

    def finetune_settings(self, model: str, seed: int, scenario: str | None = None) -> FinetuneSettings:
        """Return the recipe and the seed of a run; without a scenario, of one that is fine-tuned."""
        recipe = self.recipe(model)
        tuned = scenario is None or self.scenario_table[scenario].tuned
        return FinetuneSettings(seed=seed, **dict(recipe if tuned else recipe.untuned()))

    def asked_baselines(self) -> tuple[str, ...]:
        """Return the baselines of the target `baselines`: the configured ones, or all local ones if none are."""
        return self.baselines or BASELINES

    def baseline_keys(self, names: Sequence[str]) -> list[BaselineKey]:
        """Return the baselines of these names on every selected dataset; those that need a model once for each."""
        datasets = dict.fromkeys(run.dataset for run in self.runs())
        return [
            BaselineKey(name, dataset, self.protocol, model)
            for dataset in datasets
            for name in names
            for model in ([""] if name in SERIES_BASELINES else self.models)
        ]

    @cached_property
    def probed_plot(self) -> str:
        """Plot whose features are probed: the first of full series that a scenario shows, or that the table has."""
        shown = filter(None, map(self.shown_plot, self.scenarios))
        for name in (*shown, *self.plot_table):
            if self.plot_table[name].series == "full":
                return name
        raise InputError("baselines: logistic_tower needs a plot with series='full' in the table of plots")

    @cached_property
    def asked_scenario(self) -> str:
        """Scenario whose questions a hosted model is asked."""
        name = self.describe.scenario or self.scenarios[0]
        row = self.scenario_table.get(name)
        if row is None:
            raise InputError(f"describe.scenario: {unknown('scenario', name, self.scenario_table)}")
        if row.compat or row.shots or not row.tuned:
            raise InputError(
                f"describe.scenario: {name} for the baseline {HOSTED}; allowed: a scenario without compat, __untuned "
                "and __K_shot (solved cases: describe.shots)"
            )
        return name

    @cached_property
    def probed_scenario(self) -> str:
        """Scenario whose questions are probed: the first of the table with numbers alone."""
        for name, scenario in self.scenario_table.items():
            extra = scenario.compat or scenario.described_context or scenario.has_rationale_target
            if not (scenario.has_image or extra):
                return name
        raise InputError(
            "baselines: logistic_language needs a scenario with modality='numbers' in their table"
        )


def load_configuration(options: Mapping[str, Any], root: Path, origin: str = "") -> Configuration:
    """Check a configuration, all files and the command line merged, and everything that it names.

    Defaults are those of the workflow's folder `root`. InputError with one line for each fault: file (`origin` of the
    options) and key or row, what was found, what is allowed, a close match.
    """
    origin = origin or str(DEFAULT)
    if "data" in options and not options["data"]:
        raise InputError(f"{origin}: data: found nothing; allowed: a path, or no such key")
    merged = load_yaml(root / DEFAULT)
    _merge(merged, options)
    if merged.get("finetune") == "none":
        merged["finetune"] = {}
        asked = checked(Options, merged, origin).scenarios
        untuned = [name if UNTUNED_NAME.fullmatch(name) else f"{name}__{UNTUNED}" for name in asked]
        merged["scenarios"] = [*dict.fromkeys(untuned)]
    given = checked(Options, merged, origin)
    own = options.get("tables") or {}
    paths = {name: _table(name in own, path, root) for name, path in given.tables.model_dump().items()}
    datasets = read_table(paths["datasets"], DatasetRow)
    if given.data:
        name = own_name(given.data)
        given = given.model_copy(update={"datasets": (f"{name}_own" if name in datasets else name,)})
    scenarios = read_table(paths["scenarios"], ScenarioSettings)
    plots = {name: row.part(PlotSettings) for name, row in read_table(paths["plots"], PlotRow).items()}
    models = _read_models(paths["models"])
    for name in given.scenarios:
        found = UNTUNED_NAME.fullmatch(name)
        if found and (tuned := scenarios.get(found["base"])):
            derived = with_origin(
                f"{origin}: scenarios ({name})", tuned.untuned, name, int(found["shots"] or 0)
            )
            scenarios.setdefault(name, derived)
    for number, correction in enumerate(given.corrections):
        place = f"{origin}: corrections.{number}"
        known = {*datasets, *given.datasets}
        _check_names("dataset", correction.datasets, known, paths["datasets"], place)
        _check_names("scenario", [correction.scenario], scenarios, paths["scenarios"], place)
        faulty = with_origin(place, scenarios[correction.scenario].with_fault, correction.switch)
        if scenarios.setdefault(faulty.name, faulty) != faulty:
            raise InputError(
                f"{paths['scenarios']} ({faulty.name}): the name of a row that {place} makes; allowed: another"
            )
    _check_plots(scenarios, plots, paths["scenarios"])
    _check_names("scenario", given.scenarios, scenarios, paths["scenarios"], origin)
    _check_names("model", given.models, models, paths["models"], origin)
    configuration = Configuration(
        **dict(given), dataset_table=datasets, scenario_table=scenarios, plot_table=plots, model_table=models
    )
    for name in given.models:
        row = f"{paths['models']}: {name}"
        recipe = with_origin(f"{origin}: finetune, with the recipe of {row}", configuration.recipe, name)
        with_origin(row, models[name].check_launch, recipe)
    if HOSTED in given.baselines:
        with_origin(origin, getattr, configuration, "asked_scenario")
    _check_datasets(configuration, paths["datasets"], origin)
    for key in ("group", "columns"):
        if getattr(given, key) != Options.model_fields[key].default and not any(
            map(configuration.own_table, given.datasets)
        ):
            raise InputError(
                f"{origin}: {key}: no dataset is a table of one's own; allowed with one (data=PATH)"
            )
    for kind, names in given.only.model_dump().items():
        selected = getattr(given, kind)
        for name in names:
            if name not in selected:
                raise InputError(f"{origin}: only.{kind}: {unknown(kind[:-1], name, selected)}")
    return configuration


def load_configuration_files(
    files: Sequence[Path], root: Path, overrides: Mapping[str, Any] | None = None
) -> Configuration:
    """Load `files`, merged over the default configuration, and single keys over both.

    The same merging as Snakemake's: dictionaries key by key, anything else replaced.
    """
    options: dict[str, Any] = {}
    for path in files:
        content = load_yaml(path) or {}
        if not isinstance(content, dict):
            raise InputError(f"{path}: found a {type(content).__name__}; allowed: keys with values")
        _merge(options, content)
    _merge(options, overrides or {})
    return load_configuration(options, root, ", ".join(map(str, files)))


def _table(own: bool, path: str, root: Path) -> Path:
    """Return the path of a table, the user's own or the workflow's, as it was configured if that leads to it."""
    here = Path(path).expanduser()
    if (own and here.exists()) or root.resolve() == Path.cwd().resolve():
        return here
    return root / here


def load_yaml(path: Path) -> Any:
    """Read a YAML file.

    InputError if the file is missing or is not YAML; the message names the file and the line.
    """
    text = _read(path)
    try:
        # The one written in C if there is one: the workflow reads its configuration at every start.
        loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)(text)
        _check_keys(node := loader.get_single_node(), set())
        return None if node is None else loader.construct_document(node)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f", line {mark.line + 1}" if mark else ""
        raise InputError(f"{path}{where}: not a YAML file ({getattr(error, 'problem', error)})") from error


def _read(path: Path) -> str:
    """Read a file in UTF-8, with or without a byte order mark; InputError if it cannot be read."""
    try:
        return path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror})") from error
    except UnicodeDecodeError as error:
        raise InputError(
            f"{path}: not in UTF-8 (byte {error.start + 1}); allowed: text saved as UTF-8"
        ) from error


def _check_keys(node: yaml.Node | None, seen: set[int]) -> None:
    """Refuse a key that is there twice in a mapping, of which YAML takes the last; but for merge keys."""
    if id(node) in seen or not isinstance(node, yaml.CollectionNode):
        return
    seen.add(id(node))
    if isinstance(node, yaml.MappingNode):
        names: set[tuple[str, str]] = set()
        for key, _ in node.value:
            if (key.tag, str(key.value)) in names and key.tag != "tag:yaml.org,2002:merge":
                raise yaml.MarkedYAMLError(
                    problem=f"the key {key.value!r} is there twice", problem_mark=key.start_mark
                )
            names.add((key.tag, str(key.value)))
    for part in node.value:
        for child in part if isinstance(part, tuple) else (part,):
            _check_keys(child, seen)


def read_table(path: Path, model: type[Model]) -> dict[str, Model]:
    """Read a tab-separated table whose rows follow `model` and have distinct names: rows by name, in file order.

    Lines that are empty or begin with ``#`` are skipped. An empty cell is a missing value. InputError names the file,
    the line and the column.
    """
    lines = _read(path).splitlines()
    numbered = [(n, line) for n, line in enumerate(lines, 1) if line.strip() and not line.startswith("#")]
    if not numbered:
        raise InputError(f"{path}: the table is empty; its first line names the columns")
    cells = list(csv.reader((line for _, line in numbered), delimiter="\t", quoting=csv.QUOTE_NONE))
    columns = [column.strip() for column in cells[0]]
    for column in columns:
        if column not in model.model_fields:
            raise InputError(f"{path}: {unknown('column', column, model.model_fields)}")
    rows: dict[str, Model] = {}
    for (number, _), values in zip(numbered[1:], cells[1:], strict=True):
        origin = f"{path}, line {number}"
        if len(values) > len(columns):
            raise InputError(f"{origin}: {len(values)} cells, but the table has {len(columns)} columns")
        row = {c: v.strip() for c, v in zip(columns, values, strict=False) if v.strip()}
        name = row.get("name", "no name")
        if "name" in row:
            _check_name(name, origin)
        if name in rows:
            raise InputError(f"{origin}: {name!r} is in the table twice")
        rows[name] = checked(model, row, f"{origin} ({name})")
    return rows


def _read_models(path: Path) -> dict[str, ModelSettings]:
    content = load_yaml(path)
    if not isinstance(content, dict) or not content:
        raise InputError(f"{path}: no models; allowed: one key for each model")
    for name in content:
        if not isinstance(name, str):
            raise InputError(f"{path}: key {name!r}; allowed: text; put it in quotes")
        _check_name(name, str(path))
    return {name: checked(ModelSettings, row, f"{path}: {name}") for name, row in content.items()}


def _check_name(name: str, origin: str) -> None:
    if not re.fullmatch(NAME, name):
        raise InputError(f"{origin}: name {name!r}; allowed: letters, digits, '_', '.' and '-'")


def _plain(value: Any) -> Any:
    """Copy nested mappings (Snakemake's among them) into plain dictionaries."""
    if isinstance(value, Mapping):
        return {str(key): _plain(inner) for key, inner in value.items()}
    return [_plain(inner) for inner in value] if isinstance(value, list | tuple) else value


def _merge(base: dict[str, Any], other: Mapping[str, Any]) -> None:
    for key, value in other.items():
        key = str(key)
        if isinstance(value, Mapping) and isinstance(base.get(key), dict):
            _merge(base[key], value)
        else:
            base[key] = _plain(value)


def _check_plots(
    scenarios: Mapping[str, ScenarioSettings], plots: Mapping[str, PlotSettings], path: Path
) -> None:
    """Check each scenario against its plot."""
    for name, scenario in scenarios.items():
        if scenario.plot == "none":
            continue
        if scenario.plot not in plots:
            raise InputError(f"{path} ({name}): plot: {unknown('plot', scenario.plot, [*plots, 'none'])}")
        plot = plots[scenario.plot]
        with_origin(str(path), check_switches_of_plot, scenario, plot)
        if plot.series == "downsampled" and scenario.modality == "plot" and scenario.factor == "auto":
            raise InputError(
                f"{path} ({name}): factor='auto'; allowed here: an integer, since the plot "
                f"{scenario.plot!r} is of the downsampled series and there are no numbers to fit into the context"
            )


def check_results_of_make(results: str) -> None:
    """Raise InputError unless `results` is the folder in which ``make`` reports or from which it publishes, if any."""
    of_make = os.environ.get("VLMTSC_RESULTS", results)
    if Path(of_make).resolve() != Path(results).resolve():
        raise InputError(
            f"results: {results}, but make has RESULTS={of_make}; allowed: the same folder in both (make "
            f"RESULTS={results})"
        )


def with_origin(origin: str, check: Callable[..., Any], *arguments: Any) -> Any:
    """Call a function, and begin its error messages with `origin`."""
    try:
        return check(*arguments)
    except InputError as error:
        raise InputError(f"{origin}: {error}") from error


def _check_datasets(configuration: Configuration, path: Path, origin: str) -> None:
    """Check that each dataset has a row, or files in the configured folder."""
    table = configuration.dataset_table
    folder = None if configuration.data else configuration.folder or configuration.download.folder
    if folder and not Path(folder).is_dir():
        key = "folder" if configuration.folder else "download.folder"
        raise InputError(f"{origin}: {key}: {lacking_files(folder, '')}; allowed: an existing folder")
    if not folder and not configuration.data:
        hint = "; for data of your own: --config data=PATH, or folder=PATH for files like the archive's"
        _check_names("dataset", configuration.datasets, table, path, origin, hint)
    for name in configuration.datasets:
        if name not in table and folder and not (folder_files(folder, name) or own_file(folder, name)):
            fault = unknown("dataset", name, datasets_in(folder))
            raise InputError(
                f"{origin}: datasets: {fault}: {lacking_files(folder, name)}; it has no row in {path} either"
            )
        with_origin(f"{origin}: datasets", configuration.own_files, name)


def _check_names(
    kind: str, names: Iterable[str], table: Collection[str], path: Path, origin: str, hint: str = ""
) -> None:
    for name in names:
        if name not in table:
            raise InputError(f"{origin}: {kind}s: {unknown(kind, name, table)}, see {path}{hint}")
