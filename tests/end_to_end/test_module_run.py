"""The tiny workflow as a module of another one, from a git repository, with a prefix and in another folder."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

import pytest
from conftest import SnakemakeRunner, copy_project
from tiny_project import CONFIGURATION, DATASET

pytestmark = pytest.mark.end_to_end

#: Where Snakemake keeps its clones of repositories: with one there, it needs no network.
CLONE = "snakemake/snakemake/source-cache/snakemake-git-cache/github.com/someone/vlm-tsc"
SNAKEFILE = """\
module vlmtsc:
    snakefile:
        github("someone/vlm-tsc", path="Snakefile", commit="{commit}")
    config:
        config["classification"]
    prefix:
        "sub"


use rule * from vlmtsc as x_*


rule mine:
    default_target: True
    input:
        "sub/results/tables/accuracy.md",
    output:
        "mine.md",
    shell:
        "cp {{input}} {{output}}"
"""


def git(folder: Path, *arguments: str) -> str:
    command = ["git", "-C", str(folder), "-c", "user.name=a", "-c", "user.email=a@b.c", *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


def test_results_are_those_of_the_workflow_itself(
    tiny_run: Path, tmp_path: Path, snakemake: SnakemakeRunner, monkeypatch: pytest.MonkeyPatch
) -> None:
    repository, work = copy_project(tmp_path / "repository"), tmp_path / "work"
    git(repository, "init")
    git(repository, "add", "--all")
    git(repository, "commit", "--message", "all")
    commit = git(repository, "rev-parse", "HEAD")
    git(repository, "clone", "--bare", ".", str(tmp_path / "cache" / CLONE))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    shutil.copytree(tiny_run / "own", work / "own")
    shutil.copy(tiny_run / "config/tiny_models.yaml", work / "models.yaml")
    options = json.loads((tiny_run / CONFIGURATION).read_text())
    options |= {"scenarios": ["numbers"], "tables": {"models": "models.yaml"}}
    (work / "mine.yaml").write_text(json.dumps({"classification": options}))
    (work / "Snakefile").write_text(SNAKEFILE.format(commit=commit))
    done = snakemake(work, "--cores", "2", "--configfile", "mine.yaml", timeout=600)
    assert done.returncode == 0, done.stdout + done.stderr
    assert DATASET in (work / "mine.md").read_text()
    # Everything is below the prefix, and nothing beside it.
    assert {path.name for path in work.iterdir()} == {
        *("own", "models.yaml", "mine.yaml", "Snakefile", "mine.md", "sub", ".snakemake")
    }
    runs = f"runs/tiny/{DATASET}/pooled/numbers/seed-0"
    assert json.loads((work / "sub/results" / runs / "run_record.json").read_text())["git_revision"] == commit
    for name in ("adapter/adapter_model.safetensors", "predictions.csv", "controls.csv"):
        expected = (tiny_run / "results" / runs / name).read_bytes()
        assert (work / "sub/results" / runs / name).read_bytes() == expected
    again = snakemake(work, "--cores", "2", "--configfile", "mine.yaml")
    assert "Nothing to be done" in again.stdout + again.stderr
