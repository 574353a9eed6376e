# Token usage, known before training: `snakemake --cores all ledger`. Tables of finished runs, first of each model, dataset and
# protocol, then of all. Figures of all runs.


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
        folder=folder_of_output,
        script=path_of("write_ledger"),
        code=code_of("write_ledger"),
    shell:
        "python {params.script} {params.options} --output {params.folder:q} --log {log:q}"


rule ledger:
    input:
        rules.write_ledger.output,


rule summarise_dataset:
    input:
        runs=run_files(
            "metrics.json", "predictions.csv", "run_record.json", "training_log.csv", *CONTROLS_FILE
        ),
        baselines=baseline_files,
    output:
        **{name: f"{PATHS.summary(RUN)}/{name}.csv" for name in SUMMARY},
    log:
        PATHS.log("summarise_dataset", "{model}/{dataset}/{protocol}"),
    benchmark:
        PATHS.benchmark("summarise_dataset", "{model}/{dataset}/{protocol}")
    conda:
        "../envs/environment.yaml"
    resources:
        mem_mb=growing(1000),
        runtime=20,
    params:
        options=f"{RESULTS_OPTION} {run_options('scenarios', 'seeds')}",
        baselines=as_argument(CONFIGURATION.baselines),
        controls=as_argument(bool(CONTROLS_FILE)),
        script=path_of("summarise_dataset"),
        code=code_of("summarise_dataset"),
    shell:
        "python {params.script} {params.options} --model {wildcards.model:q} "
        "--dataset {wildcards.dataset:q} --baselines {params.baselines:q} --controls {params.controls} --log {log:q}"


rule write_tables:
    input:
        summaries(*SUMMARY),
    output:
        *(PATHS.table(name) for name in TABLE_FILES),
        runs_page=table_page("runs", "All runs"),
        accuracy_page=table_page("accuracy", "Accuracy, datasets by scenarios"),
        costs_page=table_page("costs", "Costs of runs", "3 Costs"),
        comparisons_page=table_page("comparisons", "Paired comparisons"),
        evidence_page=table_page("evidence", "Evidence: VLM and baselines"),
        inputs_page=table_page("evidence_inputs", "Evidence: inputs that are used"),
        controls_page=table_page("controls", "Controls at test time") if CONTROLS_FILE else [],
    log:
        PATHS.log("write_tables", "all"),
    benchmark:
        PATHS.benchmark("write_tables", "all")
    conda:
        "../envs/environment.yaml"
    resources:
        mem_mb=growing(1000),
        runtime=30,
    params:
        options=write_tables_options(),
        # Evidence includes existing results that are not selected.
        content=lambda wildcards: content_beside_runs(),
        folder=folder_of_output,
        script=path_of("write_tables"),
        code=code_of("write_tables"),
    shell:
        "python {params.script} write_tables {params.options} --output {params.folder:q} --log {log:q}"


rule comparisons:
    input:
        PATHS.table("comparisons.md"),
        [PATHS.figure(f"{name}.png") for name in RANKINGS],


rule evidence:
    input:
        PATHS.table("evidence.md"),


rule controls:
    input:
        lambda wildcards: controls_target(),


rule draw_figures:
    input:
        ledger=PATHS.table("ledger.csv"),
        summaries=summaries(*SUMMARY),
    output:
        **figure_files(),
    log:
        PATHS.log("draw_figures", "all"),
    benchmark:
        PATHS.benchmark("draw_figures", "all")
    conda:
        "../envs/environment.yaml"
    resources:
        mem_mb=growing(2000),
        runtime=30,
    params:
        options=f"{RESULTS_OPTION} {run_options('models', 'datasets')}",
        scenarios=as_argument({run.scenario: CONFIGURATION.scenario_table[run.scenario] for run in RUNS}),
        figures=as_argument(list(FIGURES)),
        folder=folder_of_output,
        script=path_of("draw_figures"),
        code=code_of("draw_figures"),
    shell:
        "python {params.script} {params.options} --scenarios {params.scenarios:q} "
        "--figures {params.figures:q} --output {params.folder:q} --log {log:q}"


# Figures of a dataset's classes and cases, and a page of the cases that models have wrong.


rule draw_cases:
    input:
        series=f"{DATASET}/series.npz",
        split=f"{SPLIT}/split.npz",
        runs=case_inputs,
    output:
        **case_files(),
    log:
        PATHS.log("draw_cases", "{dataset}/{protocol}"),
    benchmark:
        PATHS.benchmark("draw_cases", "{dataset}/{protocol}")
    conda:
        "../envs/environment.yaml"
    resources:
        mem_mb=growing(2000),
        runtime=20,
    params:
        options=RESULTS_OPTION,
        explanations=as_argument(bool(EXPLANATIONS_FILE)),
        scenarios=case_argument,
        folder=folder_of_output,
        script=path_of("draw_cases"),
        code=code_of("draw_cases"),
    shell:
        "python {params.script} {params.options} --dataset {wildcards.dataset:q} --protocol {wildcards.protocol:q} "
        "--scenarios {params.scenarios:q} --explanations {params.explanations} --output {params.folder:q} --log {log:q}"
