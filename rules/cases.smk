# Figures of a dataset's classes and cases, and a page of the cases that models have wrong.


rule draw_cases:
    input:
        series=f"{PATHS.dataset(RUN)}/series.npz",
        split=f"{PATHS.split(RUN)}/split.npz",
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
        scenarios=case_argument,
        folder=lambda wildcards, output: str(Path(output.prototypes).parent),
        script=path_of("draw_cases"),
        code=code_of("draw_cases"),
    shell:
        "python {params.script} {params.options} --dataset {wildcards.dataset:q} --protocol {wildcards.protocol:q} "
        "--scenarios {params.scenarios:q} --output {params.folder:q} --log {log:q}"
