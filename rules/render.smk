# One PNG file for each case: once per dataset and plot, shared by every scenario that shows it.


rule render_plots:
    input:
        series=f"{RESULTS}/datasets/{{dataset}}/series.npz",
    output:
        plots=directory(f"{RESULTS}/plots/{{dataset}}/{{plot}}"),
    log:
        f"{RESULTS}/logs/render_plots/{{dataset}}/{{plot}}.log",
    benchmark:
        f"{RESULTS}/benchmarks/render_plots/{{dataset}}/{{plot}}.tsv"
    conda:
        "../envs/environment.yaml"
    threads: 4
    resources:
        mem_mb=2000,
        runtime=30,
    params:
        settings=lambda wildcards: as_argument(CONFIGURATION.plot_settings(wildcards.plot)),
        script=path_of("render_plots"),
        code=code_of("render_plots"),
    shell:
        "python {params.script} --series {input.series:q} --settings {params.settings:q} "
        "--output {output.plots:q} --threads {threads} --log {log:q}"
