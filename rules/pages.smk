"""What the report's pages of text, and the paper's folder, are made of. Functions only."""

from snakemake.io import get_flag_value, is_flagged

REFERENCES = Path(os.path.relpath(ROOT / "config" / "references.bib")).as_posix()
# A run of each model, after which its checkpoint is there. It is no input itself: one that was removed to save space would
# be made again, and everything be trained again.
FIRST_RUN = {}
for run in RUNS:
    FIRST_RUN.setdefault(run.model, run)


# What changes no result: telling it would make the pages anew for nothing.
UNTOLD = ("tracking", "plots")


def resolved_configuration():
    """The configuration, and the rows that it names of the tables of models, scenarios and plots, without what changes no
    result: memory, trackers, the store of plots and of packages, how often a describer is asked."""
    scenarios = dict.fromkeys(run.scenario for run in RUNS)
    plots = dict.fromkeys(filter(None, map(CONFIGURATION.shown_plot, scenarios)))
    options = {key: value for key, value in CONFIGURATION.options.items() if key not in UNTOLD}
    options["download"] = {key: value for key, value in options["download"].items() if key != "wheels"}
    models = {name: dict(CONFIGURATION.model_table[name]) for name in FIRST_RUN}
    return {
        "options": options | {"describe": CONFIGURATION.endpoint_settings()},
        "models": {
            name: {key: value for key, value in row.items() if key != "resources"}
            for name, row in models.items()
        },
        "scenarios": {name: CONFIGURATION.scenario_settings(name) for name in scenarios},
        "plots": {name: CONFIGURATION.plot_settings(name) for name in plots},
    }


def made_with(files):
    """These files, and what the jobs that make them make beside: a figure's PDF beside its PNG."""
    found = {}
    for file in files:
        for step in workflow.rules:
            for wildcards in filter(None, (output.match(file) for output in step.output)):
                made = (output.apply_wildcards(wildcards.groupdict()) for output in step.output)
                found.update(dict.fromkeys(map(str, made)))
    return list(found)


def paper_parts(wildcards):
    """What a paper takes of what `all` asks for, of the published table, and of baselines that are there."""
    asked = [*final_results(), f"{RESULTS}/tables/paper.md"]
    if all(Path(RESULTS, key.folder, "record.json").is_file() for key in BASELINE_KEYS):
        asked.append(f"{RESULTS}/tables/baselines.md")
    kinds = {"tables": (".csv", ".tex"), "figures": (".pdf",), "methods": (".tex", ".bib")}
    paths = {path: Path(path).relative_to(RESULTS) for path in made_with(asked)}
    return [path for path, place in paths.items() if place.suffix in kinds.get(place.parts[0], ())]


def captions_of(paths):
    """The caption's file of each of these figures, by its place in the results folder, as the report shows it beside the PNG."""
    found = {}
    for path in paths:
        shown = str(Path(path).with_suffix(".png"))
        for output in (output for step in workflow.rules for output in step.output):
            if path.endswith(".pdf") and is_flagged(output, "report") and output.match(shown):
                caption = get_flag_value(output, "report").caption
                place = Path(path).relative_to(RESULTS).as_posix()
                found[place] = os.path.relpath(caption.get_path_or_uri(secret_free=True))
    return found


# What a paper is made from and does not make.
COSTLY = ("finetune_model", "evaluate_model", "evaluate_controls", "fit_baseline", "fit_probe")


def refuse_training():
    """End a call that is to collect a paper's parts, if something of it has not been computed yet."""
    if not requested("collect_paper"):
        return
    lacking = {}
    # The first step of a run that is lacking is the one to name.
    planned = [job for job in workflow.dag.needrun_jobs() if job.rule.name in COSTLY]
    for job in sorted(planned, key=lambda job: COSTLY.index(job.rule.name)):
        why = "missing" if workflow.dag.reason(job).missing_output else "out of date"
        run = "/".join(
            f"seed-{value}" if name == "seed" else value for name, value in job.wildcards_dict.items()
        )
        lacking.setdefault(run, f"{job.rule.name}: {why}")
    if not lacking:
        return
    named = "; ".join(f"{run} ({why})" for run, why in sorted(lacking.items())[:5])
    more = f"; and {len(lacking) - 5} more" if len(lacking) > 5 else ""
    command = shlex.join(
        [
            "snakemake",
            *("all" if word in ("collect_paper", f"{RESULTS}/paper") else word for word in sys.argv[1:]),
        ]
    )
    raise WorkflowError(
        f"collect_paper trains nothing, but of its runs and baselines {len(lacking)} lack results: {named}{more}. "
        f"Make them: {command}. Or take results of older code or settings as they are: --rerun-triggers mtime"
    )
