# LoRA fine-tuning: the expensive step.
RUN_FOLDER = PATHS.run(RUN)


rule finetune_model:
    input:
        model=checkpoint_of_model(),
        train=f"{PATHS.conversations(RUN)}/train.json",
        validation=f"{PATHS.conversations(RUN)}/validation.json",
        representation=f"{PATHS.conversations(RUN)}/representation.json",
        plots=plots_of_scenario,
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
    conda:
        "../envs/environment.yaml"
    threads: model_resource("threads")
    resources:
        mem_mb=model_resource("mem_mb"),
        runtime=model_resource("runtime"),
        gpu=model_resource("gpu"),
        nodes=model_resource("nodes"),
        tasks_per_gpu=model_resource("tasks_per_gpu"),
        # Limits of memory and trackers do not change the result: as resources, whose changes rerun nothing.
        evaluation_batch_size=model_resource("evaluation_batch_size"),
        vision_cache_mb=model_resource("vision_cache_mb"),
        activation_checkpointing=model_resource("activation_checkpointing"),
        trackers=as_argument(CONFIGURATION.tracking),
    params:
        run=run_argument,
        settings=settings_of_run,
        plots=option_of("plots"),
        checkpoints=PATHS.checkpoints(RUN),
        shared=PATHS.shared_runs,
        tracking=PATHS.tracking,
        launch=launch_option,
        script=path_of("finetune_model"),
        code=code_of("finetune_model"),
    shell:
        "python {params.script} --run {params.run:q} --model {input.model:q} --train {input.train:q} "
        "--validation {input.validation:q} --representation {input.representation:q} {params.plots} "
        "--settings {params.settings:q} --checkpoints {params.checkpoints:q} --adapter {output.adapter:q} "
        "--parameters {output.parameters:q} --training_log {output.training_log:q} "
        "--run_record {output.run_record:q} --shared {params.shared:q} --threads {threads} --gpus {resources.gpu} "
        "--memory.evaluation_batch_size {resources.evaluation_batch_size} "
        "--memory.vision_cache_mb {resources.vision_cache_mb} "
        "--memory.activation_checkpointing {resources.activation_checkpointing} "
        "--trackers {resources.trackers:q} --tracking {params.tracking:q} {params.launch} --log {log:q}"
