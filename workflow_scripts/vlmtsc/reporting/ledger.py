"""The token usage table: tokens of each scenario's cases and the values kept, known before training."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from vlmtsc.errors import InputError
from vlmtsc.files import read_json
from vlmtsc.paths import Paths, Run
from vlmtsc.reporting.tables import NONE, ReaderTable, percent, short_count, varying

KEYS = ["model", "dataset", "protocol", "scenario"]
PARTS = ["system prompt", "image", "numbers", "text", "label"]
COUNTS = [
    *("cases", "longest case", "context", "factor", "timepoints", "values kept", "original factor"),
    *("original cuts", "training tokens"),
]
SAME = "same inputs as"
COLUMNS = [*KEYS, "cases", "mean tokens", *PARTS, *COUNTS[1:], SAME, "inputs"]
COLUMN_TYPES: dict[str, Any] = {
    name: "Int64" if name in COUNTS else "object" if name in [*KEYS, SAME, "inputs"] else "float64"
    for name in COLUMNS
}
NOTE = (
    "Tokens per case: mean over training, validation and test sets, and its components, which add up to it. Label: "
    "answer and end token, and a rationale where one is trained. Text: all other words. Longest case: of all sets. "
    "Factor: one value is kept of so many timepoints of each channel. Original cuts: cases longer than the context "
    "with the original's factor, which is that of its first training series, where numbers are decimals. Training "
    "tokens: per epoch. Scenarios with the same inputs have the same questions, answers and plots, and share one "
    "training if settings and attention kernel are also equal."
)


def ledger_row(key: Mapping[str, Any], budget: Mapping[str, Any], plots: str) -> dict[str, Any]:
    """Return a scenario's row (keys `COLUMNS` except `SAME`), from its ``budget.json`` and the digest of its plots.

    InputError if the components do not add up to the tokens of all cases.
    """
    cases = sum(part["cases"] for part in budget["tokens"].values())
    total = sum(part["total"] for part in budget["tokens"].values())
    tokens = {name: budget["breakdown"][name.replace(" ", "_")] for name in PARTS}
    if sum(tokens.values()) != total:
        raise InputError(
            f"{'/'.join(key.values())}: parts of {sum(tokens.values())} tokens; allowed: {total}"
        )
    original = budget["original"] or {"factor": None, "cases_cut": None}
    return dict(key) | {
        "cases": cases,
        "mean tokens": total / cases,
        **{name: count / cases for name, count in tokens.items()},
        "longest case": budget["longest_case"]["tokens"],
        "context": budget["context_length"],
        "factor": budget["factor"],
        "timepoints": budget["n_timepoints"],
        "values kept": budget["values_kept"],
        "original factor": original["factor"],
        "original cuts": original["cases_cut"],
        "training tokens": budget["training_tokens"],
        "inputs": f"{budget['input_digest'][:16]}-{plots[:16] or 'no plots'}",
    }


def read_ledger(paths: Paths, runs: Iterable[Run], plots: Mapping[str, str | None]) -> pd.DataFrame:
    """Read the table (columns `COLUMNS`) from existing ``budget.json`` files, in the order of the runs.

    Scenarios without the file, or whose plots are not drawn, are left out. `plots` has each scenario's kind of plots:
    empty without plots, None for plots of the scenario itself.
    """
    rows: list[dict[str, Any]] = []
    for run in dict.fromkeys(Run(*(vars(run) | {"seed": 0}).values()) for run in runs):
        plot, files = plots[run.scenario], [Path(paths.conversations(run), "budget.json")]
        if plot != "":
            folder = paths.scenario_plots(run) if plot is None else paths.plots(run, plot)
            files.append(Path(folder, "manifest.json"))
        if not all(file.exists() for file in files):
            continue
        budget, *manifests = map(read_json, files)
        digest = manifests[0]["digest"] if manifests else ""
        rows.append(ledger_row({name: getattr(run, name) for name in KEYS}, budget, digest))
    alike: dict[tuple[str, ...], list[str]] = {}
    for row in rows:
        alike.setdefault((row["model"], row["dataset"], row["inputs"]), []).append(row["scenario"])
    for row in rows:
        names = alike[row["model"], row["dataset"], row["inputs"]]
        row[SAME] = ", ".join(name for name in names if name != row["scenario"])
    return pd.DataFrame(rows, columns=COLUMNS).astype(COLUMN_TYPES)


def ledger_table(rows: pd.DataFrame) -> ReaderTable:
    """Return the table for a reader, without keys that have the same value in each row."""
    cells = rows[[*varying(rows, "model"), "dataset", *varying(rows, "protocol"), "scenario"]].copy()
    for name in ["mean tokens", *PARTS]:
        cells[name] = rows[name].map("{:.1f}".format)
    for name in ["longest case", "context", "factor"]:
        cells[name] = rows[name].map(str)
    records = rows.to_dict("records")
    cells["values kept"] = [
        f"{row['values kept']} of {row['timepoints']}" if row["values kept"] else NONE for row in records
    ]
    cells["original cuts"] = [
        f"{row['original cuts']} of {row['cases']} ({percent(row['original cuts'] / row['cases'])}%)"
        if not pd.isna(row["original cuts"])
        else NONE
        for row in records
    ]
    cells["training tokens"] = rows["training tokens"].map(short_count)
    cells[SAME] = rows[SAME].fillna("")
    return ReaderTable(cells, NOTE, [*KEYS, "values kept", SAME])
