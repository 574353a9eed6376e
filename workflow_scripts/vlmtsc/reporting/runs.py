"""Finished runs as tidy rows, the scenario chosen on validation data, and the table of accuracies."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from itertools import product
from pathlib import Path
from typing import Any

import pandas as pd

from vlmtsc.errors import InputError
from vlmtsc.files import read_json
from vlmtsc.paths import Paths, Run
from vlmtsc.planning import DONE, FAILED, NOT_RUN
from vlmtsc.reporting.tables import (
    NONE,
    ReaderTable,
    counted,
    grouped,
    joined,
    percent,
    short_count,
    with_constants,
    with_interval,
)
from vlmtsc.settings import UNTUNED

#: Kinds of methods in tables. A first stage is a part of a fine-tuned model, and no baseline of it.
FINE_TUNED, FIRST_STAGE, BASELINE = "fine-tuned", "first stage", "baseline"
RUN_KEYS = ["model", "dataset", "protocol", "scenario", "seed"]
METRICS = ["n_cases", "accuracy", "balanced_accuracy", "macro_f1", "log_loss", "majority_rate"]
#: Further metrics, of calibration and of generated answers, which the configuration of evaluation may leave out.
OPTIONAL_METRICS = [
    *("expected_calibration_error", "brier_score", "temperature", "log_loss_at_temperature"),
    *("expected_calibration_error_at_temperature", "generated_valid_rate", "generated_accuracy_of_valid"),
    "generated_accuracy",
]
RECORD = [
    *("validation_accuracy", "validation_loss", "train_samples", "train_tokens", "token_budget"),
    "epochs_done",
    *("steps", "stopped_by", "wall_seconds", "tokens_per_second", "samples_per_second", "peak_memory_mb"),
    *("trainable_parameters", "total_parameters", "git_revision", "shared_with"),
]
#: Further costs (`vlmtsc.reporting.costs.run_costs`). ``compute_seconds``: seconds times GPUs, or times processor
#: threads without GPUs, of fine-tuning and evaluation.
COSTS = [
    *("device", "peak_gpu_memory_mb", "cpu_hours", "gpu_hours", "evaluation_seconds", "compute_seconds"),
    *("flops_per_token", "flops_per_second", "flops_utilisation"),
]
#: Interval of a scenario's mean accuracy, the same for all its seeds; empty with one seed.
OVER_SEEDS = ["accuracy_low_over_seeds", "accuracy_high_over_seeds"]
BOUNDS = ["accuracy_low", "accuracy_high"]
RUN_COLUMNS = [*RUN_KEYS, "status", *METRICS, *BOUNDS, *OVER_SEEDS, *OPTIONAL_METRICS, *RECORD, *COSTS]
TEXT_COLUMNS = [
    *("model", "dataset", "protocol", "scenario", "status", "stopped_by", "git_revision", "shared_with"),
    "device",
]
INTEGER_COLUMNS = [
    *("seed", "n_cases", "train_samples", "train_tokens", "token_budget", "steps"),
    *("trainable_parameters", "total_parameters", "flops_per_token"),
]
COLUMN_TYPES: dict[str, Any] = {
    name: "object" if name in TEXT_COLUMNS else "Int64" if name in INTEGER_COLUMNS else "float64"
    for name in RUN_COLUMNS
}
CONFUSION_COLUMNS = [*RUN_KEYS, "true", "predicted", "count"]
CONFUSION_TYPES: dict[str, Any] = dict.fromkeys(["true", "predicted"], "str")
#: What the interval of an accuracy is (`vlmtsc.evaluation.statistics.accuracy_interval`).
INTERVAL_NOTE = (
    "Interval: Wilson's score interval; over several seeds (mean ± standard deviation) at their mean, and widened to "
    "contain that of a bootstrap of seeds and of cases within each class."
)
NOTE = (
    "Test accuracy in percent, then its 95% interval in brackets, then the tokens trained on in parentheses. "
    f"{INTERVAL_NOTE} Bold: the scenario chosen on validation accuracy; the test set played no role in the choice. "
    "Majority %: accuracy of always answering the test set's most frequent class."
)


def list_runs(
    models: Iterable[str],
    datasets: Iterable[str],
    protocol: str,
    scenarios: Iterable[str],
    seeds: Iterable[int],
) -> list[Run]:
    """Return all combinations."""
    return [Run(*values) for values in product(models, datasets, [protocol], scenarios, seeds)]


def runs_in(table: pd.DataFrame) -> list[Run]:
    """Return the runs of a table with the columns `RUN_KEYS`."""
    return [Run(*values) for values in table[RUN_KEYS].itertuples(index=False, name=None)]


def run_row(run: Run, metrics: Mapping[str, Any], record: Mapping[str, Any]) -> dict[str, Any]:
    """Return a finished run's row of the tidy table, with the keys `RUN_COLUMNS`; costs and `OVER_SEEDS` are None.

    InputError if a key is missing, or the record belongs to another run.
    """
    for source, content, required in [
        ("metrics", metrics, [*METRICS, "accuracy_interval_95"]),
        ("run record", record, [*RUN_KEYS, *RECORD]),
    ]:
        missing = [name for name in required if name not in content]
        if missing:
            raise InputError(f"{run}: the {source} lacks {', '.join(missing)}; found {', '.join(content)}")
    for name, value in vars(run).items():
        if str(record[name]) != str(value):
            raise InputError(f"{run}: its run record says {name} {record[name]!r}, expected {value!r}")
    low, high = metrics["accuracy_interval_95"]
    return (
        dict.fromkeys(RUN_COLUMNS)
        | vars(run)
        | {"status": DONE, "accuracy_low": low, "accuracy_high": high}
        | {name: metrics.get(name) for name in [*METRICS, *OPTIONAL_METRICS]}
        | {name: record[name] for name in RECORD}
    )


def read_run(paths: Paths, run: Run) -> dict[str, Any]:
    """Return a run's row of the tidy table; without metrics and record it has the status "not run"."""
    files = [Path(paths.run(run), f"{name}.json") for name in ("metrics", "run_record")]
    if all(path.is_file() for path in files):
        return run_row(run, *map(read_json, files))
    return dict.fromkeys(RUN_COLUMNS) | vars(run) | {"status": NOT_RUN}


def read_states(paths: Paths, states: Sequence[Mapping[str, Any]]) -> pd.DataFrame:
    """Return the tidy table of runs in these states (`run_states`), with ``step`` and ``reason`` after the status."""
    runs = [Run(*(state[name] for name in RUN_KEYS)) for state in states]
    # Results of an earlier call may be left of a run that has failed now.
    rows = [
        read_run(paths, run) if state["status"] == DONE else state
        for run, state in zip(runs, states, strict=True)
    ]
    table = runs_table(rows)
    for name in ("reason", "step"):
        table.insert(table.columns.get_loc("status") + 1, name, [state[name] for state in states])
    return table


def failures_text(runs: pd.DataFrame) -> str:
    """List failures in Markdown, one line for each step of each dataset and reason; `runs` is from `read_states`."""
    failed = runs[runs["status"] == FAILED]
    done = (runs["status"] == DONE).sum()
    lines = [f"\n{done} of {len(runs)} runs have a result; {len(failed)} failed, the others were not run.\n"]
    for (dataset, step, reason), group in failed.groupby(["dataset", "step", "reason"], sort=False):
        scenarios = joined(group["scenario"], separator=", ")
        lines.append(f"- {dataset}, {step} ({counted(len(group), 'run')}: {scenarios}): {reason}")
    return "\n".join(lines) + "\n"


def runs_table(rows: Sequence[Mapping[str, Any]]) -> pd.DataFrame:
    """Return rows as a table with fixed order and types of columns."""
    return pd.DataFrame(rows, columns=RUN_COLUMNS).astype(COLUMN_TYPES)


def confusion_rows(run: Run, metrics: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return a run's confusion matrix as tidy rows: the diagonal, and other pairs of classes that have cases.

    Of two thousand classes nearly all four million pairs have none.
    """
    return [
        vars(run) | {"true": true, "predicted": predicted, "count": count}
        for true, counts in zip(metrics["classes"], metrics["confusion_matrix"], strict=True)
        for predicted, count in zip(metrics["classes"], counts, strict=True)
        if count or predicted == true
    ]


def choose_scenarios(runs: pd.DataFrame) -> pd.Series:
    """Choose the best scenario by (model, protocol, dataset) of the finished runs, on validation data only.

    The highest mean validation accuracy over the seeds; on a tie, frequent with a small validation set, the lower
    validation loss, then the earlier row. A scenario without fine-tuning is chosen where there is no other. No column
    measured on the test set is read.
    """
    group = ["model", "protocol", "dataset"]
    ranks = ["validation_accuracy", "validation_loss"]
    done = runs[(runs["status"] == DONE) & runs["validation_accuracy"].notna()]
    done = done.assign(**{UNTUNED: done["stopped_by"] == UNTUNED})
    # Rounded, since equal means over seeds may differ in their last bit.
    means = (
        done.groupby([*group, "scenario"], sort=False)[[UNTUNED, *ranks]].mean().astype("float64").round(10)
    )
    ranked = means.reset_index().sort_values(list(means), ascending=[True, False, True], kind="stable")
    return ranked.groupby(group, sort=False)["scenario"].first()


def accuracy_table(runs: pd.DataFrame) -> ReaderTable:
    """Return the accuracies of datasets (rows) by scenarios (columns), such as ``94.1 [90.2, 96.5] (620k)``.

    Accuracy and its 95% interval in percent, then training tokens. Over several seeds it is the mean and standard
    deviation, then the interval `OVER_SEEDS`, ``94.1 ± 0.8 [92.0, 95.9], 3 seeds (620k)``. Rows and columns have the
    order of the runs.
    """
    chosen = choose_scenarios(runs)
    scenarios = list(dict.fromkeys(runs["scenario"]))
    # Rows of the same model and protocol stay together, whatever the order of the runs.
    blocks = runs.groupby(["model", "protocol"], sort=False).ngroup()
    rows, emphasised = [], []
    for key, group in grouped(
        runs.loc[blocks.sort_values(kind="stable").index], "model", "protocol", "dataset"
    ):
        head = {
            "test cases": joined(group["n_cases"]),
            "majority %": joined(group["majority_rate"], percent),
            "token budget": joined(group["token_budget"], short_count),
        }
        cells = {name: _accuracy_cell(group[group["scenario"] == name]) for name in scenarios}
        rows.append(key | head | cells)
        emphasised.append({chosen.get(tuple(group.iloc[0][["model", "protocol", "dataset"]]))})
    note = with_constants(NOTE, runs, "model", "protocol")
    return ReaderTable(pd.DataFrame(rows), note, TEXT_COLUMNS, emphasised)


def _accuracy_cell(runs: pd.DataFrame) -> str:
    """Return the cell of one model, dataset, protocol and scenario."""
    if runs.empty:
        return NONE
    done = runs[runs["status"] == DONE]
    if done.empty:
        return joined(runs["status"], separator=", ")
    return f"{accuracy_text(runs)} ({short_count(done['train_tokens'].mean())})"


def accuracy_bounds(runs: pd.DataFrame) -> tuple[float, float]:
    """Return the interval of a scenario's accuracy; NaN if only one of several seeds is done."""
    done = runs[runs["status"] == DONE]
    if len(runs) > 1 == len(done):
        return math.nan, math.nan
    low, high = done[BOUNDS if len(runs) == 1 else OVER_SEEDS].iloc[0]
    return low, high


def accuracy_text(runs: pd.DataFrame) -> str:
    """Return accuracy and interval of a scenario with at least one finished seed: ``94.1 [90.2, 96.5]``."""
    done = runs[runs["status"] == DONE]
    text = with_interval(done["accuracy"].mean(), *accuracy_bounds(runs), deviation=done["accuracy"].std())
    if len(runs) == 1:
        return text
    return f"{text}, {counted(len(done), 'seed') if len(done) == len(runs) else f'{len(done)} of {len(runs)} seeds'}"


def accuracy_files(runs: pd.DataFrame, failures: str = "") -> dict[str, pd.DataFrame | str]:
    """Return the files of the tidy table of runs and of the accuracies, followed by `failures` in Markdown."""
    table = accuracy_table(runs)
    # Without markup, the chosen scenario in a column of its own.
    sortable = table.cells.copy()
    place = sortable.columns.get_loc("dataset") + 1
    chosen = [next(iter(names & set(sortable)), "") for names in map(set, table.emphasised)]
    sortable.insert(place, "chosen on validation", chosen)
    page = ReaderTable(sortable, table.note, [*TEXT_COLUMNS, "chosen on validation"], table.emphasised)
    all_runs = ReaderTable(runs, "One row per run; shares between 0 and 1.", TEXT_COLUMNS)
    return {
        "runs.csv": runs,
        "runs.html": all_runs.to_html("All runs"),
        "accuracy.csv": sortable,
        "accuracy.html": page.to_html("Test accuracy"),
        "accuracy.md": table.to_markdown() + failures,
        "accuracy.tex": table.to_latex("accuracy"),
    }
