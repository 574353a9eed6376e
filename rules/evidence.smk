# What the runs are evidence of: `snakemake --cores all evidence`. Simple methods and controls that are there count, whether
# or not they are asked for; those that the configuration names are made first.


rule write_evidence:
    input:
        runs=collected("runs.csv"),
        controls=collected("controls.csv") if CONFIGURATION.evaluate.controls else [],
        baselines=[f"{PATHS.baseline(key)}/{name}" for key in COMPARED_KEYS for name in BASELINE_FILES],
    output:
        table=f"{RESULTS}/tables/evidence.csv",
        inputs=f"{RESULTS}/tables/evidence_inputs.csv",
        markdown=f"{RESULTS}/tables/evidence.md",
        page=report(
            f"{RESULTS}/tables/evidence.html",
            caption="report/evidence.rst",
            category="1 Results",
            labels={"result": "Evidence: VLM and simple methods", "form": "sortable table"},
        ),
        inputs_page=report(
            f"{RESULTS}/tables/evidence_inputs.html",
            caption="report/evidence_inputs.rst",
            category="1 Results",
            labels={"result": "Evidence: inputs that are used", "form": "sortable table"},
        ),
    log:
        f"{RESULTS}/logs/write_evidence/all.log",
    benchmark:
        f"{RESULTS}/benchmarks/write_evidence/all.tsv"
    conda:
        "../envs/environment.yaml"
    threads: 1
    resources:
        mem_mb=growing(1000),
        runtime=30,
    params:
        results=lambda wildcards, output: str(Path(output.table).parents[1]),
        matrix=matrix_options(),
        seeds=as_argument(list(CONFIGURATION.seeds)),
        content=lambda wildcards: content_beside_runs(),
        folder=lambda wildcards, output: str(Path(output.table).parent),
        script=path_of("write_evidence"),
        code=code_of("write_evidence"),
    shell:
        "python {params.script} --results {params.results:q} {params.matrix} --seeds {params.seeds:q} "
        "--output {params.folder:q} --log {log:q}"


rule evidence:
    input:
        rules.write_evidence.output,
