"""What pictures of cases are made of, a dataset at a time. Functions only."""

# With more datasets than this, their pictures are drawn but left out of the report, which holds every file as it is.
REPORTED_DATASETS = 10
CASE_FIGURES = f"{RESULTS}/figures/by_dataset/{{dataset}}/{{protocol}}"
RUNS_ON = {}
for run in RUNS:
    RUNS_ON.setdefault((run.dataset, run.protocol), []).append(run)


def scenarios_on(wildcards):
    """By model and scenario, a run of each that is requested on a dataset and protocol, whatever its seed."""
    runs = RUNS_ON.get((wildcards.dataset, wildcards.protocol), [])
    return {f"{run.model}/{run.scenario}": run for run in runs}


def conversations_on(name):
    """An input function: the file `name` that each of these scenarios has."""

    def find(wildcards):
        place = f"{wildcards.dataset}/{wildcards.protocol}"
        runs = scenarios_on(wildcards).values()
        return [f"{RESULTS}/conversations/{run.model}/{place}/{run.scenario}/{name}" for run in runs]

    return find


def predictions_on(wildcards):
    """The predictions of each of these runs."""
    runs = RUNS_ON.get((wildcards.dataset, wildcards.protocol), [])
    return [f"{PATHS.run(run)}/predictions.csv" for run in runs]


def plots_by_scenario_on(wildcards):
    """By model and scenario, the folder of the plots that it shows; empty if it shows none."""
    return {name: plots_of_scenario(run) or "" for name, run in scenarios_on(wildcards).items()}


def plots_on(wildcards):
    """The folders of plots that these scenarios show."""
    return list(dict.fromkeys(folder for folder in plots_by_scenario_on(wildcards).values() if folder))


def shown_plots(wildcards):
    """The same, each with the plot's name and the scenarios that show it: settings of `ShownPlots`."""
    folders = plots_by_scenario_on(wildcards)
    return [
        {
            "folder": folder,
            "plot": CONFIGURATION.shown_plot(names[0].split("/")[1]),
            "scenarios": list(dict.fromkeys(name.split("/")[1] for name in names)),
        }
        for folder in plots_on(wildcards)
        if (names := [name for name, shown in folders.items() if shown == folder])
    ]


def downsamples(scenario):
    """Whether a scenario tells or shows what downsampling leaves of a series."""
    plot = CONFIGURATION.shown_plot(scenario)
    drawn = plot is not None and CONFIGURATION.plot_table[plot].series == "downsampled"
    return drawn or CONFIGURATION.scenario_table[scenario].modality != "plot"


def downsampling_on(wildcards):
    """By a name for readers, the conversations of the scenarios that downsample series on a dataset and protocol."""
    runs = [run for run in scenarios_on(wildcards).values() if downsamples(run.scenario)]
    several = len({run.model for run in runs}) > 1
    return {
        (
            f"{run.scenario} ({run.model})" if several else run.scenario
        ): f"{run.model}/{run.dataset}/{run.protocol}/{run.scenario}"
        for run in runs
    }


def downsampling_representations(wildcards):
    """Their representations, which hold the factors."""
    folders = downsampling_on(wildcards).values()
    return [f"{RESULTS}/conversations/{folder}/representation.json" for folder in folders]


def case_figures():
    """The pictures of cases that `all` asks for: those that the selected scenarios have something to show in."""
    scenarios = {run.scenario for run in RUNS}
    names = ["wrong_cases.html"]
    if any(CONFIGURATION.shown_plot(scenario) for scenario in scenarios):
        names.append("gallery.png")
    if any(downsamples(scenario) for scenario in scenarios):
        names.append("downsampling.png")
    return [
        f"{RESULTS}/figures/by_dataset/{dataset}/{protocol}/{name}"
        for dataset, protocol in RUNS_ON
        for name in names
    ]


def reported_case(path, name, **labels):
    """Put a picture of cases into the report, unless there are too many datasets."""
    if len({run.dataset for run in RUNS}) > REPORTED_DATASETS:
        return path
    return report(
        path,
        caption=f"report/{name}.rst",
        category="4 Cases",
        subcategory="{dataset}",
        labels=labels,
    )
