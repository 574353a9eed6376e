"""The published results and ours, side by side."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from vlmtsc.errors import InputError
from vlmtsc.reporting.tables import (
    DONE,
    NOT_RUN,
    AccuracyTable,
    accuracy_text,
    choose_scenarios,
    percent,
    short_count,
)

PUBLISHED_COLUMNS = ["dataset", "scenario", "accuracy", "source"]
NONE = "-"
#: The published numbers say of no split which it is; the code makes the pooled one.
PUBLISHED_NOTE = (
    "Published: test accuracy in percent ({sources}), on the pooled split as far as the original's code tells "
    "(inferred), and shown for protocol pooled only."
)
OURS_NOTE = (
    "Ours: test accuracy in percent and its 95% Wilson interval (over several seeds: mean ± standard deviation). "
    "Difference: ours less published, in points. Majority %: what always answering the test part's most frequent "
    "class reaches. Tokens: those trained on; budget: those allowed."
)
BEST_NOTE = (
    "Ours is the scenario with the highest accuracy on validation data; the test part took no part in the choice. "
    "Published is the best of the published scenarios."
)


@dataclass(frozen=True)
class PaperTables:
    """Published and ours.

    Attributes
    ----------
    best : AccuracyTable
        One row a dataset: the published best, and our scenario chosen on validation data.
    scenarios : AccuracyTable
        One row a dataset and scenario.
    best_numbers, scenario_numbers : DataFrame
        The same as numbers, in percent and points.
    """

    best: AccuracyTable
    scenarios: AccuracyTable
    best_numbers: pd.DataFrame
    scenario_numbers: pd.DataFrame


def read_published(path: Path) -> pd.DataFrame:
    """Read published accuracies, in percent.

    Raises
    ------
    InputError
        If columns are missing, an accuracy is no percentage, or a dataset has a scenario twice.
    """
    table = pd.read_csv(path, sep="\t", dtype=str, keep_default_na=False)
    if list(table) != PUBLISHED_COLUMNS:
        raise InputError(f"{path}: columns {', '.join(table)}; allowed: {', '.join(PUBLISHED_COLUMNS)}")
    accuracy = pd.to_numeric(table["accuracy"], errors="coerce")
    wrong = table[~accuracy.between(0, 100)]
    if len(wrong):
        row = wrong.iloc[0]
        raise InputError(
            f"{path}: {row['dataset']}, {row['scenario']}: accuracy {row['accuracy']!r}; allowed: 0 to 100"
        )
    twice = table[table.duplicated(["dataset", "scenario"])]
    if len(twice):
        row = twice.iloc[0]
        raise InputError(f"{path}: {row['dataset']}, {row['scenario']} stands in the table twice")
    return table.assign(accuracy=accuracy)


def paper_tables(
    runs: pd.DataFrame,
    published: pd.DataFrame,
    *,
    models: Sequence[str],
    datasets: Sequence[str],
    scenarios: Sequence[str],
    protocol: str,
) -> PaperTables:
    """Put published results and ours side by side, for a whole matrix of which some runs may be missing.

    Parameters
    ----------
    runs : DataFrame
        Tidy table of the runs that were asked for.
    published : DataFrame
        Content of `read_published`; used for the protocol ``pooled`` only.
    models, datasets, scenarios : sequence of str
        The matrix, in the order of the rows.
    protocol : str
    """
    theirs = published if protocol == "pooled" else published.iloc[:0]
    known = {(row.dataset, row.scenario): float(row.accuracy) for row in theirs.itertuples()}
    best = theirs.sort_values("accuracy", ascending=False, kind="stable").groupby("dataset").first()
    groups = dict(list(runs.groupby(["model", "dataset", "scenario"], sort=False)))
    chosen = choose_scenarios(runs)
    best_rows, rows = [], []
    for model in models:
        for dataset in datasets:
            name = chosen.get((model, protocol, dataset))
            has_published = dataset in best.index
            # Without a result there is nothing to choose, and the row says what became of all runs.
            of_dataset = runs[(runs["model"] == model) & (runs["dataset"] == dataset)]
            compared = groups.get((model, dataset, name), None if of_dataset.empty else of_dataset)
            entry = _entry(compared, best["accuracy"].get(dataset))
            reached = None
            if has_published and entry["difference"] is not None:
                reached = bool(entry["difference"] >= 0)
            head = {"model": model, "dataset": dataset}
            best_rows.append(
                head
                | {"published scenario": best["scenario"].get(dataset), "scenario": name}
                | entry
                | {"reached": reached}
            )
            for scenario in scenarios:
                group = groups.get((model, dataset, scenario))
                entry = _entry(group, known.get((dataset, scenario)))
                rows.append(head | {"scenario": scenario} | entry | {"chosen": scenario == name})
    sources = ", ".join(dict.fromkeys(theirs["source"])) or "none for this protocol"
    note = f"{PUBLISHED_NOTE.format(sources=sources)} {OURS_NOTE} Protocol: {protocol}."
    return PaperTables(
        _shown(best_rows, ["model", "dataset"], f"{BEST_NOTE} {note}", best=True),
        _shown(rows, ["model", "dataset", "scenario"], f"Bold: chosen on validation data. {note}"),
        pd.DataFrame(best_rows).drop(columns="text"),
        pd.DataFrame(rows).drop(columns="text"),
    )


def _entry(runs: pd.DataFrame | None, published: float | None) -> dict[str, Any]:
    """Return what is known of one scenario of a dataset, numbers in percent; `text` is what a cell shows."""
    done = runs[runs["status"] == DONE] if runs is not None else None
    entry: dict[str, Any] = {"published": published}
    if runs is None or done is None or done.empty:
        status = NOT_RUN if runs is None else ", ".join(dict.fromkeys(runs["status"]))
        empty = dict.fromkeys(["ours", "low", "high", "difference", "majority", "tokens", "token budget"])
        return entry | empty | {"seeds": 0, "status": status, "text": status}
    ours = 100 * float(done["accuracy"].mean())
    single = done.iloc[0] if len(runs) == 1 else None
    budget = done["token_budget"].iloc[0]
    return entry | {
        "ours": ours,
        "low": None if single is None else 100 * float(single["accuracy_low"]),
        "high": None if single is None else 100 * float(single["accuracy_high"]),
        "difference": None if published is None else ours - published,
        "majority": 100 * float(done["majority_rate"].iloc[0]),
        "tokens": float(done["train_tokens"].mean()),
        "token budget": None if pd.isna(budget) else int(budget),
        "seeds": len(done),
        "status": DONE,
        "text": accuracy_text(runs),
    }


def _shown(
    rows: Sequence[Mapping[str, Any]], keys: Sequence[str], note: str, *, best: bool = False
) -> AccuracyTable:
    """Write rows as text; in the table of all scenarios the chosen one is marked."""
    cells, marks = [], []
    for row in rows:
        done = row["ours"] is not None
        published = NONE if row["published"] is None else f"{row['published']:g}"
        ours = row["text"]
        if best and row["published"] is not None:
            published = f"{published} ({row['published scenario']})"
        if best and done:
            ours = f"{ours} ({row['scenario']})"
        limit = "none" if row["token budget"] is None else short_count(row["token budget"])
        cell = {key: row[key] for key in keys} | {
            "published %": published,
            "ours %": ours,
            "difference": NONE if row["difference"] is None else f"{row['difference']:+.1f}",
            "majority %": percent(row["majority"] / 100) if done else NONE,
            "tokens": short_count(row["tokens"]) if done else NONE,
            "budget": limit if done else NONE,
        }
        if best:
            cell["reached"] = {True: "yes", False: "no", None: NONE}[row["reached"]]
        cells.append(cell)
        marks.append({name: name == "ours %" and bool(row.get("chosen")) for name in cell})
    return AccuracyTable(pd.DataFrame(cells), pd.DataFrame(marks), note)
