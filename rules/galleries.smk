# Pictures of cases, a job for each dataset: plots of each class, cases that models have wrong, and what downsampling
# leaves of a series.


rule draw_gallery:
    input:
        series=f"{RESULTS}/datasets/{{dataset}}/series.npz",
        split=f"{RESULTS}/datasets/{{dataset}}/{{protocol}}/split.npz",
        plots=plots_on,
    output:
        figure=reported_case(
            f"{CASE_FIGURES}/gallery.png", "gallery", result="Plots of each class", form="figure"
        ),
        figure_print=f"{CASE_FIGURES}/gallery.pdf",
    log:
        f"{RESULTS}/logs/draw_gallery/{{dataset}}/{{protocol}}.log",
    benchmark:
        f"{RESULTS}/benchmarks/draw_gallery/{{dataset}}/{{protocol}}.tsv"
    priority: BEFORE_TRAINING
    conda:
        "../envs/environment.yaml"
    threads: 1
    resources:
        mem_mb=growing(2000),
        runtime=10,
    params:
        plots=lambda wildcards: as_argument(shown_plots(wildcards)),
        script=path_of("draw_gallery"),
        code=code_of("draw_gallery"),
    shell:
        "python {params.script} --series {input.series:q} --split {input.split:q} --dataset {wildcards.dataset:q} "
        "--protocol {wildcards.protocol:q} --plots {params.plots:q} --figure {output.figure:q} "
        "--figure_print {output.figure_print:q} --log {log:q}"


rule draw_downsampling:
    input:
        series=f"{RESULTS}/datasets/{{dataset}}/series.npz",
        split=f"{RESULTS}/datasets/{{dataset}}/{{protocol}}/split.npz",
        representations=downsampling_representations,
    output:
        figure=reported_case(
            f"{CASE_FIGURES}/downsampling.png",
            "downsampling",
            result="Downsampling of a series",
            form="figure",
        ),
        figure_print=f"{CASE_FIGURES}/downsampling.pdf",
    log:
        f"{RESULTS}/logs/draw_downsampling/{{dataset}}/{{protocol}}.log",
    benchmark:
        f"{RESULTS}/benchmarks/draw_downsampling/{{dataset}}/{{protocol}}.tsv"
    priority: BEFORE_TRAINING
    conda:
        "../envs/environment.yaml"
    threads: 1
    resources:
        mem_mb=growing(2000),
        runtime=10,
    params:
        conversations=f"{RESULTS}/conversations",
        scenarios=lambda wildcards: as_argument(downsampling_on(wildcards)),
        script=path_of("draw_downsampling"),
        code=code_of("draw_downsampling"),
    shell:
        "python {params.script} --series {input.series:q} --split {input.split:q} --dataset {wildcards.dataset:q} "
        "--conversations {params.conversations:q} --scenarios {params.scenarios:q} --figure {output.figure:q} "
        "--figure_print {output.figure_print:q} --log {log:q}"


rule write_wrong_cases:
    input:
        predictions=predictions_on,
        test=conversations_on("test.json"),
        representations=conversations_on("representation.json"),
        plots=plots_on,
    output:
        page=reported_case(
            f"{CASE_FIGURES}/wrong_cases.html",
            "wrong_cases",
            result="Cases most confidently wrong",
            form="page",
        ),
    log:
        f"{RESULTS}/logs/write_wrong_cases/{{dataset}}/{{protocol}}.log",
    benchmark:
        f"{RESULTS}/benchmarks/write_wrong_cases/{{dataset}}/{{protocol}}.tsv"
    conda:
        "../envs/environment.yaml"
    threads: 1
    resources:
        mem_mb=growing(1000),
        runtime=10,
    params:
        results=lambda wildcards, output: str(Path(output.page).parents[4]),
        runs=lambda wildcards: as_argument(
            [
                f"{run.model}/{run.scenario}/seed-{run.seed}"
                for run in RUNS_ON.get((wildcards.dataset, wildcards.protocol), [])
            ]
        ),
        plots=lambda wildcards: as_argument(plots_by_scenario_on(wildcards)),
        script=path_of("write_wrong_cases"),
        code=code_of("write_wrong_cases"),
    shell:
        "python {params.script} --results {params.results:q} --dataset {wildcards.dataset:q} "
        "--protocol {wildcards.protocol:q} --runs {params.runs:q} --plots {params.plots:q} "
        "--page {output.page:q} --log {log:q}"
