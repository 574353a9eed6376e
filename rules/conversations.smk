# Each case as a conversation within the model's context. Needs the settings of the plot, not the plots.


rule build_conversations:
    input:
        series=f"{DATASET}/series.npz",
        split=f"{SPLIT}/split.npz",
        model=checkpoint_of_model(),
        descriptions=descriptions_of_scenario("question"),
        rationales=descriptions_of_scenario("target"),
    output:
        train=f"{CONVERSATIONS}/train.json",
        validation=f"{CONVERSATIONS}/validation.json",
        test=f"{CONVERSATIONS}/test.json",
        representation=f"{CONVERSATIONS}/representation.json",
        budget=f"{CONVERSATIONS}/budget.json",
        dataset_info=f"{CONVERSATIONS}/dataset_info.json",
    log:
        PATHS.log("build_conversations", SCENARIO),
    benchmark:
        PATHS.benchmark("build_conversations", SCENARIO)
    priority: BEFORE_TRAINING
    conda:
        "../envs/environment.yaml"
    resources:
        mem_mb=growing(2000),
        runtime=60,
    params:
        scenario=scenario_argument,
        plot=plot_argument,
        system_prompt=lambda wildcards: CONFIGURATION.model_table[wildcards.model].system_prompt,
        chat=chat_options,
        descriptions=option_of("descriptions"),
        rationales=option_of("rationales"),
        folder=folder_of_output,
        script=path_of("build_conversations"),
        code=code_of("build_conversations"),
    # `--system_prompt=`, since an empty prompt is quoted as nothing at all.
    shell:
        "python {params.script} --series {input.series:q} --split {input.split:q} --model {input.model:q} "
        "--scenario {params.scenario:q} --plot {params.plot:q} --system_prompt={params.system_prompt:q} "
        "{params.chat} {params.descriptions} {params.rationales} --output {params.folder:q} --log {log:q}"
