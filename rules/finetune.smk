# LoRA fine-tuning: the expensive step.


rule finetune_model:
    input:
        model=checkpoint_of_model(),
        train=f"{CONVERSATIONS}/train.json",
        validation=f"{CONVERSATIONS}/validation.json",
        representation=f"{CONVERSATIONS}/representation.json",
        plots=plots_of_scenario,
        features=features_of_scenario,
    output:
        adapter=directory(f"{RUN_FOLDER}/adapter"),
        parameters=f"{RUN_FOLDER}/parameters.json",
        training_log=f"{RUN_FOLDER}/training_log.csv",
        run_record=f"{RUN_FOLDER}/run_record.json",
    log:
        PATHS.log("finetune_model", str(RUN)),
    benchmark:
        PATHS.benchmark("finetune_model", str(RUN))
    wildcard_constraints:
        model=one_of(*CONFIGURATION.models),
    priority: longest_first
    conda:
        "../envs/environment.yaml"
    threads: model_resource("threads")
    resources:
        mem_mb=model_resource("mem_mb"),
        runtime=model_resource("runtime"),
        gpu=model_resource("gpu"),
        nodes=model_resource("nodes"),
        tasks_per_gpu=model_resource("tasks_per_gpu"),
        # Memory limits and trackers do not change the result: as resources, whose changes rerun nothing.
        evaluation_batch_size=model_resource("evaluation_batch_size"),
        vision_cache_mb=model_resource("vision_cache_mb"),
        activation_checkpointing=model_resource("activation_checkpointing"),
        trackers=as_argument(CONFIGURATION.tracking),
    params:
        run=run_argument,
        settings=settings_of_run,
        plots=lambda wildcards, input: option("job.plots", input.plots),
        features=lambda wildcards, input: option("job.features", input.features),
        checkpoints=PATHS.checkpoints(RUN),
        shared=PATHS.shared_runs,
        tracking=PATHS.tracking,
        launch=launch_option,
        script=path_of("finetune_model"),
        code=code_of("finetune_model"),
    shell:
        "python {params.script} --job.run {params.run:q} --job.model {input.model:q} --job.train {input.train:q} "
        "--job.validation {input.validation:q} --job.representation {input.representation:q} {params.plots} "
        "{params.features} --job.settings {params.settings:q} --job.checkpoints {params.checkpoints:q} --job.threads {threads} "
        "--job.adapter {output.adapter:q} --job.training_log {output.training_log:q} "
        "--job.memory.evaluation_batch_size {resources.evaluation_batch_size} "
        "--job.memory.vision_cache_mb {resources.vision_cache_mb} "
        "--job.memory.activation_checkpointing {resources.activation_checkpointing} "
        "--job.tracking.trackers {resources.trackers:q} --job.tracking.folder {params.tracking:q} "
        "--parameters {output.parameters:q} --run_record {output.run_record:q} --shared {params.shared:q} "
        "--gpus {resources.gpu} {params.launch} --log {log:q}"
