"""From conversations to an adapter to predictions, through the scripts; and the model as it was trained."""

from __future__ import annotations

import dataclasses
import io
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from scipy.special import log_softmax
from tiny_llava import TinyTask, finetune_into, make_task, recipe

from evaluate_controls import evaluate_controls
from evaluate_model import evaluate_model
from vlmtsc.errors import InputError
from vlmtsc.evaluation.control_kinds import IMAGE_CONTROLS, NUMBER_CONTROLS
from vlmtsc.evaluation.predictions import prediction_table, read_predictions, visible
from vlmtsc.evaluation.predictor import Predictor
from vlmtsc.files import read_json
from vlmtsc.paths import Run


@dataclasses.dataclass(frozen=True)
class DoneRun:
    """A run made by the scripts."""

    checkpoint: Path
    task: TinyTask
    folder: Path

    def predictor(self) -> Predictor:
        parameters = read_json(self.folder / "parameters.json")
        return Predictor.load(self.checkpoint, self.folder / "adapter", parameters)


@pytest.fixture(scope="module", params=["tiny_checkpoint", "llama_checkpoint"])
def run(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> DoneRun:
    checkpoint = request.getfixturevalue(request.param)
    folder = tmp_path_factory.mktemp("run")
    task = make_task(
        checkpoint,
        folder / "plots",
        n_classes=11,
        n_train=22,
        system_prompt="A chat of a person and a model.",
    )
    key = Run("tiny", "Waves", "pooled", "both", 3)
    finetune_into(task.job(checkpoint, folder, key, seed=3), folder)
    evaluate_model(
        model=checkpoint,
        adapter=folder / "adapter",
        parameters=folder / "parameters.json",
        test=folder / "test.json",
        predictions=folder / "predictions.csv",
        metrics=folder / "metrics.json",
        plots=task.plots,
        validation=folder / "validation.json",
        generate=True,
    )
    evaluate_controls(
        model=checkpoint,
        adapter=folder / "adapter",
        parameters=folder / "parameters.json",
        test=folder / "test.json",
        predictions=folder / "predictions.csv",
        controls=folder / "controls.csv",
        plots=task.plots,
    )
    return DoneRun(checkpoint, task, folder)


def test_what_a_run_leaves_behind(run: DoneRun) -> None:
    assert not (run.folder / "checkpoints").exists()
    record = read_json(run.folder / "run_record.json")
    assert {key: record[key] for key in ("model", "dataset", "protocol", "scenario", "seed")} == {
        "model": "tiny",
        "dataset": "Waves",
        "protocol": "pooled",
        "scenario": "both",
        "seed": 3,
    }
    parameters = read_json(run.folder / "parameters.json")
    assert parameters["finetune"] == recipe(seed=3).model_dump()
    assert parameters["representation"] == read_json(run.folder / "representation.json")
    assert list(pd.read_csv(run.folder / "training_log.csv"))[:4] == ["step", "epoch", "tokens", "loss"]


def test_predictions_and_metrics_agree(run: DoneRun) -> None:
    table = pd.read_csv(run.folder / "predictions.csv", dtype=str, keep_default_na=False)
    test = run.task.records["test"]
    classes = list(run.task.representation.classes)
    score_columns = [f"score_{name}" for name in classes]
    assert list(table) == ["id", "true", "predicted", *score_columns, "generated", "generated_class"]
    assert table["id"].tolist() == [record["id"] for record in test]
    assert table["true"].tolist() == [record["label"] for record in test]
    scores = table[score_columns].astype(float).to_numpy()
    assert [classes[index] for index in scores.argmax(axis=1)] == table["predicted"].tolist()
    metrics = read_json(run.folder / "metrics.json")
    assert metrics["n_cases"] == len(test)
    assert metrics["accuracy"] == pytest.approx((table["true"] == table["predicted"]).mean())
    assert metrics["classes"] == classes
    valid = table["generated_class"] != ""
    assert metrics["generated_valid_rate"] == pytest.approx(valid.mean())
    assert metrics["generated_accuracy"] == pytest.approx((table["generated_class"] == table["true"]).mean())
    assert metrics["temperature_cases"] == len(run.task.records["validation"])
    scaled = log_softmax(scores / metrics["temperature"], axis=1)
    true = [record["label_index"] for record in test]
    assert metrics["log_loss_at_temperature"] == pytest.approx(-scaled[range(len(true)), true].mean())
    # Nine answers begin with "1" or are complete after one digit: with 11 classes probabilities still add up.
    assert (np.exp(scores).sum(axis=1) <= 1).all()


def test_a_loaded_run_scores_as_before_without_knowing_the_answers(run: DoneRun) -> None:
    _, _, expected = read_predictions(run.folder / "predictions.csv")
    representation = run.task.representation
    values = run.task.series.values
    questions = []
    for record in run.task.records["test"]:
        case = int(record["id"].rpartition("-")[2])
        questions.append(
            representation.record(record["id"], representation.prompt(values[case]), None, record["image"])
        )
    assert all("label" not in question and len(question["conversations"]) == 1 for question in questions)
    found = run.predictor().score(questions, run.task.plots)
    np.testing.assert_allclose(found, expected, atol=1e-5)
    np.testing.assert_allclose(
        run.predictor().score(questions[1:2], run.task.plots), expected[1:2], atol=1e-5
    )


def test_without_a_wish_nothing_is_generated_and_no_temperature_fitted(run: DoneRun, tmp_path: Path) -> None:
    inputs = {name: run.folder / f"{name}.json" for name in ("parameters", "test")}
    outputs = {"predictions": tmp_path / "predictions.csv", "metrics": tmp_path / "metrics.json"}
    evaluate_model(
        model=run.checkpoint, adapter=run.folder / "adapter", plots=run.task.plots, **inputs, **outputs
    )
    more, less = (read_json(folder / "metrics.json") for folder in (run.folder, tmp_path))
    assert set(more) - set(less) == {
        *("generated_valid_rate", "generated_accuracy_of_valid", "generated_accuracy"),
        *("temperature", "temperature_cases"),
        *("log_loss_at_temperature", "expected_calibration_error_at_temperature"),
    }
    assert {name: more[name] for name in less} == less
    table = pd.read_csv(outputs["predictions"])
    pd.testing.assert_frame_equal(table, pd.read_csv(run.folder / "predictions.csv")[list(table)])


def test_controls_begin_with_the_intact_run(run: DoneRun) -> None:
    table = pd.read_csv(run.folder / "controls.csv").set_index("control")
    metrics = read_json(run.folder / "metrics.json")
    assert table.index.tolist() == ["intact", *IMAGE_CONTROLS, *NUMBER_CONTROLS]
    assert table.loc["intact", "accuracy"] == metrics["accuracy"]
    assert set(table["n_cases"]) == {metrics["n_cases"]}
    assert (table["total_variation"].drop("intact") > 1e-4).all()
    assert table.loc["intact", ["changed", "p_value", "finding"]].isna().all()


def test_controls_need_the_predictions_of_their_cases(run: DoneRun, tmp_path: Path) -> None:
    others = pd.read_csv(run.folder / "predictions.csv")[::-1]
    others.to_csv(tmp_path / "predictions.csv", index=False)
    with pytest.raises(InputError, match=r"predictions\.csv: other cases than those of .*test\.json"):
        evaluate_controls(
            model=run.checkpoint,
            adapter=run.folder / "adapter",
            parameters=run.folder / "parameters.json",
            test=run.folder / "test.json",
            predictions=tmp_path / "predictions.csv",
            controls=tmp_path / "controls.csv",
            plots=run.task.plots,
        )


def test_predictions_are_read_as_they_were_written(tmp_path: Path) -> None:
    scores, labels = np.array([[-1.5, -0.1], [-0.25, -3.0]]), np.array([1, 0])
    generated = (["NA", "it is\n1"], np.array([1, -1]))
    table = prediction_table(["a", "b"], scores, ["1", "NA"], labels, generated)
    assert table["generated_class"].tolist() == ["NA", ""]
    table.to_csv(tmp_path / "made.csv", index=False)
    ids, true, read = read_predictions(tmp_path / "made.csv")
    assert ids == ["a", "b"]
    np.testing.assert_array_equal(true, labels)
    np.testing.assert_array_equal(read, scores)
    table.drop(columns="true").to_csv(tmp_path / "unlabelled.csv", index=False)
    with pytest.raises(InputError, match="allowed: id, true, predicted and score_<class>"):
        read_predictions(tmp_path / "unlabelled.csv")
    table.assign(true="3").to_csv(tmp_path / "other.csv", index=False)
    with pytest.raises(InputError, match="true class '3'; allowed: 1, NA"):
        read_predictions(tmp_path / "other.csv")


def test_plots_are_needed(run: DoneRun) -> None:
    with pytest.raises(InputError, match="no folder of plots was given"):
        run.predictor().score(run.task.records["test"], None)


def test_a_table_without_true_labels() -> None:
    table = prediction_table(["a", "b"], np.array([[-1.0, -2.0], [-3.0, -0.5]]), ["-1", "walk"])
    assert list(table) == ["id", "predicted", "score_-1", "score_walk"]
    assert table["predicted"].tolist() == ["-1", "walk"]


@given(st.text(max_size=8))
@example("a\rb")
@example('",\n\x85\u2028')
def test_any_generated_text_is_one_row(text: str) -> None:
    table = prediction_table(["a", "b"], np.zeros((2, 2)), ["1", "2"], None, ([text, "1"], np.array([-1, 0])))
    file = io.StringIO(table.to_csv(index=False))
    read = pd.read_csv(file, dtype=str, keep_default_na=False)
    assert read["id"].tolist() == ["a", "b"]
    assert read["generated"].tolist() == [visible(text), "1"]
