"""Shared by all rules: the checked configuration, wildcards, and the parameters that decide on reruns."""

import json
import os
import re
import shlex
import shutil
import sys
import tarfile
import tempfile
import warnings
from pathlib import Path
from typing import get_args

import git
from snakemake.exceptions import WorkflowError
from snakemake.path_modifier import PathModifier


def workflow_folder(source):
    """The folder of the workflow; of one in a git repository (a module by `github(...)`), a copy of its files."""
    if source.is_local:
        return Path(source.get_path_or_uri(secret_free=True)).parent
    repository = source.hosted_repo.repo if hasattr(source, "hosted_repo") else git.Repo(source.repo_path)
    commit = repository.commit(source.ref).hexsha
    # The same folder for all commits: a move changes the commands, and would rerun all rules.
    folder = Path.cwd() / ".snakemake" / "vlmtsc"
    if not (folder / ".commit").exists() or (folder / ".commit").read_text() != commit:
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        with tempfile.TemporaryFile() as archive:
            repository.archive(archive, commit)
            archive.seek(0)
            with tarfile.open(fileobj=archive) as files:
                files.extraction_filter = getattr(tarfile, "data_filter", None)  # from Python 3.11.4 on
                files.extractall(folder)
        (folder / ".commit").write_text(commit)
    return folder


ROOT = workflow_folder(workflow.current_basedir)
sys.path.insert(0, str(ROOT / "workflow_scripts"))

from vlmtsc.code_digest import code_digest
from vlmtsc.configuration import check_results_of_make, load_configuration, load_yaml, with_origin
from vlmtsc.environment import clean
from vlmtsc.errors import InputError
from vlmtsc.model.files import check_model
from vlmtsc.paths import BASELINE, PROBE, RUN, Paths, Run
from vlmtsc.settings import Protocol

# Of the environment, jobs inherit what changes no result.
clean(os.environ)
# A terminal that cannot print a sign, and a warning of a library, must not fail a run that has done its work.
for stream in (sys.stdout, sys.stderr):
    if hasattr(stream, "reconfigure"):  # not of a notebook
        stream.reconfigure(errors="replace")
warnings.filters[:] = [entry for entry in warnings.filters if entry[0] != "error"]
# Rules call `python`: that of the environment that runs Snakemake, whether or not it is activated. Set here and
# not in the rules, so that no command contains a path that a move of the project would change.
os.environ.update(PATH=f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', os.defpath)}")


def configured(function, *arguments):
    """Call a function of the library; a fault ends the run with one line instead of a traceback."""
    try:
        return function(*arguments)
    except InputError as error:
        raise WorkflowError(str(error)) from None


# With checks that Snakemake's own loading lacks. After `workdir:`, relative paths may lead nowhere.
for file in filter(os.path.isfile, workflow.configfiles):
    configured(load_yaml, Path(file))
CONFIGURATION = configured(
    load_configuration, config, ROOT, ", ".join(map(os.path.relpath, workflow.configfiles))
)
configured(check_results_of_make, CONFIGURATION.results)
# A module's prefix is that of the results folder alone, and of options of commands too: Snakemake would add it to every
# input and output, and to nothing else.
RESULTS = str(workflow.modifier.path_modifier.replace_prefix(CONFIGURATION.results))
workflow.modifier.path_modifier = PathModifier(None, None, workflow)
PATHS = Paths(RESULTS)
# Patterns of folders and of a job's name, with wildcards.
DATASET, SPLIT, CONVERSATIONS = PATHS.dataset(RUN), PATHS.split(RUN), PATHS.conversations(RUN)
RUN_FOLDER = PATHS.run(RUN)
SCENARIO = "{model}/{dataset}/{protocol}/{scenario}"
RUNS = CONFIGURATION.runs()
# Before the first job: a checkpoint folder that cannot be used.
for name in {*CONFIGURATION.models} & {*CONFIGURATION.models_from("folder")}:
    row = CONFIGURATION.model_table[name].changed(recipe=CONFIGURATION.recipe(name))
    place = f"{CONFIGURATION.tables.models}: {name}: source.folder.path"
    configured(with_origin, place, check_model, Path(row.source.folder.path), row)
# Relative to the working directory: a move of the project changes no command.
SCRIPTS = Path(os.path.relpath(ROOT / "workflow_scripts")).as_posix()

# Priority of jobs other than training: the ledger is finished before the first long job starts, and the results of a
# run as soon as possible.
BEFORE_TRAINING = 10


def longest_first(wildcards):
    """Priority of a training: before tables and figures, since what starts last runs alone.

    With numbers it is several times as long.
    """
    return 1 + int(CONFIGURATION.scenario_table[wildcards.scenario].has_numbers)


def one_of(*names):
    """A wildcard's pattern that matches exactly these names; nothing, if there are none."""
    return "|".join(map(re.escape, sorted({*names}, key=lambda name: (-len(name), name)))) or "(?!)"


wildcard_constraints:
    # Any name; `own_files` refuses an unknown one. Snakemake parses the constraints for each file of each job, and the
    # names of all datasets would be most of the text.
    dataset="[^/]+",
    protocol=one_of(*get_args(Protocol)),
    plot=one_of(*CONFIGURATION.plot_table),
    model=one_of(*CONFIGURATION.model_table),
    scenario=one_of(*CONFIGURATION.scenario_table),
    seed=r"\d+",


def as_argument(settings):
    """Settings as one command-line argument: equal settings give equal text."""
    return json.dumps(
        settings,
        sort_keys=True,
        separators=(",", ":"),
        ensure_ascii=False,
        default=lambda model: model.model_dump(mode="json"),
    )


def option(name, value):
    """A command-line option, quoted; nothing if there is no value."""
    return f"--{name} {shlex.quote(str(value))}" if value else ""


def growing(mem_mb):
    """Memory of a CPU job in MB: as much again at each new attempt (option --retries)."""
    return lambda wildcards, attempt: mem_mb * attempt


def file_of(script):
    """Path of a script, relative to the working directory."""
    return f"{SCRIPTS}/{script}.py"


def path_of(script):
    """Path of a script, quoted for a shell command."""
    return shlex.quote(file_of(script))


def code_of(script):
    """Digest of a script and the project modules it imports; a parameter, so that a change reruns the rule."""
    return configured(code_digest, ROOT / "workflow_scripts" / f"{script}.py", ROOT / "workflow_scripts")


def checkpoint_of_model():
    """Checkpoint folder of a model: the user's own, or one that a rule makes."""
    own = {
        model: CONFIGURATION.model_table[model].source.folder.path
        for model in CONFIGURATION.models_from("folder")
    }
    return lambda wildcards: own.get(wildcards.model) or PATHS.model(wildcards.model)


def chat_options(wildcards):
    """Options of a model's chat template and image processor; none that are the defaults."""
    model = CONFIGURATION.model_table[wildcards.model]
    template = option("template", model.template) if model.template != "llava_v1" else ""
    images = option("image_options", as_argument(model.image_options)) if model.image_options else ""
    return f"{template} {images}".strip()


def own_files(wildcards):
    """The user's own files of a dataset that comes from a folder: an edit of them starts over."""
    return configured(CONFIGURATION.own_files, wildcards.dataset)


def plots_of_scenario(wildcards):
    """The plots that a scenario shows: its own if they are of downsampled series; none if it shows none."""
    plot = CONFIGURATION.shown_plot(wildcards.scenario)
    if plot is None:
        return []
    full = CONFIGURATION.plot_table[plot].series == "full"
    return PATHS.plots(wildcards, plot) if full else PATHS.scenario_plots(wildcards)


def stored_features(wildcards, plot):
    """The features of a dataset's plots, for a model that stores them; none for others."""
    stored = plot is not None and CONFIGURATION.model_table[wildcards.model].store_features
    return (
        PATHS.features(wildcards, plot) if stored and CONFIGURATION.plot_table[plot].series == "full" else []
    )


def features_of_scenario(wildcards):
    """The features of the plots that a scenario shows; none of plots of downsampled series."""
    return stored_features(wildcards, CONFIGURATION.shown_plot(wildcards.scenario))


def descriptions_of_scenario(part):
    """An input function: the descriptions in a scenario's questions or targets; none if it has none."""

    def find(wildcards):
        place = CONFIGURATION.descriptions(wildcards.scenario)[part]
        return PATHS.descriptions(wildcards, place) if place else []

    return find


def model_resource(name, needs=CONFIGURATION.model_resources):
    """What the jobs of a model need, from the table of models."""
    values = {model: needs(model)[name] for model in CONFIGURATION.models}
    if len({*values.values()}) == 1:  # a constant, which Snakemake does not evaluate for each job
        return values.popitem()[1]
    return lambda wildcards: values[wildcards.model]


def folder_of_output(wildcards, output):
    """A function for params: the folder of a rule's first output."""
    return Path(output[0]).parent.as_posix()


def option_of(name):
    """A function for params: the option with an input of the same name, if there is one."""
    return lambda wildcards, input: option(name, getattr(input, name))


def scenario_argument(wildcards):
    """Settings of a scenario."""
    return as_argument(CONFIGURATION.scenario_table[wildcards.scenario])


def plot_argument(wildcards):
    """Settings of the plot that a scenario shows; null if it shows none."""
    return as_argument(CONFIGURATION.plot_table.get(CONFIGURATION.shown_plot(wildcards.scenario)))


def run_argument(wildcards):
    """What identifies a run in its record."""
    return as_argument({**wildcards, "seed": int(wildcards.seed)})


def settings_of_run(wildcards):
    """How it is fine-tuned."""
    return as_argument(CONFIGURATION.finetune_settings(wildcards.model, wildcards.seed, wildcards.scenario))


def launch_option(wildcards):
    """How a fine-tuning is divided among processes; nothing if it is not."""
    launch = CONFIGURATION.model_table[wildcards.model].launched()
    if launch is None:
        return ""
    folder = Path(os.path.relpath(ROOT / launch.configurations)).as_posix()
    return option("launch", as_argument(launch.changed(configurations=folder)))
