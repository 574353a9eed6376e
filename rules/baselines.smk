# Baselines on the same split: `snakemake --cores all baselines`. Part of `all` if the key `baselines` names some.


rule fit_baseline:
    input:
        series=f"{DATASET}/series.npz",
        split=f"{SPLIT}/split.npz",
    output:
        predictions=f"{PATHS.baseline(BASELINE)}/predictions.csv",
        metrics=f"{PATHS.baseline(BASELINE)}/metrics.json",
        record=f"{PATHS.baseline(BASELINE)}/record.json",
    log:
        PATHS.log("fit_baseline", "{dataset}/{protocol}/{baseline}"),
    benchmark:
        PATHS.benchmark("fit_baseline", "{dataset}/{protocol}/{baseline}")
    wildcard_constraints:
        baseline=one_of(*SERIES_BASELINES),
    conda:
        "../envs/environment.yaml"
    resources:
        mem_mb=growing(6000),
        runtime=120,
    params:
        key=lambda wildcards: as_argument({**wildcards}),
        folder=folder_of_output,
        script=path_of("fit_baseline"),
        code=code_of("fit_baseline"),
    shell:
        "python {params.script} --key {params.key:q} --series {input.series:q} --split {input.split:q} "
        "--output {params.folder:q} --log {log:q}"


rule fit_probe:
    input:
        model=checkpoint_of_model(),
        series=f"{DATASET}/series.npz",
        split=f"{SPLIT}/split.npz",
        probed=probed_input,
        features=probed_features,
    output:
        predictions=f"{PATHS.baseline(PROBE)}/predictions.csv",
        metrics=f"{PATHS.baseline(PROBE)}/metrics.json",
        record=f"{PATHS.baseline(PROBE)}/record.json",
    log:
        PATHS.log("fit_probe", "{model}/{dataset}/{protocol}/{baseline}"),
    benchmark:
        PATHS.benchmark("fit_probe", "{model}/{dataset}/{protocol}/{baseline}")
    wildcard_constraints:
        baseline=one_of(*PROBES),
        model=one_of(*CONFIGURATION.models),
    conda:
        "../envs/environment.yaml"
    threads: model_resource("threads")
    resources:
        mem_mb=model_resource("mem_mb"),
        runtime=model_resource("runtime"),
        gpu=model_resource("gpu"),
    params:
        key=lambda wildcards: as_argument({**wildcards}),
        folder=folder_of_output,
        probed=probed_folder,
        features=option_of("features"),
        precision=lambda wildcards: CONFIGURATION.recipe(wildcards.model).precision,
        script=path_of("fit_probe"),
        code=code_of("fit_probe"),
    shell:
        "python {params.script} --key {params.key:q} --model {input.model:q} --series {input.series:q} "
        "--split {input.split:q} --probed {params.probed:q} {params.features} --precision {params.precision} "
        "--output {params.folder:q} --threads {threads} --gpus {resources.gpu} --log {log:q}"


rule ask_hosted_model:
    input:
        series=f"{DATASET}/series.npz",
        split=f"{SPLIT}/split.npz",
        conversations=lambda wildcards: [
            f"{PATHS.conversations(asked_run(wildcards))}/{name}.json"
            for name in ("train", "test", "representation")
        ],
        plots=lambda wildcards: plots_of_scenario(asked_run(wildcards)),
    output:
        predictions=f"{PATHS.baseline(PROBE)}/predictions.csv",
        metrics=f"{PATHS.baseline(PROBE)}/metrics.json",
        record=f"{PATHS.baseline(PROBE)}/record.json",
    log:
        PATHS.log("ask_hosted_model", "{model}/{dataset}/{protocol}/{baseline}"),
    benchmark:
        PATHS.benchmark("ask_hosted_model", "{model}/{dataset}/{protocol}/{baseline}")
    wildcard_constraints:
        baseline=HOSTED,
        model=one_of(*CONFIGURATION.models),
    # As request_descriptions.
    localrule: True
    conda:
        "../envs/environment.yaml"
    resources:
        **CONFIGURATION.request_limits(),
        mem_mb=growing(2000),
        runtime=1440,
    params:
        key=lambda wildcards: as_argument({**wildcards, "scenario": CONFIGURATION.asked_scenario}),
        conversations=lambda wildcards: PATHS.conversations(asked_run(wildcards)),
        plots=option_of("plots"),
        settings=as_argument(CONFIGURATION.endpoint_settings()),
        shots=str(CONFIGURATION.describe.shots),
        folder=folder_of_output,
        script=path_of("ask_hosted_model"),
        code=code_of("ask_hosted_model"),
    shell:
        "python {params.script} --key {params.key:q} --series {input.series:q} --split {input.split:q} "
        "--conversations {params.conversations:q} {params.plots} --settings {params.settings:q} --shots {params.shots:q} "
        "--cache {resources.cache:q} --limits.max_requests {resources.max_requests} "
        "--limits.requests_per_minute {resources.requests_per_minute} "
        "--limits.timeout_s {resources.timeout_s} --limits.attempts {resources.attempts} "
        "--output {params.folder:q} --log {log:q}"


rule write_baselines_table:
    input:
        results=[f"{PATHS.baseline(key)}/{name}" for key in BASELINE_KEYS for name in BASELINE_FILES[:2]],
        published=PUBLISHED_OFFICIAL,
    output:
        table=PATHS.table("baselines.csv"),
        markdown=PATHS.table("baselines.md"),
        latex=PATHS.table("baselines.tex"),
        page=table_page("baselines", "Baselines"),
    log:
        PATHS.log("write_baselines_table", "all"),
    benchmark:
        PATHS.benchmark("write_baselines_table", "all")
    conda:
        "../envs/environment.yaml"
    resources:
        mem_mb=growing(500),
        runtime=10,
    params:
        options=f"{RESULTS_OPTION} {run_options()}",
        baselines=as_argument(CONFIGURATION.asked_baselines()),
        # Finished runs are shown, but baselines need no training.
        content=lambda wildcards: content_of_runs(),
        folder=folder_of_output,
        script=path_of("write_tables"),
        code=code_of("write_tables"),
    shell:
        "python {params.script} write_baselines_table {params.options} --baselines {params.baselines:q} "
        "--published {input.published:q} --output {params.folder:q} --log {log:q}"


rule baselines:
    input:
        rules.write_baselines_table.output,
