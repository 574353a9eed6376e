# A plot of each case, drawn once per dataset and plot, for every scenario that shows it: a PNG file each, or one archive of
# all (key `plots.store`). The store is a resource, which a profile can set (`set-resources: {render_plots: {plot_store:
# archive}}`), and whose change draws nothing again, since both are read.


rule render_plots:
    input:
        series=f"{DATASET}/series.npz",
    output:
        plots=directory(PATHS.plots(RUN, "{plot}")),
    log:
        PATHS.log("render_plots", "{dataset}/{plot}"),
    benchmark:
        PATHS.benchmark("render_plots", "{dataset}/{plot}")
    priority: BEFORE_TRAINING
    conda:
        "../envs/environment.yaml"
    resources:
        mem_mb=growing(2000),
        runtime=30,
        plot_store=CONFIGURATION.plots.store,
    params:
        drawn_as=lambda wildcards: option("settings", as_argument(CONFIGURATION.plot_table[wildcards.plot])),
        script=path_of("render_plots"),
        code=code_of("render_plots"),
    shell:
        "python {params.script} --series {input.series:q} {params.drawn_as} "
        "--output {output.plots:q} --store {resources.plot_store:q} --log {log:q}"


# Plots of downsampled series belong to a scenario: the values kept depend on its text and the model's tokenizer.
use rule render_plots as render_scenario_plots with:
    input:
        series=f"{DATASET}/series.npz",
        representation=f"{CONVERSATIONS}/representation.json",
    output:
        plots=directory(PATHS.scenario_plots(RUN)),
    log:
        PATHS.log("render_scenario_plots", SCENARIO),
    benchmark:
        PATHS.benchmark("render_scenario_plots", SCENARIO)
    params:
        drawn_as=option_of("representation"),
        script=path_of("render_plots"),
        code=code_of("render_plots"),


# Features of the plots from the frozen vision tower, for all runs and probes of models with `store_features`.
rule encode_plots:
    input:
        model=checkpoint_of_model(),
        plots=PATHS.plots(RUN, "{plot}"),
    output:
        features=PATHS.features(RUN, "{plot}"),
    log:
        PATHS.log("encode_plots", "{model}/{dataset}/{plot}"),
    benchmark:
        PATHS.benchmark("encode_plots", "{model}/{dataset}/{plot}")
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
    params:
        precision=lambda wildcards: CONFIGURATION.recipe(wildcards.model).precision,
        script=path_of("encode_plots"),
        code=code_of("encode_plots"),
    shell:
        "python {params.script} --model {input.model:q} --plots {input.plots:q} --output {output.features:q} "
        "--precision {params.precision} --threads {threads} --gpus {resources.gpu} --log {log:q}"
