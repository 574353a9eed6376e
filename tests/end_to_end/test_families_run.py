"""Other kinds of models than LLaVA through the workflow, from a folder with their own chat templates."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from conftest import SnakemakeRunner
from tiny_project import DATASET, tiny_project

from predict_series import predict_series

pytestmark = pytest.mark.end_to_end

MODELS = ("qwen2_5_vl", "smolvlm")
RUN = ("--cores", "2", "--configfile", "config/tiny.yaml")
NO_ALIGNMENT = {"align_steps": 0, "soft_answers": False, "mixed_share": 0}
NO_ALIGNMENT |= {"projector_learning_rate": 1e-3}


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give a project with one model of each kind."""
    from tiny_families import write_family

    folder = tmp_path_factory.mktemp("families")
    project = tiny_project(
        folder / "project",
        folder / "qwen2_5_vl",
        ["plot_and_numbers"],
        NO_ALIGNMENT,
        options={"models": MODELS},
    )
    table = project / "config/tiny_models.yaml"
    row = json.loads(table.read_text())["tiny"] | {"store_features": False, "template": "model"}
    rows = {}
    for name in MODELS:
        path = write_family(name, folder / name)
        rows[name] = row | {"source": {"folder": {"path": str(path)}}}
    rows["qwen2_5_vl"]["image_options"] = {"max_pixels": 3136, "min_pixels": 784}
    rows["smolvlm"]["image_options"] = {"do_image_splitting": False}
    table.write_text(json.dumps(rows))
    return project


def test_from_a_folder_to_metrics_controls_and_predictions(
    project: Path, snakemake: SnakemakeRunner, tmp_path: Path
) -> None:
    runs = [f"results/runs/{name}/{DATASET}/pooled/plot_and_numbers/seed-0" for name in MODELS]
    done = snakemake(project, *RUN, "--", *(f"{run}/metrics.json" for run in runs), timeout=900)
    assert done.returncode == 0, done.stdout + done.stderr
    for name, run, tokens in zip(MODELS, runs, (2, 4), strict=True):
        folder = project / run
        metrics = json.loads((folder / "metrics.json").read_text())
        predictions = pd.read_csv(folder / "predictions.csv")
        assert metrics["n_cases"] == len(predictions) == 5
        controls = pd.read_csv(folder / "controls.csv").set_index("control")
        assert controls.loc["image_swapped", "total_variation"] > 0
        stored = json.loads((folder / "parameters.json").read_text())["representation"]
        assert stored["image_tokens"] == tokens
        assert (
            stored["chat"]["middle"].strip().endswith("assistant" if name == "qwen2_5_vl" else "Assistant:")
        )
        series = pd.DataFrame(np.random.default_rng(0).normal(size=(3, stored["n_timepoints"])))
        series.to_csv(tmp_path / f"{name}.csv", header=False, index=False)
        source = json.loads((project / "config/tiny_models.yaml").read_text())[name]["source"]["folder"][
            "path"
        ]
        predict_series(folder, tmp_path / f"{name}.csv", tmp_path / f"{name}-out.csv", model=Path(source))
        assert len(pd.read_csv(tmp_path / f"{name}-out.csv")) == 3


def test_an_unsupported_kind_is_refused_before_the_first_job(
    project: Path, snakemake: SnakemakeRunner, tmp_path: Path
) -> None:
    table = project / "config/tiny_models.yaml"
    rows = json.loads(table.read_text())
    copy = shutil.copytree(rows["smolvlm"]["source"]["folder"]["path"], tmp_path / "text")
    config = json.loads((copy / "config.json").read_text())
    (copy / "config.json").write_text(json.dumps(config["text_config"]))
    other = project / "config/other_models.yaml"
    other.write_text(
        json.dumps(rows | {"smolvlm": rows["smolvlm"] | {"source": {"folder": {"path": str(copy)}}}})
    )
    done = snakemake(project, *RUN, "--dry-run", "--config", "tables={models: config/other_models.yaml}")
    assert done.returncode != 0
    assert "model_type 'llama'; allowed: a kind of image-text-to-text model" in done.stdout + done.stderr
    assert "Traceback" not in done.stdout + done.stderr
