"""Runs with faults of the original, through the whole workflow on a tiny model, to the table of what they are worth."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from conftest import ROOT, SnakemakeRunner, copy_project

from vlmtsc.configuration import load_yaml

pytestmark = pytest.mark.end_to_end

PUBLISHED = "as_published_WITH_RATIONALE"
CORRECTIONS = [
    {"switch": "merged_labels", "scenario": "numbers", "datasets": ["Steps"]},
    {"switch": "leaked_rationale", "scenario": "numbers_rationale", "datasets": ["GunPointSmall"]},
]


def write_steps(folder: Path) -> None:
    """Write a dataset of three classes, of which the original merges two."""
    folder.mkdir(parents=True)
    for part, cases in (("TRAIN", 24), ("TEST", 12)):
        rows = [[case % 3, *(case % 3 + np.arange(12) % 2 + case / 100)] for case in range(cases)]
        text = "".join("\t".join(f"{value:g}" for value in row) + "\n" for row in rows)
        (folder / f"{folder.name}_{part}.tsv").write_text(text)


@pytest.fixture(scope="module")
def finished(
    tiny_checkpoint: Path, tmp_path_factory: pytest.TempPathFactory, snakemake: SnakemakeRunner
) -> Path:
    """Give a project in which the table of corrections and a run as published have been made."""
    project = copy_project(tmp_path_factory.mktemp("corrections") / "project")
    shutil.copytree(ROOT / "tests/data/GunPointSmall", project / "own/GunPointSmall")
    write_steps(project / "own/Steps")
    default = next(iter(load_yaml(ROOT / "config/models.yaml").values()))
    recipe = default["recipe"] | {"lora_r": 2, "epochs": 1, "token_budget": 0, "precision": "fp32"}
    recipe |= {"align_steps": 50, "aligned_cases": 0}
    resources = {"threads": 1, "mem_mb": 1000, "runtime": 10, "gpu": 0}
    model = {"source": {"folder": {"path": str(tiny_checkpoint)}}, "system_prompt": ""}
    models = {"tiny": model | {"resources": resources, "recipe": recipe}}
    (project / "config/tiny_models.yaml").write_text(json.dumps(models))
    changes = {
        "datasets": ["GunPointSmall", "Steps"],
        "models": ["tiny"],
        "download": {"sources": ["folder"], "folder": "own"},
        "tables": {"models": "config/tiny_models.yaml"},
        "corrections": CORRECTIONS,
    }
    (project / "config/tiny.yaml").write_text(json.dumps(changes))
    # The tiny tokenizer takes a token for nearly every letter.
    table = project / "config/scenarios.tsv"
    table.write_text(
        re.sub(r"^(numbers_rationale\t.*\t)256\t", r"\g<1>1024\t", table.read_text(), flags=re.M)
    )
    published = f"results/runs/tiny/GunPointSmall/pooled/{PUBLISHED}/seed-0/metrics.json"
    done = snakemake(
        project,
        "--cores",
        "2",
        "--configfile",
        "config/tiny.yaml",
        "--",
        "corrections",
        published,
        timeout=900,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return project


def test_the_table_holds_every_dataset_and_fault(finished: Path) -> None:
    table = pd.read_csv(finished / "results/tables/corrections.csv")
    found = {(row["dataset"], row["switch"]): row for row in table.to_dict("records")}
    assert len(found) == 2 * len(CORRECTIONS)
    for (dataset, switch), row in found.items():
        asked = any(dataset in entry["datasets"] for entry in CORRECTIONS if entry["switch"] == switch)
        assert row["status"] == ("done" if asked else "not run")
        for side in ("without", "with_fault"):
            run = finished / f"results/runs/tiny/{dataset}/pooled/{row[side]}/seed-0"
            assert run.exists() == asked
            if asked:
                metrics = json.loads((run / "metrics.json").read_text())
                assert row[f"accuracy_{side}"] == pytest.approx(metrics["accuracy"])
    # GunPoint's labels are 1 and 2: nothing is merged, and no run is needed to know it.
    assert found["GunPointSmall", "merged_labels"]["inputs"] == "identical"
    assert found["Steps", "merged_labels"]["inputs"] == "different"


def test_accuracy_is_that_of_the_merged_labels(finished: Path) -> None:
    runs = finished / "results/runs/tiny/Steps/pooled"
    honest, faulty = (
        pd.read_csv(runs / f"{name}/seed-0/predictions.csv", dtype=str).set_index("id")
        for name in ("numbers", "numbers__merged_labels")
    )
    assert set(honest["true"]) == {"0", "1", "2"}
    assert (faulty["true"] == honest["true"].replace("0", "2")).all()
    metrics = json.loads((runs / "numbers__merged_labels/seed-0/metrics.json").read_text())
    assert metrics["classes"] == ["1", "2"]
    assert metrics["accuracy"] == pytest.approx((faulty["true"] == faulty["predicted"]).mean())


def test_only_a_leaked_rationale_names_the_class(finished: Path) -> None:
    conversations = finished / "results/conversations/tiny/GunPointSmall/pooled"
    for name, leaks in (("numbers_rationale", False), ("numbers_rationale__leaked_rationale", True)):
        for record in json.loads((conversations / name / "test.json").read_text()):
            question, answer = (turn["value"] for turn in record["conversations"])
            assert (f"These traits are those of class {answer}." in question) == leaks


def test_a_run_as_published_has_no_pixels(finished: Path) -> None:
    assert not (finished / "results/plots").exists()
    place = finished / f"results/conversations/tiny/GunPointSmall/pooled/{PUBLISHED}"
    for record in json.loads((place / "train.json").read_text()):
        assert "image" not in record
        assert "<image>" not in record["conversations"][0]["value"]
    run = finished / f"results/runs/tiny/GunPointSmall/pooled/{PUBLISHED}/seed-0"
    fitted = json.loads((run / "parameters.json").read_text())["representation"]
    assert fitted["image_tokens"] == 0
    assert "single_token_score" in fitted["scenario"]["compat"]


def test_new_series_are_classified_with_a_fault_or_refused(finished: Path, tmp_path: Path) -> None:
    model = json.loads((finished / "config/tiny_models.yaml").read_text())["tiny"]["source"]["folder"]["path"]

    def predict(dataset: str, scenario: str, length: int) -> subprocess.CompletedProcess[str]:
        (tmp_path / "new.csv").write_text(",".join(map(str, range(length))) + "\n")
        run = f"results/runs/tiny/{dataset}/pooled/{scenario}/seed-0"
        command = ["workflow_scripts/predict_series.py", "--run", run, "--series", str(tmp_path / "new.csv")]
        return subprocess.run(
            [sys.executable, *command, "--output", str(tmp_path / "out.csv"), "--model", model],
            cwd=finished,
            capture_output=True,
            text=True,
            timeout=600,
            check=False,
        )

    assert predict("Steps", "numbers__merged_labels", 12).returncode == 0
    assert list(pd.read_csv(tmp_path / "out.csv"))[-2:] == ["score_1", "score_2"]
    refused = predict("GunPointSmall", PUBLISHED, 150)
    assert refused.returncode == 1
    assert "the class of a new series is unknown" in refused.stderr
    assert "Traceback" not in refused.stderr
