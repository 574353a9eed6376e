# make help lists the commands.

PYTHON ?= python3
# PyTorch's package index: CPU or CUDA. Empty: chosen for the machine (envs/install.sh); `none`: only pip's own indexes.
TORCH_INDEX ?=
# Options for snakemake, for example ARGS="--config datasets=[GunPoint]"; its results folder, if ARGS names another one.
ARGS ?=
CORES ?= all
RESULTS ?= results
# make demo: a finished run, or a folder of runs.
RUNS ?= $(RESULTS)/runs
# make paper-embedded, paper: the part of the matrix to run (empty: all), and further configuration, also of evidence, in place
# of a second --config: CONFIG="'finetune={token_budget: 600000}'".
SCENARIOS ?= plot, numbers, BASELINE_2048
DATASETS ?=
CONFIG ?=
# make paper: the configuration whose finished runs it collects.
PAPER ?= config/paper-embedded.yaml
BASELINES ?= majority, euclidean_1nn, dtw_1nn, minirocket, multirocket_hydra, fcn, logistic_tower, logistic_language
# make publish-evidence: section of docs/results.md, and the command that it names.
SECTION ?= evidence
EVIDENCE_COMMAND ?= make evidence
export EVIDENCE_COMMAND

VENV := .venv
RUN := PATH="$(CURDIR)/$(VENV)/bin:$$PATH"
# A longer span than a second saves up to half a core in long runs (profiles/gpu).
SNAKEMAKE := $(RUN) snakemake --cores $(CORES) --max-jobs-per-timespan 1000/5s
SCRIPT := $(RUN) python workflow_scripts
PUBLISH := $(SCRIPT)/publish_results.py --section
# After a dry run there is nothing to report or to publish.
DRY = $(filter -n% --dry-run% --dryrun%,$(ARGS))
REPORT = $(if $(DRY),,--report $(RESULTS)/report.html --report-after-run --report-stylesheet rules/report/report.css)
# Snakemake takes the last --config alone.
CONFIG_OPTION = $(if $(filter --config --config=% -C%,$(ARGS)),$(error make $@: --config goes into CONFIG, not into ARGS))--config
ONLY = $(CONFIG_OPTION) 'only={scenarios: [$(SCENARIOS)], datasets: [$(DATASETS)]}' $(CONFIG)
# These would break Python itself, for commands that are not jobs of Snakemake.
unexport PYTHONSAFEPATH PYTHONWARNINGS PYTHONOPTIMIZE PYTHONIOENCODING
export PYTHONUTF8 := 1
# The workflow refuses another folder than that of the report or of what is published.
results paper-embedded evidence corrections: export VLMTSC_RESULTS = $(RESULTS)
CODE := workflow_scripts tests benchmarks docs

.DEFAULT_GOAL := help
.PHONY: $(shell grep -oE '^[a-z-]+:' $(MAKEFILE_LIST) | tr -d :)

help: ## show this
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /make \1\t/' | expand -t 22

environment: ## make or update .venv from envs/requirements.lock
	@PYTHON="$(PYTHON)" TORCH_INDEX="$(TORCH_INDEX)" sh envs/install.sh $(VENV)

results: environment ## run the workflow; prints the table and where everything is, writes the report
	@$(SNAKEMAKE) $(REPORT) $(ARGS)

demo: demo-packages ## a page to try finished runs on, at http://127.0.0.1:7860 (RUNS=results/runs ARGS="--port 7861")
	@$(RUN) PYTHONPATH=workflow_scripts:$(VENV)/demo python -m vlmtsc.commands demo $(RUNS) $(ARGS)

demo-packages: environment
	@[ $(VENV)/demo -nt envs/demo.txt ] || { \
		$(VENV)/bin/python -m pip install -qq --no-deps --upgrade --target $(VENV)/demo --requirement envs/demo.txt \
		&& touch $(VENV)/demo; }

ledger: environment ## token usage of each scenario; trains nothing
	@$(SNAKEMAKE) ledger $(ARGS)

baselines: environment ## baselines on the same split; fine-tunes nothing (ARGS="--config baselines=[dtw_1nn,minirocket]")
	@$(SNAKEMAKE) $(ARGS) -- baselines

paper-embedded: environment ## the paper's table with the embedded model (SCENARIOS="plot, numbers" DATASETS=)
	@$(SNAKEMAKE) all paper --configfile config/paper-embedded.yaml $(REPORT) $(ONLY) $(ARGS)

evidence: environment ## runs, baselines, controls, ranks, and the comparison of the best ones (CONFIG="seeds=[0,1,2]")
	@$(SNAKEMAKE) all baselines evidence $(REPORT) $(ARGS) $(CONFIG_OPTION) 'baselines=[$(BASELINES)]' $(CONFIG)

paper: environment ## tables, figures, methods, references of finished runs into results/paper; trains nothing (PAPER= SCENARIOS=)
	@$(SNAKEMAKE) collect_paper --configfile $(PAPER) $(ONLY) $(ARGS)

corrections: environment ## measure the effect of each fault of the original, into docs/results.md
	@$(SNAKEMAKE) --configfile config/corrections.yaml $(ARGS) -- corrections
	@$(if $(DRY),,$(PUBLISH) corrections --source $(RESULTS) --command "make corrections")

paper-ledger: environment ## token usage of the paper's scenarios on LLaVA-1.5, into docs/results.md; needs npm, no weights
	@$(RUN) PYTHONPATH=workflow_scripts python tests/full_size_llava.py --ledger
	@$(SNAKEMAKE) ledger --configfile config/paper.yaml results/full_size/ledger.json $(ARGS)
	@$(if $(DRY),,$(PUBLISH) ledger --source results/full_size/ledger --command "make paper-ledger")

plan: environment ## list the jobs, and the configured runs with samples, tokens and time
	@$(SNAKEMAKE) --dry-run --quiet host rules reason $(ARGS)
	@$(SCRIPT)/plan_runs.py $(ARGS)

publish: environment ## publish the finished default run: docs/results.md, the README's table and picture
	@$(PUBLISH) results --source $(RESULTS)
	@$(PUBLISH) picture --source $(RESULTS)

publish-paper: environment ## publish the table of make paper-embedded
	@$(PUBLISH) paper --source $(RESULTS) \
		--command 'make paper-embedded SCENARIOS="$(SCENARIOS)"$(if $(CONFIG), CONFIG="$(CONFIG)")'

publish-evidence: environment ## publish tables/evidence.md in docs/results.md (RESULTS=folder; SECTION=paper-evidence, ...)
	@$(PUBLISH) $(SECTION) --source $(RESULTS) --command "$$EVIDENCE_COMMAND"

rulegraph: environment ## draw the graph of the rules (Mermaid) into docs/architecture.md
	@$(SNAKEMAKE) --forceall --rulegraph mermaid-js > .rulegraph
	@$(PUBLISH) rulegraph --source .rulegraph --page docs/architecture.md
	@rm .rulegraph

representations: environment ## draw the figures of docs/method.md
	@$(SCRIPT)/draw_representations.py

docs: environment ## build the documents as a site in site/
	@$(RUN) NO_MKDOCS_2_WARNING=1 mkdocs build --quiet
	@echo "site/index.html (with search: python -m http.server -d site)"

reference: environment ## write docs/configuration.md from the settings
	@$(SCRIPT)/write_configuration_reference.py

bench: environment ## measure speed against the obvious implementations, into docs/results.md (BENCH="render finetune")
	@$(SNAKEMAKE) -- results/models/embedded results/plots/ItalyPowerDemand/line \
		results/conversations/embedded/ItalyPowerDemand/pooled/numbers/train.json \
		results/conversations/embedded/ItalyPowerDemand/pooled/plot_and_numbers/train.json
	@$(RUN) python benchmarks/measuring.py $(BENCH)

# Three processes for two cores: one of them waits for SLURM most of the time.
test: demo-packages ## run every test, in three processes
	@$(RUN) python -m pytest -n 3 --dist loadfile --no-loadscope-reorder

test-faults: environment ## the whole grid of injected faults, of which make test runs a sample (about an hour)
	@$(RUN) python -m pytest tests/faults --faults=all $(ARGS)

test-environment: environment ## each environment variable alone, which make test sets all at once (about an hour)
	@$(RUN) python -m pytest tests/end_to_end/test_environment_run.py --faults=all $(ARGS)

test-slurm: environment ## start a SLURM of two nodes and run the tiny workflow on it; as root, installs SLURM first
	@sh tests/slurm/install.sh
	@$(RUN) python -m pytest tests/slurm

test-full-size: environment ## LLaVA-1.5-7B at its full shape, random weights: 14 GB of disk, 21 GiB of memory, half an hour (ARGS="--size small")
	@$(RUN) PYTHONPATH=workflow_scripts python tests/full_size_llava.py $(ARGS)

lint: environment ## check formatting, style, types and the workflow
	@$(RUN) ruff format --check $(CODE)
	@$(RUN) ruff check $(CODE)
	@$(RUN) snakefmt --check Snakefile rules
	@$(RUN) snakemake --lint
	@$(RUN) mypy

format: environment ## format the code
	@$(RUN) ruff format $(CODE)
	@$(RUN) ruff check --fix $(CODE)
	@$(RUN) snakefmt Snakefile rules

lock: ## resolve envs/requirements.in into envs/requirements.lock
	@PYTHON="$(PYTHON)" TORCH_INDEX="$(TORCH_INDEX)" sh envs/lock.sh

clean: ## remove results, caches and .venv
	rm -rf results site .snakemake $(VENV) .mypy_cache .pytest_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
