# The published results and ours: `snakemake all paper --cores all --configfile config/paper.yaml`.
# Rows are the whole matrix of the configuration; inputs only the runs that are selected of it (key `only`).


rule write_paper_table:
    input:
        runs=collected("runs.csv"),
        published=PUBLISHED,
    output:
        table=f"{RESULTS}/tables/paper.csv",
        best=f"{RESULTS}/tables/paper_best.csv",
        markdown=f"{RESULTS}/tables/paper.md",
        latex=f"{RESULTS}/tables/paper.tex",
        page=report(
            f"{RESULTS}/tables/paper.html",
            caption="report/paper.rst",
            category="1 Results",
            labels={"result": "Published and ours", "form": "sortable table"},
        ),
        best_page=report(
            f"{RESULTS}/tables/paper_best.html",
            caption="report/paper_best.rst",
            category="1 Results",
            labels={"result": "The published best and ours", "form": "sortable table"},
        ),
    log:
        f"{RESULTS}/logs/write_paper_table/all.log",
    benchmark:
        f"{RESULTS}/benchmarks/write_paper_table/all.tsv"
    conda:
        "../envs/environment.yaml"
    threads: 1
    resources:
        mem_mb=growing(500),
        runtime=10,
    params:
        collected=lambda wildcards, input: as_argument(list(input.runs)),
        matrix=matrix_options(),
        folder=lambda wildcards, output: str(Path(output.table).parent),
        script=path_of("write_paper_table"),
        code=code_of("write_paper_table"),
    shell:
        "python {params.script} --collected {params.collected:q} --published {input.published:q} "
        "{params.matrix} --output {params.folder:q} --log {log:q}"


rule paper:
    input:
        rules.write_paper_table.output,
        gaps_of_runs(),
