"""Inputs of the report's text pages and of the folder for a paper. Functions only."""

REFERENCES = Path(os.path.relpath(ROOT / "config" / "references.bib")).as_posix()
METHODS_TEMPLATE = f"{SCRIPTS}/vlmtsc/reporting/methods.md.jinja"
# The first run of each model: its checkpoint exists once it is finished. The checkpoint itself is no input, since one that
# was removed to save space would be rebuilt and everything retrained.
FIRST_RUN = {}
for run in RUNS:
    FIRST_RUN.setdefault(run.model, run)

# Keys that change no result; with them in the provenance, the pages would be rewritten for nothing.
IRRELEVANT = {"tracking": True, "plots": True, "describe": True, "download": {"wheels"}}


def resolved_configuration():
    """The configuration with the table rows that it names, without keys that change no result."""
    scenarios = dict.fromkeys(run.scenario for run in RUNS)
    plots = dict.fromkeys(filter(None, map(CONFIGURATION.shown_plot, scenarios)))
    options = CONFIGURATION.model_dump(mode="json", exclude=IRRELEVANT)
    options["finetune"] = CONFIGURATION.finetune.model_dump(exclude_unset=True)
    kept = {"mode": "json", "exclude": {"resources"}, "exclude_none": True}
    return {
        "options": options | {"describe": CONFIGURATION.endpoint_settings()},
        "models": {name: CONFIGURATION.model_table[name].model_dump(**kept) for name in FIRST_RUN},
        "scenarios": {name: CONFIGURATION.scenario_settings(name) for name in scenarios},
        "plots": {name: CONFIGURATION.plot_settings(name) for name in plots},
    }


def with_siblings(files):
    """These files and the other outputs of their jobs: a figure's PDF along with its PNG."""
    found = {}
    for file in files:
        for step in workflow.rules:
            for wildcards in filter(None, (output.match(file) for output in step.output)):
                outputs = (output.apply_wildcards(wildcards.groupdict()) for output in step.output)
                found.update(dict.fromkeys(map(str, outputs)))
    return list(found)


def paper_parts(wildcards):
    """Tables, figures and methods of `all`, the comparison with published results, and baselines if they are finished."""
    files = [*final_results(), PATHS.table("paper.md")]
    if all(Path(PATHS.baseline(key), "record.json").is_file() for key in BASELINE_KEYS):
        files.append(PATHS.table("baselines.md"))
    suffixes = {"tables": (".csv", ".tex"), "figures": (".pdf",), "methods": (".md", ".bib")}
    paths = {path: Path(path).relative_to(RESULTS) for path in with_siblings(files)}
    return [path for path, place in paths.items() if place.suffix in suffixes.get(place.parts[0], ())]
