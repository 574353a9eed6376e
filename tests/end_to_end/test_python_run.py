"""The classifier and a run of the workflow on the archive's split: the same arrays, the same predictions."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from conftest import SnakemakeRunner
from tiny_project import DATASET
from tiny_run import RUN

from vlmtsc import VLMClassifier
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
    classifier = VLMClassifier(model=str(tiny_checkpoint), recipe=recipe, system_prompt="").fit(X, y)
    assert classifier.predict(X_test).tolist() == expected["predicted"].tolist()
    np.testing.assert_allclose(classifier.score_series(X_test), scores, atol=1e-4)

    finished = VLMClassifier.from_run(project / run, model=tiny_checkpoint)
    assert finished.predict(X_test).tolist() == expected["predicted"].astype(str).tolist()
    np.testing.assert_allclose(finished.score_series(X_test), scores, atol=1e-4)
