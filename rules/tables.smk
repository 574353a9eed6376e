"""What tables are made of. Functions only."""

from vlmtsc.gaps import hidden_gaps

RUNS_OF = {}
for run in RUNS:
    RUNS_OF.setdefault((run.model, run.dataset, run.protocol), []).append(run)

# What a failed call of Snakemake leaves in place of the tables that it could not make. No rule writes here.
INCOMPLETE = Path(RESULTS, "incomplete")
PUBLISHED = Path(os.path.relpath(ROOT / "config" / "published.tsv")).as_posix()


def runs_of(wildcards):
    """The requested runs of one model on one dataset and protocol, in the order of configuration."""
    return RUNS_OF.get((wildcards.model, wildcards.dataset, wildcards.protocol), [])


def run_files(name):
    """An input function: the file `name` of each of these runs."""
    return lambda wildcards: [f"{PATHS.run(run)}/{name}" for run in runs_of(wildcards)]


def collected(name):
    """The file `name` that collect_runs writes, for each model, dataset and protocol."""
    return [
        f"{RESULTS}/tables/by_dataset/{model}/{dataset}/{protocol}/{name}"
        for model, dataset, protocol in RUNS_OF
    ]


def scenarios_of(wildcards):
    """The requested scenarios of one model on one dataset and protocol: a run of each, whatever its seed."""
    return {run.scenario: run for run in runs_of(wildcards)}


def budgets_of_scenarios(wildcards):
    """What these scenarios cost."""
    folder = f"{RESULTS}/conversations/{wildcards.model}/{wildcards.dataset}/{wildcards.protocol}"
    return [f"{folder}/{scenario}/budget.json" for scenario in scenarios_of(wildcards)]


def plots_by_scenario(wildcards):
    """By scenario, the folder of the plots that it shows; empty if it shows none."""
    return {scenario: plots_of_scenario(run) or "" for scenario, run in scenarios_of(wildcards).items()}


def plots_of_scenarios(wildcards):
    """The folders of plots that these scenarios show."""
    return sorted({folder for folder in plots_by_scenario(wildcards).values() if folder})


def compared_scenarios():
    """The settings of the requested scenarios, by name."""
    names = dict.fromkeys(run.scenario for run in RUNS)
    return {name: CONFIGURATION.scenario_table[name] for name in names}


def gaps_of_runs():
    """What a job that failed has left missing between newer and older files: asked for beside the tables."""

    def chains(run):
        scenario = f"{RESULTS}/conversations/{run.model}/{run.dataset}/{run.protocol}/{run.scenario}"
        dataset = f"{RESULTS}/datasets/{run.dataset}"
        tables = f"{RESULTS}/tables/by_dataset/{run.model}/{run.dataset}/{run.protocol}"
        descriptions = CONFIGURATION.descriptions(run.scenario).values()
        told = [
            *map(str, own_files(run)),
            *(f"{dataset}/{name}" for name in ("archive.npz", "series.npz", f"{run.protocol}/split.npz")),
            *(f"{RESULTS}/descriptions/{run.dataset}/{place}.json" for place in descriptions if place),
            f"{scenario}/representation.json",
        ]
        plots = plots_of_scenario(run)
        trained = [f"{PATHS.run(run)}/{name}" for name in ("run_record.json", "metrics.json")]
        yield [
            *told,
            *([plots] if plots else []),
            *trained,
            f"{tables}/runs.csv",
            f"{RESULTS}/tables/runs.csv",
        ]
        yield [*told, f"{tables}/ledger.csv", f"{RESULTS}/tables/ledger.csv"]

    if not Path(RESULTS).exists():  # a plan from nothing
        return []
    return hidden_gaps(chain for run in RUNS for chain in chains(run))


def final_results():
    """What `all` asks for."""
    tables = ["accuracy.md", "accuracy.csv", "accuracy.tex", "runs.csv", "ledger.md", "ledger.csv"]
    tables += ["costs.md", "evidence.md"]
    figures = ["accuracy_heatmap.png", "training_curves.png", "confusion_matrices.png"]
    figures += ["modality_ablation.png", "accuracy_by_context.png", "calibration.png", "accuracy_by_cost.png"]
    if CONFIGURATION.evaluate.controls:
        tables += ["controls.md"]
        figures += ["controls.png"]
    return [
        *(f"{RESULTS}/tables/{name}" for name in tables),
        *(f"{RESULTS}/figures/{name}" for name in figures),
        f"{RESULTS}/tables/comparisons.md",
        *ranking_figures(),
        *case_figures(),
        *(
            f"{RESULTS}/{name}"
            for name in ("methods/headline.html", "methods/methods.html", "provenance/provenance.html")
        ),
    ]


def matrix_options():
    """The whole matrix of the configuration, run or not, as options."""
    lists = {kind: list(getattr(CONFIGURATION, kind)) for kind in ("models", "datasets", "scenarios")}
    options = {kind: as_argument(names) for kind, names in lists.items()} | {
        "protocol": CONFIGURATION.protocol
    }
    return " ".join(option(name, value) for name, value in options.items())


def states_of_runs():
    """The selected runs with their states: done, failed (in which step, with which log) or not run."""
    blamed = {}

    def blame(job):
        # The failed job that a job has waited for, if any. Each job is looked at once.
        if job not in blamed:
            before = () if workflow.dag.noneedrun_finished(job) else workflow.dag.dependencies[job]
            causes = [job] if job in failed else [cause for other in before if (cause := blame(other))]
            blamed[job] = next(iter(causes), None)
        return blamed[job]

    # A group of jobs fails as a whole.
    failed = {job for entry in workflow.scheduler.failed for job in getattr(entry, "jobs", [entry])}
    jobs = {}
    for job in workflow.dag.jobs:
        if job.rule.name == "evaluate_model":
            jobs[Run(**{**job.wildcards_dict, "seed": int(job.wildcards.seed)})] = job
    states = []
    for run in RUNS:
        job, cause = jobs.get(run), None
        status = "done" if job is None or workflow.dag.noneedrun_finished(job) else "not run"
        if status == "not run" and (cause := blame(job)):
            status = "failed"
        step = {"step": cause.rule.name, "log": str(cause.log[0]) if cause.log else ""} if cause else {}
        states.append({**vars(run), "status": status, **step})
    return states


def show_incomplete_results():
    """Write tables of what is there, beside the declared ones, and show them."""
    try:
        write_incomplete_results(requested("write_ledger", "write_tables", "write_paper_table"))
    except OSError as error:  # what has failed may have failed for want of room
        print(f"{INCOMPLETE}: no tables of what is there ({error.strerror})", file=sys.stderr)


def write_incomplete_results(asked):
    """Write and show those of these rules' tables that can be made of what is there."""

    def made(name, *options):
        command = [sys.executable, file_of(name), *options, f"--output={INCOMPLETE}"]
        return subprocess.run(command, check=False).returncode == 0

    there = [path for path in collected("ledger.csv") if Path(path).exists()]
    if "write_ledger" in asked and there:
        made("write_ledger", f"--collected={as_argument(there)}")
    if "write_tables" not in asked:
        return
    INCOMPLETE.mkdir(parents=True, exist_ok=True)
    states = INCOMPLETE / "states.json"
    states.write_text(json.dumps(states_of_runs(), indent=1), encoding="utf-8")
    told = made("write_incomplete_tables", f"--root={RESULTS}/runs", f"--states={states}")
    # The published table takes what the one before has told of the runs.
    if "write_paper_table" in asked and told:
        runs = as_argument([str(INCOMPLETE / "runs.csv")])
        options = [f"--collected={runs}", f"--published={PUBLISHED}", *shlex.split(matrix_options())]
        if made("write_paper_table", *options):
            print((INCOMPLETE / "paper.md").read_text(encoding="utf-8"))
