"""Run the benchmarks, each in a process of its own, and write their tables into docs/results.md (`make bench`).

    python benchmarks/run_all.py [NAMES ...]

Tables of benchmarks that are not named stay as they are.
"""

from __future__ import annotations

import datetime
import json
import subprocess
import sys
from typing import Any

from measuring import ROOT, table

from vlmtsc.reporting.publish import fill_section
from vlmtsc.training.record import git_revision, processor_name

NAMES = ("overhead", "render", "budget", "finetune", "evaluate", "gpu_llava")
FOLDER = ROOT / "results/performance"
PAGE = ROOT / "docs/results.md"


def section(results: list[dict[str, Any]]) -> str:
    """Return the tables, each with date, processor and revision."""
    return "\n\n".join(
        f"{table(result['rows'])}\n\n*Run:* `python benchmarks/{result['name']}.py`, {result['date']}, on "
        f"{result['processor']}, revision {result['revision']}."
        for result in results
    )


def main() -> None:
    """Run the named benchmarks, by default all, and fill the page after each."""
    names = sys.argv[1:] or NAMES
    if unknown := sorted(set(names) - set(NAMES)):
        raise SystemExit(f"{', '.join(unknown)}: no such benchmark; allowed: {', '.join(NAMES)}")
    FOLDER.mkdir(parents=True, exist_ok=True)
    for name in names:
        file = FOLDER / f"{name}.json"
        script = ["-W", "ignore", f"benchmarks/{name}.py", "--output", str(file)]
        subprocess.run([sys.executable, *script], cwd=ROOT, check=True)
        result = {
            "name": name,
            "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
            "processor": processor_name(),
            "revision": git_revision(ROOT)[:12],
            "rows": json.loads(file.read_text(encoding="utf-8")),
        }
        file.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
        files = [path for known in NAMES if (path := FOLDER / f"{known}.json").is_file()]
        results = [json.loads(path.read_text(encoding="utf-8")) for path in files]
        fill_section(PAGE, "benchmarks", section(results))


if __name__ == "__main__":
    main()
