# Clean series, and their train, validation and test sets.


rule preprocess_dataset:
    input:
        archive=f"{DATASET}/archive.npz",
    output:
        series=f"{DATASET}/series.npz",
        facts=f"{DATASET}/facts.json",
    log:
        PATHS.log("preprocess_dataset", "{dataset}"),
    benchmark:
        PATHS.benchmark("preprocess_dataset", "{dataset}")
    priority: BEFORE_TRAINING
    conda:
        "../envs/environment.yaml"
    resources:
        mem_mb=growing(2000),
        runtime=10,
    params:
        settings=as_argument(CONFIGURATION.preprocess),
        folder=folder_of_output,
        script=path_of("preprocess_dataset"),
        code=code_of("preprocess_dataset"),
    shell:
        "python {params.script} --archive {input.archive:q} --dataset {wildcards.dataset:q} "
        "--settings {params.settings:q} --output {params.folder:q} --log {log:q}"


rule split_dataset:
    input:
        series=f"{DATASET}/series.npz",
    output:
        split=f"{SPLIT}/split.npz",
        facts=f"{SPLIT}/facts.json",
    log:
        PATHS.log("split_dataset", "{dataset}/{protocol}"),
    benchmark:
        PATHS.benchmark("split_dataset", "{dataset}/{protocol}")
    priority: BEFORE_TRAINING
    conda:
        "../envs/environment.yaml"
    resources:
        mem_mb=growing(1000),
        runtime=10,
    params:
        settings=lambda wildcards: as_argument(
            CONFIGURATION.split_settings(wildcards.protocol, wildcards.dataset)
        ),
        folder=folder_of_output,
        script=path_of("split_dataset"),
        code=code_of("split_dataset"),
    shell:
        "python {params.script} --series {input.series:q} --settings {params.settings:q} "
        "--output {params.folder:q} --log {log:q}"
