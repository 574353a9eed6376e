"""Compare the overhead of each rule's job (imports, loading, saving) with that of jobs that import everything.

    python benchmarks/overhead.py [--rounds 2] [--rules finetune_model,write_tables]

The workflow runs once on a LLaVA of two layers and 24 series. Then the command of one job of each rule runs again, in
turns with the same command after the imports of all that the workflow's jobs need: the cost of scripts that share
modules which import everything at their heads.
"""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
import tempfile
from pathlib import Path

from measuring import ROOT, Row, interleaved, main, make_row

sys.path.insert(0, str(ROOT / "tests"))

from tiny_llava import write_checkpoint
from tiny_project import CONFIGURATION, tiny_project

#: Imports of all jobs; then the script as it would run by itself.
EVERYTHING = (
    "import matplotlib.pyplot, pandas, peft, scipy.stats, seaborn, sklearn.linear_model, torch; "
    "from transformers import LlavaForConditionalGeneration, Trainer; "
    "import os, runpy, sys; sys.argv = sys.argv[1:]; sys.path.insert(0, os.path.dirname(sys.argv[0])); "
    "runpy.run_path(sys.argv[0], run_name='__main__')"
)
#: A finished training would be reused.
FORGET = "rm -rf results/shared_runs results/checkpoints"


def snakemake(project: Path, *arguments: str) -> str:
    """Run Snakemake in a project and return its output, or exit with it."""
    command = [sys.executable, "-m", "snakemake", "--cores", "1", "--configfile", CONFIGURATION, *arguments]
    done = subprocess.run(command, cwd=project, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{shlex.join(command)} failed:\n{done.stdout[-2000:]}{done.stderr[-2000:]}")
    return done.stdout


def commands(plan: str) -> dict[str, str]:
    """Return the first command of each rule in a dry run's output."""
    pattern = r"^(?:local)?rule (\w+):\n(?:.+\n)*?Shell command: (python .+)$"
    return dict(reversed(re.findall(pattern, plan, re.MULTILINE)))


def seconds_of(command: str, project: Path) -> float:
    """Run a shell command and return the CPU seconds of it and its children, or exit with its output."""
    environment = {**os.environ, "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}
    with tempfile.TemporaryFile() as output:
        process = subprocess.Popen(
            ["bash", "-c", command], cwd=project, env=environment, stdout=output, stderr=subprocess.STDOUT
        )
        _, status, usage = os.wait4(process.pid, 0)
        if status:
            output.seek(0)
            raise SystemExit(f"{command} failed:\n{output.read().decode()[-2000:]}")
    return usage.ru_utime + usage.ru_stime


def measure(rounds: int, rules: str) -> list[Row]:
    """Run one job of each rule, or of those in a comma-separated list, in turns as it is and with all imports."""
    rows = []
    with tempfile.TemporaryDirectory() as name:
        checkpoint = write_checkpoint(Path(name, "checkpoint"))
        project = tiny_project(Path(name, "project"), checkpoint, ["plot_and_numbers"])
        snakemake(project)
        for rule, command in commands(
            snakemake(project, "--dry-run", "--printshellcmds", "--forceall")
        ).items():
            if rules and rule not in rules.split(","):
                continue
            ours = f"{FORGET}; {command}" if rule == "finetune_model" else command
            everything = f"python -c {shlex.quote(EVERYTHING)} workflow_scripts/"
            reference = ours.replace("python workflow_scripts/", everything)
            seconds = interleaved(
                rounds,
                ours=lambda command=ours: seconds_of(command, project),
                reference=lambda command=reference: seconds_of(command, project),
            )
            rows.append(make_row(f"overhead of {rule}", seconds, "s", "both succeed"))
    return rows


if __name__ == "__main__":
    main(measure, __doc__, rounds=2, rules="")
