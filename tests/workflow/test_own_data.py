"""Data of one's own through the workflow, up to the split: what is logged, and that a faulty file is read once."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

from conftest import SnakemakeRunner

TABLE = "id,label,who,t0,t1,t2\n" + "".join(
    f"s{case},{'up' if case % 2 else 'down'},p{case % 5},{case},1,2\n" for case in range(20)
)


def test_a_table_becomes_a_split_in_one_command(
    project: Path, snakemake: SnakemakeRunner, tmp_path: Path
) -> None:
    table = tmp_path / "my walks.csv"
    table.write_text(TABLE)
    options = ("--config", f"data={table}", "group=who")
    target = "results/datasets/my_walks/pooled/facts.json"
    done = snakemake(project, "--cores", "1", *options, "--", target)
    assert done.returncode == 0, done.stderr
    facts = json.loads((project / target).read_text())
    assert facts["n_cases"] == {"train": 12, "validation": 4, "test": 4}
    assert facts["grouped"]
    assert not facts["given"]
    log = (project / "results/logs/download_dataset/my_walks.log").read_text()
    said = "2 classes: down (10), up (10)", "none of 5 groups in two sets"
    assert all(line in log for line in said)
    # The plan says the same, and knows the sizes.
    plan = subprocess.run(
        [sys.executable, "workflow_scripts/plan_runs.py", *options],
        **{"cwd": project, "capture_output": True, "text": True, "check": True},
    )
    assert all(line in plan.stdout for line in said)
    assert "Samples, tokens and time unknown" not in plan.stdout
    # A faulty file is named once.
    table.write_text(TABLE.replace("s3,up,p3,3", "s3,up,p3,x"))
    done = snakemake(project, "--cores", "1", *options, "--retries", "2", "--", target)
    assert done.returncode != 0
    assert len(re.findall("^localrule download_dataset:", done.stderr, re.MULTILINE)) == 1
    assert "row 5, column 4: 'x'; allowed: a finite number" in done.stderr
