"""Run the benchmarks one after the other, and put their table into docs/performance.md (`make bench`).

    python benchmarks/run_all.py [NAMES ...]

Each runs in a process of its own. Rows of benchmarks that were not asked for stay as they were.
"""

from __future__ import annotations

import datetime
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from measuring import ROOT, table

from vlmtsc.reporting.publish import fill_section
from vlmtsc.training.record import git_revision, processor_name

NAMES = ("overhead", "render", "budget", "finetune", "evaluate", "gpu_llava")
ROWS = Path("results/performance")
PAGE = Path("docs/performance.md")


def section(parts: list[dict[str, Any]]) -> str:
    """Return the tables of all benchmarks that have run, each with when and on what."""
    texts = []
    for part in parts:
        texts.append(
            f"{table(part['rows'])}\n\n*Run:* `python benchmarks/{part['name']}.py`, {part['date']}, on "
            f"{part['processor']}, revision {part['revision']}."
        )
    return "\n\n".join(texts)


def publish(folder: Path) -> None:
    """Fill the page with what has been measured so far."""
    files = [folder / f"{name}.json" for name in NAMES]
    parts = [json.loads(file.read_text(encoding="utf-8")) for file in files if file.is_file()]
    fill_section(ROOT / PAGE, "benchmarks", section(parts))


def main() -> None:
    """Run what was asked for, and fill the page."""
    names = sys.argv[1:] or NAMES
    unknown = sorted(set(names) - set(NAMES))
    if unknown:
        raise SystemExit(f"{', '.join(unknown)}: no such benchmark; allowed: {', '.join(NAMES)}")
    folder = ROOT / ROWS
    for name in names:
        output = folder / f"{name}.rows.json"
        command = [
            sys.executable,
            "-W",
            "ignore",
            str(ROOT / "benchmarks" / f"{name}.py"),
            "--output",
            str(output),
        ]
        subprocess.run(command, cwd=ROOT, check=True)
        part = {
            "name": name,
            "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
            "processor": processor_name(),
            "revision": git_revision(ROOT)[:12],
            "rows": json.loads(output.read_text(encoding="utf-8")),
        }
        output.unlink()
        (folder / f"{name}.json").write_text(json.dumps(part, indent=2) + "\n", encoding="utf-8")
        publish(folder)


if __name__ == "__main__":
    main()
