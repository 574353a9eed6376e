"""Occlusion: replaced parts, chosen cases, attributions and their faithfulness."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from tiny_llava import finetune_into, make_task

from vlmtsc.errors import InputError
from vlmtsc.evaluation import occlusion
from vlmtsc.evaluation.occlusion import choose_cases, explain_cases, explain_test_set, occlude
from vlmtsc.evaluation.predictor import Predictor
from vlmtsc.files import read_json
from vlmtsc.reporting.explanations import draw_explanations, faithfulness, mean_interval
from vlmtsc.settings import OcclusionOptions, ScenarioSettings

SCENARIO = ScenarioSettings(name="mine", modality="numbers", numbers="scaled", plot="none")


def test_hidden_timepoints_are_replaced() -> None:
    case = np.array([[0.0, 9.0, 9.0, 3.0], [5.0, 1.0, 1.0, 1.0]])
    hidden = np.array([False, True, True, False])
    straight = occlude(case, hidden, None)
    np.testing.assert_allclose(straight, [[0, 1, 2, 3], [5, 11 / 3, 7 / 3, 1]])
    assert occlude(case, ~hidden, np.full((2, 4), 7.0)).tolist() == [[7, 9, 9, 7], [7, 1, 1, 7]]
    assert case[0, 1] == 9.0


def test_typical_cases_of_each_class_and_confident_errors_are_chosen() -> None:
    values = np.array([0.0, 1.0, 5.0, 10.0, 11.0, 12.0])[:, None, None]
    label_index = np.array([0, 0, 0, 1, 1, 1])
    scores = np.array([[0, -9], [0, -9], [-3, 0], [-1, 0], [-9, 0], [0, -1]], dtype=float)
    chosen = choose_cases(values, label_index, scores, 5)
    assert chosen == [(1, "typical"), (4, "typical"), (0, "typical"), (3, "typical"), (2, "error")]


@pytest.fixture
def peaked(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Give a predictor whose answer depends on the values at timepoints 6 to 8 alone."""

    def score(predictor: Any, ids: Any, cases: np.ndarray, *_: Any, **__: Any) -> np.ndarray:
        evidence = cases[:, 0, 6:9].sum(axis=1)
        return np.stack([evidence, -evidence], axis=1)

    monkeypatch.setattr(occlusion, "score_cases", score)
    return SimpleNamespace(representation=SimpleNamespace(scenario=SCENARIO))


def test_the_part_that_decides_has_the_attribution(peaked: Any) -> None:
    cases = np.zeros((4, 1, 24))
    cases[:, :, 6:9] = 1.0
    found, passes = explain_cases(peaked, list("abcd"), cases, np.zeros((1, 24)), passes=24)
    assert passes == 4 * (24 + 1)
    for explanation in found:
        assert explanation.edges == list(range(0, 25, 3))
        assert np.argmax(explanation.attribution) == 2
        assert np.flatnonzero(explanation.by_timepoint() > 1e-9).tolist() == [6, 7, 8]
        assert explanation.deletion_gain >= 0
        assert explanation.insertion_gain >= 0
    assert np.mean([explanation.deletion_gain for explanation in found]) > 1


def test_series_of_one_timepoint_are_refused(peaked: Any) -> None:
    with pytest.raises(InputError, match="one timepoint have no parts to explain"):
        explain_cases(peaked, ["a"], np.zeros((1, 1, 1)), np.zeros((1, 1)), passes=12)


def test_a_model_is_explained_within_the_cap(tiny_checkpoint: Path, tmp_path: Path) -> None:
    task = make_task(tiny_checkpoint, tmp_path / "plots", modality="both")
    finetune_into(task.job(tiny_checkpoint, tmp_path / "inputs", epochs=1), tmp_path / "run")
    predictor = Predictor.load(
        tiny_checkpoint, tmp_path / "run/adapter", read_json(tmp_path / "run/parameters.json")
    )
    test, values = task.records["test"], task.series.values[-4:]
    scores = predictor.score(test, task.plots)
    options = OcclusionOptions(cases=3, passes=12)
    content = explain_test_set(predictor, test, values, scores, task.series.values[:12].mean(axis=0), options)
    assert content["reason"] is None
    assert content["passes"] == 3 * (12 + 1)
    for case in content["cases"]:
        row = [record["id"] for record in test].index(case["id"])
        assert case["predicted"] == scores[row].argmax()
        assert len(case["attribution"]) == len(case["edges"]) - 1 == 4
        assert np.abs(case["attribution"]).max() > 0
    cells = faithfulness(content)
    assert cells["cases"] == 3
    assert cells["finding"].startswith(("better than chance", "no better than chance"))
    rows = [np.repeat(case["attribution"], np.diff(case["edges"])) for case in content["cases"]]
    figure = draw_explanations(list(values[:3]), rows, ["a", "b", "c"])
    assert len(figure.axes) == 4  # with the colour bar


def test_the_interval_of_a_mean() -> None:
    mean, low, high = mean_interval([1.0, 2.0, 3.0])
    assert (mean, round(low, 2), round(high, 2)) == (2.0, -0.48, 4.48)
    assert np.isnan(mean_interval([1.0])[1])
