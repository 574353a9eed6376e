"""Results as other tools read them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from aeon.benchmarking.results_loaders import get_estimator_results, get_estimator_results_as_array
from finished_runs import write_baseline, write_run

from export_results import export_results
from vlmtsc.errors import InputError
from vlmtsc.reporting.export import estimator_name, prediction_file

ENTRY: dict[str, Any] = {
    **{"dataset": "Italy", "estimator": "plot", "seed": 0, "description": "", "parameters": ""},
    **{"fit_seconds": 1, "memory_mb": 1},
}


@pytest.fixture
def exported(tmp_path: Path) -> Path:
    for seed, wrong in enumerate([[0], [0, 1]]):
        write_run(tmp_path, "Italy", "plot", seed, wrong)
    write_baseline(tmp_path, "dtw_1nn", "Italy", [5, 6, 7, 8])
    export_results(
        results=str(tmp_path),
        models=["tiny"],
        datasets=["Italy"],
        scenarios=["plot"],
        seeds=[0, 1],
        baselines=["dtw_1nn"],
        protocol="pooled",
        output=tmp_path / "export",
    )
    return tmp_path / "export" / "pooled"


def test_aeon_reads_the_accuracies(exported: Path) -> None:
    found = get_estimator_results(["1NN-DTW"], path=str(exported))
    assert found == {"1NN-DTW": {"Italy": pytest.approx(0.9)}}
    array, names = get_estimator_results_as_array(["1NN-DTW"], path=str(exported))
    assert names == ["Italy"]
    assert array.tolist() == [[pytest.approx(0.9)]]
    seeds = pd.read_csv(exported / "classification/accuracy/plot_accuracy.csv", index_col=0)
    assert list(seeds.columns) == ["0", "1"]
    assert seeds.loc["Italy"].tolist() == pytest.approx([39 / 40, 38 / 40])


def read_as_tsml_eval(path: Path) -> tuple[list[list[str]], np.ndarray, np.ndarray, np.ndarray]:
    """Read facts, true and predicted classes and probabilities in the way of tsml-eval's loader."""
    lines = path.read_text().splitlines()
    facts = [line.split(",") for line in lines[:3]]
    n_classes = int(facts[2][5])
    cells = [line.split(",") for line in lines[3:]]
    assert all(len(row) == 3 + n_classes and row[2] == "" for row in cells)
    columns = np.array([[float(row[0]), float(row[1]), *map(float, row[3:])] for row in cells])
    return facts, columns[:, 0], columns[:, 1], columns[:, 2:]


def test_files_of_predictions_have_the_form_of_tsml_eval(exported: Path) -> None:
    files = sorted(path.relative_to(exported).as_posix() for path in exported.glob("*/Predictions/*/*.csv"))
    assert files == [
        "1NN-DTW/Predictions/Italy/testResample0.csv",
        "plot/Predictions/Italy/testResample0.csv",
        "plot/Predictions/Italy/testResample1.csv",
    ]
    facts, true, predicted, probabilities = read_as_tsml_eval(exported / files[2])
    assert facts[0][:5] == ["Italy", "plot", "TEST", "1", "MILLISECONDS"]
    assert len(facts[2]) == 9
    assert all(np.isfinite(float(facts[2][place])) for place in (0, 1, 2, 3, 4, 5, 7, 8))
    assert float(facts[2][0]) == pytest.approx((true == predicted).mean()) == 38 / 40
    assert probabilities.sum(axis=1) == pytest.approx(1)
    assert probabilities.argmax(axis=1).tolist() == predicted.tolist()


def test_names_of_methods() -> None:
    assert estimator_name("fcn", "", True) == "FCN"
    assert estimator_name("plot", "tiny", False) == "plot"
    assert estimator_name("plot", "tiny", True) == "plot-tiny"


@pytest.mark.parametrize(("probabilistic", "expected"), [(True, "0.25,0.75"), (False, "0.0,1.0")])
def test_probabilities_are_normalised_or_certain(probabilistic: bool, expected: str) -> None:
    score = np.log(3) if probabilistic else 1.0
    table = pd.DataFrame({"true": ["1"], "predicted": ["2"], "score_1": [0.0], "score_2": [score]})
    metrics = {"classes": ["1", "2"], "accuracy": 0.0, "probabilistic": probabilistic}
    line = prediction_file(table, metrics, **ENTRY).splitlines()[-1]
    assert [float(cell) for cell in line.split(",")[3:]] == pytest.approx(
        [float(cell) for cell in expected.split(",")]
    )


def test_a_strange_label_is_refused() -> None:
    table = pd.DataFrame({"true": ["1"], "predicted": ["3"], "score_1": [0.0], "score_2": [1.0]})
    with pytest.raises(InputError, match="plot, Italy: label '3'; allowed: 1, 2"):
        prediction_file(table, {"classes": ["1", "2"], "accuracy": 0.0}, **ENTRY)


@pytest.mark.parametrize(("column", "probabilistic"), [("true", False), ("true", True), ("predicted", True)])
def test_only_a_prediction_as_text_may_be_empty(column: str, probabilistic: bool) -> None:
    table = pd.DataFrame({"true": ["1"], "predicted": [""], "score_1": [0.0], "score_2": [0.0]})
    metrics = {"classes": ["1", "2"], "accuracy": 0.0, "probabilistic": False}
    assert prediction_file(table, metrics, **ENTRY).splitlines()[-1] == "0,-1,,0.0,0.0"
    table = table.assign(predicted="2").assign(**{column: ""})
    with pytest.raises(InputError, match="plot, Italy: label ''; allowed: 1, 2"):
        prediction_file(table, metrics | {"probabilistic": probabilistic}, **ENTRY)
