# The figure of controls at test time.


rule report_controls:
    input:
        table=PATHS.table("controls.csv"),
    output:
        figure=report(
            f"{RESULTS}/figures/controls.png",
            caption="report/controls_figure.rst",
            category="1 Results",
            labels={"result": "Controls at test time", "form": "figure"},
        ),
        figure_print=f"{RESULTS}/figures/controls.pdf",
    log:
        f"{RESULTS}/logs/report_controls/all.log",
    benchmark:
        f"{RESULTS}/benchmarks/report_controls/all.tsv"
    conda:
        "../envs/environment.yaml"
    threads: 1
    resources:
        mem_mb=growing(1000),
        runtime=10,
    params:
        figures=lambda wildcards, output: str(Path(output.figure).parent),
        script=path_of("report_controls"),
        code=code_of("report_controls"),
    shell:
        "python {params.script} --table {input.table:q} --figures {params.figures:q} --log {log:q}"
