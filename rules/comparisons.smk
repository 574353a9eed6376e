# Figures of ranks over datasets; files for other tools.


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
        options=f"{RESULTS_OPTION} {matrix_of_runs()}",
        baselines=as_argument(CONFIGURATION.baselines),
        script=path_of("export_results"),
        code=code_of("export_results"),
    shell:
        "python {params.script} {params.options} "
        "--baselines {params.baselines:q} --output {output.folder:q} --log {log:q}"


rule export:
    input:
        rules.export_results.output,
