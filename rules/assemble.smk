# Models put together from parts. Hub and folder models are complete as they come.


rule assemble_model:
    input:
        language_model=f"{RESULTS}/model_parts/{{model}}/language_model.gguf",
        vision_tower=f"{RESULTS}/model_parts/{{model}}/vision_tower.pth",
    output:
        checkpoint=directory(f"{RESULTS}/models/{{model}}"),
    log:
        f"{RESULTS}/logs/assemble_model/{{model}}.log",
    benchmark:
        f"{RESULTS}/benchmarks/assemble_model/{{model}}.tsv"
    wildcard_constraints:
        model=one_of(*CONFIGURATION.models_from("assemble")),
    priority: BEFORE_TRAINING
    conda:
        "../envs/environment.yaml"
    # With more the sums are rounded otherwise, and so is the model: assembly.py takes one in any case.
    threads: 1
    resources:
        mem_mb=growing(4000),
        runtime=30,
    params:
        settings=lambda wildcards: as_argument(CONFIGURATION.model_table[wildcards.model].source.assembly),
        script=path_of("assemble_model"),
        code=code_of("assemble_model"),
    shell:
        "python {params.script} --language_model {input.language_model:q} "
        "--vision_tower {input.vision_tower:q} --settings {params.settings:q} --output {output.checkpoint:q} "
        "--log {log:q}"
