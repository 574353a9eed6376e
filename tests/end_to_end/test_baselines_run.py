"""Baselines, comparisons and export for real, on a tiny model."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pandas as pd
import pytest
from chat_server import ChatServer
from conftest import SnakemakeRunner
from tiny_project import DATASET, tiny_project

from vlmtsc.settings import URL_VARIABLE

pytestmark = pytest.mark.end_to_end

BASELINES = ("majority", "dtw_1nn", "logistic_tower", "logistic_language", "hosted_model")
RUN = ("--cores", "2", "--configfile", "config/tiny.yaml")
CHOSEN = ("--config", f"baselines=[{','.join(BASELINES)}]", "describe={requests_per_minute: 100000}")


@pytest.fixture(scope="module", autouse=True)
def server() -> Iterator[ChatServer]:
    """Run an endpoint, of whose answers those with the numbers 1 and 2 name a class."""
    running = ChatServer()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(URL_VARIABLE, running.url)
        yield running
    running.close()


@pytest.fixture(scope="module")
def configured(tiny_checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_project(tmp_path_factory.mktemp("baselines") / "project", tiny_checkpoint, ["numbers"])


@pytest.fixture(scope="module")
def alone(configured: Path, snakemake: SnakemakeRunner) -> str:
    """Run the target `baselines` and nothing else; return what was printed."""
    done = snakemake(configured, *RUN, *CHOSEN, "--", "baselines", timeout=600)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_the_table_of_baselines_needs_no_run(configured: Path, alone: str) -> None:
    results = configured / "results"
    assert not (results / "runs").exists()
    table = pd.read_csv(results / "tables/baselines.csv")
    assert table["method"].tolist() == list(BASELINES)
    assert set(table["n_cases"]) == {5}
    assert table["log_loss"].isna().tolist() == [False, True, False, False, True]
    assert table["valid_rate"].tolist()[-1] == 0.4  # 2 of 5
    assert (results / "tables/baselines.md").read_text() in alone


def test_runs_are_compared_with_baselines_and_exported(
    configured: Path, alone: str, server: ChatServer, snakemake: SnakemakeRunner
) -> None:
    done = snakemake(configured, *RUN, *CHOSEN, "--", "comparisons", "export", timeout=600)
    assert done.returncode == 0, done.stdout + done.stderr
    results = configured / "results"
    pairs = pd.read_csv(results / "tables/comparisons.csv")
    assert pairs["first"].tolist() == ["numbers"] * 5
    assert pairs["second"].tolist() == list(BASELINES)
    exported = sorted(path.name for path in (results / "export/pooled").iterdir())
    assert exported == [
        "1NN-DTW",
        "classification",
        "hosted_model",
        "logistic_language",
        "logistic_tower",
        "majority",
        "numbers",
    ]
    assert len(server.received) == 5
    # The table of baselines takes up the finished run, without its being an input, and then rests.
    again = snakemake(configured, *RUN, *CHOSEN, "--", "baselines", "comparisons", "export")
    assert again.returncode == 0, again.stderr
    assert "(numbers)" in (results / "tables/baselines.md").read_text()
    assert set(re.findall(r"^(?:local)?rule (\w+):", again.stderr, re.MULTILINE)) <= {
        *("write_baselines_table", "baselines", "comparisons", "export")
    }
    predictions = results / f"baselines/{DATASET}/pooled/dtw_1nn/predictions.csv"
    run = results / f"runs/tiny/{DATASET}/pooled/numbers/seed-0/predictions.csv"
    assert pd.read_csv(predictions)["id"].tolist() == pd.read_csv(run)["id"].tolist()
