"""The token-budget ledger: what each scenario of a dataset costs and keeps, before anything is trained."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from vlmtsc.errors import InputError
from vlmtsc.reporting.tables import percent, short_count

KEYS = ["model", "dataset", "protocol", "scenario"]
PARTS = ["system prompt", "image", "numbers", "text", "label"]
COUNTS = [
    "cases",
    "longest case",
    "context",
    "factor",
    "timepoints",
    "values kept",
    "original factor",
    "original cuts",
    "training tokens",
]
SAME = "same inputs as"
TEXT_COLUMNS = [*KEYS, "values kept", SAME]
COLUMNS = [*KEYS, "cases", "mean tokens", *PARTS, *COUNTS[1:], SAME, "inputs"]
COLUMN_TYPES: dict[str, Any] = {
    name: "Int64" if name in COUNTS else "object" if name in [*KEYS, SAME, "inputs"] else "float64"
    for name in COLUMNS
}
NOTE = (
    "Tokens of a case, its parts as means over train, validation and test; they add up to the mean. Label: the "
    "answer and the end token, and a rationale where one is trained. Text: all other words. Longest case: of "
    "all parts. Factor: values are kept for one in so many timepoints of each channel. Original cuts: cases longer "
    "than the context with the original's factor, which is that of its first training series, where numbers are "
    "decimals. Training tokens: of one epoch. Scenarios with the same inputs have the same questions, answers "
    "and plots, and share one training where settings and attention kernel are equal too."
)


def ledger_row(key: Mapping[str, Any], budget: Mapping[str, Any], plots: str) -> dict[str, Any]:
    """Make one row of the ledger.

    Parameters
    ----------
    key : mapping
        Model, dataset, protocol and scenario.
    budget : mapping
        Content of the scenario's ``budget.json``.
    plots : str
        Digest of the scenario's plots; empty without plots.

    Returns
    -------
    dict
        With the keys `COLUMNS`, but for `SAME`.

    Raises
    ------
    InputError
        If the parts do not add up to the tokens of all cases.
    """
    cases = sum(part["cases"] for part in budget["tokens"].values())
    total = sum(part["total"] for part in budget["tokens"].values())
    spent = {name: budget["breakdown"][name.replace(" ", "_")] for name in PARTS}
    if sum(spent.values()) != total:
        raise InputError(f"{'/'.join(key.values())}: parts of {sum(spent.values())} tokens; allowed: {total}")
    original = budget["original"] or {"factor": None, "cases_cut": None}
    return dict(key) | {
        "cases": cases,
        "mean tokens": total / cases,
        **{name: tokens / cases for name, tokens in spent.items()},
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


def ledger_table(rows: Sequence[Mapping[str, Any]]) -> pd.DataFrame:
    """Turn the rows of one model, dataset and protocol into a table that names scenarios with equal inputs."""
    groups: dict[str, list[str]] = {}
    for row in rows:
        groups.setdefault(row["inputs"], []).append(row["scenario"])
    named = [
        dict(row) | {SAME: ", ".join(name for name in groups[row["inputs"]] if name != row["scenario"])}
        for row in rows
    ]
    return pd.DataFrame(named, columns=COLUMNS).astype(COLUMN_TYPES)


def shown_ledger(table: pd.DataFrame) -> pd.DataFrame:
    """Prepare the ledger for readers: as text, without columns that say the same in each row."""
    cells = pd.DataFrame(index=table.index)
    for name in KEYS:
        if name in ("dataset", "scenario") or table[name].nunique() > 1:
            cells[name] = table[name]
    for name in ["mean tokens", *PARTS]:
        cells[name] = table[name].map("{:.1f}".format)
    for name in ["longest case", "context", "factor"]:
        cells[name] = table[name].map(str)
    cells["values kept"] = [
        f"{kept} of {length}" if kept else "-"
        for kept, length in zip(table["values kept"], table["timepoints"], strict=True)
    ]
    cells["original cuts"] = [
        "-" if pd.isna(cut) else f"{cut} of {cases} ({percent(cut / cases)}%)"
        for cut, cases in zip(table["original cuts"], table["cases"], strict=True)
    ]
    cells["training tokens"] = table["training tokens"].map(short_count)
    cells[SAME] = table[SAME].fillna("")
    return cells


def ledger_markdown(cells: pd.DataFrame) -> str:
    """Write the shown ledger in Markdown, its note below."""
    alignment = ["left" if name in TEXT_COLUMNS else "right" for name in cells]
    text = cells.to_markdown(index=False, colalign=alignment, disable_numparse=True)
    return f"{text}\n\n{NOTE}\n"
