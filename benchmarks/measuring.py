"""What the benchmarks share: two sides measured in turns, medians, and a row of the table for each claim.

Times are CPU seconds of one process with one thread (`time.process_time`), so that other work on the machine, which
takes cores away, does not count. It still slows down caches and memory, for both sides alike since they take turns.
"""

from __future__ import annotations

import json
import os
import statistics
import sys
import time
from argparse import ArgumentParser, Namespace
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "workflow_scripts"))
# As in a job: before torch and the tokenizers are imported.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")

#: The keys of a row, in the order of the table's columns.
HEAD = ("claim", "ours", "the other side", "ratio", "aim", "results agree", "notes", "load")


@dataclass(frozen=True)
class Row:
    """One measured claim.

    Attributes
    ----------
    claim : str
    unit : str
        Of `ours` and `other`.
    ours, other : float
        Medians.
    ratio : float
        How many times better ours is.
    aim : str
        The ratio that was asked for; empty if none was.
    agreement : str
        In what the results of both sides agree; checked by the script, which fails otherwise.
    notes : str
    load : float
        The machine's load (processes that want a core, mean of a minute) when the measurement ended.
    """

    claim: str
    unit: str
    ours: float
    other: float
    ratio: float
    aim: str
    agreement: str
    notes: str
    load: float


def interleaved(sides: Mapping[str, Callable[[], float]], rounds: int) -> dict[str, float]:
    """Call all sides in turns, `rounds` times, and return the median of what each returns (by default seconds)."""
    found: dict[str, list[float]] = {name: [] for name in sides}
    for _ in range(rounds):
        for name, side in sides.items():
            found[name].append(side())
    return {name: statistics.median(values) for name, values in found.items()}


def cpu_seconds(work: Callable[[], object]) -> float:
    """Return the CPU seconds that a call takes."""
    started = time.process_time()
    work()
    return time.process_time() - started


def load() -> float:
    """Return the machine's load, to two digits."""
    return round(os.getloadavg()[0], 1)


def number(value: float) -> str:
    """Write a number with three significant digits, and no exponent."""
    digits = max(0, 2 - len(f"{int(abs(value))}") + 1) if abs(value) >= 1 else 3
    return f"{value:,.{digits}f}"


def table(rows: Iterable[Mapping[str, object]]) -> str:
    """Return rows (`Row` as a mapping) as a Markdown table."""
    lines = [f"| {' | '.join(HEAD)} |", f"|{'---|' * len(HEAD)}"]
    for row in rows:
        cells = (
            row["claim"],
            f"{number(float(str(row['ours'])))} {row['unit']}",
            f"{number(float(str(row['other'])))} {row['unit']}",
            f"**{number(float(str(row['ratio'])))}x**",
            row["aim"],
            row["agreement"],
            row["notes"],
            row["load"],
        )
        lines.append(f"| {' | '.join(map(str, cells))} |")
    return "\n".join(lines)


def parse(description: str | None, options: Mapping[str, tuple[type, object, str]]) -> Namespace:
    """Parse the command line: `options` by name (type, default, help), and ``--output`` for the rows as JSON."""
    parser = ArgumentParser(description=(description or "").split("\n\n")[0])
    for name, (kind, default, text) in options.items():
        parser.add_argument(f"--{name}", type=kind, default=default, help=f"{text} (default: {default})")
    parser.add_argument("--output", type=Path, default=None, help="file for the rows (JSON)")
    return parser.parse_args()


def report(rows: Sequence[Row], output: Path | None) -> None:
    """Print the rows, and write them where asked."""
    content = [asdict(row) for row in rows]
    print(table(content), flush=True)
    if output is not None:
        output.parent.mkdir(parents=True, exist_ok=True)
        output.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
