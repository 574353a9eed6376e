# Provenance of the results and methods as text; comparison with the published results; effect of each fault of the original
# code; the folder for a paper; files for other tools.
from vlmtsc.planning import MAY_CHANGE_NOTHING, correction_pairs

PAIRS = correction_pairs(
    CONFIGURATION.corrections, CONFIGURATION.models, CONFIGURATION.protocol, CONFIGURATION.seeds
)
REFERENCES = Path(os.path.relpath(ROOT / "config" / "references.bib")).as_posix()
# A run of each model: its checkpoint exists once it is finished. The checkpoint itself is no input, since one that was removed
# to save space would be rebuilt and everything retrained.
FIRST_RUN = {run.model: run for run in reversed(RUNS)}


rule digest_model:
    input:
        record=lambda wildcards: f"{PATHS.run(FIRST_RUN[wildcards.model])}/run_record.json",
    output:
        files=PATHS.provenance("models/{model}.json"),
    log:
        PATHS.log("digest_model", "{model}"),
    benchmark:
        PATHS.benchmark("digest_model", "{model}")
    conda:
        "../envs/environment.yaml"
    resources:
        mem_mb=growing(500),
        runtime=30,
    params:
        checkpoint=checkpoint_of_model(),
        script=path_of("digest_model"),
        code=code_of("digest_model"),
    shell:
        "python {params.script} --checkpoint {params.checkpoint:q} --output {output.files:q} --log {log:q}"


rule write_provenance:
    input:
        # The tables change with the records of runs and baselines, which are read along with them.
        tables=[
            PATHS.table(f"{name}.csv")
            for name in ("runs", "methods", *(["controls"] if CONTROLS_FILE else []))
        ],
        datasets=[
            f"{folder}/{name}.json"
            for run in {run.dataset: run for run in RUNS}.values()
            for folder, name in [
                (PATHS.dataset(run), "source"),
                (PATHS.dataset(run), "facts"),
                (PATHS.split(run), "facts"),
            ]
        ],
        models=[PATHS.provenance(f"models/{model}.json") for model in FIRST_RUN],
        references=REFERENCES,
        template=f"{SCRIPTS}/vlmtsc/reporting/methods.md.jinja",
    output:
        provenance=PATHS.provenance("provenance.json"),
        provenance_page=report(
            PATHS.provenance("provenance.html"),
            caption="report/provenance.rst",
            category="9 Methods and provenance",
            labels={"result": "Provenance"},
        ),
        methods=PATHS.methods("methods.md"),
        methods_page=report(
            PATHS.methods("methods.html"),
            caption="report/methods.rst",
            category="9 Methods and provenance",
            labels={"result": "Methods"},
        ),
        references=PATHS.methods("references.bib"),
        headline=PATHS.methods("headline.html"),  # included by report/workflow.rst
    log:
        PATHS.log("write_provenance", "all"),
    benchmark:
        PATHS.benchmark("write_provenance", "all")
    conda:
        "../envs/environment.yaml"
    resources:
        mem_mb=growing(500),
        runtime=10,
    params:
        options=f"{RESULTS_OPTION} {run_options()}",
        baselines=as_argument(CONFIGURATION.baselines),
        citations=as_argument(CONFIGURATION.citations()),
        configuration=as_argument(CONFIGURATION.resolved()),
        script=path_of("write_provenance"),
        code=code_of("write_provenance"),
    shell:
        "python {params.script} {params.options} --baselines {params.baselines:q} --citations {params.citations:q} "
        "--configuration {params.configuration:q} --references {input.references:q} --log {log:q}"


# `snakemake all paper --cores all --configfile config/paper.yaml`. Rows are all combinations of the configuration; only the
# selected runs (key `only`) are made.
rule write_paper_table:
    input:
        runs=PATHS.table("runs.csv"),
        published=PUBLISHED,
    output:
        *(PATHS.table(name) for name in ("paper.csv", "paper_best.csv", "paper.md", "paper.tex")),
        page=table_page("paper", "Published and ours"),
        best_page=table_page("paper_best", "The published best and ours"),
    log:
        PATHS.log("write_paper_table", "all"),
    benchmark:
        PATHS.benchmark("write_paper_table", "all")
    conda:
        "../envs/environment.yaml"
    resources:
        mem_mb=growing(500),
        runtime=10,
    params:
        matrix=run_options("models", "datasets", "scenarios", whole=True),
        folder=folder_of_output,
        script=path_of("write_tables"),
        code=code_of("write_tables"),
    shell:
        "python {params.script} write_paper_table --runs {input.runs:q} --published {input.published:q} {params.matrix} "
        "--output {params.folder:q} --log {log:q}"


rule paper:
    input:
        rules.write_paper_table.output,


# `snakemake corrections --configfile config/corrections.yaml`; not part of `all`.
rule write_corrections_table:
    input:
        runs=sorted(
            {
                f"{PATHS.run(run)}/{name}"
                for pair in PAIRS
                if pair.run
                for run in pair.runs
                for name in ("metrics.json", "predictions.csv")
            }
        ),
        # Of all datasets: they show where a fault changes nothing, without a run.
        conversations=sorted(
            {
                f"{PATHS.conversations(run)}/{name}.json"
                for pair in PAIRS
                if pair.switch in MAY_CHANGE_NOTHING
                for run in pair.runs
                for name in ("train", "validation", "test")
            }
        ),
    output:
        table=PATHS.table("corrections.csv"),
        page=PATHS.table("corrections.html"),
        markdown=PATHS.table("corrections.md"),
        latex=PATHS.table("corrections.tex"),
    log:
        PATHS.log("write_corrections_table", "all"),
    benchmark:
        PATHS.benchmark("write_corrections_table", "all")
    conda:
        "../envs/environment.yaml"
    resources:
        mem_mb=growing(1000),
        runtime=10,
    params:
        options=f"{RESULTS_OPTION} {run_options('models', 'seeds', whole=True)}",
        corrections=as_argument(CONFIGURATION.corrections),
        folder=folder_of_output,
        script=path_of("write_tables"),
        code=code_of("write_tables"),
    shell:
        "python {params.script} write_corrections_table {params.options} --corrections {params.corrections:q} "
        "--output {params.folder:q} --log {log:q}"


rule corrections:
    input:
        PATHS.table("corrections.md"),


# `make paper`, or `snakemake --cores all collect_paper`. It trains nothing: see refuse_training.
rule collect_paper:
    input:
        parts=paper_parts,
    output:
        folder=directory(f"{RESULTS}/paper"),
    log:
        PATHS.log("collect_paper", "all"),
    benchmark:
        PATHS.benchmark("collect_paper", "all")
    conda:
        "../envs/environment.yaml"
    resources:
        mem_mb=growing(1000),
        runtime=10,
    params:
        results=lambda wildcards: RESULTS,
        parts=lambda wildcards, input: as_argument(
            [Path(path).relative_to(RESULTS).as_posix() for path in input.parts]
        ),
        script=path_of("export_results"),
        code=code_of("export_results"),
    shell:
        "python {params.script} collect_paper --results {params.results:q} --parts {params.parts:q} "
        "--output {output.folder:q} --log {log:q}"


# Predictions in the format of tsml-eval, accuracies in that of aeon: `snakemake --cores all export`.
rule export_results:
    input:
        runs=[
            f"{PATHS.run(run)}/{name}"
            for name in ("predictions.csv", "metrics.json", "run_record.json")
            for run in RUNS
        ],
        baselines=[f"{PATHS.baseline(key)}/{name}" for key in COMPARED_KEYS for name in BASELINE_FILES],
    output:
        folder=directory(f"{RESULTS}/export"),
    log:
        PATHS.log("export_results", "all"),
    benchmark:
        PATHS.benchmark("export_results", "all")
    conda:
        "../envs/environment.yaml"
    resources:
        mem_mb=growing(1000),
        runtime=30,
    params:
        options=f"{RESULTS_OPTION} {run_options()}",
        baselines=as_argument(CONFIGURATION.baselines),
        script=path_of("export_results"),
        code=code_of("export_results"),
    shell:
        "python {params.script} export_results {params.options} "
        "--baselines {params.baselines:q} --output {output.folder:q} --log {log:q}"


rule export:
    input:
        rules.export_results.output,
