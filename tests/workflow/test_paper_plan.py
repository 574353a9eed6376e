"""The folder for a paper: its content, and that nothing is trained for it."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pandas as pd
import pytest
from conftest import SnakemakeRunner
from tiny_run import RUN

ONE = ("datasets=[GunPoint]", "scenarios=[plot,numbers]")


def test_what_would_train_is_refused(project: Path, snakemake: SnakemakeRunner) -> None:
    done = snakemake(project, "collect_paper", "--cores", "1", "--config", *ONE)
    assert done.returncode != 0
    output = done.stdout + done.stderr
    assert "collect_paper trains nothing, but 2 of its runs and baselines lack results" in output
    assert "embedded/GunPoint/pooled/numbers/seed-0 (finetune_model: missing)" in output
    assert "snakemake all --cores 1 --config 'datasets=[GunPoint]' 'scenarios=[plot,numbers]'" in output
    assert not (project / "results").exists()


@pytest.mark.end_to_end
def test_the_folder_for_a_paper_is_complete(
    tiny_run: Path, tmp_path: Path, snakemake: SnakemakeRunner
) -> None:
    project = shutil.copytree(tiny_run, tmp_path / "project")
    done = snakemake(project, "collect_paper", *RUN, timeout=600)
    assert done.returncode == 0, done.stdout + done.stderr
    ran = set(re.findall(r"^(?:local)?rule (\w+):", done.stdout + done.stderr, re.MULTILINE))
    assert ran == {"write_paper_table", "collect_paper"}
    paper = project / "results/paper"
    # Each figure of the report is there as PDF.
    shown = {path.relative_to(project / "results") for path in (project / "results/figures").rglob("*.png")}
    assert shown
    for figure in shown:
        assert (paper / figure.with_suffix(".pdf")).read_bytes().startswith(b"%PDF"), figure
    for name in ("accuracy", "paper", "controls", "methods", "comparisons"):
        assert r"\begin{tabular}" in (paper / f"tables/{name}.tex").read_text(), name
        assert len(pd.read_csv(paper / f"tables/{name}.csv"))
    document = (paper / "paper.tex").read_text()
    parts = re.findall(r"\\input\{(.*?)\}", document)
    pictures = re.findall(r"\\includegraphics\[.*?\]\{(.*?)\}", document)
    assert all((paper / f"{part}.tex").is_file() for part in parts)
    assert {f"{picture}.pdf" for picture in pictures} == {
        figure.with_suffix(".pdf").as_posix() for figure in shown
    }
    held = set(re.findall(r"^@\w+\{([\w-]+),", (paper / "references.bib").read_text(), re.MULTILINE))
    methods = (paper / "methods.md").read_text()
    assert held == {
        key for group in re.findall(r"\[(@.*?)\]", methods) for key in re.findall(r"@([\w-]+)", group)
    }
