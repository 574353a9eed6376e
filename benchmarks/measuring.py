"""Shared code of the benchmarks: two implementations timed in turns, and one table row for each comparison.

Times are CPU seconds of one process with one thread (`time.process_time`): other work on the machine does not count,
apart from its use of caches and memory, which slows both sides since they take turns.
"""

from __future__ import annotations

import json
import os
import statistics
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
