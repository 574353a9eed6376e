# Series in words, for scenarios that show them or train them. No label is read but for the kinds `leaked_...`.
# request_descriptions touches the network.


rule describe_series:
    input:
        series=f"{RESULTS}/datasets/{{dataset}}/series.npz",
    output:
        descriptions=f"{RESULTS}/descriptions/{{dataset}}/template/{{kind}}.json",
    log:
        f"{RESULTS}/logs/describe_series/{{dataset}}/{{kind}}.log",
    benchmark:
        f"{RESULTS}/benchmarks/describe_series/{{dataset}}/{{kind}}.tsv"
    wildcard_constraints:
        kind="signal_analysis|rationale|leaked_rationale(_merged_labels)?",
    priority: BEFORE_TRAINING
    conda:
        "../envs/environment.yaml"
    threads: 1
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
        series=f"{RESULTS}/datasets/{{dataset}}/series.npz",
    output:
        descriptions=f"{RESULTS}/descriptions/{{dataset}}/endpoint/{{kind}}.json",
    log:
        f"{RESULTS}/logs/request_descriptions/{{dataset}}/{{kind}}.log",
    benchmark:
        f"{RESULTS}/benchmarks/request_descriptions/{{dataset}}/{{kind}}.tsv"
    wildcard_constraints:
        kind="signal_analysis|rationale|leaked_rationale(_merged_labels)?",
    priority: BEFORE_TRAINING
    # Compute nodes often have no internet. The address and the key stay in the environment.
    localrule: True
    conda:
        "../envs/environment.yaml"
    threads: 1
    # What no text depends on stands here and not under params: raising the cap asks for nothing again.
    resources:
        **CONFIGURATION.request_limits(),
        mem_mb=1000,
        runtime=1440,
    params:
        settings=as_argument(CONFIGURATION.endpoint_settings()),
        script=path_of("request_descriptions"),
        code=code_of("request_descriptions"),
    shell:
        "python {params.script} --series {input.series:q} --dataset {wildcards.dataset:q} "
        "--kind {wildcards.kind:q} --settings {params.settings:q} --cache {resources.cache:q} "
        "--limits.max_requests {resources.max_requests} "
        "--limits.requests_per_minute {resources.requests_per_minute} "
        "--limits.timeout_s {resources.timeout_s} --limits.attempts {resources.attempts} "
        "--descriptions {output.descriptions:q} --log {log:q}"
