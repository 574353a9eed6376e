"""The table of baselines: datasets by simple methods, the best fine-tuned run beside them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from vlmtsc.errors import InputError
from vlmtsc.reporting.tables import (
    DONE,
    AccuracyTable,
    accuracy_text,
    choose_scenarios,
    joined,
    percent,
)

KEYS = ["dataset", "protocol", "kind", "method", "model"]
#: Kinds of rows of the tidy table.
BASELINE, FINE_TUNED, PUBLISHED = "baseline", "fine-tuned", "published"
METRICS = ["n_cases", "accuracy", "balanced_accuracy", "macro_f1", "log_loss", "majority_rate"]
COLUMNS = [
    *KEYS,
    *METRICS,
    *("accuracy_low", "accuracy_high", "validation_accuracy", "wall_seconds", "seeds", "source"),
]
PUBLISHED_COLUMNS = ["dataset", "method", "accuracy", "source"]
#: Columns of the reader's table that are text.
TEXT_COLUMNS = ["dataset"]
NOTE = (
    "Test accuracy in percent, then its 95% Wilson interval. All methods have the same split: fitted on train, "
    "settings chosen on validation, test scored once. Bold: the baseline with the highest validation accuracy (of "
    "several the first). Majority %: the share of the test part's most frequent class. Protocol: {protocol}."
)
RUNS_NOTE = (
    "Fine-tuned: of the finished runs, the scenario with the highest accuracy on validation (over several seeds: "
    "mean ± standard deviation)."
)
PUBLISHED_NOTE = (
    "Published: on the archive's own split, fitted on all of its training part. Sources: {sources}."
)


def baseline_row(
    key: Mapping[str, Any], metrics: Mapping[str, Any], record: Mapping[str, Any]
) -> dict[str, Any]:
    """Make the tidy row of one baseline.

    Parameters
    ----------
    key : mapping
        baseline, dataset, protocol, model (empty unless it is a probe).
    metrics, record : mapping
        Content of its ``metrics.json`` and ``record.json``.

    Raises
    ------
    InputError
        If the record is of another baseline.
    """
    for name in ("baseline", "dataset", "protocol"):
        if record.get(name) != key[name]:
            raise InputError(f"record of {key['baseline']} on {key['dataset']}: {name} {record.get(name)!r}")
    low, high = metrics["accuracy_interval_95"]
    return dict.fromkeys(COLUMNS) | {
        "dataset": key["dataset"],
        "protocol": key["protocol"],
        "kind": BASELINE,
        "method": key["baseline"],
        "model": key["model"],
        **{name: metrics[name] for name in METRICS},
        "accuracy_low": low,
        "accuracy_high": high,
        "validation_accuracy": record["validation_accuracy"],
        "wall_seconds": record["wall_seconds"],
        "seeds": 1,
    }


def best_run_rows(runs: pd.DataFrame) -> list[dict[str, Any]]:
    """Make the tidy rows of the fine-tuned runs that were chosen on validation: one a model and dataset.

    Parameters
    ----------
    runs : DataFrame
        Tidy table of finished runs (`vlmtsc.reporting.tables.runs_table`).
    """
    rows = []
    for (model, protocol, dataset), scenario in choose_scenarios(runs).items():
        group = runs[(runs["dataset"] == dataset) & (runs["model"] == model)]
        group = group[(group["protocol"] == protocol) & (group["scenario"] == scenario)]
        done = group[group["status"] == DONE]
        single = len(done) == 1
        means = {name: done[name].mean() for name in [*METRICS, "validation_accuracy", "wall_seconds"]}
        rows.append(
            dict.fromkeys(COLUMNS)
            | {"dataset": dataset, "protocol": protocol, "kind": FINE_TUNED, "method": scenario}
            | {"model": model, **means, "n_cases": int(done["n_cases"].iloc[0]), "seeds": len(done)}
            | {name: done[name].iloc[0] if single else None for name in ("accuracy_low", "accuracy_high")}
            | {"text": accuracy_text(group)}
        )
    return rows


def read_published(path: Path) -> pd.DataFrame:
    """Read accuracies published on the archive's own split, in percent.

    Raises
    ------
    InputError
        If columns are missing, an accuracy is no percentage, a source is missing, or a row stands twice.
    """
    table = pd.read_csv(path, sep="\t", dtype=str, keep_default_na=False)
    if list(table) != PUBLISHED_COLUMNS:
        raise InputError(f"{path}: columns {', '.join(table)}; allowed: {', '.join(PUBLISHED_COLUMNS)}")
    accuracy = pd.to_numeric(table["accuracy"], errors="coerce")
    for wrong, what in (
        (~accuracy.between(0, 100), "accuracy {accuracy!r}; allowed: 0 to 100"),
        (table["source"].str.strip() == "", "no source; allowed: where the number was published"),
        (table.duplicated(["dataset", "method"]), "stands in the table twice"),
    ):
        if wrong.any():
            row = table[wrong].iloc[0].to_dict()
            raise InputError(f"{path}: {row['dataset']}, {row['method']}: {what.format(**row)}")
    return table.assign(accuracy=accuracy)


def published_rows(published: pd.DataFrame, datasets: Sequence[str], protocol: str) -> list[dict[str, Any]]:
    """Make the tidy rows of published results: none unless the protocol is the archive's own split."""
    if protocol != "official":
        return []
    return [
        dict.fromkeys(COLUMNS)
        | {"dataset": row.dataset, "protocol": protocol, "kind": PUBLISHED, "method": row.method, "model": ""}
        | {"accuracy": float(row.accuracy) / 100, "source": row.source}
        for row in published.itertuples()
        if row.dataset in datasets
    ]


def baselines_table(
    rows: Sequence[Mapping[str, Any]], datasets: Sequence[str], protocol: str
) -> AccuracyTable:
    """Write tidy rows for a reader: datasets by methods.

    Parameters
    ----------
    rows : sequence of mapping
        Of `baseline_row`, `best_run_rows` and `published_rows`.
    datasets : sequence of str
        In the order of the table.
    protocol : str
    """
    tidy = pd.DataFrame(list(rows))
    several = tidy.loc[tidy["model"].fillna("") != "", "model"].nunique() > 1
    tidy["column"] = [_column(row, several) for row in tidy.to_dict("records")]
    columns = [
        name
        for kind in (BASELINE, FINE_TUNED, PUBLISHED)
        for name in dict.fromkeys(tidy.loc[tidy["kind"] == kind, "column"])
    ]
    cells, marks = [], []
    for dataset in datasets:
        group = tidy[tidy["dataset"] == dataset]
        measured = group[group["kind"] == BASELINE]
        chosen = None
        if measured["validation_accuracy"].notna().any():
            chosen = measured.loc[measured["validation_accuracy"].astype(float).idxmax(), "column"]
        head = {
            "dataset": dataset,
            "test cases": joined(measured["n_cases"], lambda number: str(int(number))),
            "majority %": joined(measured["majority_rate"], percent),
        }
        by_column = {row["column"]: row for row in group.to_dict("records")}
        cells.append(head | {name: _cell(by_column.get(name)) for name in columns})
        marks.append(dict.fromkeys(head, False) | {name: name == chosen for name in columns})
    kinds = set(tidy["kind"])
    notes = [NOTE.format(protocol=protocol)]
    if FINE_TUNED in kinds:
        notes.append(RUNS_NOTE)
    if PUBLISHED in kinds:
        sources = dict.fromkeys(tidy.loc[tidy["kind"] == PUBLISHED, "source"])
        notes.append(PUBLISHED_NOTE.format(sources="; ".join(sources)))
    return AccuracyTable(pd.DataFrame(cells), pd.DataFrame(marks), " ".join(notes))


def _column(row: Mapping[str, Any], several: bool) -> str:
    """Name the column of a row; models are named where there are several."""
    if row["kind"] == PUBLISHED:
        return f"{row['method']} (published)"
    name = "fine-tuned" if row["kind"] == FINE_TUNED else str(row["method"])
    return f"{name}, {row['model']}" if several and row["model"] else name


def _cell(row: Mapping[str, Any] | None) -> str:
    if row is None:
        return "-"
    if row["kind"] == FINE_TUNED:
        return f"{row['text']} ({row['method']})"
    if row["kind"] == PUBLISHED:
        return f"{100 * row['accuracy']:.2f}"
    return f"{percent(row['accuracy'])} [{percent(row['accuracy_low'])}, {percent(row['accuracy_high'])}]"
