"""Comparisons of methods: within a dataset on the same test cases, and over datasets."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import Any

import networkx as nx
import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.figure import Figure

from vlmtsc.errors import InputError
from vlmtsc.evaluation.constants import ALIGNED
from vlmtsc.evaluation.statistics import (
    ALPHA,
    accuracy_interval,
    bootstrap_accuracies,
    difference_interval,
    friedman_p_value,
    holm,
    mean_ranks,
    paired_test,
    signed_rank_tests,
    why_no_ranking,
)
from vlmtsc.files import read_csv, read_json
from vlmtsc.paths import BaselineKey, Paths, Run
from vlmtsc.reporting.runs import BASELINE, FINE_TUNED, FIRST_STAGE, INTERVAL_NOTE
from vlmtsc.reporting.style import figure_style, wrapped
from vlmtsc.reporting.tables import (
    NONE,
    ReaderTable,
    grouped,
    p_text,
    percent,
    varying,
    with_constants,
    with_interval,
)
from vlmtsc.settings import SERIES_BASELINES

PLACE = ["model", "dataset", "protocol"]
METHOD_COLUMNS = [
    *PLACE,
    *("kind", "method", "seeds", "n_cases", "accuracy", "accuracy_sd", "accuracy_low", "accuracy_high"),
    *("interval", "balanced_accuracy", "macro_f1", "wall_seconds"),
]
METHOD_TYPES: dict[str, Any] = {"method": "str", "dataset": "str"}
COMPARISON_COLUMNS = [
    *PLACE,
    *("first", "second", "accuracy_first", "accuracy_second", "difference", "difference_low"),
    *("difference_high", "only_first", "only_second", "p_value", "p_holm"),
]
COMPARISON_TYPES: dict[str, Any] = {"first": "str", "second": "str", "dataset": "str", "p_holm": "float"}
RANKING_COLUMNS = [*("first", "second", "wins", "ties", "losses", "mean_difference", "p_value", "p_holm")]
TEXT_COLUMNS = ["model", "protocol", "dataset", "first", "second", "method"]
METHODS_NOTE = (
    f"Test accuracy in percent and its 95% interval. {INTERVAL_NOTE} {ALIGNED}: the first stage alone; unless it is "
    "the same in all scenarios, its scenario is in parentheses, of those with equal results the first."
)
#: What the interval of a difference is (`vlmtsc.evaluation.statistics.difference_interval`).
DIFFERENCE_NOTE = (
    "Its 95% interval: Newcombe's score interval for paired proportions; over several seeds at their means, and "
    "widened to contain that of a bootstrap with the same cases for both."
)
PAIRS_NOTE = (
    f"Difference: accuracy of the first less that of the second, in points. {DIFFERENCE_NOTE} p: McNemar's exact test "
    "on the cases of the first seed of each. Holm: corrected for the tests of this dataset; bold below 0.05. Two "
    f"baselines are not compared with each other. {ALIGNED}: the first stage of this scenario, alone."
)
NO_PAIR = "No two methods to compare: of a pair, one at least is a scenario."
RANKING_NOTE = (
    "Over {datasets} datasets: Wilcoxon's signed-rank test of the accuracies, two-sided and exact, without the ties, p "
    "corrected by Holm for all pairs; bold below 0.05. Friedman's test that all methods rank alike (chi-squared "
    "approximation): p = {friedman}."
)


@dataclass(frozen=True)
class Method:
    """A method's results on one test set, by seed.

    `kind` is "fine-tuned", "first stage" or "baseline"; a first stage has the name of its scenario. `predictions` have
    the columns id, true, predicted as text; `metrics` are contents of ``metrics.json``; `seconds` the wall-clock time
    of fine-tuning, of its first stage, or of fitting a baseline and predicting with it.
    """

    name: str
    kind: str
    predictions: Sequence[pd.DataFrame]
    metrics: Sequence[Mapping[str, Any]]
    seconds: Sequence[float]


def read_predicted(path: Path) -> pd.DataFrame:
    """Read the columns id, true and predicted of ``predictions.csv`` as text (labels such as "NA" are labels)."""
    return read_csv(path, dtype=str, usecols=["id", "true", "predicted"], keep_default_na=False)


def read_method(paths: Paths, keys: Sequence[Run] | Sequence[BaselineKey]) -> Method:
    """Read a baseline, or the runs of one scenario that differ in the seed."""
    if isinstance(keys[0], Run):
        name, kind, record = keys[0].scenario, FINE_TUNED, "run_record.json"
    else:
        name, kind, record = keys[0].baseline, BASELINE, "record.json"
    folders = [Path(paths.run(key) if isinstance(key, Run) else paths.baseline(key)) for key in keys]
    return Method(
        name,
        kind,
        predictions=[read_predicted(folder / "predictions.csv") for folder in folders],
        metrics=[read_json(folder / "metrics.json") for folder in folders],
        seconds=[read_json(folder / record)["wall_seconds"] for folder in folders],
    )


def correct_cases(name: str, predictions: Sequence[pd.DataFrame], cases: pd.DataFrame) -> np.ndarray:
    """Return which cases each seed has classified correctly: ndarray of bool, shape (n_seeds, n_cases), by id.

    InputError if the ids of `cases` are others.
    """
    tables = [table.sort_values("id", ignore_index=True) for table in predictions]
    if any(not table["id"].equals(cases["id"]) for table in tables):
        raise InputError(f"{name}: predictions of other cases; allowed: the same test set")
    return np.stack([(table["true"] == table["predicted"]).to_numpy() for table in tables])


def read_aligned(paths: Paths, runs: Sequence[Run]) -> Method | None:
    """Read the classifications of the aligned projectors of a scenario's runs; None if not all of them have one."""
    folders = [Path(paths.run(run)) for run in runs]
    metrics = [read_json(folder / "metrics.json").get(ALIGNED) for folder in folders]
    if None in metrics:
        return None
    types, columns = {"dtype": str, "keep_default_na": False}, ["id", "true", ALIGNED]
    return Method(
        runs[0].scenario,
        FIRST_STAGE,
        [
            read_csv(folder / "predictions.csv", usecols=columns, **types).rename(
                columns={ALIGNED: "predicted"}
            )
            for folder in folders
        ],
        metrics,
        [read_json(folder / "run_record.json")["alignment"]["seconds"] for folder in folders],
    )


def compare_predictions(
    place: Mapping[str, str], methods: Sequence[Method]
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Measure and compare the methods of one model, dataset and protocol (`place`).

    InputError if the methods were not evaluated on the same cases.

    Returns
    -------
    methods, comparisons : list of dict
        Rows with `METHOD_COLUMNS`, and for each pair of methods of which at least one is fine-tuned, with
        `COMPARISON_COLUMNS`. A first stage (`ALIGNED`) is compared with its own scenario alone.
    """
    if not methods:
        return [], []
    first = methods[0].predictions[0].sort_values("id", ignore_index=True)
    correct = [
        correct_cases(f"{place['dataset']}, {method.name}", method.predictions, first) for method in methods
    ]
    resampled = bootstrap_accuracies(correct, first["true"].to_numpy())
    rows = []
    for method, runs, accuracies in zip(methods, correct, resampled, strict=True):
        of_seeds, single = runs.mean(axis=1), len(runs) == 1
        low, high = accuracy_interval(runs, accuracies)
        rows.append(
            {
                **place,
                "kind": method.kind,
                "method": method.name,
                "seeds": len(runs),
                "n_cases": runs.shape[1],
                "accuracy": of_seeds.mean(),
                "accuracy_sd": None if single else of_seeds.std(ddof=1),
                "accuracy_low": low,
                "accuracy_high": high,
                "interval": "wilson" if single else "wilson, bootstrap",
                "balanced_accuracy": float(np.mean([one["balanced_accuracy"] for one in method.metrics])),
                "macro_f1": float(np.mean([one["macro_f1"] for one in method.metrics])),
                "wall_seconds": float(np.mean(method.seconds)),
            }
        )
    pairs = []
    for (one, left), (other, right) in combinations(enumerate(methods), 2):
        of_another = FIRST_STAGE in (left.kind, right.kind) and left.name != right.name
        if FINE_TUNED not in (left.kind, right.kind) or of_another:
            continue
        low, high = difference_interval(correct[one], correct[other], resampled[one] - resampled[other])
        means = [correct[index].mean() for index in (one, other)]
        pairs.append(
            {
                **place,
                "first": left.name,
                "second": ALIGNED if right.kind == FIRST_STAGE else right.name,
                "accuracy_first": means[0],
                "accuracy_second": means[1],
                "difference": means[0] - means[1],
                "difference_low": low,
                "difference_high": high,
                **vars(paired_test(correct[one][0], correct[other][0])),
            }
        )
    for row, adjusted in zip(pairs, holm([row["p_value"] for row in pairs]), strict=True):
        row["p_holm"] = float(adjusted)
    return rows, pairs


def name_first_stages(methods: pd.DataFrame) -> pd.DataFrame:
    """Rename and merge the first stages in a table of methods, where they have the names of their scenarios.

    If all scenarios have the same results, as with the same plot and answers, one remains, as ``aligned_projector``.
    Otherwise each different one is ``aligned_projector (SCENARIO)``, with the first scenario that has it. To have the
    same names on all datasets, `methods` (`METHOD_COLUMNS`) must contain all of them.
    """
    first_stage = methods["kind"] == FIRST_STAGE
    scenarios = methods.loc[first_stage, "method"].unique()
    measured = methods[first_stage].pivot(
        index="method", columns=PLACE, values=["accuracy", "accuracy_sd", "balanced_accuracy", "macro_f1"]
    )
    different = measured.loc[scenarios].drop_duplicates().index
    names = {name: f"{ALIGNED} ({name})" if len(different) > 1 else ALIGNED for name in different}
    named = methods.assign(method=methods["method"].mask(first_stage, methods["method"].map(names)))
    return named[named["method"].notna()].reset_index(drop=True)


def accuracies_by_dataset(methods: pd.DataFrame) -> pd.DataFrame:
    """Return the accuracies of datasets (rows) by methods (columns), without datasets that lack a method.

    With several models, names of methods contain the model; a baseline on the series alone has one column.
    """
    names = methods["method"]
    if methods["model"].nunique() > 1:
        once = (methods["kind"] == BASELINE) & names.isin(SERIES_BASELINES)
        names = names.where(once, names + " (" + methods["model"] + ")")
    named = methods.assign(method=names).drop_duplicates(["dataset", "method"])
    order = dict.fromkeys(named["method"])
    wide = named.pivot_table(index="dataset", columns="method", values="accuracy", sort=False)
    return wide[list(order)].dropna()


def methods_table(methods: pd.DataFrame) -> ReaderTable:
    """Return the accuracies of datasets (rows) by methods (columns)."""
    names = list(dict.fromkeys(methods["method"]))
    cells = []
    for key, group in grouped(methods, "model", "protocol", "dataset"):
        texts = {row["method"]: accuracy_with_interval(row) for row in group.to_dict("records")}
        head = {"test cases": str(group["n_cases"].iloc[0])}
        cells.append(key | head | {name: texts.get(name, NONE) for name in names})
    note = with_constants(METHODS_NOTE, methods, "model", "protocol")
    return ReaderTable(pd.DataFrame(cells), note, TEXT_COLUMNS)


def accuracy_with_interval(row: Mapping[str, Any]) -> str:
    """Return ``94.1 [90.2, 96.5]``, over several seeds ``94.1 ± 0.8 [92.0, 95.9]``."""
    return with_interval(
        row["accuracy"], row["accuracy_low"], row["accuracy_high"], deviation=row["accuracy_sd"]
    )


def difference_text(row: Mapping[str, Any]) -> str:
    """Return a difference with its interval: ``+1.2 [-0.4, +2.8]``."""
    return with_interval(row["difference"], row["difference_low"], row["difference_high"], "+")


def pairs_table(pairs: pd.DataFrame) -> ReaderTable:
    """Return the paired tests."""
    names = [*varying(pairs, "model", "protocol"), "dataset", "first", "second"]
    rows = pairs.to_dict("records")
    cells = [
        {name: row[name] for name in names}
        | {f"{name} %": percent(row[f"accuracy_{name}"]) for name in ("first", "second")}
        | {"difference": difference_text(row)}
        | {f"only {name}": str(row[f"only_{name}"]) for name in ("first", "second")}
        | {"p": p_text(row["p_value"]), "p (Holm)": p_text(row["p_holm"])}
        for row in rows
    ]
    return ReaderTable(pd.DataFrame(cells), PAIRS_NOTE, TEXT_COLUMNS, _significant(rows))


def ranking_table(accuracies: pd.DataFrame) -> tuple[pd.DataFrame, ReaderTable | str]:
    """Compare methods over datasets, from `accuracies_by_dataset`: rows (`RANKING_COLUMNS`), and a table for a reader.

    With too few methods or datasets there are no rows, and in place of the table a sentence that says what is missing.
    """
    missing = why_no_ranking(accuracies)
    if missing:
        return pd.DataFrame(columns=RANKING_COLUMNS), missing
    tests, ranks = signed_rank_tests(accuracies), mean_ranks(accuracies)
    rows = tests.to_dict("records")
    cells = [
        {
            "first": row["first"],
            "second": row["second"],
            "mean ranks": f"{ranks[row['first']]:.2f}, {ranks[row['second']]:.2f}",
            "wins, ties, losses": f"{row['wins']}, {row['ties']}, {row['losses']}",
            "mean difference": percent(row["mean_difference"], "+"),
            "p": p_text(row["p_value"]),
            "p (Holm)": p_text(row["p_holm"]),
        }
        for row in rows
    ]
    note = RANKING_NOTE.format(datasets=len(accuracies), friedman=p_text(friedman_p_value(accuracies)))
    return tests[RANKING_COLUMNS], ReaderTable(pd.DataFrame(cells), note, TEXT_COLUMNS, _significant(rows))


def _significant(rows: Sequence[Mapping[str, Any]]) -> list[set[str]]:
    return [{"p (Holm)"} if row["p_holm"] < ALPHA else set() for row in rows]


def comparison_files(methods: pd.DataFrame, pairs: pd.DataFrame) -> dict[str, pd.DataFrame | str]:
    """Return the files of the tables of methods, pairs and rankings."""
    rankings, ranked = ranking_table(accuracies_by_dataset(methods))
    measured = methods_table(methods)
    compared = pairs_table(pairs) if len(pairs) else None
    lacking = ranked if isinstance(ranked, str) else ""
    texts = [measured.to_markdown(), compared.to_markdown() if compared else f"{NO_PAIR}\n"]
    texts.append(f"{lacking}\n" if isinstance(ranked, str) else ranked.to_markdown())
    page = compared or measured
    page = ReaderTable(page.cells, f"{page.note} {lacking}", page.text_columns, page.emphasised)
    return {
        "methods.csv": methods,
        "methods.tex": measured.to_latex("methods"),
        "rankings.csv": rankings,
        "rankings.tex": f"% {lacking}\n" if isinstance(ranked, str) else ranked.to_latex("rankings"),
        "comparisons.csv": pairs,
        "comparisons.tex": compared.to_latex("comparisons") if compared else f"% {NO_PAIR}\n",
        "comparisons.md": "\n".join(texts),
        "comparisons.html": page.to_html("Paired comparisons"),
    }


def ranked_accuracies(methods: pd.DataFrame) -> pd.DataFrame:
    """Return `accuracies_by_dataset`; InputError if there are too few methods or datasets to rank."""
    accuracies = accuracies_by_dataset(methods)
    lacking = why_no_ranking(accuracies)
    if lacking:
        raise InputError(lacking)
    return accuracies


def draw_critical_difference(methods: pd.DataFrame) -> Figure:
    """Draw mean ranks, and bars that join methods without a significant difference [1]_.

    A bar has a dot for each of its methods, which need not be neighbours: any two of them have a corrected p-value of
    at least 0.05 in ``rankings.csv``, and no further method has it with all of them.

    References
    ----------
    .. [1] J. Demsar, Statistical comparisons of classifiers over multiple data sets, Journal of Machine Learning
       Research 7 (2006) 1-30.
    """
    from aeon.visualisation import plot_critical_difference

    accuracies = ranked_accuracies(methods)
    margin = max(1.5, 0.125 * max(map(len, accuracies.columns)))
    tests, ranks = signed_rank_tests(accuracies), mean_ranks(accuracies)
    alike = nx.from_pandas_edgelist(tests[tests["p_holm"] >= ALPHA], "first", "second")
    bars = sorted(sorted(ranks[list(bar)]) for bar in nx.find_cliques(alike))
    with figure_style():
        figure, axes = plot_critical_difference(
            accuracies.to_numpy(dtype=float).round(12),
            list(accuracies.columns),
            # No p-value is above 2: without aeon's bars, of one-sided tests with another correction.
            alpha=2,
            correction=None,
            width=4 + 2 * margin,
            textspace=margin,
        )
        # The axis of ranks is 4 inches wide, 0.6 below the top; the first line to a name is an inch below it.
        unit = 4 / (len(ranks) - 1)
        for number, bar in enumerate(bars, start=1):
            x = (margin + unit * (len(ranks) - np.array(bar))) / figure.get_figwidth()
            y = (0.6 + 0.9 * number / max(9, len(bars) + 1)) / figure.get_figheight()
            axes.plot(x, np.full(len(x), y), color="black", linewidth=2.5, marker="o", markersize=5)
    return figure


def draw_multi_comparison_matrix(methods: pd.DataFrame) -> Figure:
    """Draw all pairs: mean difference, wins, ties and losses, p-value of the two-sided signed-rank test [1]_.

    A cell is the row's method less the column's. The p-values are those of ``rankings.csv``, not corrected; bold are
    those below 0.05 after Holm's correction for all pairs.

    References
    ----------
    .. [1] A. Ismail-Fawaz et al., An approach to multiple comparison benchmark evaluations that is stable under
       manipulation of the comparate set, arXiv:2305.11921.
    """
    accuracies = ranked_accuracies(methods)
    means = accuracies.mean().sort_values(ascending=False, kind="stable")
    differences = pd.DataFrame(100 * np.subtract.outer(means.to_numpy(), means.to_numpy()))
    texts = pd.DataFrame("", index=differences.index, columns=differences.columns)
    bold: set[tuple[float, float]] = set()
    for test in signed_rank_tests(accuracies).to_dict("records"):
        first, second = means.index.get_loc(test["first"]), means.index.get_loc(test["second"])
        for row, column, won, lost in ((first, second, "wins", "losses"), (second, first, "losses", "wins")):
            difference = percent(test["mean_difference"] * (1 if row == first else -1), "+")
            counts = f"{test[won]} / {test['ties']} / {test[lost]}"
            texts.iloc[row, column] = f"{difference}\n{counts}\np {p_text(test['p_value'])}"
            if test["p_holm"] < ALPHA:
                bold.add((column + 0.5, row + 0.5))
    names = [wrapped(name) for name in means.index]
    with figure_style():
        figure = Figure(figsize=(1.05 * len(means) + 1, 0.62 * len(means)))
        axes = figure.subplots()
        sns.heatmap(
            differences,
            mask=np.eye(len(means), dtype=bool),
            annot=texts,
            fmt="",
            annot_kws={"fontsize": 8},
            # The middle third of the scale, whose light colours leave the texts readable.
            cmap="RdBu",
            center=0,
            vmin=-3 * differences.to_numpy().max(),
            linewidths=1,
            cbar=False,
            xticklabels=names,
            yticklabels=[f"{name}\n{percent(mean)}" for name, mean in zip(names, means, strict=True)],
            ax=axes,
        )
        axes.tick_params(length=0, rotation=0, labeltop=True, labelbottom=False)
        for cell in axes.texts:
            cell.set_fontweight("bold" if cell.get_position() in bold else "normal")
        axes.set_title(
            "Names: mean accuracy (%). Cells: row less column (points), wins / ties / losses, signed-rank p\n"
            f"(bold: p < {ALPHA}, Holm)",
            fontsize=8,
        )
    return figure
