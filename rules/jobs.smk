"""What jobs are given, as functions of their wildcards. Functions only."""

from dataclasses import asdict
from functools import cache

from vlmtsc.schema import unknown


def of_runs(name):
    """The file `name` of every selected run."""
    return [f"{RESULTS}/{run.folder}/{name}" for run in RUNS]


def checkpoint_of_model():
    """Checkpoint folder of a model: the user's own, or one that a rule makes."""
    own = {
        model: CONFIGURATION.model_settings(model)["folder"]["path"]
        for model in CONFIGURATION.models_from("folder")
    }
    if not own:  # no function, which Snakemake would call for each job
        return f"{RESULTS}/models/{{model}}"
    return lambda wildcards: own.get(wildcards.model) or f"{RESULTS}/models/{wildcards.model}"


# Asked for by several functions of each job.
scenario_settings = cache(lambda scenario: as_argument(CONFIGURATION.scenario_settings(scenario)))
shown_plot = cache(CONFIGURATION.shown_plot)
descriptions_of = cache(CONFIGURATION.descriptions)
finetune_argument = cache(lambda *of: as_argument(CONFIGURATION.finetune_settings(*of)))


def scenario_argument(wildcards):
    """Settings of a scenario."""
    return scenario_settings(wildcards.scenario)


def plot_argument(wildcards):
    """Settings of the plot that a scenario shows; null if it shows none."""
    plot = shown_plot(wildcards.scenario)
    return as_argument(plot and CONFIGURATION.plot_settings(plot))


def own_files(wildcards):
    """The user's own files of a dataset that comes from a folder: an edit of them starts over."""
    known = {*CONFIGURATION.dataset_table, *CONFIGURATION.datasets}
    if wildcards.dataset not in known:
        raise WorkflowError(unknown("dataset", wildcards.dataset, known))
    settings = CONFIGURATION.download_settings(wildcards.dataset)
    if settings["sources"][:1] != ["folder"]:
        return []
    return folder_files(settings["folder"], wildcards.dataset) or []


def plots_of_scenario(wildcards):
    """The plots that a scenario shows: its own if they are of downsampled series; none if it shows none."""
    plot = shown_plot(wildcards.scenario)
    if plot is None:
        return []
    if CONFIGURATION.plot_table[plot]["series"] == "full":
        return f"{RESULTS}/plots/{wildcards.dataset}/{plot}"
    return (
        f"{RESULTS}/conversations/{wildcards.model}/{wildcards.dataset}/{wildcards.protocol}/"
        f"{wildcards.scenario}/plots"
    )


def descriptions_of_scenario(part):
    """An input function: the paragraphs that a scenario's questions or targets hold; none if they hold none."""

    def find(wildcards):
        place = descriptions_of(wildcards.scenario)[part]
        return f"{RESULTS}/descriptions/{wildcards.dataset}/{place}.json" if place else []

    return find


def growing(mem_mb):
    """Memory of a CPU job in MB: as much again at each new attempt (option --retries)."""
    return lambda wildcards, attempt: mem_mb * attempt


def model_resource(name, needs=CONFIGURATION.model_resources):
    """What the jobs of a model need, from the table of models. Of the selected ones: their rules know no other."""
    values = {model: needs(model)[name] for model in CONFIGURATION.models}
    if len({*values.values()}) == 1:  # no function, which Snakemake would call for each job
        return values.popitem()[1]
    return lambda wildcards: values[wildcards.model]


def option_of(name):
    """A function for params: the option that holds an input of the same name, if there is one."""
    return lambda wildcards, input: option(name, getattr(input, name))


def launch_option():
    """How a fine-tuning is divided among processes; nothing if it is not."""

    def find(wildcards):
        launch = CONFIGURATION.launch_settings(wildcards.model)
        if launch is None:
            return ""
        folder = Path(os.path.relpath(ROOT / launch.configurations)).as_posix()
        return option("launch", as_argument({**asdict(launch), "configurations": folder}))

    # No function without need, which Snakemake would call for each job.
    return find if any(map(CONFIGURATION.launch_settings, CONFIGURATION.model_table)) else ""


def run_argument(wildcards):
    """What identifies a run in its record."""
    names = {key: getattr(wildcards, key) for key in ("model", "dataset", "protocol", "scenario")}
    return as_argument(names | {"seed": int(wildcards.seed)})


def settings_of_run(wildcards):
    """How it is fine-tuned."""
    return finetune_argument(wildcards.model, wildcards.scenario, wildcards.seed)


def checkpoints_of_run(wildcards):
    """Where a run keeps what it goes on from: outside the declared outputs, which Snakemake removes when a job fails."""
    return (
        f"{RESULTS}/checkpoints/runs/{wildcards.model}/{wildcards.dataset}/{wildcards.protocol}/{wildcards.scenario}/"
        f"seed-{wildcards.seed}"
    )
