"""Profiles: each plans what the default does, and jobs ask for what they need."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from conftest import ROOT, SnakemakeRunner

from vlmtsc.configuration import load_yaml

PROFILES = sorted(path.name for path in (ROOT / "profiles").iterdir())
ONE = ("--config", "datasets=[GunPoint]", "scenarios=[plot,numbers]", "seeds=[0,1]")
#: What every profile has to say again, since it replaces profiles/default.
SHARED = ("show-failed-logs", "keep-going", "rerun-incomplete")


def rules() -> dict[str, str]:
    """Give the text of each rule with a command, by name."""
    found = {}
    for path in sorted((ROOT / "rules").glob("*.smk")):
        for text in re.split(r"^rule ", path.read_text(), flags=re.MULTILINE)[1:]:
            if "\n    shell:" in text:
                found[text.partition(":")[0]] = text
    return found


@pytest.mark.parametrize("profile", PROFILES)
def test_every_profile_plans_the_same_jobs(project: Path, snakemake: SnakemakeRunner, profile: str) -> None:
    plans = []
    for name in ("default", profile):
        options = ("--workflow-profile", f"profiles/{name}", "--dry-run", "--quiet", "host", "rules")
        done = snakemake(project, *options, *ONE)
        assert done.returncode == 0, done.stderr
        plans.append(re.findall(r"^(\w+) +(\d+)$", done.stdout + done.stderr, re.MULTILINE))
    assert plans[0] == plans[1]
    assert ("finetune_model", "4") in plans[0]


@pytest.mark.parametrize("profile", PROFILES)
def test_every_profile_goes_on_after_failures(profile: str) -> None:
    options = load_yaml(ROOT / "profiles" / profile / "config.yaml")
    assert {name: options.get(name) for name in SHARED} == dict.fromkeys(SHARED, True)


def test_groups_hold_only_rules_that_exist_and_need_little() -> None:
    options = load_yaml(ROOT / "profiles/slurm/config.yaml")
    texts = rules()
    assert set(options["groups"]) <= set(texts)
    for name in options["groups"]:
        assert "threads:" not in texts[name].replace("threads: 1\n", "")
        assert "gpu" not in texts[name]
    assert set(options["group-components"]) <= set(options["groups"].values())


def test_small_jobs_of_single_datasets_are_in_groups() -> None:
    grouped = load_yaml(ROOT / "profiles/slurm/config.yaml")["groups"]
    small = {
        name
        for name, text in rules().items()
        if re.search(r"log:\n.*(\{dataset\}|SCENARIO|RUN)", text)
        and re.search(r"mem_mb=growing\((500|1000|2000)\)", text)
    }
    # Many plots, prompts or requests to an endpoint: these take their time.
    alone = {"render_plots", "build_conversations", "describe_series", "ask_hosted_model"}
    assert small - set(grouped) == alone


def test_memory_is_portable_and_grows_where_a_job_is_submitted() -> None:
    for name, text in rules().items():
        assert re.search(r"mem_mb=(growing\(\d+\)|model_resource\(\"mem_mb\"\))", text) or (
            "localrule: True" in text
        ), name
        assert "runtime=" in text, name
        assert "slurm" not in text, name


@pytest.mark.parametrize(("profile", "store"), [("default", "files"), ("slurm", "archive")])
def test_a_profile_says_how_plots_are_kept(
    project: Path, snakemake: SnakemakeRunner, profile: str, store: str
) -> None:
    options = ("--workflow-profile", f"profiles/{profile}", "--dry-run", "--printshellcmds")
    done = snakemake(project, *options, *ONE)
    assert re.findall(r"render_plots\.py.* --store (\w+)", done.stdout + done.stderr) == [store]


def test_only_local_rules_touch_the_network() -> None:
    local = {name for name, text in rules().items() if "localrule: True" in text}
    assert local == {
        "download_dataset",
        "download_model",
        "download_model_parts",
        "request_descriptions",
        "ask_hosted_model",
    }


def test_each_attempt_gets_more_memory(project: Path, snakemake: SnakemakeRunner, tmp_path: Path) -> None:
    own = tmp_path / "own" / "Mine"
    own.mkdir(parents=True)
    for part in ("TRAIN", "TEST"):
        (own / f"Mine_{part}.tsv").write_text("1\t0.5\t0.25\n2\t1\t2\n")
    (project / "workflow_scripts/preprocess_dataset.py").write_text("raise SystemExit(1)\n")
    target = "results/datasets/Mine/series.npz"
    done = snakemake(
        project,
        *("--cores", "1", "--retries", "2", "--config", "datasets=[Mine]", f"folder={own.parent}"),
        *("--", target),
    )
    assert done.returncode == 1
    attempts = re.findall(
        r"^(?:local)?rule preprocess_dataset:.*?mem_mb=(\d+)", done.stderr, re.MULTILINE | re.DOTALL
    )
    assert attempts == ["2000", "4000", "6000"]
