"""Time two implementations in turns; run all benchmarks and fill docs/results.md (`make bench`).

    python benchmarks/measuring.py [NAMES ...]

Times are CPU seconds of one process with one thread (`time.process_time`): other work on the machine does not count,
apart from its use of caches and memory, which slows both sides since they take turns.
"""

from __future__ import annotations

import datetime
import json
import os
import statistics
import subprocess
import sys
import time
from argparse import ArgumentParser
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "workflow_scripts"))
# As in a job: before torch and the tokenizers are imported.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")

NAMES = ("render", "finetune", "evaluate", "gpu_llava")
FOLDER = ROOT / "results/performance"
PAGE = ROOT / "docs/results.md"
COLUMNS = ("comparison", "this workflow", "reference", "ratio", "agreement", "notes")
Row = dict[str, Any]


def interleaved(rounds: int, **sides: Callable[[], float]) -> dict[str, float]:
    """Call all sides in turns, `rounds` times, and return the median of the values (usually seconds) of each."""
    values: dict[str, list[float]] = {name: [] for name in sides}
    for _ in range(rounds):
        for name, side in sides.items():
            values[name].append(side())
    return {name: statistics.median(found) for name, found in values.items()}


def cpu_seconds(work: Callable[[], object]) -> float:
    """Return the CPU seconds of a call."""
    started = time.process_time()
    work()
    return time.process_time() - started


def make_row(name: str, seconds: Mapping[str, float], unit: str, agreement: str, notes: str = "") -> Row:
    """Make a row from the seconds of both sides, ``ours`` and ``reference``.

    They are shown as they are if `unit` is ``s``, and otherwise as a rate.
    """
    ours, reference = (seconds[side] if unit == "s" else 1 / seconds[side] for side in ("ours", "reference"))
    return {
        "comparison": name,
        "this workflow": f"{number(ours)} {unit}",
        "reference": f"{number(reference)} {unit}",
        "ratio": f"**{number(seconds['reference'] / seconds['ours'])}x**",
        "agreement": agreement,
        "notes": notes,
    }


def number(value: float) -> str:
    """Write a number with three significant digits, and no exponent."""
    digits = max(0, 3 - len(f"{int(abs(value))}")) if abs(value) >= 1 else 3
    return f"{value:,.{digits}f}"


def table(rows: Iterable[Row]) -> str:
    """Return rows as a Markdown table."""
    lines = [f"| {' | '.join(COLUMNS)} |", f"|{'---|' * len(COLUMNS)}"]
    return "\n".join([*lines, *(f"| {' | '.join(row[column] for column in COLUMNS)} |" for row in rows)])


def main(measure: Callable[..., list[Row]], description: str | None, **options: Any) -> None:
    """Measure with the options of the command line, print the table, and write it if ``--output`` names a file.

    Parameters
    ----------
    measure : callable
    description : str
    **options
        Options of the command line and arguments of `measure`, with their defaults.
    """
    parser = ArgumentParser(description=(description or "").partition("\n\n")[0])
    parser.add_argument("--output", type=Path, help="file for the rows (JSON)")
    for name, default in options.items():
        parser.add_argument(f"--{name}", type=type(default), default=default, help="default: %(default)s")
    arguments = vars(parser.parse_args())
    output = arguments.pop("output")
    rows = measure(**arguments)
    print(table(rows), flush=True)
    if output is not None:
        output.write_text(json.dumps(rows, indent=2) + "\n", encoding="utf-8")


def section(results: list[dict[str, Any]]) -> str:
    """Return the tables, each with date, processor and revision."""
    return "\n\n".join(
        f"{table(result['rows'])}\n\n*Run:* `python benchmarks/{result['name']}.py`, {result['date']}, on "
        f"{result['processor']}, revision {result['revision']}."
        for result in results
    )


def run_all() -> None:
    """Run the named benchmarks, by default all, each in a process of its own, and fill the page after each."""
    from vlmtsc.reporting.publish import fill_section
    from vlmtsc.training.record import git_revision, processor_name

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
    run_all()
