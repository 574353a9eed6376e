"""Tables of comparisons, figures of ranks, and the table of baselines: what a reader sees."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from compare_methods import compare_methods
from draw_rankings import draw_rankings
from vlmtsc.errors import InputError
from vlmtsc.evaluation.metrics import compute_metrics
from vlmtsc.evaluation.predictions import prediction_table
from vlmtsc.files import write_json
from vlmtsc.paths import BaselineKey, Paths
from vlmtsc.reporting.comparisons import METHOD_COLUMNS, accuracies_by_dataset
from vlmtsc.reporting.tables import RECORD, RUN_KEYS
from write_baselines_table import write_baselines_table
from write_comparisons import write_comparisons

CLASSES = ["low", "high"]
LABELS = np.arange(40) % 2
PUBLISHED = "dataset\tmethod\taccuracy\tsource\nItaly\tHIVE-COTE 2\t96.99\tthe archive's site\n"


def write_scores(folder: Path, wrong: list[int], order: np.ndarray | None = None) -> dict[str, object]:
    """Write predictions and metrics of a method that has the cases `wrong` wrong."""
    predicted = np.where(np.isin(np.arange(40), wrong), 1 - LABELS, LABELS)
    order = np.arange(40) if order is None else order
    scores = np.eye(2)[predicted][order]
    table = prediction_table([f"Italy-{case:05d}" for case in order], scores, CLASSES, LABELS[order])
    folder.mkdir(parents=True)
    table.to_csv(folder / "predictions.csv", index=False)
    metrics = compute_metrics(LABELS[order], scores, CLASSES)
    write_json(folder / "metrics.json", metrics)
    return metrics


def write_run(results: Path, scenario: str, seed: int, wrong: list[int], validation: float = 0.5) -> str:
    run = f"runs/tiny/Italy/pooled/{scenario}/seed-{seed}"
    write_scores(results / run, wrong, np.random.default_rng(seed).permutation(40))
    key = dict(zip(RUN_KEYS, ["tiny", "Italy", "pooled", scenario, seed], strict=True))
    record = dict.fromkeys(RECORD, 1) | key | {"validation_accuracy": validation, "stopped_by": "epochs"}
    record |= {"git_revision": "abc", "shared_with": None, "wall_seconds": 60.0 * (seed + 1)}
    write_json(results / run / "run_record.json", record)
    return run


def write_baseline(results: Path, name: str, wrong: list[int], protocol: str = "pooled") -> BaselineKey:
    key = BaselineKey(name, "Italy", protocol, "tiny" if name.startswith("logistic") else "")
    write_scores(Path(Paths(str(results)).baseline(key)), wrong)
    record = {"baseline": name, "dataset": "Italy", "protocol": protocol, "seed": 0, "chosen": {"band": 1}}
    record |= {"validation_accuracy": 0.9 if name == "dtw_1nn" else 0.8, "wall_seconds": 1.5}
    write_json(Path(Paths(str(results)).baseline(key)) / "record.json", record | {"peak_memory_mb": 200.0})
    return key


@pytest.fixture
def results(tmp_path: Path) -> Path:
    """A scenario with three seeds, one with one, two baselines."""
    for seed, wrong in enumerate([[0], [0, 1], [0, 1, 2]]):
        write_run(tmp_path, "plot", seed, wrong, validation=0.95)
    write_run(tmp_path, "numbers", 0, list(range(12)))
    write_baseline(tmp_path, "majority", list(range(0, 40, 2)))
    write_baseline(tmp_path, "dtw_1nn", [5, 6])
    return tmp_path


def compared(results: Path) -> tuple[pd.DataFrame, pd.DataFrame]:
    compare_methods(
        results=results,
        model="tiny",
        dataset="Italy",
        protocol="pooled",
        runs=["plot/seed-0", "plot/seed-1", "plot/seed-2", "numbers/seed-0"],
        baselines=[BaselineKey("majority", "Italy", "pooled"), BaselineKey("dtw_1nn", "Italy", "pooled")],
        methods=results / "methods.csv",
        comparisons=results / "comparisons.csv",
    )
    return pd.read_csv(results / "methods.csv"), pd.read_csv(results / "comparisons.csv")


def test_methods_with_several_seeds_and_with_one(results: Path) -> None:
    methods, _ = compared(results)
    assert list(methods) == METHOD_COLUMNS
    plot, numbers = methods.iloc[0], methods.iloc[1]
    assert (plot["method"], plot["seeds"], plot["interval"]) == ("plot", 3, "bootstrap")
    assert plot["accuracy"] == pytest.approx(38 / 40)
    assert plot["accuracy_sd"] == pytest.approx(1 / 40)
    assert plot["accuracy_low"] < plot["accuracy"] < plot["accuracy_high"] <= 1
    assert (numbers["seeds"], numbers["interval"]) == (1, "wilson")
    assert methods["kind"].tolist() == ["fine-tuned"] * 2 + ["baseline"] * 2
    assert methods["wall_seconds"].tolist() == [120, 60, 1.5, 1.5]  # of three seeds the mean


def test_pairs_are_tested_on_the_same_cases(results: Path) -> None:
    _, pairs = compared(results)
    named = pairs.set_index(["first", "second"])
    assert len(named) == 5
    assert ("majority", "dtw_1nn") not in named.index  # two baselines
    # The first seed of plot has case 0 wrong, numbers cases 0 to 11; rows lie in another order in the files.
    pair = named.loc[("plot", "numbers")]
    assert (pair["only_first"], pair["only_second"]) == (11, 0)
    assert pair["p_value"] == pytest.approx(2 / 2**11)
    assert pair["difference"] == pytest.approx(38 / 40 - 28 / 40)
    assert pair["difference_low"] < pair["difference"] < pair["difference_high"]
    smallest = named["p_value"].min()
    assert named["p_holm"].min() == pytest.approx(5 * smallest)


def test_predictions_of_other_cases_are_refused(results: Path) -> None:
    path = results / "baselines/Italy/pooled/dtw_1nn/predictions.csv"
    pd.read_csv(path).iloc[1:].to_csv(path, index=False)
    with pytest.raises(InputError, match="Italy, dtw_1nn: predictions of other cases"):
        compared(results)


def test_tables_for_a_reader(results: Path) -> None:
    compared(results)
    write_comparisons([results / "methods.csv"], [results / "comparisons.csv"], results / "tables")
    text = (results / "tables/comparisons.md").read_text()
    assert re.search(r"95\.0 ± 2\.5 \[\d+\.\d, \d+\.\d\]", text)
    assert re.search(r"\| Italy +\| plot +\| numbers +\| +95\.0 \| +70\.0 \| +\+25\.0 \[", text)
    assert "**0.00" in text
    assert "Methods are not ranked over datasets" in text
    assert "there are 4 and 1" in text
    assert pd.read_csv(results / "tables/rankings.csv").empty
    assert '<td class="text">plot</td>' in (results / "tables/comparisons.html").read_text()


def test_one_method_alone_has_nothing_to_compare(results: Path) -> None:
    compare_methods(
        results, "tiny", "Italy", "pooled", ["plot/seed-0"], [], results / "m.csv", results / "c.csv"
    )
    write_comparisons([results / "m.csv"], [results / "c.csv"], results / "tables")
    assert "No two methods to compare" in (results / "tables/comparisons.md").read_text()


def many_datasets(folder: Path, n_datasets: int) -> Path:
    """Accuracies of three methods, and of the second model's only probe."""
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
    draw_rankings(methods, tmp_path / "figures")
    names = {"critical_difference", "multi_comparison_matrix"}
    assert {path.name for path in (tmp_path / "figures").iterdir()} == {
        f"{name}.{kind}" for name in names for kind in ("png", "pdf")
    }
    with pytest.raises(InputError, match="Methods are not ranked over datasets"):
        draw_rankings(many_datasets(tmp_path, 5), tmp_path / "figures")


def test_baselines_beside_the_run_chosen_on_validation(results: Path) -> None:
    published = results / "published.tsv"
    published.write_text(PUBLISHED)
    names = ["majority", "dtw_1nn"]
    # Of the runs that are asked for, some are not there.
    asked = (["tiny"], ["Italy"], ["plot", "numbers", "absent"], [0, 1])
    write_baselines_table(results, *asked, names, "pooled", published, results / "tables")
    text = (results / "tables/baselines.md").read_text()
    assert "96.2 ± 1.8, 2 seeds (plot)" in text
    assert re.search(r"\*\*95\.0 \[83\.5, 98\.6\]\*\*", text)  # dtw_1nn: chosen on validation
    assert "HIVE-COTE" not in text
    tidy = pd.read_csv(results / "tables/baselines.csv")
    assert tidy["kind"].tolist() == ["baseline", "baseline", "fine-tuned"]
    asked = (["tiny"], ["Italy"], ["absent"], [0])
    write_baselines_table(results, *asked, names, "pooled", published, results / "tables")
    assert "fine-tuned" not in (results / "tables/baselines.md").read_text().lower()
    assert (results / "tables/baselines.tex").exists()


def test_published_results_stand_in_tables_of_the_official_split_only(results: Path) -> None:
    published = results / "published.tsv"
    published.write_text(PUBLISHED)
    write_baseline(results, "dtw_1nn", [1], protocol="official")
    arguments = (["tiny"], ["Italy"], ["plot"], [0], ["dtw_1nn"], "official", published, results / "tables")
    write_baselines_table(results, *arguments)
    text = (results / "tables/baselines.md").read_text()
    assert "HIVE-COTE 2 (published)" in text
    assert "96.99" in text
    assert "Sources: the archive's site." in text
    published.write_text(PUBLISHED.replace("96.99", "969.9"))
    with pytest.raises(InputError, match=r"Italy, HIVE-COTE 2: accuracy '969\.9'; allowed: 0 to 100"):
        write_baselines_table(results, *arguments)
