"""The configuration of a run: loaded, checked, and resolved into the settings of each step."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from vlmtsc.data.locations import folder_files, resolve_sources
from vlmtsc.describe.settings import EndpointSettings
from vlmtsc.errors import InputError
from vlmtsc.representation.compat import check_switches_of_plot, faulty_scenario
from vlmtsc.representation.settings import PlotSettings, ScenarioSettings
from vlmtsc.schema import check, load_schema, load_yaml, read_table, unknown, with_defaults
from vlmtsc.training.launch import LaunchSettings, check_launch, job_resources, launch_of

#: Names become parts of paths and of wildcards.
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*")
#: The default configuration, relative to the project's folder.
DEFAULT = Path("config/config.yaml")

Settings = dict[str, Any]


@dataclass(frozen=True, order=True)
class Run:
    """One fine-tuning and its evaluation: one row of the tables."""

    model: str
    dataset: str
    protocol: str
    scenario: str
    seed: int

    @property
    def folder(self) -> str:
        """Folder of the run below the results folder."""
        return f"runs/{self.model}/{self.dataset}/{self.protocol}/{self.scenario}/seed-{self.seed}"


@dataclass(frozen=True)
class Configuration:
    """A checked configuration and the tables that its names stand in.

    Each method gives the settings of one step as a plain dictionary: exactly those whose change makes the
    step run again.

    Attributes
    ----------
    results : str
        Folder of all outputs.
    datasets, scenarios, models : tuple of str
        Selected names.
    protocol : {"official", "pooled"}
        Split protocol.
    seeds : tuple of int
        One run each.
    options : dict
        The whole checked configuration.
    dataset_table, scenario_table, plot_table, model_table : dict
        Rows by name.
    """

    results: str
    datasets: tuple[str, ...]
    scenarios: tuple[str, ...]
    models: tuple[str, ...]
    protocol: str
    seeds: tuple[int, ...]
    options: Settings
    dataset_table: dict[str, Settings]
    scenario_table: dict[str, Settings]
    plot_table: dict[str, Settings]
    model_table: dict[str, Settings]

    def runs(self) -> list[Run]:
        """All selected runs: models x datasets x scenarios x seeds, in the configured order, less what `only` omits."""
        only = self.options.get("only", {})
        return [
            Run(model, dataset, self.protocol, scenario, seed)
            for model in self.models
            for dataset in _restricted(self.datasets, only.get("datasets"))
            for scenario in _restricted(self.scenarios, only.get("scenarios"))
            for seed in self.seeds
        ]

    def download_settings(self, dataset: str) -> Settings:
        """Settings of `DownloadSettings`: the row's sources in the configured order."""
        row = self.dataset_table.get(dataset, {})
        shorthand = self.options.get("folder")
        folder = shorthand or self.options["download"]["folder"] or ""
        order = list(self.options["download"]["sources"])
        if shorthand or (folder and "folder" not in order):
            order = ["folder", *(kind for kind in order if kind != "folder")]
        sources = list(resolve_sources(dataset, row.get("sources", "").split(), order, folder))
        if not sources:
            raise InputError(
                f"dataset {dataset}: its row has the sources {row.get('sources', '')!r}, but download.sources "
                f"allows only {', '.join(order)}"
            )
        return {
            "name": dataset,
            "sources": sources,
            "digest": row.get("digest", ""),
            "folder": folder if "folder" in sources else "",
        }

    def cleaning_settings(self) -> Settings:
        """Settings of `CleaningSettings`."""
        return dict(self.options["preprocess"])

    def split_settings(self, protocol: str) -> Settings:
        """Settings of `SplitSettings`; the pooled split has no other setting, as in the paper."""
        if protocol == "pooled":
            return {"protocol": protocol}
        return {"protocol": protocol, **self.options["split"]}

    def plot_settings(self, plot: str) -> Settings:
        """Settings of `PlotSettings`."""
        return {key: value for key, value in self.plot_table[plot].items() if key != "name"}

    @property
    def plot_store(self) -> str:
        """How plots lie on the disk; they do not depend on it."""
        return str(self.options["plots"]["store"])

    def scenario_settings(self, scenario: str) -> Settings:
        """Settings of `ScenarioSettings`, its name included."""
        return dict(self.scenario_table[scenario])

    def shown_plot(self, scenario: str) -> str | None:
        """Name of the plot that the model is given in a scenario, if it is given one."""
        row = ScenarioSettings(**self.scenario_table[scenario])
        return row.plot if row.has_image else None

    def descriptions(self, scenario: str) -> dict[str, str | None]:
        """Describer and kind (``template/rationale``) of what a scenario's question and target hold, if anything."""
        row = ScenarioSettings(**self.scenario_table[scenario])
        kinds = {
            "question": row.described_context,
            "target": "rationale" if row.has_rationale_target else None,
        }
        return {part: f"{row.describer}/{kind}" if kind else None for part, kind in kinds.items()}

    def endpoint_settings(self) -> Settings:
        """Settings of `EndpointSettings`: what a hosted model's texts depend on."""
        return {field.name: self.options["describe"][field.name] for field in fields(EndpointSettings)}

    def request_limits(self) -> Settings:
        """How a hosted model is asked: settings of `RequestLimits`, and the folder of answers (`cache`)."""
        texts = self.endpoint_settings()
        return {key: value for key, value in self.options["describe"].items() if key not in texts}

    def models_from(self, kind: str) -> list[str]:
        """Models of the table that come from one kind of source: assemble, hub or folder."""
        return [name for name, model in self.model_table.items() if kind in model["source"]]

    def model_settings(self, model: str) -> Settings:
        """Settings of a model's source under its kind, such as ``{"folder": {"path": ...}}``."""
        return dict(self.model_table[model]["source"])

    def assembly_settings(self, model: str) -> Settings:
        """How a model's parts are put together."""
        source = self.model_table[model]["source"]["assemble"]
        return {key: source[key] for key in ("layers", "vision_strides", "seed")}

    def launch_settings(self, model: str) -> LaunchSettings | None:
        """The processes of one fine-tuning; None without a launch."""
        return launch_of(self.model_table[model])

    def model_resources(self, model: str) -> Settings:
        """What a fine-tuning needs: threads, mem_mb, runtime (minutes), gpu, `MemorySettings`, `job_resources`."""
        return job_resources(self.model_table[model])

    def evaluation_resources(self, model: str) -> Settings:
        """What an evaluation needs: what the row says, but one GPU at most."""
        resources = self.model_table[model]["resources"]
        return {**resources, "gpu": min(1, resources["gpu"])}

    def system_prompt(self, model: str) -> str:
        """Text before the first ``USER:``."""
        return str(self.model_table[model]["system_prompt"])

    def finetune_settings(self, model: str, scenario: str, seed: int) -> Settings:
        """The model's recipe, single keys replaced by `finetune`, and the seed."""
        return {**self.model_table[model]["recipe"], **self.options["finetune"], "seed": int(seed)}


def load_configuration(
    options: Mapping[str, Any], root: Path, origin: str = "configuration"
) -> Configuration:
    """Check a configuration and everything that it names.

    Parameters
    ----------
    options : mapping
        The configuration, all files and the command line merged.
    root : Path
        The project's folder: schemas, and tables with relative paths, are looked up there.
    origin : str
        What messages about `options` begin with, such as the names of the files.

    Raises
    ------
    InputError
        One line for each fault: file and key or row, what was found, what is allowed, a close match.
    """
    schemas = load_schemas(root)
    checked: Settings = check(_plain(options), schemas["config"], origin)
    paths = {name: _table_path(root, checked["tables"][name]) for name in checked["tables"]}
    datasets = read_table(paths["datasets"], schemas["datasets"])
    scenarios = read_table(paths["scenarios"], schemas["scenarios"])
    plots = read_table(paths["plots"], schemas["plots"])
    models = _read_models(paths["models"], schemas["models"])
    for number, correction in enumerate(checked["corrections"]):
        place = f"{origin}: corrections.{number}"
        _check_names(
            "dataset", correction["datasets"], {*datasets, *checked["datasets"]}, paths["datasets"], place
        )
        _check_names("scenario", [correction["scenario"]], scenarios, paths["scenarios"], place)
        row = scenarios[correction["scenario"]]
        faulty = with_origin(place, faulty_scenario, {"row": row, "switch": correction["switch"]})
        if scenarios.setdefault(faulty["name"], faulty) != faulty:
            raise InputError(
                f"{paths['scenarios']} ({faulty['name']}): the name of a row that {place} makes; allowed: another"
            )
    _check_rows(scenarios, plots, paths)
    _check_names("scenario", checked["scenarios"], scenarios, paths["scenarios"], origin)
    _check_names("model", checked["models"], models, paths["models"], origin)
    for name in checked["models"]:
        recipe = {**models[name]["recipe"], **checked["finetune"]}
        with_origin(f"{paths['models']}: {name}", check_launch, {"row": models[name], "recipe": recipe})
    _check_datasets(checked, datasets, paths["datasets"], origin)
    for kind, names in checked.get("only", {}).items():
        for name in names:
            if name not in checked[kind]:
                raise InputError(f"{origin}: only.{kind}: {unknown(kind[:-1], name, checked[kind])}")
    return Configuration(
        results=checked["results"],
        datasets=tuple(checked["datasets"]),
        scenarios=tuple(checked["scenarios"]),
        models=tuple(checked["models"]),
        protocol=checked["protocol"],
        seeds=tuple(checked["seeds"]),
        options=checked,
        dataset_table=datasets,
        scenario_table=scenarios,
        plot_table=plots,
        model_table=models,
    )


def load_configuration_files(
    files: Sequence[Path], root: Path, overrides: Mapping[str, Any] | None = None
) -> Configuration:
    """Load the default configuration, `files` merged over it, and single keys over both.

    The same merging as Snakemake's: dictionaries key by key, anything else replaced.
    """
    options: Settings = {}
    for path in [root / DEFAULT, *files]:
        content = load_yaml(path) or {}
        if not isinstance(content, dict):
            raise InputError(f"{path}: found a {type(content).__name__}; allowed: keys with values")
        _merge(options, content)
    _merge(options, overrides or {})
    return load_configuration(options, root, ", ".join(str(path) for path in files) or str(DEFAULT))


def load_schemas(root: Path) -> dict[str, Settings]:
    """Read the schemas; `finetune` of the configuration takes the keys of the models' recipes."""
    names = ("config", "datasets", "scenarios", "plots", "models")
    schemas = {name: load_schema(root / f"config/schemas/{name}.schema.yaml") for name in names}
    recipe = schemas["models"]["properties"]["recipe"]["properties"]
    config = dict(schemas["config"])
    config["properties"] = {
        **config["properties"],
        "finetune": {**config["properties"]["finetune"], "properties": recipe},
    }
    return {**schemas, "config": config}


def _restricted(names: Sequence[str], only: Sequence[str] | None) -> list[str]:
    """Keep the names that are among `only`, all of them if that is empty."""
    return [name for name in names if not only or name in only]


def _plain(value: Any) -> Any:
    """Copy nested mappings (Snakemake's among them) into plain dictionaries."""
    if isinstance(value, Mapping):
        return {str(key): _plain(inner) for key, inner in value.items()}
    return [_plain(inner) for inner in value] if isinstance(value, list | tuple) else value


def _merge(base: Settings, other: Mapping[str, Any]) -> None:
    for key, value in other.items():
        if isinstance(value, Mapping) and isinstance(base.get(key), dict):
            _merge(base[key], value)
        else:
            base[key] = _plain(value)


def _table_path(root: Path, path: str) -> Path:
    """Resolve a table's path; messages show it as it was configured where that leads to the file."""
    return Path(path) if root.resolve() == Path.cwd().resolve() else root / path


def _read_models(path: Path, schema: Settings) -> dict[str, Settings]:
    content = load_yaml(path)
    if not isinstance(content, dict) or not content:
        raise InputError(f"{path}: no models; allowed: one key for each model")
    for name in content:
        if not NAME.fullmatch(str(name)):
            raise InputError(f"{path}: model name {name!r}; allowed: letters, digits, '_', '.' and '-'")
    models = {str(name): check(model, schema, f"{path}: {name}") for name, model in content.items()}
    return {name: with_defaults(model, schema) for name, model in models.items()}


def _check_rows(
    scenarios: Mapping[str, Settings], plots: Mapping[str, Settings], paths: Mapping[str, Path]
) -> None:
    """Check what a schema cannot: settings that exclude each other, and plots that do not exist."""
    drawn = {
        name: with_origin(
            f"{paths['plots']} ({name})", PlotSettings, {k: v for k, v in row.items() if k != "name"}
        )
        for name, row in plots.items()
    }
    for name, row in scenarios.items():
        scenario = with_origin(str(paths["scenarios"]), ScenarioSettings, row)
        if row["plot"] == "none":
            continue
        if row["plot"] not in drawn:
            raise InputError(
                f"{paths['scenarios']} ({name}): plot: {unknown('plot', row['plot'], [*plots, 'none'])}"
            )
        plot = drawn[row["plot"]]
        with_origin(str(paths["scenarios"]), check_switches_of_plot, {"scenario": scenario, "plot": plot})
        if plot.series == "downsampled" and row["modality"] == "plot" and row["factor"] == "auto":
            raise InputError(
                f"{paths['scenarios']} ({name}): factor='auto'; allowed here: an integer, since the plot "
                f"{row['plot']!r} is of the downsampled series and there are no numbers to fit into the context"
            )


def with_origin(origin: str, settings: Callable[..., Any], values: Settings) -> Any:
    """Make a settings object, or check settings, and begin an error message with `origin`."""
    try:
        return settings(**values)
    except InputError as error:
        raise InputError(f"{origin}: {error}") from error


def _check_datasets(checked: Settings, table: Mapping[str, Any], path: Path, origin: str) -> None:
    """Check that each dataset has a row, or files in the configured folder."""
    folder = checked.get("folder") or checked["download"]["folder"]
    if not folder:
        hint = "; for a dataset of your own give its folder with --config folder=PATH"
        _check_names("dataset", checked["datasets"], table, path, origin, hint)
        return
    for name in checked["datasets"]:
        if name not in table and folder_files(folder, name) is None:
            inside = Path(folder).iterdir() if Path(folder).is_dir() else ()
            own = [entry.name for entry in inside if folder_files(folder, entry.name)]
            fault = unknown("dataset", name, own)
            raise InputError(
                f"{origin}: datasets: {fault} in the folder {folder}; it has no row in {path} either"
            )


def _check_names(
    kind: str, names: Sequence[str], table: Collection[str], path: Path, origin: str, hint: str = ""
) -> None:
    for name in names:
        if name not in table:
            raise InputError(f"{origin}: {kind}s: {unknown(kind, name, table)}, see {path}{hint}")
