"""The table of baselines, with the best fine-tuned run of each dataset and published results."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import product
from pathlib import Path
from typing import Any

import pandas as pd

from vlmtsc.errors import InputError
from vlmtsc.files import read_json
from vlmtsc.paths import BaselineKey, Paths, Run
from vlmtsc.reporting.runs import (
    BASELINE,
    DONE,
    FINE_TUNED,
    METRICS,
    accuracy_text,
    choose_scenarios,
    read_run,
    runs_table,
)
from vlmtsc.reporting.tables import NONE, ReaderTable, joined, percent, with_interval
from vlmtsc.settings import HOSTED, SERIES_BASELINES

PUBLISHED = "published"
#: What a hosted model was asked, all answers in the cache included.
REQUESTS = ("requests", "prompt_tokens", "completion_tokens")
COLUMNS = [
    *("dataset", "protocol", "kind", "method", "model"),
    *METRICS,
    *(
        "accuracy_low",
        "accuracy_high",
        "validation_accuracy",
        "wall_seconds",
        "seeds",
        "source",
        "valid_rate",
    ),
    *REQUESTS,
]
NOTE = (
    "Test accuracy in percent, then its 95% Wilson interval. All methods use the same split: fitted on the training "
    "set, settings chosen on the validation set, test set scored once. Bold: the baseline with the highest "
    "validation accuracy (on a tie the first). Majority %: share of the test set's most frequent class. Protocol: "
    "{protocol}."
)
HOSTED_NOTE = (
    "hosted_model: in parentheses the share of test cases with a valid answer; any other answer is wrong. It is asked "
    "for the test set only, so it is never bold. {:,.0f} requests, {:,.0f} tokens of prompts, {:,.0f} of answers."
)
RUNS_NOTE = (
    "Fine-tuned: of the finished runs, the scenario with the highest accuracy on validation (over several seeds: "
    "mean ± standard deviation)."
)
PUBLISHED_NOTE = (
    "Published: on the archive's own split, fitted on its whole training set. Sources: {sources}."
)


def baseline_key(name: str, model: str, dataset: str, protocol: str) -> BaselineKey:
    """Return a baseline's key; those on the series alone do not depend on the model."""
    return BaselineKey(name, dataset, protocol, "" if name in SERIES_BASELINES else model)


def read_published(path: Path, method: str) -> pd.DataFrame:
    """Read published accuracies in percent: a table (.tsv) with the columns dataset, `method`, accuracy, source.

    InputError if the columns are others, an accuracy is no percentage, a source is missing, or a row is repeated.
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
    """Read a baseline's row (keys `COLUMNS`); None if it has not been fitted.

    InputError if its record belongs to another baseline.
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
        _row(key.dataset, key.protocol, BASELINE, key.baseline, key.model)
        | {"seeds": 1, "accuracy_low": low, "accuracy_high": high}
        | {name: metrics[name] for name in METRICS}
        | {name: record[name] for name in ("validation_accuracy", "wall_seconds")}
        | {"valid_rate": metrics.get("generated_valid_rate")}
        | {name: record["chosen"].get(name) for name in REQUESTS}
    )


def _row(dataset: str, protocol: str, kind: str, method: str, model: str = "") -> dict[str, Any]:
    key = {"dataset": dataset, "protocol": protocol, "kind": kind, "method": method, "model": model}
    return dict.fromkeys(COLUMNS) | key


def best_run_rows(runs: pd.DataFrame) -> list[dict[str, Any]]:
    """Return the rows of the fine-tuned scenarios chosen on validation, one per model and dataset."""
    rows = []
    done = runs[runs["status"] == DONE]
    for (model, protocol, dataset), scenario in choose_scenarios(runs).items():
        place = ["model", "protocol", "dataset", "scenario"]
        seeds = done[(done[place] == [model, protocol, dataset, scenario]).all(axis=1)]
        row = _row(dataset, protocol, FINE_TUNED, scenario, model)
        row |= seeds[[*METRICS, "validation_accuracy", "wall_seconds"]].mean().to_dict()
        row |= {"n_cases": int(seeds["n_cases"].iloc[0]), "seeds": len(seeds), "text": accuracy_text(seeds)}
        if len(seeds) == 1:
            row |= seeds.iloc[0][["accuracy_low", "accuracy_high"]].to_dict()
        rows.append(row)
    return rows


def baseline_files(
    paths: Paths, runs: Sequence[Run], baselines: Sequence[str], published: pd.DataFrame
) -> dict[str, pd.DataFrame | str]:
    """Return the files of the table, from existing results of these runs and of baselines on the same datasets.

    Published results are shown for the archive's own split only.
    """
    protocol, datasets = runs[0].protocol, list(dict.fromkeys(run.dataset for run in runs))
    models = dict.fromkeys(run.model for run in runs)
    names = product(datasets, baselines, models)
    keys = dict.fromkeys(baseline_key(name, model, dataset, protocol) for dataset, name, model in names)
    rows = [row for key in keys if (row := read_baseline(paths, key))]
    rows += best_run_rows(runs_table([read_run(paths, run) for run in runs]))
    if protocol == "official":
        rows += [
            _row(row["dataset"], protocol, PUBLISHED, row["method"])
            | {"accuracy": row["accuracy"] / 100, "source": row["source"]}
            for row in published[published["dataset"].isin(datasets)].to_dict("records")
        ]
    table = baselines_table(rows, datasets, protocol)
    return table.files("baselines", "Baselines", pd.DataFrame(rows, columns=COLUMNS), latex=True)


def baselines_table(rows: Sequence[Mapping[str, Any]], datasets: Sequence[str], protocol: str) -> ReaderTable:
    """Return the accuracies of datasets by methods."""
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
        best = {measured.loc[validation.idxmax(), "column"]} if validation.notna().any() else set()
        emphasised.append(best)
        head = {
            "dataset": dataset,
            "test cases": joined(measured["n_cases"], lambda number: str(int(number))),
            "majority %": joined(measured["majority_rate"], percent),
        }
        texts = {row["column"]: _cell(row) for row in of_dataset.to_dict("records")}
        cells.append(head | {name: texts.get(name, NONE) for name in columns})
    notes = [NOTE.format(protocol=protocol)]
    if (tidy["method"] == HOSTED).any():
        notes.append(HOSTED_NOTE.format(*tidy[list(REQUESTS)].sum()))
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
    valid = "" if pd.isna(row["valid_rate"]) else f" ({percent(row['valid_rate'])}% valid)"
    return with_interval(row["accuracy"], row["accuracy_low"], row["accuracy_high"]) + valid
