# make results | paper-embedded | paper | baselines | evidence | ledger | corrections | bench | test | test-faults | test-slurm | plan | publish | lint | lock | clean   (make help explains)

PYTHON ?= python3
# PyTorch's package index: CPU or CUDA. Empty: chosen for the machine (envs/install.sh); `none`: only pip's own indexes.
TORCH_INDEX ?=
# Passed on to snakemake, for example ARGS="--config datasets=[GunPoint]".
ARGS ?=
CORES ?= all
# make paper-embedded: what of the matrix to run. Empty means all; what is not run is shown as such.
SCENARIOS ?= plot, numbers, BASELINE_2048
DATASETS ?=
# Its further configuration, and that of make evidence, in place of a second --config: CONFIG="'finetune={token_budget: 600000}'".
CONFIG ?=
# make evidence: the simple methods.
BASELINES ?= majority, euclidean_1nn, dtw_1nn, minirocket, multirocket_hydra, fcn, logistic_tower, logistic_language
# make publish-evidence: where the tables are, which section of the README they go to, and what made them.
RESULTS ?= results
SECTION ?= evidence
EVIDENCE_COMMAND ?= make evidence
export EVIDENCE_COMMAND
# make paper: the configuration whose finished runs it takes; SCENARIOS, DATASETS and CONFIG as for make paper-embedded.
PAPER ?= config/paper-embedded.yaml

VENV := .venv
RUN := PATH="$(CURDIR)/$(VENV)/bin:$$PATH"
SNAKEMAKE := $(RUN) snakemake

.DEFAULT_GOAL := help
.PHONY: help environment results ledger baselines evidence paper-embedded paper test test-faults test-slurm plan rulegraph publish publish-paper publish-evidence corrections bench lint format representations reference lock clean

help: ## show this
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /make \1\t/' | expand -t 22

environment: ## make or update .venv from envs/requirements.lock
	@PYTHON="$(PYTHON)" TORCH_INDEX="$(TORCH_INDEX)" sh envs/install.sh $(VENV)

results: environment ## run the workflow; ends with the table and where everything is
	@$(SNAKEMAKE) --cores $(CORES) $(ARGS)

ledger: environment ## what each scenario costs in tokens and keeps of a series; trains nothing
	@$(SNAKEMAKE) ledger --cores $(CORES) $(ARGS)

baselines: environment ## simple methods on the same split, fine-tunes nothing (ARGS="--config baselines=[dtw_1nn, minirocket]")
	@$(SNAKEMAKE) --cores $(CORES) $(ARGS) -- baselines

paper-embedded: environment ## the paper's table on the embedded model (SCENARIOS="plot, numbers", DATASETS=)
	@$(SNAKEMAKE) all paper --cores $(CORES) --configfile config/paper-embedded.yaml \
		--config 'only={scenarios: [$(SCENARIOS)], datasets: [$(DATASETS)]}' $(CONFIG) $(ARGS)

evidence: environment ## the runs, simple methods, controls, ranks, and what that is evidence of (CONFIG="seeds=[0,1,2]")
	@$(if $(findstring --config ,$(ARGS)),$(error make evidence: --config goes into CONFIG, not into ARGS))
	@$(SNAKEMAKE) all baselines evidence --cores $(CORES) $(ARGS) --config 'baselines=[$(BASELINES)]' $(CONFIG)

paper: environment ## tables, figures, methods, references of finished runs into results/paper; trains nothing (PAPER=config/config.yaml SCENARIOS=)
	@$(SNAKEMAKE) collect_paper --cores $(CORES) --configfile $(PAPER) \
		--config 'only={scenarios: [$(SCENARIOS)], datasets: [$(DATASETS)]}' $(CONFIG) $(ARGS)

test: environment ## run every test
	@$(RUN) python -m pytest

test-faults: environment ## the whole grid of injected faults, of which make test runs a sample (about an hour)
	@$(RUN) python -m pytest tests/faults --faults=all $(ARGS)

test-slurm: environment ## start a SLURM of two nodes and run the tiny workflow on it; as root, installs SLURM first
	@sh tests/slurm/install.sh
	@$(RUN) python -m pytest tests/slurm

plan: environment ## list the jobs and the runs that a configuration asks for, with samples, tokens and time
	@$(SNAKEMAKE) --dry-run --quiet host rules reason $(ARGS)
	@$(RUN) python workflow_scripts/plan_runs.py $(ARGS)

rulegraph: environment ## draw the graph of the rules (Mermaid) into the README
	@$(SNAKEMAKE) --forceall --rulegraph mermaid-js > .rulegraph
	@$(RUN) python workflow_scripts/write_rule_graph.py --graph .rulegraph --readme README.md
	@rm .rulegraph

publish: environment ## put the table and figure of the finished default run into the README
	@$(RUN) python workflow_scripts/publish_results.py --results results --readme README.md --figures docs/results

corrections: environment ## measure what each fault of the original is worth, into docs/corrections.md
	@$(SNAKEMAKE) --cores $(CORES) --configfile config/corrections.yaml $(ARGS) -- corrections
	@$(RUN) python workflow_scripts/publish_corrections.py --results results --page docs/corrections.md

publish-paper: environment ## put the paper's table, as make paper-embedded left it, into the README
	@$(RUN) python workflow_scripts/publish_paper.py --results results --readme README.md \
		--command 'make paper-embedded SCENARIOS="$(SCENARIOS)"$(if $(CONFIG), CONFIG="$(CONFIG)")'

publish-evidence: environment ## put tables/evidence.md into the README (RESULTS=folder; SECTION=paper-evidence for the paper's datasets)
	@$(RUN) python workflow_scripts/publish_evidence.py --results $(RESULTS) --readme README.md --figures docs/results --section $(SECTION) \
		--command "$$EVIDENCE_COMMAND"

# What the benchmarks of training and scoring train on and score.
BENCH_INPUTS := results/models/embedded results/plots/ItalyPowerDemand/line \
	results/conversations/embedded/ItalyPowerDemand/pooled/plot_and_numbers/train.json

bench: environment ## measure the claims on speed, both sides in turns, into docs/performance.md (BENCH="render finetune")
	@$(SNAKEMAKE) --cores $(CORES) -- $(BENCH_INPUTS)
	@$(RUN) python benchmarks/run_all.py $(BENCH)

lint: environment ## check formatting, style, types and the workflow
	@$(RUN) ruff format --check workflow_scripts tests benchmarks
	@$(RUN) ruff check workflow_scripts tests benchmarks
	@$(RUN) snakefmt --check Snakefile rules
	@$(SNAKEMAKE) --lint
	@$(RUN) mypy

format: environment ## format the code
	@$(RUN) ruff format workflow_scripts tests benchmarks
	@$(RUN) ruff check --fix workflow_scripts tests benchmarks
	@$(RUN) snakefmt Snakefile rules

representations: environment ## draw the figures of docs/representation.md
	@$(RUN) python workflow_scripts/draw_representations.py

reference: environment ## write config/README.md from the schemas
	@$(RUN) python workflow_scripts/write_configuration_reference.py

lock: ## resolve envs/requirements.in anew into envs/requirements.lock
	@PYTHON="$(PYTHON)" TORCH_INDEX="$(TORCH_INDEX)" sh envs/lock.sh

clean: ## remove results, caches and .venv
	rm -rf results .snakemake $(VENV) .mypy_cache .pytest_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
