# Methods against each other: scenarios and the configured baselines, on the same cases and over datasets; files for other
# tools. In two levels, for the reason that aggregate.smk gives.


rule compare_methods:
    input:
        predictions=run_files("predictions.csv"),
        metrics=run_files("metrics.json"),
        records=run_files("run_record.json"),
        baseline_predictions=compared_files("predictions.csv"),
        baseline_metrics=compared_files("metrics.json"),
        baseline_records=compared_files("record.json"),
    output:
        methods=f"{RESULTS}/tables/by_dataset/{{model}}/{{dataset}}/{{protocol}}/methods.csv",
        comparisons=f"{RESULTS}/tables/by_dataset/{{model}}/{{dataset}}/{{protocol}}/comparisons.csv",
    log:
        f"{RESULTS}/logs/compare_methods/{{model}}/{{dataset}}/{{protocol}}.log",
    benchmark:
        f"{RESULTS}/benchmarks/compare_methods/{{model}}/{{dataset}}/{{protocol}}.tsv"
    conda:
        "../envs/environment.yaml"
    threads: 1
    resources:
        mem_mb=growing(1000),
        runtime=20,
    params:
        results=lambda wildcards, output: str(Path(output.methods).parents[5]),
        runs=lambda wildcards: as_argument([f"{run.scenario}/seed-{run.seed}" for run in runs_of(wildcards)]),
        baselines=lambda wildcards: as_argument([vars(key) for key in compared_baselines(wildcards)]),
        script=path_of("compare_methods"),
        code=code_of("compare_methods"),
    shell:
        "python {params.script} --results {params.results:q} --model {wildcards.model:q} "
        "--dataset {wildcards.dataset:q} --protocol {wildcards.protocol:q} --runs {params.runs:q} "
        "--baselines {params.baselines:q} --methods {output.methods:q} --comparisons {output.comparisons:q} "
        "--log {log:q}"


rule write_comparisons:
    input:
        methods=collected("methods.csv"),
        comparisons=collected("comparisons.csv"),
    output:
        methods=f"{RESULTS}/tables/methods.csv",
        comparisons=f"{RESULTS}/tables/comparisons.csv",
        rankings=f"{RESULTS}/tables/rankings.csv",
        markdown=f"{RESULTS}/tables/comparisons.md",
        page=report(
            f"{RESULTS}/tables/comparisons.html",
            caption="report/comparisons.rst",
            category="1 Results",
            labels={"result": "Paired comparisons", "form": "sortable table"},
        ),
    log:
        f"{RESULTS}/logs/write_comparisons/all.log",
    benchmark:
        f"{RESULTS}/benchmarks/write_comparisons/all.tsv"
    conda:
        "../envs/environment.yaml"
    threads: 1
    resources:
        mem_mb=growing(500),
        runtime=10,
    params:
        methods=lambda wildcards, input: as_argument(list(input.methods)),
        comparisons=lambda wildcards, input: as_argument(list(input.comparisons)),
        folder=lambda wildcards, output: str(Path(output.methods).parent),
        script=path_of("write_comparisons"),
        code=code_of("write_comparisons"),
    shell:
        "python {params.script} --methods {params.methods:q} --comparisons {params.comparisons:q} "
        "--output {params.folder:q} --log {log:q}"


rule draw_rankings:
    input:
        methods=f"{RESULTS}/tables/methods.csv",
    output:
        ranks=report(
            f"{RESULTS}/figures/critical_difference.png",
            caption="report/critical_difference.rst",
            category="1 Results",
            labels={"result": "Ranks over datasets", "form": "figure"},
        ),
        ranks_print=f"{RESULTS}/figures/critical_difference.pdf",
        matrix=report(
            f"{RESULTS}/figures/multi_comparison_matrix.png",
            caption="report/multi_comparison_matrix.rst",
            category="1 Results",
            labels={"result": "All pairs over datasets", "form": "figure"},
        ),
        matrix_print=f"{RESULTS}/figures/multi_comparison_matrix.pdf",
    log:
        f"{RESULTS}/logs/draw_rankings/all.log",
    benchmark:
        f"{RESULTS}/benchmarks/draw_rankings/all.tsv"
    conda:
        "../envs/environment.yaml"
    threads: 1
    resources:
        mem_mb=growing(2000),
        runtime=20,
    params:
        folder=lambda wildcards, output: str(Path(output.ranks).parent),
        script=path_of("draw_rankings"),
        code=code_of("draw_rankings"),
    shell:
        "python {params.script} --methods {input.methods:q} --output {params.folder:q} --log {log:q}"


rule comparisons:
    input:
        rules.write_comparisons.output,
        ranking_figures(),


# Predictions in the format of tsml-eval, accuracies in that of aeon: `snakemake --cores all export`.
rule export_results:
    input:
        runs=[path for name in (*EXPORTED, "run_record.json") for path in of_runs(name)],
        baselines=[
            f"{PATHS.baseline(key)}/{name}" for key in COMPARED_KEYS for name in (*EXPORTED, "record.json")
        ],
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
        results=lambda wildcards: RESULTS,
        matrix=matrix_of_runs(),
        baselines=as_argument(CONFIGURATION.baselines),
        script=path_of("export_results"),
        code=code_of("export_results"),
    shell:
        "python {params.script} --results {params.results:q} {params.matrix} "
        "--baselines {params.baselines:q} --output {output.folder:q} --log {log:q}"


rule export:
    input:
        rules.export_results.output,
