"""Inputs and parameters of jobs as functions of their wildcards. Functions only."""

from functools import cache


def of_runs(name):
    """The file `name` of every selected run."""
    return [f"{PATHS.run(run)}/{name}" for run in RUNS]


def checkpoint_of_model():
    """Checkpoint folder of a model: the user's own, or one that a rule makes."""
    own = {
        model: CONFIGURATION.model_settings(model).folder.path
        for model in CONFIGURATION.models_from("folder")
    }
    return lambda wildcards: own.get(wildcards.model) or PATHS.model(wildcards.model)


# Used by several functions of each job.
scenario_settings = cache(lambda scenario: as_argument(CONFIGURATION.scenario_settings(scenario)))
finetune_argument = cache(lambda *of: as_argument(CONFIGURATION.finetune_settings(*of)))


def scenario_argument(wildcards):
    """Settings of a scenario."""
    return scenario_settings(wildcards.scenario)


def plot_argument(wildcards):
    """Settings of the plot that a scenario shows; null if it shows none."""
    plot = CONFIGURATION.shown_plot(wildcards.scenario)
    return as_argument(plot and CONFIGURATION.plot_settings(plot))


def own_files(wildcards):
    """The user's own files of a dataset that comes from a folder: an edit of them starts over."""
    return configured(CONFIGURATION.own_files, wildcards.dataset)


def plots_of_scenario(wildcards):
    """The plots that a scenario shows: its own if they are of downsampled series; none if it shows none."""
    plot = CONFIGURATION.shown_plot(wildcards.scenario)
    if plot is None:
        return []
    if CONFIGURATION.plot_settings(plot).series == "full":
        return PATHS.plots(wildcards, plot)
    return PATHS.scenario_plots(wildcards)


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


def option_of(name):
    """A function for params: the option with an input of the same name, if there is one."""
    return lambda wildcards, input: option(name, getattr(input, name))


def launch_option(wildcards):
    """How a fine-tuning is divided among processes; nothing if it is not."""
    launch = CONFIGURATION.launch_settings(wildcards.model)
    if launch is None:
        return ""
    folder = Path(os.path.relpath(ROOT / launch.configurations)).as_posix()
    return option("launch", as_argument(launch.changed(configurations=folder)))


def run_argument(wildcards):
    """What identifies a run in its record."""
    names = {key: getattr(wildcards, key) for key in ("model", "dataset", "protocol", "scenario")}
    return as_argument(names | {"seed": int(wildcards.seed)})


def settings_of_run(wildcards):
    """How it is fine-tuned."""
    return finetune_argument(wildcards.model, wildcards.scenario, wildcards.seed)


def checkpoints_of_run(wildcards):
    """Where a run stores its checkpoints."""
    return PATHS.checkpoints(wildcards)
