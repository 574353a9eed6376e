"""The tiny workflow where every path and label tries to be a command, and the environment holds secrets."""

from __future__ import annotations

import json
import re
import secrets
import shlex
import shutil
from pathlib import Path

import pytest
from conftest import SnakemakeRunner
from tiny_project import CONFIGURATION, DATASET, tiny_project

pytestmark = pytest.mark.end_to_end

RESULTS = 're sults "d" $(touch pwned_results) `touch pwned_ticks`;touch pwned_semicolon #'
OWN = "o'wn $(touch pwned_folder) & touch pwned_background"
LABELS = {"1": "$(touch pwned_label)", "2": 'it\'s "{two}" `touch pwned_tick`'}
SECRETS = ("VLMTSC_DESCRIBER_KEY", "HF_TOKEN", "WANDB_API_KEY", "AWS_SECRET_ACCESS_KEY")


@pytest.fixture(scope="module")
def planted() -> dict[str, str]:
    """Give a value for each secret that no file holds by chance."""
    return {name: secrets.token_hex(20) for name in SECRETS}


@pytest.fixture(scope="module")
def finished(
    tiny_checkpoint: Path,
    tmp_path_factory: pytest.TempPathFactory,
    snakemake: SnakemakeRunner,
    planted: dict[str, str],
) -> Path:
    """Give a project in which such a workflow has run."""
    base = tmp_path_factory.mktemp("safe")
    model = base / "mo del $(touch pwned_model) 'q'"
    shutil.copytree(tiny_checkpoint, model)
    project = tiny_project(base / "pro ject $(touch pwned_project)", model, ["plot_and_numbers"])
    (project / "own").rename(project / OWN)
    for file in (project / OWN / DATASET).glob("*.tsv"):
        rows = [line.split("\t", 1) for line in file.read_text().splitlines()]
        file.write_text("".join(f"{LABELS[label]}\t{values}\n" for label, values in rows))
    path = project / CONFIGURATION
    changes = json.loads(path.read_text()) | {"results": RESULTS}
    changes["download"]["folder"] = OWN
    path.write_text(json.dumps(changes))
    with pytest.MonkeyPatch.context() as patch:
        for name, value in planted.items():
            patch.setenv(name, value)
        report = ("--report", f"{RESULTS}/report.html", "--report-after-run")
        options = ("--cores", "2", "--printshellcmds", "--configfile", CONFIGURATION)
        done = snakemake(project, *options, *report, timeout=1800)
    assert done.returncode == 0, done.stdout + done.stderr
    (project / "output.txt").write_text(done.stdout + done.stderr)
    return project


def test_no_path_or_label_is_run(finished: Path) -> None:
    assert [path.name for path in finished.parent.rglob("*") if path.name.startswith("pwned")] == []
    facts = (finished / RESULTS / "datasets" / DATASET / "facts.json").read_text()
    assert set(json.loads(facts)["label_map"]) == set(LABELS.values())
    assert (finished / RESULTS / "report.html").is_file()


def test_printed_commands_can_be_pasted(finished: Path) -> None:
    printed = re.findall(r"^Shell command: (.*)$", (finished / "output.txt").read_text(), re.MULTILINE)
    commands = [command for command in printed if command != "None"]  # of the rule `all`
    assert len(commands) >= 8
    for command in commands:
        words = shlex.split(command)
        assert words[0] == "python"
        assert Path(words[1]).parent.name == "workflow_scripts"
        assert words[words.index("--log") + 1].startswith(f"{RESULTS}/logs/")


def test_secrets_stay_in_the_environment(finished: Path, planted: dict[str, str]) -> None:
    files = [path for path in finished.rglob("*") if path.is_file()]
    # What tells where results come from is among them, and tells no more than it should.
    assert {"run_record.json", "provenance.json", "provenance.html", "methods.md", "report.html"} <= {
        path.name for path in files
    }
    for name, value in planted.items():
        assert [path for path in files if value.encode() in path.read_bytes()] == [], name
