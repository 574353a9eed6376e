"""Formatting, style, types and sizes: the rules of the house."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import ROOT

BIN = Path(sys.executable).parent


@pytest.mark.parametrize(
    "command",
    [
        ["ruff", "format", "--check", "workflow_scripts", "tests", "benchmarks"],
        ["ruff", "check", "workflow_scripts", "tests", "benchmarks"],
        ["snakefmt", "--check", "Snakefile", "rules"],
        ["mypy"],
    ],
    ids=lambda command: " ".join(command[:2]),
)
def test_tool_is_content(command: list[str]) -> None:
    done = subprocess.run(
        [str(BIN / command[0]), *command[1:]], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_no_file_is_too_long() -> None:
    files = [ROOT / "Snakefile", *ROOT.glob("rules/*.smk"), *ROOT.glob("workflow_scripts/**/*.py")]
    lengths = {path.relative_to(ROOT).as_posix(): len(path.read_text().splitlines()) for path in files}
    assert {name: length for name, length in lengths.items() if length > 400} == {}
    assert lengths["rules/common.smk"] < 200


def test_tests_that_documents_name_exist() -> None:
    named = set(re.findall(r"`(test_\w+)`", (ROOT / "docs/reliability.md").read_text()))
    tests = {
        name
        for path in ROOT.glob("tests/**/*.py")
        for name in re.findall(r"def (test_\w+)", path.read_text())
    }
    assert len(named) > 50
    assert named - tests == set()


def test_the_library_knows_nothing_of_snakemake() -> None:
    library = ROOT / "workflow_scripts/vlmtsc"
    guilty = [
        p
        for p in library.glob("**/*.py")
        if "import snakemake" in (t := p.read_text()) or "from snakemake" in t
    ]
    assert guilty == []


def test_rules_are_complete() -> None:
    """Each rule with a command has a log, a benchmark, resources and the digest of its script."""
    for path in ROOT.glob("rules/*.smk"):
        for rule in path.read_text().split("\nrule ")[1:]:
            name = f"{path.name}: {rule.split(':')[0]}"
            if "\n    shell:" in rule:
                for part in ("log:", "benchmark:", "resources:", "code=code_of(", "path_of("):
                    assert part in rule, f"{name} lacks {part}"
