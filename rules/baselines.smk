# Simple methods on the same split: `snakemake --cores all baselines`. Part of `all` where the key `baselines` names some.


rule fit_baseline:
    input:
        series=f"{RESULTS}/datasets/{{dataset}}/series.npz",
        split=f"{RESULTS}/datasets/{{dataset}}/{{protocol}}/split.npz",
    output:
        predictions=f"{RESULTS}/baselines/{{dataset}}/{{protocol}}/{{baseline}}/predictions.csv",
        metrics=f"{RESULTS}/baselines/{{dataset}}/{{protocol}}/{{baseline}}/metrics.json",
        record=f"{RESULTS}/baselines/{{dataset}}/{{protocol}}/{{baseline}}/record.json",
    log:
        f"{RESULTS}/logs/fit_baseline/{{dataset}}/{{protocol}}/{{baseline}}.log",
    benchmark:
        f"{RESULTS}/benchmarks/fit_baseline/{{dataset}}/{{protocol}}/{{baseline}}.tsv"
    wildcard_constraints:
        baseline=one_of(*SERIES_BASELINES),
    conda:
        "../envs/environment.yaml"
    # One, since batches are small: a second thread makes training much slower where cores are shared.
    threads: 1
    resources:
        mem_mb=growing(6000),
        runtime=120,
    params:
        key=lambda wildcards: as_argument(
            {name: wildcards[name] for name in ("baseline", "dataset", "protocol")}
        ),
        script=path_of("fit_baseline"),
        code=code_of("fit_baseline"),
    shell:
        "python {params.script} --key {params.key:q} --series {input.series:q} --split {input.split:q} "
        "--predictions {output.predictions:q} --metrics {output.metrics:q} --record {output.record:q} "
        "--threads {threads} --log {log:q}"


rule fit_probe:
    input:
        unpack(probed_input),
        model=checkpoint_of_model(),
        series=f"{RESULTS}/datasets/{{dataset}}/series.npz",
        split=f"{RESULTS}/datasets/{{dataset}}/{{protocol}}/split.npz",
    output:
        predictions=f"{RESULTS}/probes/{{model}}/{{dataset}}/{{protocol}}/{{baseline}}/predictions.csv",
        metrics=f"{RESULTS}/probes/{{model}}/{{dataset}}/{{protocol}}/{{baseline}}/metrics.json",
        record=f"{RESULTS}/probes/{{model}}/{{dataset}}/{{protocol}}/{{baseline}}/record.json",
    log:
        f"{RESULTS}/logs/fit_probe/{{model}}/{{dataset}}/{{protocol}}/{{baseline}}.log",
    benchmark:
        f"{RESULTS}/benchmarks/fit_probe/{{model}}/{{dataset}}/{{protocol}}/{{baseline}}.tsv"
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
        key=lambda wildcards: as_argument(
            {name: wildcards[name] for name in ("baseline", "dataset", "protocol", "model")}
        ),
        probed=probed_options,
        precision=lambda wildcards: CONFIGURATION.recipe(wildcards.model).precision,
        script=path_of("fit_probe"),
        code=code_of("fit_probe"),
    shell:
        "python {params.script} --key {params.key:q} --model {input.model:q} --series {input.series:q} "
        "--split {input.split:q} {params.probed} --precision {params.precision} "
        "--predictions {output.predictions:q} --metrics {output.metrics:q} --record {output.record:q} "
        "--threads {threads} --gpus {resources.gpu} --log {log:q}"


rule write_baselines_table:
    input:
        results=[f"{PATHS.baseline(key)}/{name}" for key in BASELINE_KEYS for name in BASELINE_FILES[1:]],
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
        options=f"{RESULTS_OPTION} {matrix_of_runs()}",
        baselines=as_argument(CONFIGURATION.asked_baselines()),
        # Finished runs are shown, but baselines need no training.
        content=lambda wildcards: content_of_runs(),
        folder=lambda wildcards, output: str(Path(output.table).parent),
        script=path_of("write_baselines_table"),
        code=code_of("write_baselines_table"),
    shell:
        "python {params.script} {params.options} --baselines {params.baselines:q} "
        "--published {input.published:q} --output {params.folder:q} --log {log:q}"


rule baselines:
    input:
        rules.write_baselines_table.output,
