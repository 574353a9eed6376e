# Evaluation of each fine-tuned model: the test set, scored once; the validation set, for a temperature of the scores; controls,
# in which one input of the test set is perturbed.


rule evaluate_model:
    input:
        model=checkpoint_of_model(),
        adapter=f"{RUN_FOLDER}/adapter",
        parameters=f"{RUN_FOLDER}/parameters.json",
        test=f"{CONVERSATIONS}/test.json",
        validation=(f"{CONVERSATIONS}/validation.json" if CONFIGURATION.evaluate.temperature else []),
        plots=plots_of_scenario,
        features=features_of_scenario,
    output:
        predictions=f"{RUN_FOLDER}/predictions.csv",
        metrics=f"{RUN_FOLDER}/metrics.json",
    log:
        PATHS.log("evaluate_model", str(RUN)),
    benchmark:
        PATHS.benchmark("evaluate_model", str(RUN))
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
        features=option_of("features"),
        validation=option_of("validation"),
        generate=as_argument(CONFIGURATION.evaluate.generate),
        script=path_of("evaluate_model"),
        code=code_of("evaluate_model"),
    shell:
        "python {params.script} --model {input.model:q} --adapter {input.adapter:q} "
        "--parameters {input.parameters:q} --test {input.test:q} {params.plots} {params.features} "
        "{params.validation} --generate {params.generate} "
        "--predictions {output.predictions:q} --metrics {output.metrics:q} --threads {threads} --gpus {resources.gpu} "
        "--batch_size {resources.evaluation_batch_size} --log {log:q}"


rule evaluate_controls:
    input:
        model=checkpoint_of_model(),
        adapter=f"{RUN_FOLDER}/adapter",
        parameters=f"{RUN_FOLDER}/parameters.json",
        test=f"{CONVERSATIONS}/test.json",
        predictions=f"{RUN_FOLDER}/predictions.csv",
        plots=plots_of_scenario,
        features=features_of_scenario,
    output:
        controls=f"{RUN_FOLDER}/controls.csv",
    log:
        PATHS.log("evaluate_controls", str(RUN)),
    benchmark:
        PATHS.benchmark("evaluate_controls", str(RUN))
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
        features=option_of("features"),
        script=path_of("evaluate_controls"),
        code=code_of("evaluate_controls"),
    shell:
        "python {params.script} --model {input.model:q} --adapter {input.adapter:q} "
        "--parameters {input.parameters:q} --test {input.test:q} --predictions {input.predictions:q} {params.plots} {params.features} "
        "--controls {output.controls:q} --threads {threads} --gpus {resources.gpu} "
        "--batch_size {resources.evaluation_batch_size} --log {log:q}"
