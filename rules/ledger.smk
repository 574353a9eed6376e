# The token usage table, known before training: `snakemake --cores all ledger`.


rule write_ledger:
    input:
        budgets=sorted({f"{PATHS.conversations(run)}/budget.json" for run in RUNS}),
        plots=sorted({folder for run in RUNS if (folder := plots_of_scenario(run))}),
    output:
        ledger=PATHS.table("ledger.csv"),
        markdown=PATHS.table("ledger.md"),
        page=table_page("ledger", "Token usage", "3 Costs"),
    log:
        PATHS.log("write_ledger", "all"),
    benchmark:
        PATHS.benchmark("write_ledger", "all")
    priority: BEFORE_TRAINING
    conda:
        "../envs/environment.yaml"
    resources:
        mem_mb=growing(500),
        runtime=20,
    params:
        options=write_ledger_options(),
        folder=lambda wildcards, output: str(Path(output.ledger).parent),
        script=path_of("write_ledger"),
        code=code_of("write_ledger"),
    shell:
        "python {params.script} {params.options} --output {params.folder:q} --log {log:q}"


rule ledger:
    input:
        rules.write_ledger.output,
