"""Measure what a job costs that is not work: imports, loading, saving; against jobs that import everything.

    python benchmarks/overhead.py [--rounds 2] [--rules finetune_model,write_tables]

The workflow runs once on a LLaVA of two layers and 24 series, for which there is next to nothing to do. Then the
command of one job of each rule runs again, in turns with itself after the imports of all that the workflow's jobs need:
what each would cost if their scripts shared their imports, as modules that import at their heads make them do.
"""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
import tempfile
from pathlib import Path

from measuring import ROOT, Row, interleaved, load, parse, report

sys.path.insert(0, str(ROOT / "tests"))

from tiny_llava import write_checkpoint
from tiny_project import CONFIGURATION, tiny_project

#: What jobs need, each something else of it; then the script as it would run by itself.
EVERYTHING = (
    "import matplotlib.pyplot, pandas, peft, scipy.stats, seaborn, sklearn.linear_model, torch; "
    "from transformers import LlavaForConditionalGeneration, Trainer; "
    "import os, runpy, sys; sys.argv = sys.argv[1:]; sys.path.insert(0, os.path.dirname(sys.argv[0])); "
    "runpy.run_path(sys.argv[0], run_name='__main__')"
)
SCENARIOS = ("plot_and_numbers",)
#: Finished trainings are not to be found again.
FORGET = "rm -rf results/shared_runs results/checkpoints"


def snakemake(project: Path, *arguments: str) -> str:
    """Run Snakemake in a project; return what it prints.

    Raises
    ------
    SystemExit
        If it fails.
    """
    command = [sys.executable, "-m", "snakemake", "--cores", "1", "--configfile", CONFIGURATION, *arguments]
    done = subprocess.run(command, cwd=project, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(
            f"snakemake {' '.join(arguments)} failed:\n{done.stdout[-2000:]}{done.stderr[-2000:]}"
        )
    return done.stdout


def commands(plan: str) -> dict[str, str]:
    """Return the first command of each rule of a dry run that prints commands."""
    pattern = r"^(?:local)?rule (\w+):\n(?:.+\n)*?Shell command: (python .+)$"
    found: dict[str, str] = {}
    for rule, command in re.findall(pattern, plan, re.MULTILINE):
        found.setdefault(rule, command)
    return found


def seconds_of(command: str, project: Path) -> float:
    """Run a shell command; return its CPU seconds and its children's.

    Raises
    ------
    SystemExit
        If it fails.
    """
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


def measure(rounds: int, rules: tuple[str, ...]) -> list[Row]:
    """Run one job of each rule in turns as it is and with all imports."""
    rows = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        project = tiny_project(folder / "project", write_checkpoint(folder / "checkpoint"), SCENARIOS)
        snakemake(project)
        plan = commands(snakemake(project, "--dry-run", "--printshellcmds", "--forceall"))
        for rule, command in plan.items():
            if rules and rule not in rules:
                continue
            command = f"{FORGET}; {command}" if rule == "finetune_model" else command
            eager = command.replace(
                "python workflow_scripts/", f"python -c {shlex.quote(EVERYTHING)} workflow_scripts/"
            )
            seconds = interleaved(
                {
                    "ours": lambda text=command: seconds_of(text, project),
                    "other": lambda text=eager: seconds_of(text, project),
                },
                rounds,
            )
            rows.append(
                Row(
                    claim=f"overhead of {rule}",
                    unit="s",
                    ours=seconds["ours"],
                    other=seconds["other"],
                    ratio=seconds["other"] / seconds["ours"],
                    aim="",
                    agreement="both succeed",
                    notes="other side: with all imports",
                    load=load(),
                )
            )
    return rows


def main() -> None:
    """Print the table."""
    options = parse(
        __doc__,
        {
            "rounds": (int, 2, "turns of each side"),
            "rules": (str, "", "rules to measure, with commas between them; all if empty"),
        },
    )
    chosen = tuple(name for name in options.rules.split(",") if name)
    report(measure(options.rounds, chosen), options.output)


if __name__ == "__main__":
    main()
