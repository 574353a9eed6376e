"""Inputs, outputs and options of the rules that summarise runs in tables and figures. Functions only."""

from vlmtsc.evaluation.constants import DATASETS_NEEDED, METHODS_NEEDED
from vlmtsc.files import digest_of_files
from vlmtsc.planning import case_scenarios
from vlmtsc.settings import BASELINES, HOSTED, PROBES, SERIES_BASELINES

# Tables of existing results after a failed call of Snakemake. No rule writes here.
INCOMPLETE = Path(RESULTS, "incomplete")
PUBLISHED = Path(os.path.relpath(ROOT / "config" / "published.tsv")).as_posix()
PUBLISHED_OFFICIAL = Path(os.path.relpath(ROOT / "config" / "published_official.tsv")).as_posix()
BASELINE_FILES = ("metrics.json", "record.json", "predictions.csv")
# Of the target `baselines`, and of the other targets.
BASELINE_KEYS = CONFIGURATION.baseline_keys(CONFIGURATION.asked_baselines())
COMPARED_KEYS = CONFIGURATION.baseline_keys(CONFIGURATION.baselines)
# The linter objects to a parameter that is a prefix of files, but not to an option.
RESULTS_OPTION = option("results", RESULTS)
CONTROLS_FILE = ["controls.csv"] if CONFIGURATION.evaluate.controls else []
EXPLANATIONS_FILE = ["explanations.json"] if CONFIGURATION.evaluate.occlusion.cases else []
# Tables of each model, dataset and protocol; and of all, without pages.
SUMMARY = ["runs", "training", "confusion", "reliability", "methods", "comparisons"]
TABLE_FILES = ["runs.csv", "accuracy.csv", "accuracy.md", "accuracy.tex", "costs.md"]
TABLE_FILES += ["methods.csv", "methods.tex", "comparisons.csv", "comparisons.md", "comparisons.tex"]
TABLE_FILES += ["rankings.csv", "rankings.tex", "evidence.csv", "evidence.md", "evidence_inputs.csv"]
if CONTROLS_FILE:
    SUMMARY += ["controls"]
    TABLE_FILES += ["controls.csv", "controls.md", "controls.tex"]
# Whether there are enough datasets and methods for figures of ranks over datasets. Of first stages there is at least one.
COMPARED = {(run.model, run.scenario) for run in RUNS} | {key.baseline for key in COMPARED_KEYS}
COMPARED |= {
    "first stage"
    for run in RUNS
    if CONFIGURATION.finetune_settings(run.model, run.seed, run.scenario).has_own_first_stage
    and CONFIGURATION.shown_plot(run.scenario)
}
RANKED = len({run.dataset for run in RUNS}) >= DATASETS_NEEDED and len(COMPARED) >= METHODS_NEEDED
# Of all runs: category and label in the report.
FIGURES = {
    "accuracy_heatmap": ("1 Results", "Accuracy, datasets by scenarios"),
    "training_curves": ("2 Training", "Training curves"),
    "confusion_matrices": ("1 Results", "Confusion matrices"),
    "modality_ablation": ("1 Results", "Plot, numbers, or both"),
    "accuracy_by_context": ("1 Results", "Accuracy against tokens of a case"),
    "calibration": ("1 Results", "Calibration"),
    "accuracy_by_cost": ("3 Costs", "Accuracy against cost"),
}
if CONTROLS_FILE:
    FIGURES["controls"] = ("1 Results", "Controls at test time")
RANKINGS = {}
if RANKED:
    RANKINGS["critical_difference"] = ("1 Results", "Ranks over datasets")
    RANKINGS["multi_comparison_matrix"] = ("1 Results", "All pairs over datasets")
FIGURES |= RANKINGS
# Of the cases of a dataset: label and form.
CASES = {"prototypes.png": ("Class prototypes", "figure")}
if any(CONFIGURATION.shown_plot(run.scenario) for run in RUNS):
    CASES["gallery.png"] = ("Plots of each class", "figure")
if any(CONFIGURATION.downsamples(run.scenario) for run in RUNS):
    CASES["downsampling.png"] = ("Downsampling of a series", "figure")
CASES["wrong_cases.html"] = ("Cases most confidently wrong", "page")
if EXPLANATIONS_FILE:
    CASES["explanations.html"] = ("Explanations", "page")
# With more datasets, the report omits their cases: it embeds every file.
REPORTED_DATASETS = 10
RUNS_ON = {}
for run in RUNS:
    RUNS_ON.setdefault((run.dataset, run.protocol), []).append(run)


def run_files(*names):
    """An input function: these files of each selected run of one model on one dataset."""
    return lambda wildcards: [
        f"{PATHS.run(run)}/{name}"
        for run in RUNS
        if (run.model, run.dataset) == (wildcards.model, wildcards.dataset)
        for name in names
    ]


def baseline_files(wildcards):
    """Files of each configured baseline of a dataset; of probes, those of one model."""
    return [
        f"{PATHS.baseline(key)}/{name}"
        for key in COMPARED_KEYS
        if key.dataset == wildcards.dataset and key.model in ("", wildcards.model)
        for name in BASELINE_FILES
    ]


def probed_folder(wildcards):
    """Folder of the inputs of a probe's features: plots, or the conversations of a scenario without them."""
    if wildcards.baseline == "logistic_tower":
        return PATHS.plots(wildcards, CONFIGURATION.probed_plot)
    place = (wildcards.model, wildcards.dataset, wildcards.protocol, CONFIGURATION.probed_scenario)
    return PATHS.conversations(Run(*place, seed=0))


def probed_input(wildcards):
    """Input files of a probe."""
    folder = probed_folder(wildcards)
    if wildcards.baseline == "logistic_tower":
        return folder
    return [f"{folder}/{name}.json" for name in ("train", "validation", "test", "representation")]


def probed_features(wildcards):
    """The stored features of the plots that a probe uses; none for a probe of the language model."""
    return stored_features(
        wildcards, CONFIGURATION.probed_plot if wildcards.baseline == "logistic_tower" else None
    )


def asked_run(wildcards):
    """The run about whose questions a hosted model is asked."""
    place = (wildcards.model, wildcards.dataset, wildcards.protocol, CONFIGURATION.asked_scenario)
    return Run(*place, seed=0)


def summaries(*names):
    """These tables of each model, dataset and protocol."""
    folders = dict.fromkeys(map(PATHS.summary, RUNS))
    return [f"{folder}/{name}.csv" for folder in folders for name in names]


def result_label(result, form):
    """The label of a result in the report: one only, because of two Snakemake may make a switch with missing states."""
    return {"result": f"{result} ({form})"}


def table_page(name, result, category="1 Results"):
    """Page of a table, for the report."""
    labels = result_label(result, "table")
    return report(PATHS.table(f"{name}.html"), caption=f"report/{name}.rst", category=category, labels=labels)


def figure_files():
    """Outputs of `draw_figures`: each figure as PNG, for the report, and as PDF."""
    files = {}
    for name, (category, result) in FIGURES.items():
        marks = {"category": category, "labels": result_label(result, "figure")}
        caption = f"report/{'controls_figure' if name == 'controls' else name}.rst"
        files[name] = report(PATHS.figure(f"{name}.png"), caption=caption, **marks)
        files[f"{name}_print"] = PATHS.figure(f"{name}.pdf")
    return files


def case_files():
    """Outputs of `draw_cases`."""
    files = {}
    for name, (result, form) in CASES.items():
        stem, path = name.split(".")[0], f"{PATHS.case_figures(RUN)}/{name}"
        marks = {
            "category": "4 Cases",
            "subcategory": "{dataset}",
            "labels": result_label(result, form),
        }
        reported = len({run.dataset for run in RUNS}) <= REPORTED_DATASETS
        files[stem] = report(path, caption=f"report/{stem}.rst", **marks) if reported else path
        if form == "figure":
            files[f"{stem}_print"] = path.replace(".png", ".pdf")
    return files


def case_inputs(wildcards):
    """Predictions, conversations and plots of the runs on a dataset."""
    runs = RUNS_ON.get((wildcards.dataset, wildcards.protocol), [])
    files = [f"{PATHS.run(run)}/{name}" for run in runs for name in ("predictions.csv", *EXPLANATIONS_FILE)]
    for run in runs:
        files += [f"{PATHS.conversations(run)}/{name}.json" for name in ("test", "representation")]
    return list(dict.fromkeys([*files, *filter(None, map(plots_of_scenario, runs))]))


def case_argument(wildcards):
    """Scenarios of the runs on a dataset."""
    runs = RUNS_ON.get((wildcards.dataset, wildcards.protocol), [])
    return as_argument(list(map(vars, case_scenarios(runs, CONFIGURATION, plots_of_scenario))))


def run_options(*kinds, whole=False):
    """Lists of models, datasets, scenarios, seeds (`kinds`, or all four), and the protocol, as options of a command.

    The lists are those of the selected runs, which are all combinations, or with `whole` those of the configuration.
    """
    options = []
    for kind in kinds or ("models", "datasets", "scenarios", "seeds"):
        values = getattr(CONFIGURATION, kind) if whole else [getattr(run, kind[:-1]) for run in RUNS]
        options.append(option(kind, as_argument(list(dict.fromkeys(values)))))
    return " ".join([*options, option("protocol", CONFIGURATION.protocol)])


def write_tables_options():
    """Options of `write_tables`."""
    selected = list(dict.fromkeys(run.dataset for run in RUNS))
    options = [RESULTS_OPTION, run_options(whole=True), option("selected", as_argument(selected))]
    return " ".join([*options, option("controls", as_argument(bool(CONTROLS_FILE)))])


def write_ledger_options():
    """Options of `write_ledger`."""
    plots = {run.scenario: CONFIGURATION.shown_plot(run.scenario) or "" for run in RUNS}
    for scenario, plot in plots.items():
        if plot and CONFIGURATION.plot_table[plot].series != "full":
            plots[scenario] = None
    return " ".join(
        [RESULTS_OPTION, run_options("models", "datasets", "scenarios"), option("plots", as_argument(plots))]
    )


def digest_of_metrics(folders):
    """A digest of the existing metrics in these folders."""
    files = [Path(folder, "metrics.json") for folder in folders]
    return digest_of_files(file for file in files if file.is_file())


def content_of_runs():
    """A digest of the finished runs, for a table that shows them but does not ask for them."""
    return digest_of_metrics(map(PATHS.run, RUNS))


def content_beside_runs():
    """A digest of existing results that are not selected: other runs of the configuration, other baselines."""
    selected = {*map(PATHS.run, RUNS), *map(PATHS.baseline, COMPARED_KEYS)}
    whole = CONFIGURATION.unrestricted()
    folders = [*map(PATHS.run, whole.runs()), *map(PATHS.baseline, whole.baseline_keys(BASELINES))]
    return digest_of_metrics(folder for folder in folders if folder not in selected)


def controls_target():
    """The table and figure of controls."""
    if not CONTROLS_FILE:
        raise WorkflowError("evaluate.controls is false; allowed for the target controls: true")
    return [PATHS.table("controls.md"), PATHS.figure("controls.png")]


def final_results():
    """Inputs of `all`."""
    tables = ["accuracy.md", "runs.csv", "ledger.md", "costs.md", "comparisons.md", "evidence.md"]
    tables += ["controls.md"] if CONTROLS_FILE else []
    return [
        *map(PATHS.table, tables),
        *(PATHS.figure(f"{name}.png") for name in FIGURES),
        *(f"{PATHS.case_figures(runs[0])}/{name}" for runs in RUNS_ON.values() for name in CASES),
        *map(PATHS.methods, ("headline.html", "methods.html")),
        PATHS.provenance("provenance.html"),
    ]


def paper_parts(wildcards):
    """Tables, figures and methods of `all`, the comparison with published results, and baselines if they are finished."""
    tables = [name for name in TABLE_FILES if Path(name).suffix in (".csv", ".tex")]
    tables += ["ledger.csv", "paper.csv", "paper_best.csv", "paper.tex"]
    if all(Path(PATHS.baseline(key), "record.json").is_file() for key in BASELINE_KEYS):
        tables += ["baselines.csv", "baselines.tex"]
    figures = [Path(path) for path in final_results() if path.endswith(".png")]
    return [
        *map(PATHS.table, tables),
        *(path.with_suffix(".pdf").as_posix() for path in figures),
        *map(PATHS.methods, ("methods.md", "references.bib")),
    ]
