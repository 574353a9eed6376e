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
