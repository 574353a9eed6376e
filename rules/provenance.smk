# Provenance of the results, methods as text, the report's headline, and the folder for a paper. `collect_provenance` works
# per dataset, for the reason given in aggregate.smk.


rule collect_provenance:
    input:
        source=f"{PATHS.dataset(RUN)}/source.json",
        facts=f"{PATHS.dataset(RUN)}/facts.json",
        split=f"{PATHS.split(RUN)}/facts.json",
        records=run_files("run_record.json"),
        parameters=run_files("parameters.json"),
        baselines=compared_files("record.json"),
    output:
        provenance=f"{PATHS.summary(RUN)}/provenance.json",
    log:
        PATHS.log("collect_provenance", "{model}/{dataset}/{protocol}"),
    benchmark:
        PATHS.benchmark("collect_provenance", "{model}/{dataset}/{protocol}")
    conda:
        "../envs/environment.yaml"
    resources:
        mem_mb=growing(500),
        runtime=10,
    params:
        results=lambda wildcards: RESULTS,
        citation=lambda wildcards: option(
            "citation", getattr(CONFIGURATION.dataset_table.get(wildcards.dataset), "citation", None)
        ),
        runs=lambda wildcards: as_argument([f"{run.scenario}/seed-{run.seed}" for run in runs_of(wildcards)]),
        baselines=lambda wildcards: as_argument([vars(key) for key in compared_baselines(wildcards)]),
        script=path_of("collect_provenance"),
        code=code_of("collect_provenance"),
    shell:
        "python {params.script} --results {params.results:q} --model {wildcards.model:q} "
        "--dataset {wildcards.dataset:q} --protocol {wildcards.protocol:q} {params.citation} "
        "--runs {params.runs:q} --baselines {params.baselines:q} "
        "--output {output.provenance:q} --log {log:q}"


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
        collected=collected("provenance.json"),
        models=[PATHS.provenance(f"models/{model}.json") for model in FIRST_RUN],
        runs=PATHS.table("runs.csv"),
        methods=PATHS.table("methods.csv"),
        controls=PATHS.table("controls.csv") if CONFIGURATION.evaluate.controls else [],
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
        results=lambda wildcards: RESULTS,
        collected=lambda wildcards, input: as_argument(list(input.collected)),
        models=lambda wildcards, input: as_argument(dict(zip(FIRST_RUN, input.models, strict=True))),
        configuration=as_argument(CONFIGURATION.resolved()),
        controls=option_of("controls"),
        script=path_of("write_provenance"),
        code=code_of("write_provenance"),
    shell:
        "python {params.script} --results {params.results:q} --collected {params.collected:q} "
        "--models {params.models:q} --configuration {params.configuration:q} --references {input.references:q} "
        "{params.controls} --log {log:q}"


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
