"""A dataset that no source gives, beside one that works; and two scenarios of that one with the same inputs."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path

import pandas as pd
import pytest
from conftest import ROOT, SnakemakeRunner, copy_project

from vlmtsc.configuration import load_yaml

pytestmark = pytest.mark.end_to_end

DATASET = "GunPointSmall"
RUN = ("all", "paper", "--cores", "2", "--configfile", "config/tiny.yaml")
RUNS = f"results/runs/tiny/{DATASET}/pooled"


@pytest.fixture(scope="module")
def configured(tiny_checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give a copy of the project with a dataset whose only source is a package that is not known."""
    project = copy_project(tmp_path_factory.mktemp("partial") / "project")
    shutil.copytree(ROOT / "tests/data" / DATASET, project / "own" / DATASET)
    (project / "config/own.tsv").write_text(
        "name\tsources\nAbsent\twheel:no-such-package==0.0.0:Absent_{split}.ts\n"
    )
    default = next(iter(load_yaml(ROOT / "config/models.yaml").values()))
    recipe = default["recipe"] | {"lora_r": 2, "epochs": 1, "token_budget": 5000, "precision": "fp32"}
    recipe |= {"align_steps": 50, "aligned_cases": 0}
    recipe |= {"batch_size": 4, "micro_batch_size": 4}  # a step within the budget
    resources = {"threads": 1, "mem_mb": 1000, "runtime": 10, "gpu": 0}
    model = {"source": {"folder": {"path": str(tiny_checkpoint)}}, "system_prompt": ""}
    (project / "config/tiny_models.yaml").write_text(
        json.dumps({"tiny": model | {"resources": resources, "recipe": recipe}})
    )
    changes = {
        "datasets": [DATASET, "Absent"],
        "scenarios": ["BASELINE_2048", "BASELINE_4096"],
        "models": ["tiny"],
        "download": {"sources": ["folder", "wheel"], "folder": "own"},
        "tables": {"models": "config/tiny_models.yaml", "datasets": "config/own.tsv"},
    }
    (project / "config/tiny.yaml").write_text(json.dumps(changes))
    return project


@pytest.fixture(scope="module")
def failed(configured: Path, snakemake: SnakemakeRunner) -> subprocess.CompletedProcess[str]:
    """Run the workflow, of which a dataset fails."""
    return snakemake(configured, *RUN, timeout=600)


def test_the_rest_runs_and_what_failed_is_shown(
    configured: Path, failed: subprocess.CompletedProcess[str]
) -> None:
    assert failed.returncode == 1
    results = configured / "results"
    runs = pd.read_csv(results / "incomplete/runs.csv", keep_default_na=False)
    assert runs[["dataset", "status"]].to_numpy().tolist() == [
        *[[DATASET, "done"]] * 2,
        *[["Absent", "failed"]] * 2,
    ]
    reasons = set(runs["reason"][runs["dataset"] == "Absent"])
    assert len(reasons) == 1
    assert "no-such-package" in reasons.pop()
    assert set(runs["step"]) == {"", "download_dataset"}
    table = (results / "incomplete/accuracy.md").read_text()
    assert table in failed.stdout
    assert re.search(r"\| Absent .*\| +failed", table)
    assert "no-such-package" in table
    paper = pd.read_csv(results / "incomplete/paper.csv").set_index(["dataset", "scenario"])
    assert paper["status"].tolist() == ["done", "done", "failed", "failed"]
    # What rules make was left alone.
    assert not (results / "tables/runs.csv").exists()
    assert not (results / "tables/paper.csv").exists()


def test_scenarios_with_the_same_inputs_are_named_and_train_once(
    configured: Path, failed: subprocess.CompletedProcess[str]
) -> None:
    ledger = pd.read_csv(configured / "results/incomplete/ledger.csv", keep_default_na=False)
    assert ledger["same inputs as"].tolist() == ["BASELINE_4096", "BASELINE_2048"]
    parts = ledger[["system prompt", "image", "numbers", "text", "label"]].sum(axis=1)
    assert parts.tolist() == pytest.approx(ledger["mean tokens"].tolist())
    folders = [configured / RUNS / name / "seed-0" for name in ("BASELINE_2048", "BASELINE_4096")]
    records = [json.loads((folder / "run_record.json").read_text()) for folder in folders]
    assert sorted(record["shared_with"] is None for record in records) == [False, True]
    assert records[0]["train_tokens"] == records[1]["train_tokens"] <= 5000
    assert {record["token_budget"] for record in records} == {5000}
    weights = [(folder / "adapter/adapter_model.safetensors").read_bytes() for folder in folders]
    assert weights[0] == weights[1]
    logs = [
        configured / f"results/logs/finetune_model/{folder.relative_to(configured / 'results/runs')}.log"
        for folder in folders
    ]
    assert sum("reuses the identical training" in log.read_text() for log in logs) == 1
    predictions = [(folder / "predictions.csv").read_text() for folder in folders]
    assert predictions[0] == predictions[1]


def test_a_selection_that_works_makes_the_whole_table(
    configured: Path, failed: subprocess.CompletedProcess[str], snakemake: SnakemakeRunner
) -> None:
    done = snakemake(configured, *RUN, "--config", f"only={{datasets: [{DATASET}]}}", timeout=600)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "rule finetune_model" not in done.stdout + done.stderr
    results = configured / "results"
    paper = pd.read_csv(results / "tables/paper.csv")
    assert paper["status"].tolist() == ["done", "done", "not run", "not run"]
    assert (results / "tables/paper.md").read_text() in done.stdout
    assert not (results / "incomplete").exists()
