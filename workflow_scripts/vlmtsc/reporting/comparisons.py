"""Methods against each other: within a dataset on the same cases, and over datasets."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np
import pandas as pd
from statsmodels.stats.proportion import proportion_confint

from vlmtsc.errors import InputError
from vlmtsc.evaluation.statistics import (
    ALPHA,
    bootstrap_accuracies,
    friedman_p_value,
    holm,
    interval,
    mean_ranks,
    paired_test,
    signed_rank_tests,
    why_no_ranking,
)
from vlmtsc.reporting.tables import AccuracyTable, percent

FINE_TUNED, BASELINE = "fine-tuned", "baseline"
PLACE = ["model", "dataset", "protocol"]
METHOD_COLUMNS = [
    *PLACE,
    *("kind", "method", "seeds", "n_cases", "accuracy", "accuracy_sd", "accuracy_low", "accuracy_high"),
    *("interval", "balanced_accuracy", "macro_f1", "wall_seconds"),
]
COMPARISON_COLUMNS = [
    *PLACE,
    *("first", "second", "accuracy_first", "accuracy_second", "difference", "difference_low"),
    *("difference_high", "only_first", "only_second", "p_value", "p_holm"),
]
RANKING_COLUMNS = [
    *("first", "second", "wins", "ties", "losses", "mean_difference", "p_value", "p_holm"),
]
TEXT_COLUMNS = ["model", "protocol", "dataset", "first", "second", "method"]
METHODS_NOTE = (
    "Test accuracy in percent and its 95% interval: Wilson's for one seed; over several the mean ± standard deviation, "
    "and the interval of a bootstrap of seeds and of cases within each class."
)
PAIRS_NOTE = (
    "Difference: accuracy of the first less that of the second, in points, with its 95% interval from a bootstrap of "
    "the same cases for both (and of seeds). p: McNemar's exact test on the cases of the first seed of each. "
    "Holm: corrected for the tests of this dataset; bold below 0.05. Two baselines are "
    "not compared with each other."
)
RANKING_NOTE = (
    "Over {datasets} datasets: Wilcoxon's signed-rank test of the accuracies, two-sided, p corrected by Holm for all "
    "pairs; bold below 0.05. Friedman's test that all methods rank alike: p = {friedman}."
)


@dataclass(frozen=True)
class Method:
    """A method's predictions on one test part.

    Attributes
    ----------
    name : str
        Scenario or baseline.
    kind : {"fine-tuned", "baseline"}
    predictions : sequence of DataFrame of str
        One a seed, in the order of seeds: id, true, predicted.
    metrics : sequence of mapping
        Content of each ``metrics.json``.
    seconds : sequence of float
        What each record says by the clock: of fine-tuning, or of fitting a baseline and its answers.
    """

    name: str
    kind: str
    predictions: Sequence[pd.DataFrame]
    metrics: Sequence[Mapping[str, Any]]
    seconds: Sequence[float]


def compare_predictions(
    place: Mapping[str, str], methods: Sequence[Method]
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Measure and compare the methods of one model, dataset and protocol.

    Parameters
    ----------
    place : mapping
        model, dataset, protocol.
    methods : sequence of Method

    Returns
    -------
    methods, comparisons : list of dict
        Rows with `METHOD_COLUMNS`, and for each pair of methods of which one at least is fine-tuned, with
        `COMPARISON_COLUMNS`.

    Raises
    ------
    InputError
        If the methods were not scored on the same cases.
    """
    if not methods:
        return [], []
    ids = methods[0].predictions[0]["id"].sort_values().to_numpy()
    labels = _in_order(methods[0].predictions[0], ids, place, methods[0].name)["true"].to_numpy()
    right = [
        np.stack([_right(table, ids, place, method.name) for table in method.predictions])
        for method in methods
    ]
    resampled = bootstrap_accuracies(right, labels)
    rows = []
    for method, runs, accuracies in zip(methods, right, resampled, strict=True):
        of_seeds = runs.mean(axis=1)
        if len(runs) == 1:
            low, high = proportion_confint(int(runs.sum()), runs.size, alpha=ALPHA, method="wilson")
        else:
            low, high = interval(accuracies)
        rows.append(
            dict(place)
            | {"kind": method.kind, "method": method.name, "seeds": len(runs), "n_cases": runs.shape[1]}
            | {"accuracy": of_seeds.mean(), "accuracy_sd": of_seeds.std(ddof=1) if len(runs) > 1 else None}
            | {"accuracy_low": low, "accuracy_high": high}
            | {"interval": "wilson" if len(runs) == 1 else "bootstrap"}
            | {
                name: float(np.mean([metrics[name] for metrics in method.metrics]))
                for name in ("balanced_accuracy", "macro_f1")
            }
            | {"wall_seconds": float(np.mean(method.seconds))}
        )
    pairs = []
    for one, other in combinations(range(len(methods)), 2):
        if methods[one].kind == methods[other].kind == BASELINE:
            continue
        test = paired_test(right[one][0], right[other][0])
        low, high = interval(resampled[one] - resampled[other])
        means = [right[index].mean() for index in (one, other)]
        pairs.append(
            dict(place)
            | {"first": methods[one].name, "second": methods[other].name}
            | {"accuracy_first": means[0], "accuracy_second": means[1]}
            | {"difference": means[0] - means[1], "difference_low": low, "difference_high": high}
            | vars(test)
        )
    for row, adjusted in zip(pairs, holm([row["p_value"] for row in pairs]), strict=True):
        row["p_holm"] = float(adjusted)
    return rows, pairs


def _in_order(table: pd.DataFrame, ids: np.ndarray, place: Mapping[str, str], name: str) -> pd.DataFrame:
    ordered = table.sort_values("id", ignore_index=True)
    if len(ordered) != len(ids) or (ordered["id"].to_numpy() != ids).any():
        raise InputError(
            f"{place['dataset']}, {name}: predictions of other cases; allowed: the same test part"
        )
    return ordered


def _right(table: pd.DataFrame, ids: np.ndarray, place: Mapping[str, str], name: str) -> np.ndarray:
    """Return where a run is right by its own labels, in the order of `ids`."""
    ordered = _in_order(table, ids, place, name)
    return (ordered["true"] == ordered["predicted"]).to_numpy()


def accuracies_by_dataset(methods: pd.DataFrame) -> pd.DataFrame:
    """Return accuracies with datasets in rows and methods in columns, without datasets that lack a method.

    Methods of several models are named with their model; a baseline that sees the series alone stands once.

    Parameters
    ----------
    methods : DataFrame
        Columns `METHOD_COLUMNS`, of one protocol.
    """
    names = methods["method"]
    if methods["model"].nunique() > 1:
        once = (methods["kind"] == BASELINE) & ~names.str.startswith("logistic_")
        names = names.where(once, names + " (" + methods["model"] + ")")
    named = methods.assign(method=names).drop_duplicates(["dataset", "method"])
    order = dict.fromkeys(named["method"])
    wide = named.pivot_table(index="dataset", columns="method", values="accuracy", sort=False)
    return wide[list(order)].dropna()


def methods_table(methods: pd.DataFrame) -> AccuracyTable:
    """Write the methods' accuracies for a reader: datasets by methods."""
    several = [name for name in ("model", "protocol") if methods[name].nunique() > 1]
    names = list(dict.fromkeys(methods["method"]))
    cells = []
    for place, group in methods.groupby(PLACE, sort=False):
        values = dict(zip(PLACE, place, strict=True))
        texts = {row["method"]: accuracy_with_interval(row) for row in group.to_dict("records")}
        head = {name: values[name] for name in [*several, "dataset"]}
        head["test cases"] = str(group["n_cases"].iloc[0])
        cells.append(head | {name: texts.get(name, "-") for name in names})
    constant = [
        f"{name.capitalize()}: {methods[name].iloc[0]}."
        for name in ("model", "protocol")
        if name not in several and len(methods)
    ]
    return _plain(pd.DataFrame(cells), " ".join([METHODS_NOTE, *constant]))


def accuracy_with_interval(row: Mapping[str, Any]) -> str:
    """Write ``94.1 [90.2, 96.5]``, over several seeds ``94.1 ± 0.8 [92.0, 95.9]``."""
    spread = "" if pd.isna(row["accuracy_sd"]) else f" ± {percent(row['accuracy_sd'])}"
    low, high = percent(row["accuracy_low"]), percent(row["accuracy_high"])
    return f"{percent(row['accuracy'])}{spread} [{low}, {high}]"


def pairs_table(pairs: pd.DataFrame) -> AccuracyTable:
    """Write the paired tests for a reader."""
    several = [name for name in ("model", "protocol") if pairs[name].nunique() > 1]
    cells = pd.DataFrame(
        [
            {name: row[name] for name in [*several, "dataset", "first", "second"]}
            | {
                "first %": percent(row["accuracy_first"]),
                "second %": percent(row["accuracy_second"]),
                "difference": f"{100 * row['difference']:+.1f} [{100 * row['difference_low']:+.1f}, "
                f"{100 * row['difference_high']:+.1f}]",
                "only first": str(row["only_first"]),
                "only second": str(row["only_second"]),
                "p": p_text(row["p_value"]),
                "p (Holm)": p_text(row["p_holm"]),
            }
            for row in pairs.to_dict("records")
        ]
    )
    table = _plain(cells, PAIRS_NOTE)
    table.chosen["p (Holm)"] = (pairs["p_holm"] < ALPHA).to_numpy()
    return table


def ranking_table(accuracies: pd.DataFrame) -> tuple[pd.DataFrame, AccuracyTable | str]:
    """Compare methods over datasets.

    Parameters
    ----------
    accuracies : DataFrame
        `accuracies_by_dataset`.

    Returns
    -------
    rows : DataFrame
        Columns `RANKING_COLUMNS`; empty where there are too few methods or datasets.
    table : AccuracyTable or str
        The same for a reader; a sentence that says what is lacking.
    """
    lacking = why_no_ranking(accuracies)
    if lacking:
        return pd.DataFrame(columns=RANKING_COLUMNS), lacking
    rows, ranks = signed_rank_tests(accuracies), mean_ranks(accuracies)
    cells = pd.DataFrame(
        [
            {
                "first": row["first"],
                "second": row["second"],
                "mean ranks": f"{ranks[row['first']]:.2f}, {ranks[row['second']]:.2f}",
                "wins, ties, losses": f"{row['wins']}, {row['ties']}, {row['losses']}",
                "mean difference": f"{100 * row['mean_difference']:+.1f}",
                "p": p_text(row["p_value"]),
                "p (Holm)": p_text(row["p_holm"]),
            }
            for row in rows.to_dict("records")
        ]
    )
    note = RANKING_NOTE.format(datasets=len(accuracies), friedman=p_text(friedman_p_value(accuracies)))
    table = _plain(cells, note)
    table.chosen["p (Holm)"] = (rows["p_holm"] < ALPHA).to_numpy()
    return rows[RANKING_COLUMNS], table


def p_text(p_value: float) -> str:
    """Write a p-value with three decimals."""
    return "< 0.001" if p_value < 0.001 else f"{p_value:.3f}"


def _plain(cells: pd.DataFrame, note: str) -> AccuracyTable:
    return AccuracyTable(cells, pd.DataFrame(False, index=cells.index, columns=cells.columns), note)
