"""Comparisons of methods, ranks over datasets, and the table of baselines."""

from __future__ import annotations

import re
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from finished_runs import add_aligned, summarised, write_baseline, write_run
from matplotlib.text import Text

from vlmtsc.errors import InputError
from vlmtsc.evaluation.statistics import mean_ranks
from vlmtsc.paths import Paths
from vlmtsc.reporting.comparisons import (
    METHOD_COLUMNS,
    accuracies_by_dataset,
    comparison_files,
    draw_critical_difference,
    draw_multi_comparison_matrix,
    ranking_table,
)
from vlmtsc.reporting.summary import read_summaries
from vlmtsc.reporting.tables import p_text
from write_tables import write_baselines_table

PUBLISHED = "dataset\tmethod\taccuracy\tsource\nItaly\tHIVE-COTE 2\t96.99\tthe archive's site\n"


@pytest.fixture
def results(tmp_path: Path) -> Path:
    """A scenario with three seeds, two baselines; predictions in another order in each file."""
    for seed, wrong in enumerate([[0], [0, 1], [0, 1, 2]]):
        order = np.random.default_rng(seed).permutation(40)
        record = {"validation_accuracy": 0.95, "wall_seconds": 60.0 * (seed + 1)}
        write_run(tmp_path, "Italy", "plot", seed, wrong, order=order, **record)
        write_run(tmp_path, "Italy", "numbers", seed, 12, order=order[::-1], validation_accuracy=0.5)
    write_baseline(tmp_path, "majority", "Italy", range(0, 40, 2))
    write_baseline(tmp_path, "dtw_1nn", "Italy", [5, 6], validation=0.9)
    return tmp_path


def compared(results: Path, seeds: tuple[int, ...] = (0, 1, 2)) -> tuple[pd.DataFrame, pd.DataFrame]:
    folder = summarised(results, "Italy", ["plot", "numbers"], seeds, ["majority", "dtw_1nn"])
    return pd.read_csv(folder / "methods.csv"), pd.read_csv(folder / "comparisons.csv")


def test_methods_with_several_seeds_and_with_one(results: Path) -> None:
    methods, _ = compared(results)
    assert list(methods) == METHOD_COLUMNS
    plot, baseline = methods.iloc[0], methods.iloc[3]
    assert (plot["method"], plot["seeds"], plot["interval"]) == ("plot", 3, "wilson, bootstrap")
    assert plot["accuracy"] == pytest.approx(38 / 40)
    assert plot["accuracy_sd"] == pytest.approx(1 / 40)
    assert plot["accuracy_low"] < plot["accuracy"] < plot["accuracy_high"] <= 1
    assert (baseline["seeds"], baseline["interval"]) == (1, "wilson")
    assert methods["kind"].tolist() == ["fine-tuned"] * 2 + ["baseline"] * 2
    assert methods["wall_seconds"].tolist() == [120, 60, 1.5, 1.5]  # of three seeds the mean


def test_pairs_are_tested_on_the_same_cases(results: Path) -> None:
    _, pairs = compared(results)
    named = pairs.set_index(["first", "second"])
    assert len(named) == 5
    assert ("majority", "dtw_1nn") not in named.index  # two baselines
    # The first seed of plot has case 0 wrong, numbers cases 0 to 11.
    pair = named.loc[("plot", "numbers")]
    assert (pair["only_first"], pair["only_second"]) == (11, 0)
    assert pair["p_value"] == pytest.approx(2 / 2**11)
    assert pair["difference"] == pytest.approx(38 / 40 - 28 / 40)
    assert pair["difference_low"] < pair["difference"] < pair["difference_high"]
    assert named["p_holm"].min() == pytest.approx(5 * named["p_value"].min())


def test_predictions_of_other_cases_are_refused(results: Path) -> None:
    path = results / "baselines/Italy/pooled/dtw_1nn/predictions.csv"
    pd.read_csv(path).iloc[1:].to_csv(path, index=False)
    with pytest.raises(InputError, match="Italy, dtw_1nn: predictions of other cases"):
        compared(results)


FIRST_STAGES = {"plot": 10, "plot_and_numbers": 10, "plot_downsampled": 4}


@pytest.mark.parametrize(
    ("scenarios", "names"),
    [
        (["plot"], {"aligned_projector": 0.75}),
        (["plot", "numbers", "plot_and_numbers"], {"aligned_projector": 0.75}),
        (
            ["plot", "plot_and_numbers", "plot_downsampled"],
            {"aligned_projector (plot)": 0.75, "aligned_projector (plot_downsampled)": 0.9},
        ),
        (
            ["plot_downsampled", "plot_and_numbers"],
            {"aligned_projector (plot_downsampled)": 0.9, "aligned_projector (plot_and_numbers)": 0.75},
        ),
    ],
)
def test_scenarios_are_compared_with_their_own_first_stage(
    tmp_path: Path, scenarios: list[str], names: dict[str, float]
) -> None:
    for dataset in "AB":
        for scenario in scenarios:
            run = write_run(tmp_path, dataset, scenario, wrong=[0, 39])
            if scenario in FIRST_STAGES:
                # On B all have the same first stage, and still the names that they have on A.
                add_aligned(tmp_path, run, FIRST_STAGES[scenario] if dataset == "A" else 4)
        summarised(tmp_path, dataset, scenarios)
    tables = read_summaries(Paths(str(tmp_path)), ["tiny"], list("AB"), "pooled", ["methods", "comparisons"])
    pairs = tables["comparisons"]
    own = pairs[(pairs["dataset"] == "A") & (pairs["second"] == "aligned_projector")].set_index("first")
    # Case 39 is the fine-tuned model's own error, of which the first stage has the first cases wrong.
    expected = {name: [FIRST_STAGES[name] - 1, 1] for name in scenarios if name in FIRST_STAGES}
    assert own[["only_first", "only_second"]].T.to_dict("list") == expected
    accuracies = accuracies_by_dataset(tables["methods"])
    assert list(accuracies) == [*scenarios, *names]
    assert accuracies.loc["A", list(names)].to_dict() == names
    assert accuracies.loc["B", list(names)].tolist() == [0.9] * len(names)


def test_tables_for_a_reader(results: Path) -> None:
    files = comparison_files(*compared(results))
    text = files["comparisons.md"]
    assert re.search(r"95\.0 ± 2\.5 \[\d+\.\d, \d+\.\d\]", text)
    assert re.search(r"\| Italy +\| plot +\| numbers +\| +95\.0 \| +70\.0 \| +\+25\.0 \[", text)
    assert "**0.00" in text
    assert "Methods are not ranked over datasets" in text
    assert "there are 4 and 1" in text
    assert files["rankings.csv"].empty
    assert files["rankings.tex"].startswith("% ")
    assert r"\begin{tabular}" in files["methods.tex"]
    assert '<td class="text">plot</td>' in files["comparisons.html"]


def test_one_method_alone_has_nothing_to_compare(results: Path) -> None:
    folder = summarised(results, "Italy", ["plot"])
    files = comparison_files(pd.read_csv(folder / "methods.csv"), pd.read_csv(folder / "comparisons.csv"))
    assert "No two methods to compare" in files["comparisons.md"]
    assert "No two methods to compare" in files["comparisons.tex"]


def many_datasets(folder: Path, n_datasets: int) -> Path:
    """Accuracies of a scenario and a baseline for each of two models."""
    random = np.random.default_rng(0)
    rows = [
        dict.fromkeys(METHOD_COLUMNS)
        | {"model": model, "dataset": f"set{number}", "protocol": "pooled", "kind": kind, "method": method}
        | {"seeds": 1, "n_cases": 50, "accuracy": mean + random.uniform(-0.02, 0.02)}
        | {"accuracy_low": mean - 0.1, "accuracy_high": mean + 0.1}
        for number in range(n_datasets)
        for model in ("a", "b")
        for method, kind, mean in [("plot", "fine-tuned", 0.9), ("dtw_1nn", "baseline", 0.8)]
    ]
    pd.DataFrame(rows).to_csv(folder / "methods.csv", index=False)
    return folder / "methods.csv"


def test_methods_of_several_models_and_figures_of_ranks(tmp_path: Path) -> None:
    methods = many_datasets(tmp_path, 6)
    assert list(accuracies_by_dataset(pd.read_csv(methods))) == ["plot (a)", "dtw_1nn", "plot (b)"]
    for draw in (draw_critical_difference, draw_multi_comparison_matrix):
        texts = draw(pd.read_csv(methods)).findobj(Text)
        found = " ".join(text.get_text() for text in texts)
        assert {"plot (a)", "dtw_1nn", "plot (b)"} <= {*re.findall(r"plot \(\w\)|dtw_1nn", found)}
    with pytest.raises(InputError, match="Methods are not ranked over datasets"):
        draw_critical_difference(pd.read_csv(many_datasets(tmp_path, 5)))


def ranked_methods(accuracies: np.ndarray) -> pd.DataFrame:
    """Rows of the table of methods, from accuracies of shape (n_datasets, n_methods); methods are named a, b, ..."""
    rows = [
        dict.fromkeys(METHOD_COLUMNS)
        | {
            "model": "tiny",
            "dataset": f"set{number}",
            "kind": "fine-tuned",
            "method": name,
            "accuracy": accuracy,
        }
        for number, of_dataset in enumerate(accuracies)
        for name, accuracy in zip("abcdefgh", of_dataset, strict=False)
    ]
    return pd.DataFrame(rows)


def test_the_matrix_shows_the_tests_of_the_table() -> None:
    # On 14 datasets, a and b are better than c and d; b equals a on all but five, and d equals c.
    a, c = np.random.default_rng(0).uniform(0.6, 0.7, (2, 14))
    methods = ranked_methods(np.stack([a + 0.2, a + 0.2 + 0.01 * (np.arange(14) < 5), c, c], axis=1))
    rankings, _ = ranking_table(accuracies_by_dataset(methods))
    axes = draw_multi_comparison_matrix(methods).axes[0]
    names = [label.get_text() for label in axes.get_xticklabels()]
    cells = {tuple(int(place) for place in cell.get_position()): cell for cell in axes.texts}
    assert len(cells) == 2 * len(rankings)
    for row in rankings.to_dict("records"):
        first, second = names.index(row["first"]), names.index(row["second"])
        signed = ((1, (second, first), ("wins", "losses")), (-1, (first, second), ("losses", "wins")))
        for sign, place, counts in signed:
            text = cells[place].get_text().splitlines()
            assert text[0] == f"{100 * sign * row['mean_difference']:+.1f}"
            assert text[1] == f"{row[counts[0]]} / {row['ties']} / {row[counts[1]]}"
            assert text[2] == f"p {p_text(row['p_value'])}"
            assert cells[place].get_fontweight() == ("bold" if row["p_holm"] < 0.05 else "normal")
    assert set(rankings["p_holm"] < 0.05) == {True, False}


@pytest.mark.parametrize(("n_datasets", "bars"), [(7, ["abcde"]), (14, ["bd", "cd"])])
def test_the_bars_of_the_ranks_are_the_tests_of_the_table(n_datasets: int, bars: list[str]) -> None:
    # Everywhere a is best, e worst, and b better than c; d takes turns. On seven datasets that is no evidence, as there
    # are ten tests.
    number = np.arange(n_datasets)
    c, d = 0.6 + number / 1000, 0.61 + (-1.0) ** number * (50 + number) / 1000
    methods = ranked_methods(np.stack([c + 0.2, c + 0.02, c, d, c - 0.2], axis=1))
    wide = accuracies_by_dataset(methods)
    rankings, ranks = ranking_table(wide)[0], mean_ranks(wide)
    axes = draw_critical_difference(methods).axes[0]
    ticks = {int(text.get_text()): text.get_position()[0] for text in axes.texts if text.get_text().isdigit()}
    per_rank = (ticks[1] - ticks[5]) / 4
    shown = [1 + (ticks[1] - line.get_xdata()) / per_rank for line in axes.lines if line.get_marker() == "o"]
    found = ["".join(sorted(ranks.index[np.abs(ranks - x).argmin()] for x in bar)) for bar in shown]
    assert sorted(found) == bars
    # Every pair without a significant difference has a bar, and no other.
    equal = {row["first"] + row["second"] for row in rankings.to_dict("records") if row["p_holm"] >= 0.05}
    assert equal == {one + other for bar in bars for one, other in combinations(bar, 2)}


def baselines_table(results: Path, published: str = PUBLISHED, **changes: Any) -> str:
    """Write the table of baselines, and return it as Markdown."""
    (results / "published.tsv").write_text(published)
    arguments = {"models": ["tiny"], "datasets": ["Italy"], "scenarios": ["plot", "numbers"], "seeds": [0, 1]}
    arguments |= {"baselines": ["majority", "dtw_1nn"], "protocol": "pooled", **changes}
    output = results / "tables"
    write_baselines_table(str(results), **arguments, published=results / "published.tsv", output=output)
    return (output / "baselines.md").read_text()


def test_baselines_beside_the_run_chosen_on_validation(results: Path) -> None:
    text = baselines_table(results, scenarios=["plot", "numbers", "absent"])
    assert "96.2 ± 1.8, 2 seeds (plot)" in text
    assert re.search(r"\*\*95\.0 \[83\.5, 98\.6\]\*\*", text)  # dtw_1nn: chosen on validation
    assert "HIVE-COTE" not in text
    tidy = pd.read_csv(results / "tables/baselines.csv")
    assert tidy["kind"].tolist() == ["baseline", "baseline", "fine-tuned"]
    assert "fine-tuned" not in baselines_table(results, scenarios=["absent"]).lower()
    assert (results / "tables/baselines.tex").exists()


def test_published_results_stand_in_tables_of_the_official_split_only(results: Path) -> None:
    write_baseline(results, "dtw_1nn", "Italy", [1], protocol="official")
    official = {"baselines": ["dtw_1nn"], "protocol": "official"}
    text = baselines_table(results, **official)
    assert "HIVE-COTE 2 (published)" in text
    assert "96.99" in text
    assert "Sources: the archive's site." in text
    with pytest.raises(InputError, match=r"Italy, HIVE-COTE 2: accuracy '969\.9'; allowed: 0 to 100"):
        baselines_table(results, PUBLISHED.replace("96.99", "969.9"), **official)
