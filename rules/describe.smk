# Descriptions of series, for scenarios that show or train them. request_descriptions uses the network.

KIND = "signal_analysis|rationale|leaked_rationale(_merged_labels)?"


rule describe_series:
    input:
        series=f"{DATASET}/series.npz",
    output:
        descriptions=PATHS.descriptions(RUN, "template/{kind}"),
    log:
        PATHS.log("describe_series", "{dataset}/{kind}"),
    benchmark:
        PATHS.benchmark("describe_series", "{dataset}/{kind}")
    wildcard_constraints:
        kind=KIND,
    priority: BEFORE_TRAINING
    conda:
        "../envs/environment.yaml"
    resources:
        mem_mb=growing(1000),
        runtime=30,
    params:
        script=path_of("describe_series"),
        code=code_of("describe_series"),
    shell:
        "python {params.script} --series {input.series:q} --dataset {wildcards.dataset:q} "
        "--kind {wildcards.kind:q} --descriptions {output.descriptions:q} --log {log:q}"


rule request_descriptions:
    input:
        series=f"{DATASET}/series.npz",
    output:
        descriptions=PATHS.descriptions(RUN, "endpoint/{kind}"),
    log:
        PATHS.log("request_descriptions", "{dataset}/{kind}"),
    benchmark:
        PATHS.benchmark("request_descriptions", "{dataset}/{kind}")
    wildcard_constraints:
        kind=KIND,
    priority: BEFORE_TRAINING
    # Compute nodes often have no internet. Address and key are read from the environment.
    localrule: True
    conda:
        "../envs/environment.yaml"
    # No text depends on the limits: as resources, whose changes rerun nothing.
    resources:
        **CONFIGURATION.request_limits(),
        mem_mb=1000,
        runtime=1440,
    params:
        settings=as_argument(CONFIGURATION.endpoint_settings()),
        script=path_of("describe_series"),
        code=code_of("describe_series"),
    shell:
        "python {params.script} --series {input.series:q} --dataset {wildcards.dataset:q} "
        "--kind {wildcards.kind:q} --settings {params.settings:q} --cache {resources.cache:q} "
        "--limits.max_requests {resources.max_requests} "
        "--limits.requests_per_minute {resources.requests_per_minute} "
        "--limits.timeout_s {resources.timeout_s} --limits.attempts {resources.attempts} "
        "--descriptions {output.descriptions:q} --log {log:q}"
