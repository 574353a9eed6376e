"""What all rules share: the checked configuration, wildcards, and the parameters that decide on reruns."""

import gc
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path

from snakemake.exceptions import WorkflowError

ROOT = Path(workflow.basedir)
sys.path.insert(0, str(ROOT / "workflow_scripts"))

from vlmtsc.code_digest import code_digest
from vlmtsc.configuration import Run, load_configuration
from vlmtsc.errors import InputError
from vlmtsc.files import hold_folder, release_folder

# What a plan is made of stays until the end; looking for garbage in it takes a tenth of a large dry run.
gc.set_threshold(200_000, 100, 100)

# Rules call `python`: that of the environment that runs Snakemake, whether or not it is activated. Set here and
# not in the rules, so that no command holds a path that a move of the project would change.
os.environ.update(PATH=f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', os.defpath)}")


def checked_configuration():
    """Check `config`; a fault ends the run with one line instead of a traceback."""
    files = ", ".join(os.path.relpath(file) for file in workflow.configfiles)
    try:
        return load_configuration(config, ROOT, files)
    except InputError as error:
        raise WorkflowError(str(error)) from None


CONFIGURATION = checked_configuration()
RESULTS = CONFIGURATION.results
RUNS = CONFIGURATION.runs()
HELD = []
# Relative to the working directory: a move of the project changes no command.
SCRIPTS = Path(os.path.relpath(ROOT / "workflow_scripts")).as_posix()

# Priority of what is cheap and comes before training: so that the ledger is there before the first long job.
BEFORE_TRAINING = 10


def one_of(*names):
    """A wildcard's pattern that matches exactly these names; nothing, if there are none."""
    if not names:
        return "(?!)"
    return "|".join(re.escape(name) for name in sorted({*names}, key=lambda name: (-len(name), name)))


wildcard_constraints:
    dataset=one_of(*CONFIGURATION.dataset_table, *CONFIGURATION.datasets),
    protocol="official|pooled",
    plot=one_of(*CONFIGURATION.plot_table),
    model=one_of(*CONFIGURATION.model_table),
    scenario=one_of(*CONFIGURATION.scenario_table),
    seed=r"\d+",


def as_argument(settings):
    """Settings as one command-line argument: equal settings give equal text."""
    return json.dumps(settings, sort_keys=True, separators=(",", ":"), ensure_ascii=False)


def option(name, value):
    """A command-line option, quoted; nothing if there is no value."""
    return f"--{name} {shlex.quote(str(value))}" if value else ""


def file_of(script):
    """Path of a script, relative to the working directory."""
    return f"{SCRIPTS}/{script}.py"


def path_of(script):
    """The same for a shell command."""
    return shlex.quote(file_of(script))


def code_of(script):
    """Digest of a script and the project modules it imports; a parameter, so that a change reruns the rule."""
    try:
        return code_digest(ROOT / "workflow_scripts" / f"{script}.py", ROOT / "workflow_scripts")
    except InputError as error:
        raise WorkflowError(str(error)) from None


def of_runs(name):
    """The file `name` of every selected run."""
    return [f"{RESULTS}/{run.folder}/{name}" for run in RUNS]


def checkpoint_of_model(wildcards):
    """Checkpoint folder of a model: the user's own, or one that a rule makes."""
    source = CONFIGURATION.model_settings(wildcards.model)
    return source["folder"]["path"] if "folder" in source else f"{RESULTS}/models/{wildcards.model}"


def plot_of_scenario(wildcards):
    """Settings of the plot that a scenario shows; none if it shows none."""
    plot = CONFIGURATION.shown_plot(wildcards.scenario)
    return plot and CONFIGURATION.plot_settings(plot)


def own_files(wildcards):
    """The user's own files of a dataset that comes from a folder: an edit of them starts over."""
    settings = CONFIGURATION.download_settings(wildcards.dataset)
    if settings["sources"][:1] != ["folder"]:
        return []
    return folder_files(settings["folder"], wildcards.dataset) or []


def plots_of_scenario(wildcards):
    """The plots that a scenario shows: its own if they are of downsampled series; none if it shows none."""
    plot = CONFIGURATION.shown_plot(wildcards.scenario)
    if plot is None:
        return []
    if CONFIGURATION.plot_settings(plot)["series"] == "full":
        return f"{RESULTS}/plots/{wildcards.dataset}/{plot}"
    return (
        f"{RESULTS}/conversations/{wildcards.model}/{wildcards.dataset}/{wildcards.protocol}/"
        f"{wildcards.scenario}/plots"
    )


def descriptions_of_scenario(part):
    """An input function: the paragraphs that a scenario's questions or targets hold; none if they hold none."""

    def find(wildcards):
        place = CONFIGURATION.descriptions(wildcards.scenario)[part]
        return f"{RESULTS}/descriptions/{wildcards.dataset}/{place}.json" if place else []

    return find


def growing(mem_mb):
    """Memory of a CPU job in MB: as much again at each new attempt (option --retries)."""
    return lambda wildcards, attempt: mem_mb * attempt


def model_resource(name, needs=CONFIGURATION.model_resources):
    """What the jobs of a model need, from the table of models."""
    values = {needs(model)[name] for model in CONFIGURATION.model_table}
    if len(values) == 1:  # no function, which Snakemake would call for each of thousands of jobs
        return values.pop()
    return lambda wildcards: needs(wildcards.model)[name]


def launch_option(wildcards):
    """How a fine-tuning is divided among processes; nothing if it is not."""
    launch = CONFIGURATION.launch_settings(wildcards.model)
    if launch is None:
        return ""
    folder = Path(os.path.relpath(ROOT / launch.configurations)).as_posix()
    return option("launch", as_argument({**asdict(launch), "configurations": folder}))


def run_name(wildcards):
    """What identifies a run in its record."""
    names = {key: getattr(wildcards, key) for key in ("model", "dataset", "protocol", "scenario")}
    return names | {"seed": int(wildcards.seed)}


def hold_results():
    """Take the results folder for this call. Snakemake's own lock lies in the working directory, and keeps out no workflow
    that is started elsewhere."""
    try:
        HELD.append(hold_folder(Path(RESULTS)))
    except InputError as error:
        raise WorkflowError(str(error)) from None


def release_results():
    """Let the results folder go."""
    while HELD:
        release_folder(HELD.pop())
