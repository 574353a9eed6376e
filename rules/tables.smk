"""Inputs and options of the rules that write tables. Functions only."""

RUNS_OF = {}
for run in RUNS:
    RUNS_OF.setdefault((run.model, run.dataset, run.protocol), []).append(run)

# Tables of existing results after a failed call of Snakemake. No rule writes here.
INCOMPLETE = Path(RESULTS, "incomplete")
PUBLISHED = Path(os.path.relpath(ROOT / "config" / "published.tsv")).as_posix()
# In front of other options: the linter objects to a parameter that is a prefix of files.
RESULTS_OPTION = option("results", RESULTS)
CONTROLS_FILE = ["controls.csv"] if CONFIGURATION.evaluate.controls else []
# Tables of each model, dataset and protocol; and of all, without pages.
SUMMARY = ["runs", "training", "confusion", "reliability", "methods", "comparisons"]
TABLE_FILES = ["runs.csv", "accuracy.csv", "accuracy.md", "accuracy.tex", "costs.md"]
TABLE_FILES += [
    f"{name}.{form}" for name in ("methods", "comparisons", "rankings") for form in ("csv", "tex")
]
TABLE_FILES += ["comparisons.md", "evidence.csv", "evidence.md", "evidence_inputs.csv"]
if CONTROLS_FILE:
    SUMMARY += ["controls"]
    TABLE_FILES += ["controls.csv", "controls.md", "controls.tex"]


def runs_of(wildcards):
    """The selected runs of one model on one dataset and protocol."""
    return RUNS_OF.get((wildcards.model, wildcards.dataset, wildcards.protocol), [])


def run_files(*names):
    """An input function: these files of each of these runs."""
    return lambda wildcards: [f"{PATHS.run(run)}/{name}" for run in runs_of(wildcards) for name in names]


def collected(name):
    """The file `name` in the summary of each model, dataset and protocol."""
    return [f"{PATHS.summary(runs[0])}/{name}" for runs in RUNS_OF.values()]


def compared_scenarios():
    """The settings of the selected scenarios, by name."""
    names = dict.fromkeys(run.scenario for run in RUNS)
    return {name: CONFIGURATION.scenario_table[name] for name in names}


def table_page(name, result, category="1 Results"):
    """The page of a table, for the report."""
    labels = result_label(result, "table")
    return report(PATHS.table(f"{name}.html"), caption=f"report/{name}.rst", category=category, labels=labels)


def matrix_options(*kinds):
    """These lists of the configuration (models, datasets, scenarios, seeds), and the protocol, as options."""
    options = [option(kind, as_argument(getattr(CONFIGURATION, kind))) for kind in kinds]
    return " ".join([*options, option("protocol", CONFIGURATION.protocol)])


def selected_options(*kinds):
    """The same of the selected runs, without the protocol."""
    values = {kind: [getattr(run, kind.removesuffix("s")) for run in RUNS] for kind in kinds}
    return " ".join(option(kind, as_argument(list(dict.fromkeys(names)))) for kind, names in values.items())


def write_tables_options():
    """Options of `write_tables`."""
    selected = as_argument(list(dict.fromkeys(run.dataset for run in RUNS)))
    return " ".join(
        [
            RESULTS_OPTION,
            matrix_options("models", "datasets", "scenarios", "seeds"),
            option("selected", selected),
            option("controls", as_argument(bool(CONTROLS_FILE))),
        ]
    )


def write_ledger_options():
    """Options of `write_ledger`."""
    plots = {run.scenario: CONFIGURATION.shown_plot(run.scenario) or "" for run in RUNS}
    own = {
        name: None for name, plot in plots.items() if plot and CONFIGURATION.plot_table[plot].series != "full"
    }
    options = [RESULTS_OPTION, selected_options("models", "datasets", "scenarios")]
    options += [option("protocol", CONFIGURATION.protocol), option("plots", as_argument(plots | own))]
    return " ".join(options)


def controls_target():
    """The table and figure of controls."""
    if not CONTROLS_FILE:
        raise WorkflowError("evaluate.controls is false; allowed for the target controls: true")
    return [PATHS.table("controls.md"), PATHS.figure("controls.png")]


def final_results():
    """What `all` asks for."""
    tables = ["accuracy.md", "accuracy.csv", "accuracy.tex", "runs.csv", "ledger.md", "ledger.csv"]
    tables += ["costs.md", "evidence.md"]
    if CONFIGURATION.evaluate.controls:
        tables += ["controls.md"]
    return [
        *(f"{RESULTS}/tables/{name}" for name in tables),
        *(PATHS.figure(f"{name}.png") for name in FIGURES),
        f"{RESULTS}/tables/comparisons.md",
        *(f"{PATHS.case_figures(runs[0])}/{name}" for runs in RUNS_ON.values() for name in CASES),
        *(
            f"{RESULTS}/{name}"
            for name in ("methods/headline.html", "methods/methods.html", "provenance/provenance.html")
        ),
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
