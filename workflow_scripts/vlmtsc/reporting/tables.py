"""Tables of finished runs: one tidy row a run, and datasets by scenarios."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from vlmtsc.errors import InputError
from vlmtsc.table_files import read_csv

DONE = "done"
NOT_RUN = "not run"

RUN_KEYS = ["model", "dataset", "protocol", "scenario", "seed"]
METRICS = ["n_cases", "accuracy", "balanced_accuracy", "macro_f1", "log_loss", "majority_rate"]
#: What else `evaluate_model` measures, where it was asked to.
READOUTS = [
    "expected_calibration_error",
    "brier_score",
    "temperature",
    "log_loss_at_temperature",
    "expected_calibration_error_at_temperature",
    "generated_valid_rate",
    "generated_accuracy_of_valid",
    "generated_accuracy",
]
RECORD = [
    "validation_accuracy",
    "validation_loss",
    "train_samples",
    "train_tokens",
    "token_budget",
    "epochs_done",
    "steps",
    "stopped_by",
    "wall_seconds",
    "tokens_per_second",
    "samples_per_second",
    "peak_memory_mb",
    "trainable_parameters",
    "total_parameters",
    "git_revision",
    "shared_with",
]
#: What a run has cost beyond that (`vlmtsc.reporting.costs.run_costs`). ``compute_seconds``: seconds of GPUs, or where
#: there are none of processor threads, that fine-tuning and evaluation have held.
COSTS = [
    "device",
    "peak_gpu_memory_mb",
    "cpu_hours",
    "gpu_hours",
    "evaluation_seconds",
    "compute_seconds",
    "flops_per_token",
    "flops_per_second",
    "flops_utilisation",
]
#: The bootstrap interval of a scenario's mean accuracy, the same for all its seeds; empty with one seed.
OVER_SEEDS = ["accuracy_low_over_seeds", "accuracy_high_over_seeds"]
RUN_COLUMNS = [
    *RUN_KEYS,
    "status",
    *METRICS,
    "accuracy_low",
    "accuracy_high",
    *OVER_SEEDS,
    *READOUTS,
    *RECORD,
    *COSTS,
]
TEXT_COLUMNS = [
    "model",
    "dataset",
    "protocol",
    "scenario",
    "status",
    "stopped_by",
    "git_revision",
    "shared_with",
    "device",
]
INTEGER_COLUMNS = [
    "seed",
    "n_cases",
    "train_samples",
    "train_tokens",
    "token_budget",
    "steps",
    "trainable_parameters",
    "total_parameters",
    "flops_per_token",
]
COLUMN_TYPES: dict[str, Any] = {
    name: "object" if name in TEXT_COLUMNS else "Int64" if name in INTEGER_COLUMNS else "float64"
    for name in RUN_COLUMNS
}
CONFUSION_COLUMNS = [*RUN_KEYS, "true", "predicted", "count"]
CONFUSION_TYPES: dict[str, Any] = dict.fromkeys(["true", "predicted"], "str")


@dataclass(frozen=True)
class AccuracyTable:
    """Datasets by scenarios, as text, with the cells to set in bold.

    Attributes
    ----------
    cells : DataFrame of str
        One row for each dataset (of each model and protocol, where there are several).
    chosen : DataFrame of bool
        Same shape: True where the scenario is the one chosen on validation data.
    note : str
        What the cells mean, in plain sentences.
    """

    cells: pd.DataFrame
    chosen: pd.DataFrame
    note: str


def run_row(
    key: Mapping[str, Any], metrics: Mapping[str, Any] | None, record: Mapping[str, Any] | None
) -> dict[str, Any]:
    """Make one row of the tidy table of runs.

    Parameters
    ----------
    key : mapping
        `RUN_KEYS` of the run.
    metrics : mapping or None
        Content of its ``metrics.json``; None if the run has not been made.
    record : mapping or None
        Content of its ``run_record.json``; None if the run has not been made.

    Returns
    -------
    dict
        With the keys `RUN_COLUMNS`; those of a run that has not been made are None.

    Raises
    ------
    InputError
        If a key is missing, or the record is of another run than `key` says.
    """
    row = dict.fromkeys(RUN_COLUMNS) | dict(key)
    if metrics is None or record is None:
        return row | {"status": NOT_RUN}
    where = run_name(key)
    for source, content, wanted in [
        ("metrics", metrics, [*METRICS, "accuracy_interval_95"]),
        ("run record", record, [*RUN_KEYS, *RECORD]),
    ]:
        missing = [name for name in wanted if name not in content]
        if missing:
            raise InputError(f"{where}: the {source} lacks {', '.join(missing)}; found {', '.join(content)}")
    for name in RUN_KEYS:
        if str(record[name]) != str(key[name]):
            raise InputError(f"{where}: its run record says {name} {record[name]!r}, expected {key[name]!r}")
    low, high = metrics["accuracy_interval_95"]
    return (
        row
        | {name: metrics[name] for name in METRICS}
        | {name: metrics.get(name) for name in READOUTS}
        | {name: record[name] for name in RECORD}
        | {"status": DONE, "accuracy_low": low, "accuracy_high": high}
    )


def run_name(key: Mapping[str, Any]) -> str:
    """Name a run by its path under ``runs/``, for messages."""
    return "{model}/{dataset}/{protocol}/{scenario}/seed-{seed}".format(**key)


def confusion_rows(key: Mapping[str, Any], metrics: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Turn one run's confusion matrix into tidy rows, one for each pair of true and predicted class that has cases.

    Each class has its row of right predictions even without any, so that all are there; of two thousand classes nearly
    all four million pairs have no case.
    """
    return [
        dict(key) | {"true": true, "predicted": predicted, "count": count}
        for true, counts in zip(metrics["classes"], metrics["confusion_matrix"], strict=True)
        for predicted, count in zip(metrics["classes"], counts, strict=True)
        if count or predicted == true
    ]


def runs_table(rows: Sequence[Mapping[str, Any]]) -> pd.DataFrame:
    """Turn the rows of `run_row` into a table with a fixed order and type of columns."""
    return pd.DataFrame(rows, columns=RUN_COLUMNS).astype(COLUMN_TYPES)


def read_tables(paths: Sequence[Path], dtype: Mapping[str, Any]) -> pd.DataFrame:
    """Read CSV files with the same columns, one below the other; only an empty cell is a missing value."""
    if not paths:
        raise InputError("no table to read: the list of files is empty")
    return pd.concat(
        [read_csv(path, dtype=dict(dtype), keep_default_na=False, na_values=[""]) for path in paths],
        ignore_index=True,
    )


def choose_scenarios(runs: pd.DataFrame) -> pd.Series:
    """Choose the best scenario of each dataset, on validation data only.

    The highest mean validation accuracy over the seeds; on a tie, frequent where the validation part is
    small, the lower validation loss, then the earlier row. No column measured on the test part is read.

    Parameters
    ----------
    runs : DataFrame
        Tidy table of runs.

    Returns
    -------
    Series of str
        Scenario names, indexed by (model, protocol, dataset). A dataset without a finished run is absent.
    """
    group = ["model", "protocol", "dataset"]
    ranks = ["validation_accuracy", "validation_loss"]
    done = runs[(runs["status"] == DONE) & runs["validation_accuracy"].notna()]
    # Means over seeds differ in the last bit between equal results; ten decimals make ties ties again.
    means = done.groupby([*group, "scenario"], sort=False)[ranks].mean().astype("float64").round(10)
    ranked = means.reset_index().sort_values(ranks, ascending=[False, True], kind="stable")
    return ranked.groupby(group, sort=False)["scenario"].first()


def accuracy_table(runs: pd.DataFrame) -> AccuracyTable:
    """Datasets by scenarios, each cell ``94.1 [90.2, 96.5] (620k)``.

    Accuracy and its 95% interval in percent, then training tokens. Over several seeds it is the mean and
    standard deviation, then the interval of `OVER_SEEDS`, ``94.1 ± 0.8 [92.0, 95.9], 3 seeds (620k)``.

    Parameters
    ----------
    runs : DataFrame
        Tidy table of runs; its order gives the order of rows and columns.
    """
    chosen_names = choose_scenarios(runs)
    scenarios = list(dict.fromkeys(runs["scenario"]))
    several = [name for name in ["model", "protocol"] if runs[name].nunique() > 1]
    rows, marks = [], []
    # Blocks of a model and protocol stay together, whatever the order in which the runs were listed.
    blocks = runs.groupby(["model", "protocol"], sort=False)
    for (model, protocol), block in blocks:
        for dataset, group in block.groupby("dataset", sort=False):
            head = {
                name: value for name, value in [("model", model), ("protocol", protocol)] if name in several
            }
            head |= {
                "dataset": dataset,
                "test cases": joined(group["n_cases"], str),
                "majority %": joined(group["majority_rate"], percent),
                "token budget": joined(group["token_budget"], short_count),
            }
            cells = {name: accuracy_cell(group[group["scenario"] == name]) for name in scenarios}
            best = chosen_names.get((model, protocol, dataset))
            rows.append(head | cells)
            marks.append(dict.fromkeys(head, False) | {name: name == best for name in scenarios})
    note = (
        "Test accuracy in percent, then its 95% Wilson interval in brackets (over several seeds: mean ± standard "
        "deviation, and the interval of a bootstrap of seeds and cases), then the tokens trained on in parentheses. "
        "Bold: the scenario chosen on validation accuracy; the test part took no part in the choice. "
        "Majority %: what always answering the test part's most frequent class reaches."
    )
    constant = [
        f"{name.capitalize()}: {runs[name].iloc[0]}." for name in ["model", "protocol"] if name not in several
    ]
    return AccuracyTable(pd.DataFrame(rows), pd.DataFrame(marks), " ".join([note, *constant]))


def accuracy_cell(runs: pd.DataFrame) -> str:
    """Write the cell for the seeds of one model, dataset, protocol and scenario."""
    if runs.empty:
        return "-"
    done = runs[runs["status"] == DONE]
    if done.empty:
        return ", ".join(dict.fromkeys(runs["status"]))
    return f"{accuracy_text(runs)} ({short_count(done['train_tokens'].mean())})"


def accuracy_text(runs: pd.DataFrame) -> str:
    """Write accuracy and interval of the seeds of a scenario, of which one at least is done: ``94.1 [90.2, 96.5]``."""
    done = runs[runs["status"] == DONE]
    accuracy = percent(done["accuracy"].mean())
    if len(runs) == 1:
        run = done.iloc[0]
        return f"{accuracy} [{percent(run['accuracy_low'])}, {percent(run['accuracy_high'])}]"
    spread = f" ± {percent(done['accuracy'].std())}" if len(done) > 1 else ""
    if len(done) > 1 and done[OVER_SEEDS].notna().all(axis=None):
        low, high = done[OVER_SEEDS].iloc[0]
        spread += f" [{percent(low)}, {percent(high)}]"
    seeds = f"{len(done)} seeds" if len(done) == len(runs) else f"{len(done)} of {len(runs)} seeds"
    return f"{accuracy}{spread}, {seeds}"


def percent(share: float) -> str:
    """Write a share between 0 and 1 in percent with one decimal."""
    return f"{100 * share:.1f}"


def short_count(number: float) -> str:
    """Write a count with two to three digits and a unit: 950, 62k, 1.2M."""
    for unit, size in [("G", 1e9), ("M", 1e6), ("k", 1e3)]:
        # 999,950 would be written as 1000k
        if number >= size * 0.9995:
            return f"{number / size:.3g}{unit}"
    return f"{number:.0f}"


def joined(values: pd.Series, write: Any) -> str:
    """Join the distinct values that are there, written out; a dash if there is none."""
    return " / ".join(dict.fromkeys(write(value) for value in values.dropna())) or "-"


def to_markdown(table: AccuracyTable, text_columns: Sequence[str] = TEXT_COLUMNS) -> str:
    """Write the table in Markdown, its note below."""
    bold = table.cells.where(~table.chosen, "**" + table.cells + "**")
    alignment = ["left" if name in text_columns else "right" for name in bold]
    text = bold.to_markdown(index=False, colalign=alignment, disable_numparse=True)
    return f"{text}\n\n{table.note}\n"


def to_latex(
    table: AccuracyTable, text_columns: Sequence[str] = TEXT_COLUMNS, label: str = "tab:accuracy"
) -> str:
    """Write the table in LaTeX (package booktabs), its note as the caption."""
    caption = table.note.replace("%", r"\%").replace("±", r"$\pm$").replace("_", r"\_")
    style = table.cells.style.hide(axis="index").format(escape="latex").format_index(escape="latex", axis=1)
    style = style.apply(lambda _: table.chosen.replace({True: "textbf:--rwrap;", False: ""}), axis=None)
    columns = "".join("l" if name in text_columns else "r" for name in table.cells)
    latex = style.to_latex(
        hrules=True, column_format=columns, caption=caption, label=label, position_float="centering"
    )
    return latex.replace("±", r"$\pm$")


def to_sortable(table: AccuracyTable) -> pd.DataFrame:
    """Prepare the table for CSV: no markup, the chosen scenario named in a column of its own."""
    chosen = [
        next((name for name in table.chosen if marks[name]), "") for marks in table.chosen.to_dict("records")
    ]
    sortable = table.cells.copy()
    sortable.insert(sortable.columns.get_loc("dataset") + 1, "chosen on validation", chosen)
    return sortable
