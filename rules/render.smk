# A plot of each case: once per dataset and plot, shared by every scenario that shows it. A PNG file each, or one archive
# of all (key `plots.store`). That is a resource and not a parameter, so that a profile can say it
# (`set-resources: {render_plots: {plot_store: archive}}`), and so that a change draws nothing again: either is read.


rule render_plots:
    input:
        series=f"{RESULTS}/datasets/{{dataset}}/series.npz",
    output:
        plots=directory(f"{RESULTS}/plots/{{dataset}}/{{plot}}"),
    log:
        f"{RESULTS}/logs/render_plots/{{dataset}}/{{plot}}.log",
    benchmark:
        f"{RESULTS}/benchmarks/render_plots/{{dataset}}/{{plot}}.tsv"
    priority: BEFORE_TRAINING
    conda:
        "../envs/environment.yaml"
    threads: 4
    resources:
        mem_mb=growing(2000),
        runtime=30,
        plot_store=CONFIGURATION.plots.store,
    params:
        settings=lambda wildcards: as_argument(CONFIGURATION.plot_table[wildcards.plot]),
        script=path_of("render_plots"),
        code=code_of("render_plots"),
    shell:
        "python {params.script} --series {input.series:q} --settings {params.settings:q} "
        "--output {output.plots:q} --store {resources.plot_store:q} --threads {threads} --log {log:q}"


# Plots of downsampled series belong to a scenario: what it keeps of a series depends on its text and the model's
# tokenizer.
rule render_scenario_plots:
    input:
        series=f"{RESULTS}/datasets/{{dataset}}/series.npz",
        representation=f"{RESULTS}/conversations/{{model}}/{{dataset}}/{{protocol}}/{{scenario}}/representation.json",
    output:
        plots=directory(f"{RESULTS}/conversations/{{model}}/{{dataset}}/{{protocol}}/{{scenario}}/plots"),
    log:
        f"{RESULTS}/logs/render_scenario_plots/{{model}}/{{dataset}}/{{protocol}}/{{scenario}}.log",
    benchmark:
        f"{RESULTS}/benchmarks/render_scenario_plots/{{model}}/{{dataset}}/{{protocol}}/{{scenario}}.tsv"
    priority: BEFORE_TRAINING
    conda:
        "../envs/environment.yaml"
    threads: 4
    resources:
        mem_mb=growing(2000),
        runtime=30,
        plot_store=CONFIGURATION.plots.store,
    params:
        script=path_of("render_plots"),
        code=code_of("render_plots"),
    shell:
        "python {params.script} --series {input.series:q} --representation {input.representation:q} "
        "--output {output.plots:q} --store {resources.plot_store:q} --threads {threads} --log {log:q}"
