# What each fault of the original is worth: pairs of runs that differ in one. Not part of `all`.
from vlmtsc.corrections import MAY_CHANGE_NOTHING, correction_pairs

PAIRS = correction_pairs(CONFIGURATION)


rule corrections:
    input:
        f"{RESULTS}/tables/corrections.md",


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
        # Of all datasets: they tell where a fault changes nothing, without a run.
        conversations=[
            f"{RESULTS}/{folder}/{part}.json"
            for pair in PAIRS
            if pair.switch in MAY_CHANGE_NOTHING
            for folder in pair.conversations
            for part in ("train", "validation", "test")
        ],
    output:
        table=f"{RESULTS}/tables/corrections.csv",
        page=f"{RESULTS}/tables/corrections.html",
        markdown=f"{RESULTS}/tables/corrections.md",
        latex=f"{RESULTS}/tables/corrections.tex",
    log:
        f"{RESULTS}/logs/write_corrections_table/all.log",
    benchmark:
        f"{RESULTS}/benchmarks/write_corrections_table/all.tsv"
    conda:
        "../envs/environment.yaml"
    threads: 1
    resources:
        mem_mb=growing(1000),
        runtime=10,
    params:
        pairs=as_argument([pair.settings() for pair in PAIRS]),
        folder=lambda wildcards, output: str(Path(output.table).parent),
        results=lambda wildcards, output: str(Path(output.table).parents[1]),
        script=path_of("write_corrections_table"),
        code=code_of("write_corrections_table"),
    shell:
        "python {params.script} --pairs {params.pairs:q} --results {params.results:q} "
        "--output {params.folder:q} --log {log:q}"
