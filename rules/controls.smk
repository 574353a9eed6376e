# What is left of a model's accuracy when one of its inputs is spoilt: `snakemake --cores all controls`, and part of
# `all` unless evaluate.controls is false. In two levels, for the reason that aggregate.smk gives.


rule evaluate_controls:
    input:
        model=checkpoint_of_model(),
        adapter=f"{RUN_FOLDER}/adapter",
        parameters=f"{RUN_FOLDER}/parameters.json",
        test=f"{CONVERSATIONS}/test.json",
        predictions=f"{RUN_FOLDER}/predictions.csv",
        plots=plots_of_scenario,
    output:
        controls=f"{RUN_FOLDER}/controls.csv",
    log:
        f"{RESULTS}/logs/evaluate_controls/{{model}}/{{dataset}}/{{protocol}}/{{scenario}}/seed-{{seed}}.log",
    benchmark:
        f"{RESULTS}/benchmarks/evaluate_controls/{{model}}/{{dataset}}/{{protocol}}/{{scenario}}/seed-{{seed}}.tsv"
    wildcard_constraints:
        model=one_of(*CONFIGURATION.models),
    conda:
        "../envs/environment.yaml"
    threads: model_resource("threads")
    resources:
        mem_mb=model_resource("mem_mb"),
        runtime=model_resource("runtime"),
        gpu=model_resource("gpu", CONFIGURATION.evaluation_resources),
        evaluation_batch_size=model_resource("evaluation_batch_size"),
    params:
        plots=option_of("plots"),
        script=path_of("evaluate_controls"),
        code=code_of("evaluate_controls"),
    shell:
        "python {params.script} --model {input.model:q} --adapter {input.adapter:q} "
        "--parameters {input.parameters:q} --test {input.test:q} --predictions {input.predictions:q} {params.plots} "
        "--controls {output.controls:q} --threads {threads} --gpus {resources.gpu} "
        "--batch_size {resources.evaluation_batch_size} --log {log:q}"


rule report_controls:
    input:
        table=PATHS.table("controls.csv"),
    output:
        figure=report(
            f"{RESULTS}/figures/controls.png",
            caption="report/controls_figure.rst",
            category="1 Results",
            labels={"result": "Controls at test time", "form": "figure"},
        ),
        figure_print=f"{RESULTS}/figures/controls.pdf",
    log:
        f"{RESULTS}/logs/report_controls/all.log",
    benchmark:
        f"{RESULTS}/benchmarks/report_controls/all.tsv"
    conda:
        "../envs/environment.yaml"
    threads: 1
    resources:
        mem_mb=growing(1000),
        runtime=10,
    params:
        figures=lambda wildcards, output: str(Path(output.figure).parent),
        script=path_of("report_controls"),
        code=code_of("report_controls"),
    shell:
        "python {params.script} --table {input.table:q} --figures {params.figures:q} --log {log:q}"
