# Evaluation of each fine-tuned model: the test set, scored once; the validation set, for a temperature of the scores; controls,
# in which one input of the test set is perturbed; explanations of some cases by occlusion. One job, so that the model is loaded once.


rule evaluate_model:
    input:
        model=checkpoint_of_model(),
        adapter=f"{RUN_FOLDER}/adapter",
        parameters=f"{RUN_FOLDER}/parameters.json",
        test=f"{CONVERSATIONS}/test.json",
        validation=(f"{CONVERSATIONS}/validation.json" if CONFIGURATION.evaluate.temperature else []),
        plots=plots_of_scenario,
        features=features_of_scenario,
        series=f"{DATASET}/series.npz" if EXPLANATIONS_FILE else [],
        split=f"{SPLIT}/split.npz" if EXPLANATIONS_FILE else [],
    output:
        **{Path(name).stem: f"{RUN_FOLDER}/{name}" for name in CONTROLS_FILE + EXPLANATIONS_FILE},
        predictions=f"{RUN_FOLDER}/predictions.csv",
        metrics=f"{RUN_FOLDER}/metrics.json",
    log:
        PATHS.log("evaluate_model", str(RUN)),
    benchmark:
        PATHS.benchmark("evaluate_model", str(RUN))
    wildcard_constraints:
        model=one_of(*CONFIGURATION.models),
    priority: BEFORE_TRAINING
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
        features=option_of("features"),
        validation=option_of("validation"),
        controls=lambda wildcards, output: option("controls", output.get("controls")),
        series=option_of("series"),
        split=option_of("split"),
        explanations=lambda wildcards, output: option("explanations", output.get("explanations")),
        occlusion=as_argument(CONFIGURATION.evaluate.occlusion),
        generate=as_argument(CONFIGURATION.evaluate.generate),
        script=path_of("evaluate_model"),
        code=code_of("evaluate_model"),
    shell:
        "python {params.script} --model {input.model:q} --adapter {input.adapter:q} "
        "--parameters {input.parameters:q} --test {input.test:q} {params.plots} {params.features} "
        "{params.validation} --generate {params.generate} {params.controls} "
        "{params.explanations} --occlusion {params.occlusion:q} {params.series} {params.split} "
        "--predictions {output.predictions:q} --metrics {output.metrics:q} --threads {threads} --gpus {resources.gpu} "
        "--batch_size {resources.evaluation_batch_size} --log {log:q}"
