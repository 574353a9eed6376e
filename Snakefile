from snakemake.utils import min_version

min_version("9.0")


# Functions in files of their own: the linter objects to functions among rules.
include: "rules/common.smk"
include: "rules/results.smk"
# Rules, in the order of the steps.
include: "rules/download.smk"
include: "rules/preprocess.smk"
include: "rules/render.smk"
include: "rules/describe.smk"
include: "rules/conversations.smk"
include: "rules/finetune.smk"
include: "rules/evaluate.smk"
include: "rules/aggregate.smk"
include: "rules/baselines.smk"
include: "rules/paper.smk"
include: "rules/hooks.smk"


report: "rules/report/workflow.rst"


rule all:
    default_target: True
    input:
        final_results(),
