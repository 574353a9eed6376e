"""Write checksums of a results folder's artifacts, and compare them between two versions of the code.

python tests/freeze.py run PROJECT                run the tiny workflow in the new folder PROJECT
python tests/freeze.py sums RESULTS OUT.json      checksums of a results folder
python tests/freeze.py compare OLD.json NEW.json  name what differs; exit status 1 if anything does
"""

from __future__ import annotations

import hashlib
import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pandas as pd

#: Compared byte for byte.
EXACT = (
    "datasets/*/*.npz",
    "datasets/*/*/split.npz",
    "plots/*/*/*.png",
    "descriptions/**/*.json",
    "conversations/**/*.json",
    "conversations/**/*.png",
    "models/*/*.safetensors",
    "runs/**/adapter_model.safetensors",
    "runs/**/predictions.csv",
    "runs/**/metrics.json",
    "runs/**/controls.csv",
    "baselines/*/*/*/predictions.csv",
    "baselines/*/*/*/metrics.json",
    "probes/**/predictions.csv",
    "probes/**/metrics.json",
    "export/**/*.csv",
)
TABLES = "tables/**/*.csv"
#: Columns that differ between two runs of the same code.
VARIABLE = re.compile(r"seconds|hours|_per_second|memory|utilisation|revision|device|low$|high$")

SCENARIOS = ("plot", "plot_and_numbers", "WITH_SIGNAL_ANALYSIS", "rationale_after_answer", "numbers_lttb")
CONVERSATIONS = (
    *(
        "numbers",
        "numbers_letters",
        "with_stats",
        "BASELINE_2048",
        "BASELINE_2048_adaptive_ds",
        "WITH_RATIONALE",
    ),
    *(
        "as_published_BASELINE_2048_adaptive_ds",
        "as_published_WITH_RATIONALE",
        "as_published_WITH_STATS_2048",
    ),
)
PLOTS = ("line_shared", "difference", "area", "panels", "gaf", "recurrence", "spectrogram")
BASELINES = (
    "majority",
    "euclidean_1nn",
    "dtw_1nn",
    "minirocket",
    "fcn",
    "logistic_tower",
    "logistic_language",
)
CORRECTIONS = [
    {"switch": "no_image_token", "scenario": "plot_and_numbers", "datasets": ["GunPointSmall"]},
    {"switch": "padding_in_training_only", "scenario": "plot", "datasets": ["GunPointSmall"]},
    {"switch": "blank_plot", "scenario": "plot_downsampled", "datasets": ["GunPointSmall"]},
]


def run(project: Path) -> None:
    """Make a tiny project and run everything in it that trains quickly."""
    sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).parents[1] / "workflow_scripts")]
    from tiny_llava import write_checkpoint
    from tiny_project import DATASET, tiny_project

    checkpoint = write_checkpoint(project.with_name(f"{project.name}_checkpoint"))
    options = {"seeds": [0, 1], "baselines": list(BASELINES), "corrections": CORRECTIONS}
    tiny_project(project, checkpoint, SCENARIOS, options=options)
    files = [f"results/conversations/tiny/{DATASET}/pooled/{name}/train.json" for name in CONVERSATIONS]
    files += [f"results/plots/{DATASET}/{name}" for name in PLOTS]
    command = [sys.executable, "-m", "snakemake", "--cores", "2", "--configfile", "config/tiny.yaml", "--"]
    targets = ("all", "baselines", "evidence", "export", "corrections", "paper")
    subprocess.run([*command, *targets, *files], cwd=project, check=True)


def sums(results: Path) -> dict[str, str]:
    """Return the SHA-256 of each artifact, and of each column of each table."""
    found = {}
    for pattern in EXACT:
        for path in sorted(results.glob(pattern)):
            name = path.relative_to(results).as_posix()
            content = path.read_bytes()
            if path.name.startswith("testResample"):  # the third line contains times and memory
                content = b"\n".join(line for n, line in enumerate(content.splitlines()) if n != 2)
            found[name] = hashlib.sha256(content).hexdigest()
    for path in sorted(results.glob(TABLES)):
        found.update(column_sums(path, path.relative_to(results).as_posix()))
    return found


def column_sums(path: Path, name: str) -> Iterator[tuple[str, str]]:
    """Yield the checksum of each column's values, numbers rounded to 10 digits."""
    table = pd.read_csv(path)
    for column in table:
        values = [
            f"{value:.10g}" if isinstance(value, float) else str(value) for value in table[column].tolist()
        ]
        yield f"{name}:{column}", hashlib.sha256("\n".join(values).encode()).hexdigest()


def compare(old: dict[str, str], new: dict[str, str]) -> list[str]:
    """List what differs between two results of `sums`."""
    lines = []
    for name, digest in old.items():
        column = name.partition(":")[2]
        if column and VARIABLE.search(column) and not column.startswith("accuracy"):
            continue
        if name not in new:
            lines.append(f"missing: {name}")
        elif new[name] != digest:
            lines.append(f"differs: {name}")
    return lines


def main(command: str, *arguments: str) -> int:
    """Run one of the three commands of the module's docstring."""
    if command == "run":
        run(Path(arguments[0]).resolve())
    elif command == "sums":
        content = sums(Path(arguments[0]))
        Path(arguments[1]).write_text(json.dumps(content, indent=1) + "\n")
        print(f"{len(content)} checksums")
    elif command == "compare":
        old, new = (json.loads(Path(name).read_text()) for name in arguments)
        lines = compare(old, new)
        print("\n".join(lines) or f"equal: {len(old)} checksums, {len(new)} in the new results")
        return bool(lines)
    else:
        raise SystemExit(__doc__)
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
