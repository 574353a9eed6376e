# What runs are predicted to take, stored before they are made, and what they took. In two levels, for the reason that
# aggregate.smk gives. Training does not wait for a prediction and does not depend on one; it only comes later.


rule predict_time:
    input:
        # Conversations tell the tokens. The ledger is there when all of them are.
        ledger=f"{RESULTS}/tables/by_dataset/{{model}}/{{dataset}}/{{protocol}}/ledger.csv",
    output:
        # A prediction that was stored before a run stays.
        predicted=update(f"{RESULTS}/tables/by_dataset/{{model}}/{{dataset}}/{{protocol}}/predicted_time.csv"),
    log:
        f"{RESULTS}/logs/predict_time/{{model}}/{{dataset}}/{{protocol}}.log",
    benchmark:
        f"{RESULTS}/benchmarks/predict_time/{{model}}/{{dataset}}/{{protocol}}.tsv"
    priority: 2 * BEFORE_TRAINING
    conda:
        "../envs/environment.yaml"
    threads: 1
    resources:
        mem_mb=growing(500),
        runtime=10,
        # What is learnt from, where runs are made, and what follows training: as resources, since a prediction stays.
        history=as_argument(CONFIGURATION.options["history"]),
        needs=needs_of_runs,
        evaluation=evaluation_of_runs(),
    params:
        results=lambda wildcards, output: str(Path(output.predicted).parents[5]),
        runs=lambda wildcards: as_argument([f"{run.scenario}/seed-{run.seed}" for run in runs_of(wildcards)]),
        recipe=lambda wildcards: as_argument(recipe_of_runs(wildcards)),
        modalities=lambda wildcards: as_argument(modalities_of_runs(wildcards)),
        script=path_of("predict_time"),
        code=code_of("predict_time"),
    shell:
        "python {params.script} --results {params.results:q} --model {wildcards.model:q} "
        "--dataset {wildcards.dataset:q} --protocol {wildcards.protocol:q} --runs {params.runs:q} "
        "--recipe {params.recipe:q} --modalities {params.modalities:q} "
        "--evaluation {resources.evaluation:q} --needs {resources.needs:q} --history {resources.history:q} "
        "--output {output.predicted:q} --log {log:q}"


rule report_predicted_time:
    input:
        predicted=collected("predicted_time.csv"),
        runs=collected("runs.csv"),
        controls=collected("controls.csv") if CONFIGURATION.options["evaluate"]["controls"] else [],
    output:
        table=f"{RESULTS}/tables/predicted_time.csv",
        markdown=f"{RESULTS}/tables/predicted_time.md",
        page=report(
            f"{RESULTS}/tables/predicted_time.html",
            caption="report/predicted_time.rst",
            category="3 Costs",
            labels={"result": "Predicted and measured time", "form": "sortable table"},
        ),
        figure=report(
            f"{RESULTS}/figures/predicted_time.png",
            caption="report/predicted_time_figure.rst",
            category="3 Costs",
            labels={"result": "Predicted and measured time", "form": "figure"},
        ),
        figure_print=f"{RESULTS}/figures/predicted_time.pdf",
    log:
        f"{RESULTS}/logs/report_predicted_time/all.log",
    benchmark:
        f"{RESULTS}/benchmarks/report_predicted_time/all.tsv"
    conda:
        "../envs/environment.yaml"
    threads: 1
    resources:
        mem_mb=growing(1000),
        runtime=20,
    params:
        results=lambda wildcards, output: str(Path(output.table).parents[1]),
        predicted=lambda wildcards, input: as_argument(list(input.predicted)),
        collected=lambda wildcards, input: as_argument(list(input.runs)),
        tables=lambda wildcards, output: str(Path(output.table).parent),
        figures=lambda wildcards, output: str(Path(output.figure).parent),
        script=path_of("report_predicted_time"),
        code=code_of("report_predicted_time"),
    shell:
        "python {params.script} --results {params.results:q} --predicted {params.predicted:q} "
        "--collected {params.collected:q} --tables {params.tables:q} --figures {params.figures:q} --log {log:q}"
