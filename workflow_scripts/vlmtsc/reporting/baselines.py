"""The table of baselines, with the best fine-tuned run of each dataset and published results."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from vlmtsc.errors import InputError
from vlmtsc.files import read_json
from vlmtsc.paths import BaselineKey, Paths
from vlmtsc.reporting.runs import BASELINE, DONE, FINE_TUNED, METRICS, accuracy_text, choose_scenarios
from vlmtsc.reporting.tables import NONE, ReaderTable, joined, percent, with_interval
from vlmtsc.settings import PROBES

PUBLISHED = "published"
COLUMNS = [
    *("dataset", "protocol", "kind", "method", "model"),
    *METRICS,
    *("accuracy_low", "accuracy_high", "validation_accuracy", "wall_seconds", "seeds", "source"),
]
NOTE = (
    "Test accuracy in percent, then its 95% Wilson interval. All methods use the same split: fitted on the training "
    "set, settings chosen on the validation set, test set scored once. Bold: the baseline with the highest "
    "validation accuracy (on a tie the first). Majority %: share of the test set's most frequent class. Protocol: "
    "{protocol}."
)
RUNS_NOTE = (
    "Fine-tuned: of the finished runs, the scenario with the highest accuracy on validation (over several seeds: "
    "mean ± standard deviation)."
)
PUBLISHED_NOTE = (
    "Published: on the archive's own split, fitted on its whole training set. Sources: {sources}."
)


def baseline_key(name: str, model: str, dataset: str, protocol: str) -> BaselineKey:
    """Return a baseline's key; only probes depend on the model."""
    return BaselineKey(name, dataset, protocol, model if name in PROBES else "")


def read_published(path: Path, method: str) -> pd.DataFrame:
    """Read published accuracies in percent.

    Parameters
    ----------
    path : Path
        Table (.tsv) with the columns dataset, `method`, accuracy, source.
    method : str
        Name of the second column: with the dataset, it identifies a row.

    Raises
    ------
    InputError
        If the columns are others, an accuracy is no percentage, a source is missing, or a row is repeated.
    """
    table = pd.read_csv(path, sep="\t", dtype=str, keep_default_na=False)
    columns = ["dataset", method, "accuracy", "source"]
    if list(table) != columns:
        raise InputError(f"{path}: columns {', '.join(table)}; allowed: {', '.join(columns)}")
    accuracy = pd.to_numeric(table["accuracy"], errors="coerce")
    for wrong, fault in (
        (~accuracy.between(0, 100), "accuracy {accuracy!r}; allowed: 0 to 100"),
        (table["source"].str.strip() == "", "no source; allowed: where the number was published"),
        (table.duplicated(["dataset", method]), "is in the table twice"),
    ):
        if wrong.any():
            row = table[wrong].iloc[0].to_dict()
            raise InputError(f"{path}: {row['dataset']}, {row[method]}: {fault.format(**row)}")
    return table.assign(accuracy=accuracy)


def read_baseline(paths: Paths, key: BaselineKey) -> dict[str, Any] | None:
    """Read a baseline's row of the tidy table; None if it has not been fitted.

    Raises
    ------
    InputError
        If its record belongs to another baseline.
    """
    files = [Path(paths.baseline(key), f"{name}.json") for name in ("metrics", "record")]
    if not all(path.is_file() for path in files):
        return None
    metrics, record = map(read_json, files)
    for name in ("baseline", "dataset", "protocol"):
        if record.get(name) != getattr(key, name):
            raise InputError(f"record of {key.baseline} on {key.dataset}: {name} {record.get(name)!r}")
    low, high = metrics["accuracy_interval_95"]
    return (
        dict.fromkeys(COLUMNS)
        | {"dataset": key.dataset, "protocol": key.protocol, "kind": BASELINE, "method": key.baseline}
        | {"model": key.model, "seeds": 1, "accuracy_low": low, "accuracy_high": high}
        | {name: metrics[name] for name in METRICS}
        | {name: record[name] for name in ("validation_accuracy", "wall_seconds")}
    )


def best_run_rows(runs: pd.DataFrame) -> list[dict[str, Any]]:
    """Return the rows of the fine-tuned scenarios chosen on validation, one per model and dataset."""
    rows = []
    for (model, protocol, dataset), scenario in choose_scenarios(runs).items():
        place = ["model", "protocol", "dataset", "scenario"]
        done = runs[
            (runs[place] == [model, protocol, dataset, scenario]).all(axis=1) & (runs["status"] == DONE)
        ]
        means = {name: done[name].mean() for name in [*METRICS, "validation_accuracy", "wall_seconds"]}
        bounds = ["accuracy_low", "accuracy_high"]
        rows.append(
            dict.fromkeys(COLUMNS)
            | {
                "dataset": dataset,
                "protocol": protocol,
                "kind": FINE_TUNED,
                "method": scenario,
                "model": model,
            }
            | {**means, "n_cases": int(done["n_cases"].iloc[0]), "seeds": len(done)}
            | (done.iloc[0][bounds].to_dict() if len(done) == 1 else {})
            | {"text": accuracy_text(done)}
        )
    return rows


def published_rows(published: pd.DataFrame, datasets: Sequence[str], protocol: str) -> list[dict[str, Any]]:
    """Return the rows of published results: none unless the protocol is the archive's own split."""
    return [
        dict.fromkeys(COLUMNS)
        | {
            "dataset": row["dataset"],
            "protocol": protocol,
            "kind": PUBLISHED,
            "method": row["method"],
            "model": "",
        }
        | {"accuracy": row["accuracy"] / 100, "source": row["source"]}
        for row in published.to_dict("records")
        if protocol == "official" and row["dataset"] in datasets
    ]


def baselines_table(rows: Sequence[Mapping[str, Any]], datasets: Sequence[str], protocol: str) -> ReaderTable:
    """Return the accuracies of datasets by methods, from `read_baseline`, `best_run_rows` and `published_rows`."""
    tidy = pd.DataFrame(list(rows))
    several = tidy.loc[tidy["model"] != "", "model"].nunique() > 1
    tidy["column"] = [_column(row, several) for row in tidy.to_dict("records")]
    by_kind = {kind: tidy[tidy["kind"] == kind] for kind in (BASELINE, FINE_TUNED, PUBLISHED)}
    columns = [name for group in by_kind.values() for name in dict.fromkeys(group["column"])]
    cells, emphasised = [], []
    for dataset in datasets:
        of_dataset = tidy[tidy["dataset"] == dataset]
        measured = of_dataset[of_dataset["kind"] == BASELINE]
        validation = measured["validation_accuracy"].astype(float)
        emphasised.append(
            {measured.loc[validation.idxmax(), "column"]} if validation.notna().any() else set()
        )
        texts = {row["column"]: _cell(row) for row in of_dataset.to_dict("records")}
        head = {
            "dataset": dataset,
            "test cases": joined(measured["n_cases"], lambda number: str(int(number))),
            "majority %": joined(measured["majority_rate"], percent),
        }
        cells.append(head | {name: texts.get(name, NONE) for name in columns})
    notes = [NOTE.format(protocol=protocol)]
    if len(by_kind[FINE_TUNED]):
        notes.append(RUNS_NOTE)
    if len(by_kind[PUBLISHED]):
        notes.append(PUBLISHED_NOTE.format(sources=joined(by_kind[PUBLISHED]["source"], separator="; ")))
    return ReaderTable(pd.DataFrame(cells), " ".join(notes), emphasised=emphasised)


def _column(row: Mapping[str, Any], several: bool) -> str:
    """Return a row's column; with several models, their names are part of it."""
    if row["kind"] == PUBLISHED:
        return f"{row['method']} (published)"
    name = "fine-tuned" if row["kind"] == FINE_TUNED else str(row["method"])
    return f"{name}, {row['model']}" if several and row["model"] else name


def _cell(row: Mapping[str, Any]) -> str:
    if row["kind"] == FINE_TUNED:
        return f"{row['text']} ({row['method']})"
    if row["kind"] == PUBLISHED:
        return f"{100 * row['accuracy']:.2f}"
    return with_interval(row["accuracy"], row["accuracy_low"], row["accuracy_high"])
