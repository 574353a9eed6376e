# Figures of what runs tell together: accuracy against tokens and cost, inputs against each other, calibration.


rule draw_evidence:
    input:
        runs=f"{RESULTS}/tables/runs.csv",
        ledger=f"{RESULTS}/tables/ledger.csv",
        methods=f"{RESULTS}/tables/methods.csv",
        reliability=collected("reliability.csv"),
    output:
        ablation=report(
            f"{RESULTS}/figures/modality_ablation.png",
            caption="report/modality_ablation.rst",
            category="1 Results",
            labels={"result": "Plot, numbers, or both", "form": "figure"},
        ),
        ablation_print=f"{RESULTS}/figures/modality_ablation.pdf",
        context=report(
            f"{RESULTS}/figures/accuracy_by_context.png",
            caption="report/accuracy_by_context.rst",
            category="1 Results",
            labels={"result": "Accuracy against tokens of a case", "form": "figure"},
        ),
        context_print=f"{RESULTS}/figures/accuracy_by_context.pdf",
        calibration=report(
            f"{RESULTS}/figures/calibration.png",
            caption="report/calibration.rst",
            category="1 Results",
            labels={"result": "Calibration", "form": "figure"},
        ),
        calibration_print=f"{RESULTS}/figures/calibration.pdf",
        cost=report(
            f"{RESULTS}/figures/accuracy_by_cost.png",
            caption="report/accuracy_by_cost.rst",
            category="3 Costs",
            labels={"result": "Accuracy against cost", "form": "figure"},
        ),
        cost_print=f"{RESULTS}/figures/accuracy_by_cost.pdf",
    log:
        f"{RESULTS}/logs/draw_evidence/all.log",
    benchmark:
        f"{RESULTS}/benchmarks/draw_evidence/all.tsv"
    conda:
        "../envs/environment.yaml"
    threads: 1
    resources:
        mem_mb=growing(2000),
        runtime=20,
    params:
        reliability=lambda wildcards, input: as_argument(list(input.reliability)),
        scenarios=as_argument(compared_scenarios()),
        folder=lambda wildcards, output: str(Path(output.cost).parent),
        script=path_of("draw_evidence"),
        code=code_of("draw_evidence"),
    shell:
        "python {params.script} --runs {input.runs:q} --ledger {input.ledger:q} --methods {input.methods:q} "
        "--reliability {params.reliability:q} --scenarios {params.scenarios:q} --output {params.folder:q} --log {log:q}"
