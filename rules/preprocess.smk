# From a dataset as its source gives it to clean series, and to train, validation and test cases.


rule preprocess_dataset:
    input:
        archive=f"{RESULTS}/datasets/{{dataset}}/archive.npz",
    output:
        series=f"{RESULTS}/datasets/{{dataset}}/series.npz",
        facts=f"{RESULTS}/datasets/{{dataset}}/facts.json",
    log:
        f"{RESULTS}/logs/preprocess_dataset/{{dataset}}.log",
    benchmark:
        f"{RESULTS}/benchmarks/preprocess_dataset/{{dataset}}.tsv"
    priority: BEFORE_TRAINING
    conda:
        "../envs/environment.yaml"
    threads: 1
    resources:
        mem_mb=growing(2000),
        runtime=10,
    params:
        settings=as_argument(CONFIGURATION.preprocess),
        script=path_of("preprocess_dataset"),
        code=code_of("preprocess_dataset"),
    shell:
        "python {params.script} --archive {input.archive:q} --dataset {wildcards.dataset:q} "
        "--settings {params.settings:q} --series {output.series:q} --facts {output.facts:q} --log {log:q}"


rule split_dataset:
    input:
        series=f"{RESULTS}/datasets/{{dataset}}/series.npz",
    output:
        split=f"{RESULTS}/datasets/{{dataset}}/{{protocol}}/split.npz",
        facts=f"{RESULTS}/datasets/{{dataset}}/{{protocol}}/facts.json",
    log:
        f"{RESULTS}/logs/split_dataset/{{dataset}}/{{protocol}}.log",
    benchmark:
        f"{RESULTS}/benchmarks/split_dataset/{{dataset}}/{{protocol}}.tsv"
    priority: BEFORE_TRAINING
    conda:
        "../envs/environment.yaml"
    threads: 1
    resources:
        mem_mb=growing(1000),
        runtime=10,
    params:
        settings=lambda wildcards: as_argument(CONFIGURATION.split_settings(wildcards.protocol)),
        script=path_of("split_dataset"),
        code=code_of("split_dataset"),
    shell:
        "python {params.script} --series {input.series:q} --settings {params.settings:q} "
        "--split {output.split:q} --facts {output.facts:q} --log {log:q}"
