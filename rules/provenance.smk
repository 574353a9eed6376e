# Provenance of the results, methods as text, the report's headline, and the folder for a paper.


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
        template=METHODS_TEMPLATE,
    output:
        provenance=PATHS.provenance("provenance.json"),
        provenance_page=report(
            PATHS.provenance("provenance.html"),
            caption="report/provenance.rst",
            category="9 Methods and provenance",
            labels={"result": "Provenance", "form": "text"},
        ),
        methods=PATHS.methods("methods.md"),
        methods_page=report(
            PATHS.methods("methods.html"),
            caption="report/methods.rst",
            category="9 Methods and provenance",
            labels={"result": "Methods", "form": "text"},
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
        options=f"{RESULTS_OPTION} {matrix_of_runs()}",
        baselines=as_argument(CONFIGURATION.baselines),
        citations=as_argument(citations()),
        configuration=as_argument(CONFIGURATION.resolved()),
        script=path_of("write_provenance"),
        code=code_of("write_provenance"),
    shell:
        "python {params.script} {params.options} --baselines {params.baselines:q} --citations {params.citations:q} "
        "--configuration {params.configuration:q} --references {input.references:q} --log {log:q}"


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
        script=path_of("collect_paper"),
        code=code_of("collect_paper"),
    shell:
        "python {params.script} --results {params.results:q} --parts {params.parts:q} "
        "--output {output.folder:q} --log {log:q}"
