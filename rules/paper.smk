# Published results and ours: `snakemake all paper --cores all --configfile config/paper.yaml`. Rows are all combinations of
# the configuration; only the selected runs (key `only`) are made.
# The effect of each fault of the original: `snakemake corrections --configfile config/corrections.yaml`. Not part of `all`.
from vlmtsc.corrections import MAY_CHANGE_NOTHING, correction_pairs

PAIRS = correction_pairs(
    CONFIGURATION.corrections, CONFIGURATION.models, CONFIGURATION.protocol, CONFIGURATION.seeds
)


rule write_paper_table:
    input:
        runs=PATHS.table("runs.csv"),
        published=PUBLISHED,
    output:
        *(PATHS.table(name) for name in ("paper.csv", "paper_best.csv", "paper.md", "paper.tex")),
        page=table_page("paper", "Published and ours"),
        best_page=table_page("paper_best", "The published best and ours"),
    log:
        PATHS.log("write_paper_table", "all"),
    benchmark:
        PATHS.benchmark("write_paper_table", "all")
    conda:
        "../envs/environment.yaml"
    resources:
        mem_mb=growing(500),
        runtime=10,
    params:
        matrix=matrix_options("models", "datasets", "scenarios"),
        folder=lambda wildcards, output: str(Path(output.page).parent),
        script=path_of("write_paper_table"),
        code=code_of("write_paper_table"),
    shell:
        "python {params.script} --runs {input.runs:q} --published {input.published:q} {params.matrix} "
        "--output {params.folder:q} --log {log:q}"


rule paper:
    input:
        rules.write_paper_table.output,


rule write_corrections_table:
    input:
        runs=sorted(
            {
                f"{PATHS.run(run)}/{name}"
                for pair in PAIRS
                if pair.run
                for run in pair.runs
                for name in ("metrics.json", "predictions.csv")
            }
        ),
        # Of all datasets: they show where a fault changes nothing, without a run.
        conversations=sorted(
            {
                f"{PATHS.conversations(run)}/{name}.json"
                for pair in PAIRS
                if pair.switch in MAY_CHANGE_NOTHING
                for run in pair.runs
                for name in ("train", "validation", "test")
            }
        ),
    output:
        table=PATHS.table("corrections.csv"),
        page=PATHS.table("corrections.html"),
        markdown=PATHS.table("corrections.md"),
        latex=PATHS.table("corrections.tex"),
    log:
        PATHS.log("write_corrections_table", "all"),
    benchmark:
        PATHS.benchmark("write_corrections_table", "all")
    conda:
        "../envs/environment.yaml"
    resources:
        mem_mb=growing(1000),
        runtime=10,
    params:
        options=f"{RESULTS_OPTION} {matrix_options('models', 'seeds')}",
        corrections=as_argument(CONFIGURATION.corrections),
        folder=lambda wildcards, output: str(Path(output.table).parent),
        script=path_of("write_corrections_table"),
        code=code_of("write_corrections_table"),
    shell:
        "python {params.script} {params.options} --corrections {params.corrections:q} "
        "--output {params.folder:q} --log {log:q}"


rule corrections:
    input:
        PATHS.table("corrections.md"),
