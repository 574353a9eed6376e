"""Published results and ours."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from conftest import ROOT
from finished_runs import write_run

from vlmtsc.configuration import load_configuration_files
from vlmtsc.errors import InputError
from vlmtsc.paths import Paths
from vlmtsc.reporting.baselines import read_published
from vlmtsc.reporting.paper import paper_rows, paper_tables
from vlmtsc.reporting.runs import list_runs, read_run, runs_table
from vlmtsc.reporting.tables import ReaderTable
from write_tables import write_paper_table

PUBLISHED = read_published(ROOT / "config/published.tsv", "scenario")
MATRIX: dict[str, Any] = {
    "models": ["tiny"],
    "datasets": ["TwoLeadECG", "HandOutlines", "Other"],
    "scenarios": ["plot", "BASELINE_2048", "BASELINE_4096"],
}


def test_the_published_numbers_are_those_of_the_paper() -> None:
    published = PUBLISHED
    assert len(published) == 12
    configuration = load_configuration_files([ROOT / "config/paper.yaml"], ROOT)
    assert set(published["dataset"]) == set(configuration.datasets)
    assert set(published["scenario"]) <= set(configuration.scenarios)
    best = published.groupby("dataset")["accuracy"].max()
    assert best["FreezerSmallTrain"] == 98.78
    assert best["HandOutlines"] == 66.7


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ("A\tplot\t101\tx", "A, plot: accuracy '101'; allowed: 0 to 100"),
        ("A\tplot\tmany\tx", "A, plot: accuracy 'many'; allowed: 0 to 100"),
        ("A\tplot\t50\tx\nA\tplot\t60\tx", "A, plot: is in the table twice"),
    ],
)
def test_a_wrong_published_number_is_named(tmp_path: Path, row: str, message: str) -> None:
    (tmp_path / "published.tsv").write_text(f"dataset\tscenario\taccuracy\tsource\n{row}\n")
    with pytest.raises(InputError, match=message):
        read_published(tmp_path / "published.tsv", "scenario")


@pytest.fixture
def runs(tmp_path: Path) -> pd.DataFrame:
    """Runs of two datasets; of the first, the scenario with the lower test accuracy is chosen."""
    scored = [
        ("TwoLeadECG", "plot", {"wrong": 0, "cases": 200, "validation_accuracy": 0.9}),
        ("TwoLeadECG", "BASELINE_2048", {"wrong": 2, "cases": 200, "validation_accuracy": 0.95}),
        ("HandOutlines", "plot", {"wrong": 30, "cases": 100}),
    ]
    keys = [write_run(tmp_path, dataset, scenario, **values) for dataset, scenario, values in scored]
    return runs_table([read_run(Paths(str(tmp_path)), key) for key in keys])


def rows(runs: pd.DataFrame, protocol: str = "pooled") -> tuple[pd.DataFrame, pd.DataFrame]:
    keys = list_runs(**MATRIX, protocol=protocol, seeds=[0])
    return paper_rows(runs.assign(protocol=protocol), PUBLISHED, keys)


def tables(runs: pd.DataFrame, protocol: str = "pooled") -> tuple[ReaderTable, ReaderTable]:
    return paper_tables(*rows(runs, protocol), PUBLISHED, protocol)


def test_published_and_ours_stand_side_by_side(runs: pd.DataFrame) -> None:
    every = rows(runs)[1].set_index(["dataset", "scenario"])
    assert len(every) == 9
    ours = every.loc["TwoLeadECG", "BASELINE_2048"]
    assert ours["published"] == 99.1
    assert ours["ours"] == pytest.approx(99.0)
    assert ours["difference"] == pytest.approx(-0.1)
    assert ours["low"] < 99 < ours["high"]
    assert (ours["majority"], ours["tokens"], ours["token budget"]) == (50, 620_000, 2_000_000)
    assert every.loc["TwoLeadECG", "BASELINE_4096"]["status"] == "not run"
    assert pd.isna(every.loc["Other", "plot"]["ours"])
    shown = tables(runs)[1].cells.set_index(["dataset", "scenario"])
    assert shown.loc["HandOutlines", "BASELINE_4096"]["ours %"] == "not run"
    assert shown.loc["HandOutlines", "BASELINE_4096"]["published %"] == "66.7"
    assert shown.loc["TwoLeadECG", "BASELINE_2048"]["budget"] == "2M"


def test_the_scenario_that_is_compared_is_chosen_on_validation(runs: pd.DataFrame) -> None:
    best = rows(runs)[0].set_index("dataset")
    # The plot has the higher test accuracy, and would pass the published one.
    assert best.loc["TwoLeadECG", "scenario"] == "BASELINE_2048"
    assert not best.loc["TwoLeadECG", "reached"]
    assert best.loc["HandOutlines", "reached"]
    assert best.loc["HandOutlines", "published scenario"] in ("BASELINE_2048", "BASELINE_4096")
    assert best.loc["Other", "reached"] is None
    best_table, every = tables(runs)
    cells = best_table.cells.set_index("dataset")
    assert cells["reached"].to_dict() == {"TwoLeadECG": "no", "HandOutlines": "yes", "Other": "-"}
    chosen = every.cells[every.marks["ours %"]]
    assert chosen[["dataset", "scenario"]].to_numpy().tolist() == [
        ["TwoLeadECG", "BASELINE_2048"],
        ["HandOutlines", "plot"],
    ]


def test_several_seeds_have_the_interval_that_is_shown(runs: pd.DataFrame) -> None:
    of_seed = runs[(runs["dataset"] == "HandOutlines")].assign(
        accuracy_low_over_seeds=0.601, accuracy_high_over_seeds=0.802
    )
    runs = pd.concat([of_seed, of_seed.assign(seed=1, accuracy=0.74)], ignore_index=True)
    every = rows(runs)[1].set_index(["dataset", "scenario"]).loc["HandOutlines", "plot"]
    assert (every["low"], every["high"]) == pytest.approx((60.1, 80.2))
    assert every["text"] == "72.0 ± 2.8 [60.1, 80.2], 2 seeds"
    assert "bootstrap" in tables(runs)[0].note
    # Of a single finished seed of two, nothing is known about the spread of seeds.
    runs.loc[1, "status"] = "failed"
    every = rows(runs)[1].set_index(["dataset", "scenario"]).loc["HandOutlines", "plot"]
    assert every[["low", "high"]].isna().all()
    assert every["text"] == "70.0, 1 of 2 seeds"


def test_a_dataset_without_a_result_says_why(runs: pd.DataFrame) -> None:
    runs.loc[runs["dataset"] == "HandOutlines", ["status", "validation_accuracy"]] = ["failed", None]
    cells = tables(runs)[0].cells.set_index("dataset")
    assert cells["ours %"][["HandOutlines", "Other"]].tolist() == ["failed", "not run"]
    assert cells["reached"]["HandOutlines"] == "-"


def test_published_numbers_are_of_the_pooled_split(runs: pd.DataFrame) -> None:
    every = rows(runs, "official")[1]
    assert every["published"].isna().all()
    assert every["difference"].isna().all()
    assert set(tables(runs, "official")[0].cells["reached"]) == {"-"}


def test_paper_files(runs: pd.DataFrame, tmp_path: Path) -> None:
    output = tmp_path / "out"
    runs.to_csv(tmp_path / "runs.csv", index=False)
    published = ROOT / "config/published.tsv"
    write_paper_table(tmp_path / "runs.csv", published, **MATRIX, protocol="pooled", output=output)
    kinds = {"paper.csv", "paper.md", "paper.tex", "paper.html", "paper_best.csv", "paper_best.html"}
    assert {path.name for path in output.iterdir()} == kinds
    text = (output / "paper.md").read_text()
    assert "**99.0 [" in text
    assert "not run" in text
    assert r"\label{tab:paper}" in (output / "paper.tex").read_text()
    assert len(pd.read_csv(output / "paper.csv")) == 9


def test_every_scenario_of_the_paper_has_its_factors() -> None:
    rows = load_configuration_files([], ROOT).scenario_table
    for name, row in rows.items():
        if name.startswith(("BASELINE_", "WITH_STATS_")):
            assert (row.modality, row.numbers, row.round_to) == ("both", "decimals", 2), name
            assert str(row.context_length) in name
            assert (row.downsampling == "adaptive") == ("adaptive_ds" in name)
            assert (row.plot == "line_downsampled") == name.endswith("_plot_ds")
            assert (row.context_text == "stats") == name.startswith("WITH_STATS")
