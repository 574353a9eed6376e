"""Measure what a dry run costs at several sizes of the archive's configuration; print a table.

    python benchmarks/dry_run.py [DATASETS ...]

Each size is the first datasets of config/archive.yaml, with all of its scenarios and seeds, into a folder of results
that does not exist. Nothing is run.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import yaml

ROOT = Path(__file__).parents[1]
CONFIGURATION = "config/archive.yaml"
SIZES = (8, 32, 128)


def dry_run(datasets: list[str], folder: Path) -> dict[str, float]:
    """Plan the datasets; give jobs, seconds of the clock and of processors, and peak memory in MB."""
    output = folder / "output.txt"
    command = [
        sys.executable,
        "-m",
        "snakemake",
        "--dry-run",
        "--quiet",
        "host",
        "rules",
        "reason",
        "--configfile",
        CONFIGURATION,
    ]
    command += ["--config", f"datasets=[{','.join(datasets)}]", f"results={folder / 'results'}"]
    started = time.monotonic()
    with output.open("wb") as file:
        process = subprocess.Popen(command, cwd=ROOT, stdout=file, stderr=subprocess.STDOUT)
        _, status, usage = os.wait4(process.pid, 0)
    wall = time.monotonic() - started
    text = output.read_text()
    jobs = re.search(r"^total +(\d+)$", text, re.MULTILINE)
    if status or jobs is None:
        raise SystemExit(f"the dry run failed:\n{text}")
    seconds = usage.ru_utime + usage.ru_stime
    return {"jobs": int(jobs[1]), "wall": wall, "cpu": seconds, "memory": usage.ru_maxrss / 1024}


def main() -> None:
    """Print the table."""
    names = yaml.safe_load((ROOT / CONFIGURATION).read_text())["datasets"]
    sizes = [int(size) for size in sys.argv[1:]] or SIZES
    print("| datasets | jobs | seconds | CPU seconds | CPU ms a job | peak MB |")
    print("|---|---|---|---|---|---|")
    for size in sizes:
        with tempfile.TemporaryDirectory() as folder:
            cost = dry_run(names[:size], Path(folder))
        each = 1000 * cost["cpu"] / cost["jobs"]
        print(
            f"| {size} | {cost['jobs']:.0f} | {cost['wall']:.0f} | {cost['cpu']:.0f} | {each:.1f} "
            f"| {cost['memory']:.0f} |",
            flush=True,
        )


if __name__ == "__main__":
    main()
