# From finished runs to tables, figures and what the report shows.
#
# In two levels: first the runs of one model on one dataset, then everything. The whole shell command is one
# argument of bash, which Linux limits to 128 KiB, so thousands of run folders would not fit in it; the tables
# of each model, dataset and protocol do, up to about a thousand.


rule collect_runs:
    input:
        metrics=run_files("metrics.json"),
        predictions=run_files("predictions.csv"),
        records=run_files("run_record.json"),
        logs=run_files("training_log.csv"),
    output:
        runs=f"{RESULTS}/tables/by_dataset/{{model}}/{{dataset}}/{{protocol}}/runs.csv",
        training=f"{RESULTS}/tables/by_dataset/{{model}}/{{dataset}}/{{protocol}}/training.csv",
        confusion=f"{RESULTS}/tables/by_dataset/{{model}}/{{dataset}}/{{protocol}}/confusion.csv",
        reliability=f"{RESULTS}/tables/by_dataset/{{model}}/{{dataset}}/{{protocol}}/reliability.csv",
    log:
        f"{RESULTS}/logs/collect_runs/{{model}}/{{dataset}}/{{protocol}}.log",
    benchmark:
        f"{RESULTS}/benchmarks/collect_runs/{{model}}/{{dataset}}/{{protocol}}.tsv"
    conda:
        "../envs/environment.yaml"
    threads: 1
    resources:
        mem_mb=growing(500),
        runtime=10,
    params:
        root=f"{RESULTS}/runs",
        # Snakemake's own files, which are no inputs: to remove one makes no model evaluated again.
        benchmarks=f"{RESULTS}/benchmarks/evaluate_model",
        runs=lambda wildcards: as_argument([f"{run.scenario}/seed-{run.seed}" for run in runs_of(wildcards)]),
        script=path_of("collect_runs"),
        code=code_of("collect_runs"),
    shell:
        "python {params.script} --root {params.root:q} --model {wildcards.model:q} "
        "--dataset {wildcards.dataset:q} --protocol {wildcards.protocol:q} --runs {params.runs:q} "
        "--output {output.runs:q} --training {output.training:q} --confusion {output.confusion:q} "
        "--reliability {output.reliability:q} --benchmarks {params.benchmarks:q} --log {log:q}"


rule write_tables:
    input:
        runs=collected("runs.csv"),
    output:
        runs=f"{RESULTS}/tables/runs.csv",
        runs_page=report(
            f"{RESULTS}/tables/runs.html",
            caption="report/runs.rst",
            category="1 Results",
            labels={"result": "All runs", "form": "sortable table"},
        ),
        costs=f"{RESULTS}/tables/costs.md",
        costs_page=report(
            f"{RESULTS}/tables/costs.html",
            caption="report/costs.rst",
            category="3 Costs",
            labels={"result": "What runs cost", "form": "sortable table"},
        ),
        accuracy=f"{RESULTS}/tables/accuracy.csv",
        accuracy_page=report(
            f"{RESULTS}/tables/accuracy.html",
            caption="report/accuracy.rst",
            category="1 Results",
            labels={"result": "Accuracy, datasets by scenarios", "form": "sortable table"},
        ),
        accuracy_markdown=f"{RESULTS}/tables/accuracy.md",
        accuracy_latex=f"{RESULTS}/tables/accuracy.tex",
    log:
        f"{RESULTS}/logs/write_tables/all.log",
    benchmark:
        f"{RESULTS}/benchmarks/write_tables/all.tsv"
    conda:
        "../envs/environment.yaml"
    threads: 1
    resources:
        mem_mb=growing(500),
        runtime=10,
    params:
        collected=lambda wildcards, input: as_argument(list(input.runs)),
        folder=lambda wildcards, output: str(Path(output.runs).parent),
        script=path_of("write_tables"),
        code=code_of("write_tables"),
    shell:
        "python {params.script} --collected {params.collected:q} --output {params.folder:q} --log {log:q}"


rule draw_figures:
    input:
        runs=f"{RESULTS}/tables/runs.csv",
        training=collected("training.csv"),
        confusion=collected("confusion.csv"),
    output:
        heatmap=report(
            f"{RESULTS}/figures/accuracy_heatmap.png",
            caption="report/accuracy_heatmap.rst",
            category="1 Results",
            labels={"result": "Accuracy, datasets by scenarios", "form": "heatmap"},
        ),
        heatmap_print=f"{RESULTS}/figures/accuracy_heatmap.pdf",
        curves=report(
            f"{RESULTS}/figures/training_curves.png",
            caption="report/training_curves.rst",
            category="2 Training",
            labels={"result": "Training curves", "form": "figure"},
        ),
        curves_print=f"{RESULTS}/figures/training_curves.pdf",
        confusion=report(
            f"{RESULTS}/figures/confusion_matrices.png",
            caption="report/confusion_matrices.rst",
            category="1 Results",
            labels={"result": "Confusion matrices", "form": "figure"},
        ),
        confusion_print=f"{RESULTS}/figures/confusion_matrices.pdf",
    log:
        f"{RESULTS}/logs/draw_figures/all.log",
    benchmark:
        f"{RESULTS}/benchmarks/draw_figures/all.tsv"
    conda:
        "../envs/environment.yaml"
    threads: 1
    resources:
        mem_mb=growing(2000),
        runtime=20,
    params:
        training=lambda wildcards, input: as_argument(list(input.training)),
        confusion=lambda wildcards, input: as_argument(list(input.confusion)),
        folder=lambda wildcards, output: str(Path(output.heatmap).parent),
        script=path_of("draw_figures"),
        code=code_of("draw_figures"),
    shell:
        "python {params.script} --runs {input.runs:q} --training {params.training:q} "
        "--confusion {params.confusion:q} --output {params.folder:q} --log {log:q}"
