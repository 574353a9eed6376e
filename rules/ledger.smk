# What each scenario costs and keeps, known before anything is trained: `snakemake --cores all ledger`.
# In two levels, for the reason that aggregate.smk gives.


rule collect_ledger:
    input:
        budgets=budgets_of_scenarios,
        plots=plots_of_scenarios,
    output:
        ledger=f"{RESULTS}/tables/by_dataset/{{model}}/{{dataset}}/{{protocol}}/ledger.csv",
    log:
        f"{RESULTS}/logs/collect_ledger/{{model}}/{{dataset}}/{{protocol}}.log",
    benchmark:
        f"{RESULTS}/benchmarks/collect_ledger/{{model}}/{{dataset}}/{{protocol}}.tsv"
    priority: BEFORE_TRAINING
    conda:
        "../envs/environment.yaml"
    threads: 1
    resources:
        mem_mb=growing(500),
        runtime=10,
    params:
        root=f"{RESULTS}/conversations",
        scenarios=lambda wildcards: as_argument(list(scenarios_of(wildcards))),
        plots=lambda wildcards: as_argument(plots_by_scenario(wildcards)),
        script=path_of("collect_ledger"),
        code=code_of("collect_ledger"),
    shell:
        "python {params.script} --conversations {params.root:q} --model {wildcards.model:q} "
        "--dataset {wildcards.dataset:q} --protocol {wildcards.protocol:q} --scenarios {params.scenarios:q} --plots {params.plots:q} "
        "--output {output.ledger:q} --log {log:q}"


rule write_ledger:
    input:
        collected=collected("ledger.csv"),
    output:
        ledger=f"{RESULTS}/tables/ledger.csv",
        markdown=f"{RESULTS}/tables/ledger.md",
        page=report(
            f"{RESULTS}/tables/ledger.html",
            caption="report/ledger.rst",
            category="3 Costs",
            labels={"result": "Token-budget ledger", "form": "sortable table"},
        ),
    log:
        f"{RESULTS}/logs/write_ledger/all.log",
    benchmark:
        f"{RESULTS}/benchmarks/write_ledger/all.tsv"
    priority: BEFORE_TRAINING
    conda:
        "../envs/environment.yaml"
    threads: 1
    resources:
        mem_mb=growing(500),
        runtime=10,
    params:
        collected=lambda wildcards, input: as_argument(list(input.collected)),
        folder=lambda wildcards, output: str(Path(output.ledger).parent),
        script=path_of("write_ledger"),
        code=code_of("write_ledger"),
    shell:
        "python {params.script} --collected {params.collected:q} --output {params.folder:q} --log {log:q}"


rule ledger:
    input:
        rules.write_ledger.output,
