"""Published results and ours."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import groupby
from typing import Any

import pandas as pd

from vlmtsc.paths import Run
from vlmtsc.reporting.runs import (
    DONE,
    INTERVAL_NOTE,
    NOT_RUN,
    accuracy_bounds,
    accuracy_text,
    choose_scenarios,
)
from vlmtsc.reporting.tables import NONE, ReaderTable, joined, percent, short_count

NOTE = (
    "Published: test accuracy in percent ({sources}), on the pooled split according to the original's code "
    "(inferred), and shown for protocol pooled only. Ours: test accuracy in percent and its 95% interval. "
    f"{INTERVAL_NOTE} Difference: ours less published, in points. Majority %: accuracy of always answering the test "
    "set's most frequent class. Tokens: those trained on; budget: those allowed. Protocol: {protocol}."
)
BEST_NOTE = (
    "Ours is the scenario with the highest accuracy on validation data; the test set played no role in the choice. "
    "Published is the best of the published scenarios. "
)


def paper_rows(
    runs: pd.DataFrame, published: pd.DataFrame, keys: Sequence[Run]
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return published results (used for the protocol ``pooled`` only) and ours, for these runs with any seed.

    First a row for each model and dataset, the best published scenario and ours chosen on validation data; then a row
    for each scenario. Numbers are in percent and points; ``text`` is the accuracy for a reader.
    """
    known = published if keys[0].protocol == "pooled" else published.iloc[:0]
    accuracies = {(row["dataset"], row["scenario"]): row["accuracy"] for row in known.to_dict("records")}
    best = known.sort_values("accuracy", ascending=False, kind="stable").groupby("dataset").first()
    groups = dict(list(runs.groupby(["model", "dataset", "scenario"], sort=False)))
    chosen = choose_scenarios(runs)
    best_rows, rows = [], []
    for (model, protocol, dataset), of_place in groupby(
        keys, key=lambda key: (key.model, key.protocol, key.dataset)
    ):
        head = {"model": model, "dataset": dataset}
        name = chosen.get((model, protocol, dataset))
        # Without a result, the row states the status of all runs.
        of_dataset = runs[(runs["model"] == model) & (runs["dataset"] == dataset)]
        entry = _entry(groups.get((model, dataset, name), of_dataset), best["accuracy"].get(dataset))
        reached = None if entry["difference"] is None else bool(entry["difference"] >= 0)
        names = {"published scenario": best["scenario"].get(dataset), "scenario": name}
        best_rows.append(head | names | entry | {"reached": reached})
        for scenario in (key.scenario for key in of_place):
            group = groups.get((model, dataset, scenario), runs.iloc[:0])
            entry = _entry(group, accuracies.get((dataset, scenario)))
            rows.append(head | {"scenario": scenario} | entry | {"chosen": scenario == name})
    return pd.DataFrame(best_rows), pd.DataFrame(rows)


def _entry(runs: pd.DataFrame, published: float | None) -> dict[str, Any]:
    """Return the numbers of one scenario of a dataset."""
    done = runs[runs["status"] == DONE]
    if done.empty:
        status = NOT_RUN if runs.empty else joined(runs["status"], separator=", ")
        empty = dict.fromkeys(["ours", "low", "high", "difference", "majority", "tokens", "token budget"])
        return {"published": published, **empty, "seeds": 0, "status": status, "text": status}
    ours = 100 * float(done["accuracy"].mean())
    low, high = (100 * bound for bound in accuracy_bounds(runs))
    budget = done["token_budget"].iloc[0]
    return {
        "published": published,
        "ours": ours,
        "low": low,
        "high": high,
        "difference": None if published is None else ours - published,
        "majority": 100 * float(done["majority_rate"].iloc[0]),
        "tokens": float(done["train_tokens"].mean()),
        "token budget": None if pd.isna(budget) else int(budget),
        "seeds": len(done),
        "status": DONE,
        "text": accuracy_text(runs),
    }


def paper_tables(
    best: pd.DataFrame, every: pd.DataFrame, published: pd.DataFrame, protocol: str
) -> tuple[ReaderTable, ReaderTable]:
    """Return `paper_rows` for a reader; in the table of all scenarios the chosen ones are emphasised."""
    sources = (
        joined(published["source"], separator=", ") if protocol == "pooled" else "none for this protocol"
    )
    note = NOTE.format(sources=sources, protocol=protocol)
    best_cells = [
        {"model": row["model"], "dataset": row["dataset"]}
        | _cells(row, f" ({row['published scenario']})", f" ({row['scenario']})")
        | {"reached": {True: "yes", False: "no"}.get(row["reached"], NONE)}
        for row in best.to_dict("records")
    ]
    rows = every.to_dict("records")
    cells = [{name: row[name] for name in ("model", "dataset", "scenario")} | _cells(row) for row in rows]
    chosen = [{"ours %"} if row["chosen"] else set() for row in rows]
    return (
        ReaderTable(pd.DataFrame(best_cells), BEST_NOTE + note),
        ReaderTable(pd.DataFrame(cells), f"Bold: chosen on validation data. {note}", emphasised=chosen),
    )


def _cells(row: Mapping[str, Any], published_scenario: str = "", scenario: str = "") -> dict[str, str]:
    done = row["status"] == DONE
    limit = "none" if pd.isna(row["token budget"]) else short_count(row["token budget"])
    return {
        "published %": NONE if pd.isna(row["published"]) else f"{row['published']:g}{published_scenario}",
        "ours %": row["text"] + scenario * done,
        "difference": NONE if pd.isna(row["difference"]) else f"{row['difference']:+.1f}",
        "majority %": percent(row["majority"] / 100) if done else NONE,
        "tokens": short_count(row["tokens"]) if done else NONE,
        "budget": limit if done else NONE,
    }


def paper_files(
    runs: pd.DataFrame, published: pd.DataFrame, keys: Sequence[Run]
) -> dict[str, pd.DataFrame | str]:
    """Return the files of both tables; Markdown and LaTeX contain both."""
    best, every = paper_rows(runs, published, keys)
    best_table, table = paper_tables(best, every, published, keys[0].protocol)
    return {
        "paper.csv": every.drop(columns="text"),
        "paper_best.csv": best.drop(columns="text"),
        "paper.md": f"{best_table.to_markdown()}\n{table.to_markdown()}",
        "paper.tex": f"{best_table.to_latex('best')}\n{table.to_latex('paper')}",
        "paper.html": table.to_html("Published and ours"),
        "paper_best.html": best_table.to_html("The published best and ours"),
    }
