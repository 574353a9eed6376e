# The parts of a paper out of finished runs: `make paper`, or `snakemake --cores all collect_paper`. It trains nothing.


rule collect_paper:
    input:
        parts=paper_parts,
    output:
        folder=directory(f"{RESULTS}/paper"),
    log:
        f"{RESULTS}/logs/collect_paper/all.log",
    benchmark:
        f"{RESULTS}/benchmarks/collect_paper/all.tsv"
    conda:
        "../envs/environment.yaml"
    threads: 1
    resources:
        mem_mb=growing(1000),
        runtime=10,
    params:
        results=lambda wildcards, output: str(Path(output.folder).parent),
        parts=lambda wildcards, input: as_argument(
            [Path(path).relative_to(RESULTS).as_posix() for path in input.parts]
        ),
        captions=lambda wildcards, input: as_argument(captions_of(input.parts)),
        script=path_of("collect_paper"),
        code=code_of("collect_paper"),
    shell:
        "python {params.script} --results {params.results:q} --parts {params.parts:q} "
        "--captions {params.captions:q} --output {output.folder:q} --log {log:q}"
