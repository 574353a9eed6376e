"""Inputs of the report's text pages and of the folder for a paper. Functions only."""

REFERENCES = Path(os.path.relpath(ROOT / "config" / "references.bib")).as_posix()
METHODS_TEMPLATE = f"{SCRIPTS}/vlmtsc/reporting/methods.md.jinja"
# The first run of each model: its checkpoint exists once it is finished. The checkpoint itself is no input, since one that
# was removed to save space would be rebuilt and everything retrained.
FIRST_RUN = {}
for run in RUNS:
    FIRST_RUN.setdefault(run.model, run)


def citations():
    """Citations of the selected datasets, as far as the table of datasets has them."""
    rows = {run.dataset: CONFIGURATION.dataset_table.get(run.dataset) for run in RUNS}
    return {name: row.citation for name, row in rows.items() if row and row.citation}


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
