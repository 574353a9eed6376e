"""What the targets of the Makefile call, without calling it."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import ROOT

from vlmtsc.settings import BASELINES


def make(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run `make` in the project's folder, in the environment of the tests."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    return subprocess.run(
        ["make", "-o", "environment", *arguments],
        cwd=ROOT,
        env={**os.environ, "PATH": path},
        capture_output=True,
        text=True,
        check=False,
    )


def test_evidence_names_every_simple_method() -> None:
    [names] = re.findall(r"^BASELINES \?= (.+)$", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert tuple(names.split(", ")) == BASELINES


@pytest.mark.parametrize("target", ["paper", "paper-embedded", "evidence"])
def test_a_second_config_option_is_refused(target: str) -> None:
    done = make("-n", target, "ARGS=--config seeds=[1]")
    assert f"make {target}: --config goes into CONFIG, not into ARGS" in done.stderr
    assert make("-n", target, "CONFIG=seeds=[1]", "ARGS=--configfile x.yaml").stdout.count("--config ") == 1


@pytest.mark.parametrize("option", ["-n", "-np", "--dryrun", "--dry-run"])
def test_a_dry_run_reports_and_publishes_nothing(option: str) -> None:
    assert "--report" in make("-n", "results").stdout
    assert "--report" not in make("-n", "results", f"ARGS={option}").stdout
    for target in ("corrections", "paper-ledger"):
        assert "publish_results" in make("-n", target).stdout
        assert "publish_results" not in make("-n", target, f"ARGS={option}").stdout


def test_a_report_of_another_folder_is_refused() -> None:
    done = make("results", "ARGS=-n --config results=elsewhere")
    assert done.returncode != 0
    assert "results: elsewhere, but make has RESULTS=results; allowed: the same" in done.stdout + done.stderr
