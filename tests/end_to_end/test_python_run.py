"""A finished run from Python, on the command line, in the hub's format and in other programs' formats."""

from __future__ import annotations

import json
import runpy
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from conftest import ROOT, SnakemakeRunner
from huggingface_hub import ModelCard
from pyarrow import Table
from tiny_project import DATASET
from tiny_run import RUN, SCENARIOS

from vlmtsc import VLMClassifier, classifier
from vlmtsc.commands import explain, export
from vlmtsc.errors import InputError
from vlmtsc.files import read_json

pytestmark = pytest.mark.end_to_end


def test_equal_to_the_workflow(
    tiny_run: Path, snakemake: SnakemakeRunner, tiny_checkpoint: Path, tmp_path: Path
) -> None:
    project = shutil.copytree(tiny_run, tmp_path / "project")
    run = f"results/runs/tiny/{DATASET}/official/plot_and_numbers/seed-0"
    done = snakemake(
        project, *RUN, "--config", "protocol=official", "--", f"{run}/predictions.csv", timeout=300
    )
    assert done.returncode == 0, done.stderr
    parts = [np.loadtxt(project / f"own/{DATASET}/{DATASET}_{part}.tsv") for part in ("TRAIN", "TEST")]
    (y, X), (_, X_test) = ((rows[:, 0].astype(int), rows[:, None, 1:]) for rows in parts)
    expected = pd.read_csv(project / run / "predictions.csv")
    scores = expected[["score_1", "score_2"]].to_numpy()

    recipe = read_json(project / run / "parameters.json")["finetune"]
    fitted = VLMClassifier(model=str(tiny_checkpoint), recipe=recipe, system_prompt="").fit(X, y)
    assert fitted.predict(X_test).tolist() == expected["predicted"].tolist()
    np.testing.assert_allclose(fitted.score_series(X_test), scores, atol=1e-4)

    finished = VLMClassifier.from_run(project / run, model=tiny_checkpoint)
    assert finished.predict(X_test).tolist() == expected["predicted"].astype(str).tolist()
    np.testing.assert_allclose(finished.score_series(X_test), scores, atol=1e-4)


#: Run where this project cannot be imported: log-likelihoods of the answers to the exported question.
ALONE = """
import importlib.util, json, sys
from pathlib import Path
import torch
from peft import PeftModel
from PIL import Image
from transformers import AutoModelForImageTextToText, AutoProcessor

assert importlib.util.find_spec("vlmtsc") is None
folder, base, answers = Path(sys.argv[1]), sys.argv[2], json.loads(sys.argv[3])
processor = AutoProcessor.from_pretrained(folder / "merged")
prompt, image = (folder / "example/prompt.txt").read_text(), Image.open(folder / "example/plot.png")
n_prompt = processor(text=prompt, images=image, return_tensors="pt")["input_ids"].shape[1]
merged = AutoModelForImageTextToText.from_pretrained(folder / "merged")
adapted = PeftModel.from_pretrained(AutoModelForImageTextToText.from_pretrained(base), folder / "adapter")
scores = []
for answer in answers:
    inputs = processor(text=f"{prompt} {answer}", images=image, return_tensors="pt")
    with torch.no_grad():
        logits = [model(**inputs).logits[0, n_prompt - 1 : -1] for model in (merged, adapted)]
    torch.testing.assert_close(*logits, atol=1e-4, rtol=1e-4)
    targets = inputs["input_ids"][0, n_prompt:, None]
    scores.append(logits[0].log_softmax(-1).gather(1, targets).sum().item())
print(json.dumps(scores))
"""


@pytest.fixture(scope="module")
def exported(tiny_run: Path, tiny_checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("export") / "model"
    run = tiny_run / f"results/runs/tiny/{DATASET}/pooled/plot_and_numbers/seed-0"
    export(run, folder, model=tiny_checkpoint)
    return folder


def test_an_export_needs_transformers_and_peft_alone(
    exported: Path, tiny_run: Path, tiny_checkpoint: Path
) -> None:
    answers = read_json(exported / "parameters.json")["representation"]["label_texts"]
    command = [sys.executable, "-I", "-c", ALONE, str(exported), str(tiny_checkpoint), json.dumps(answers)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    run = tiny_run / f"results/runs/tiny/{DATASET}/pooled/plot_and_numbers/seed-0"
    expected = pd.read_csv(run / "predictions.csv")[["score_1", "score_2"]].iloc[0]
    np.testing.assert_allclose(json.loads(done.stdout), expected, atol=1e-3)


def test_the_model_card_has_what_the_hub_shows(exported: Path, tiny_run: Path, tiny_checkpoint: Path) -> None:
    card = ModelCard.load(exported / "README.md")
    metrics = read_json(tiny_run / f"results/runs/tiny/{DATASET}/pooled/plot_and_numbers/seed-0/metrics.json")
    [result] = card.data.eval_results
    assert (result.dataset_name, result.metric_value) == (DATASET, metrics["accuracy"])
    for part in ("image_blank", "Recipe and representation", "VLMClassifier.load", "Apache-2.0", "## Limits"):
        assert part in card.text
    assert str(tiny_checkpoint) not in (exported / "classifier.json").read_text()
    loaded = VLMClassifier.load(exported, checkpoint=tiny_checkpoint)
    assert loaded.parameters_["run"]["dataset"] == DATASET


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_other_programs_read_the_conversations(tiny_run: Path, scenario: str) -> None:
    folder = tiny_run / f"results/conversations/tiny/{DATASET}/pooled/{scenario}"
    # Arrow's types of all records in one table, as Hugging Face's datasets has them.
    loaded = {
        name: Table.from_pylist(read_json(folder / f"{name}.json"))
        for name in ("train", "validation", "test")
    }
    info = read_json(folder / "dataset_info.json")
    assert {name: table.num_rows for name, table in loaded.items()} == {
        "train": 14,
        "validation": 5,
        "test": 5,
    }
    for name, entry in info.items():
        assert (folder / entry["file_name"]).is_file()
        # LLaMA-Factory's defaults of the format sharegpt: from, value, human, gpt.
        for record in loaded[name].to_pylist():
            turns = record[entry["columns"]["messages"]]
            assert [turn["from"] for turn in turns] == ["human", "gpt"]
            images = turns[0]["value"].count("<image>")
            assert images == (scenario != "numbers") == ("images" in entry["columns"])
            if images:
                image = record[entry["columns"]["images"]]
                assert (tiny_run / f"results/plots/{DATASET}/line" / image).is_file()


def test_unlabelled_series_are_explained(tiny_run: Path, tiny_checkpoint: Path, tmp_path: Path) -> None:
    rows = (tiny_run / f"own/{DATASET}/{DATASET}_TEST.tsv").read_text().splitlines()[:2]
    (tmp_path / "new.csv").write_text("".join(",".join(row.split("\t")[1:]) + "\n" for row in rows))
    run = tiny_run / f"results/runs/tiny/{DATASET}/pooled/plot_and_numbers/seed-0"
    explain(run, tmp_path / "new.csv", tmp_path / "why.png", model=tiny_checkpoint, passes=12)
    table = pd.read_csv(tmp_path / "why.attributions.csv")
    attributions = table.filter(like="attribution_").to_numpy()
    assert attributions.shape == (2, 150)
    assert len(np.unique(attributions[0])) == 4  # windows, each occluded in two ways, of 12 passes
    assert (tmp_path / "why.png").read_bytes().startswith(b"\x89PNG")
    with pytest.raises(InputError, match=r"why.tiff: a figure ends in .png, .pdf, .svg"):
        explain(run, tmp_path / "new.csv", tmp_path / "why.tiff", model=tiny_checkpoint)


def test_the_example_runs(tiny_checkpoint: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MPLBACKEND", "agg")
    # The recipe of the default model, and the tiny one in its place.
    monkeypatch.setattr(
        classifier, "_model", lambda name, configuration: (configuration.model_table[name], tiny_checkpoint)
    )
    found = runpy.run_path(str(ROOT / "docs/examples/plot_gunpoint.py"))
    assert len(found["explanations"]) == 2
    assert found["figure"].axes
