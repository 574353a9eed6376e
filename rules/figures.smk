"""Outputs and inputs of the rules that draw figures. Functions only."""

from vlmtsc.reporting.cases import case_scenarios

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
# With more datasets, the report omits their cases: it embeds every file.
REPORTED_DATASETS = 10
RUNS_ON = {}
for run in RUNS:
    RUNS_ON.setdefault((run.dataset, run.protocol), []).append(run)


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
    files = [f"{PATHS.run(run)}/predictions.csv" for run in runs]
    for run in runs:
        files += [f"{PATHS.conversations(run)}/{name}.json" for name in ("test", "representation")]
    return list(dict.fromkeys([*files, *filter(None, map(plots_of_scenario, runs))]))


def case_argument(wildcards):
    """Scenarios of the runs on a dataset."""
    runs = RUNS_ON.get((wildcards.dataset, wildcards.protocol), [])
    return as_argument(list(map(vars, case_scenarios(runs, CONFIGURATION, plots_of_scenario))))
