# Where results come from, and how they were made, as pages of the report. In two levels, for the reason that
# aggregate.smk gives.


rule collect_provenance:
    input:
        source=f"{RESULTS}/datasets/{{dataset}}/source.json",
        facts=f"{RESULTS}/datasets/{{dataset}}/facts.json",
        split=f"{RESULTS}/datasets/{{dataset}}/{{protocol}}/facts.json",
        records=run_files("run_record.json"),
        parameters=run_files("parameters.json"),
        baselines=compared_files("record.json"),
        ledger=f"{RESULTS}/tables/by_dataset/{{model}}/{{dataset}}/{{protocol}}/ledger.csv",
    output:
        provenance=f"{RESULTS}/tables/by_dataset/{{model}}/{{dataset}}/{{protocol}}/provenance.json",
    log:
        f"{RESULTS}/logs/collect_provenance/{{model}}/{{dataset}}/{{protocol}}.log",
    benchmark:
        f"{RESULTS}/benchmarks/collect_provenance/{{model}}/{{dataset}}/{{protocol}}.tsv"
    conda:
        "../envs/environment.yaml"
    threads: 1
    resources:
        mem_mb=growing(500),
        runtime=10,
    params:
        results=lambda wildcards, output: str(Path(output.provenance).parents[5]),
        citation=lambda wildcards: option(
            "citation", CONFIGURATION.dataset_table.get(wildcards.dataset, {}).get("citation")
        ),
        runs=lambda wildcards: as_argument([f"{run.scenario}/seed-{run.seed}" for run in runs_of(wildcards)]),
        baselines=lambda wildcards: as_argument([vars(key) for key in compared_baselines(wildcards)]),
        script=path_of("collect_provenance"),
        code=code_of("collect_provenance"),
    shell:
        "python {params.script} --results {params.results:q} --model {wildcards.model:q} "
        "--dataset {wildcards.dataset:q} --protocol {wildcards.protocol:q} {params.citation} "
        "--runs {params.runs:q} --baselines {params.baselines:q} --ledger {input.ledger:q} "
        "--output {output.provenance:q} --log {log:q}"


rule digest_model:
    input:
        record=lambda wildcards: f"{RESULTS}/{FIRST_RUN[wildcards.model].folder}/run_record.json",
    output:
        files=f"{RESULTS}/provenance/models/{{model}}.json",
    log:
        f"{RESULTS}/logs/digest_model/{{model}}.log",
    benchmark:
        f"{RESULTS}/benchmarks/digest_model/{{model}}.tsv"
    conda:
        "../envs/environment.yaml"
    threads: 1
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
        models=[f"{RESULTS}/provenance/models/{model}.json" for model in FIRST_RUN],
    output:
        provenance=f"{RESULTS}/provenance/provenance.json",
        page=report(
            f"{RESULTS}/provenance/provenance.html",
            caption="report/provenance.rst",
            category="9 Methods and provenance",
            labels={"result": "Provenance", "form": "text"},
        ),
    log:
        f"{RESULTS}/logs/write_provenance/all.log",
    benchmark:
        f"{RESULTS}/benchmarks/write_provenance/all.tsv"
    conda:
        "../envs/environment.yaml"
    threads: 1
    resources:
        mem_mb=growing(500),
        runtime=10,
    params:
        collected=lambda wildcards, input: as_argument(list(input.collected)),
        models=lambda wildcards, input: as_argument(dict(zip(FIRST_RUN, input.models, strict=True))),
        configuration=as_argument(resolved_configuration()),
        script=path_of("write_provenance"),
        code=code_of("write_provenance"),
    shell:
        "python {params.script} --collected {params.collected:q} --models {params.models:q} "
        "--configuration {params.configuration:q} --output {output.provenance:q} --page {output.page:q} --log {log:q}"


rule write_methods_text:
    input:
        provenance=f"{RESULTS}/provenance/provenance.json",
        references=REFERENCES,
    output:
        markdown=f"{RESULTS}/methods/methods.md",
        latex=f"{RESULTS}/methods/methods.tex",
        page=report(
            f"{RESULTS}/methods/methods.html",
            caption="report/methods.rst",
            category="9 Methods and provenance",
            labels={"result": "Methods", "form": "text"},
        ),
        references=f"{RESULTS}/methods/references.bib",
    log:
        f"{RESULTS}/logs/write_methods_text/all.log",
    benchmark:
        f"{RESULTS}/benchmarks/write_methods_text/all.tsv"
    conda:
        "../envs/environment.yaml"
    threads: 1
    resources:
        mem_mb=growing(500),
        runtime=10,
    params:
        folder=lambda wildcards, output: str(Path(output.page).parent),
        script=path_of("write_methods_text"),
        code=code_of("write_methods_text"),
    shell:
        "python {params.script} --provenance {input.provenance:q} --references {input.references:q} "
        "--output {params.folder:q} --log {log:q}"


# What the report's first page shows: report/workflow.rst takes it in.
rule write_headline:
    input:
        runs=f"{RESULTS}/tables/runs.csv",
        methods=f"{RESULTS}/tables/methods.csv",
        controls=f"{RESULTS}/tables/controls.csv" if CONFIGURATION.options["evaluate"]["controls"] else [],
    output:
        headline=f"{RESULTS}/methods/headline.html",
    log:
        f"{RESULTS}/logs/write_headline/all.log",
    benchmark:
        f"{RESULTS}/benchmarks/write_headline/all.tsv"
    conda:
        "../envs/environment.yaml"
    threads: 1
    resources:
        mem_mb=growing(500),
        runtime=10,
    params:
        controls=option_of("controls"),
        script=path_of("write_headline"),
        code=code_of("write_headline"),
    shell:
        "python {params.script} --runs {input.runs:q} --methods {input.methods:q} {params.controls} "
        "--output {output.headline:q} --log {log:q}"
