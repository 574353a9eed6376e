"""Predictor, free generation and controls at test time, against slow references and through the scripts."""

from __future__ import annotations

import dataclasses
import re
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from scipy.special import log_softmax
from tiny_llava import TinyTask, finetune_into, make_task, recipe

from evaluate_model import evaluate_model
from vlmtsc.errors import InputError
from vlmtsc.evaluation import predictor as predictor_module
from vlmtsc.evaluation.constants import IMAGE_CONTROLS, INTACT, NUMBER_CONTROLS
from vlmtsc.evaluation.controls import (
    BLANK,
    BLANK_COLOUR,
    control_row,
    controlled_records,
    controls_of,
    evaluate_controls,
    other_cases,
    remove_numbers,
    score_controls,
    shuffle_numbers,
)
from vlmtsc.evaluation.generation import (
    BEYOND_LONGEST,
    class_of_text,
    generate_greedily,
    generation_limit,
    read_answer,
)
from vlmtsc.evaluation.metrics import INVALID, read_predictions
from vlmtsc.evaluation.predictor import Predictor
from vlmtsc.examples import answer_tokens
from vlmtsc.files import read_json
from vlmtsc.model.adapter import add_adapter
from vlmtsc.model.checkpoint import load_checkpoint
from vlmtsc.model.vision import load_pixels, write_features
from vlmtsc.paths import Run
from vlmtsc.representation.processor import load_processor
from vlmtsc.representation.representation import Representation
from vlmtsc.scoring import prefill


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
        controls=folder / "controls.csv",
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


def test_the_aligned_projector_alone_is_measured_beside_the_model(
    tiny_checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    task = make_task(tiny_checkpoint, tmp_path / "plots", modality="plot")
    stages = {"align_steps": 60, "align_token_share": 0.5, "soft_answers": True}
    job = task.job(tiny_checkpoint, tmp_path, epochs=1, projector_learning_rate=0.0, **stages)
    finetune_into(job, tmp_path)
    features = tmp_path / "line.npy"
    write_features(tiny_checkpoint, task.plots, "fp32", features)
    monkeypatch.setattr("vlmtsc.model.vision.encode_pixels", None)  # all features are stored
    for name in ("validation", "test"):
        evaluate_model(
            model=tiny_checkpoint,
            adapter=tmp_path / "adapter",
            parameters=tmp_path / "parameters.json",
            test=tmp_path / f"{name}.json",
            predictions=tmp_path / f"{name}.csv",
            metrics=tmp_path / f"{name}_metrics.json",
            plots=task.plots,
            features=features,
        )
        table = pd.read_csv(tmp_path / f"{name}.csv", dtype=str)
        metrics = read_json(tmp_path / f"{name}_metrics.json")
        assert (
            metrics["aligned_projector"]["accuracy"] == (table["true"] == table["aligned_projector"]).mean()
        )
        assert metrics["aligned_projector"]["classes"] == metrics["classes"]
    alignment = read_json(tmp_path / "run_record.json")["alignment"]
    validation = read_json(tmp_path / "validation_metrics.json")["aligned_projector"]
    assert validation["accuracy"] == alignment["validation_accuracy"]
    assert validation["log_loss"] == pytest.approx(alignment["validation_loss"], rel=1e-5)


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
    with pytest.raises(InputError, match=r"predictions\.csv: other cases than the conversations"):
        evaluate_controls(
            run.predictor(), run.task.records["test"], tmp_path / "predictions.csv", run.task.plots
        )


def test_plots_are_needed(run: DoneRun) -> None:
    with pytest.raises(InputError, match="no folder of plots was given"):
        run.predictor().score(run.task.records["test"], None)


def make_predictor(checkpoint: Path, folder: Path, **options: object) -> tuple[Predictor, TinyTask]:
    """Give an untrained model, and what it is asked; twelve classes, of answers "1" to "12"."""
    task = make_task(checkpoint, folder, **{"n_classes": 12, "n_train": 13, **options})
    base = load_checkpoint(checkpoint, precision="fp32", attention="eager", context_length=512)
    settings = recipe()
    predictor = Predictor(
        add_adapter(base, settings), load_processor(checkpoint), task.representation, settings, batch_size=5
    )
    return predictor, task


@pytest.fixture(scope="module", params=["tiny_checkpoint", "llama_checkpoint"])
def asked(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Predictor, TinyTask]:
    return make_predictor(request.getfixturevalue(request.param), tmp_path_factory.mktemp("plots"))


def reference(predictor: Predictor, task: TinyTask, end_token: int) -> list[list[int]]:
    """Generate case by case, from pixels, with a whole forward pass for each token."""
    rows = []
    for example in predictor.questions(task.records["train"]):
        pixels = load_pixels([task.plots / example.image], predictor.processor)
        tokens: list[int] = []
        while len(tokens) < 6 and end_token not in tokens:
            whole = torch.tensor([[*example.prompt, *tokens]])
            with torch.no_grad():
                logits = predictor.model.eval()(input_ids=whole, pixel_values=pixels).logits
            tokens.append(int(logits[0, -1].argmax()))
        rows.append(tokens)
    return rows


def generated(predictor: Predictor, task: TinyTask, end_token: int, batch_size: int) -> list[list[int]]:
    """Generate in batches, each from the cache that scoring leaves."""
    questions = predictor.questions(task.records["train"])
    vision = predictor.vision([task.plots / question.image for question in questions])
    rows: list[list[int]] = [[]] * len(questions)

    def go_on(cases, prefilled):
        for case, tokens in zip(
            cases, generate_greedily(predictor.model, prefilled, end_token, 6), strict=True
        ):
            rows[case] = tokens

    batched = dataclasses.replace(predictor, batch_size=batch_size)
    batched.score_questions(questions, vision, range(len(questions)), go_on)
    return rows


def test_scores_that_are_not_finite_are_refused(
    asked: tuple[Predictor, TinyTask], monkeypatch: pytest.MonkeyPatch
) -> None:
    predictor, task = asked
    monkeypatch.setattr(predictor_module, "score_examples", lambda *_, **__: np.array([[0.0, np.nan]]))
    with pytest.raises(InputError, match=r"score of row 0 for class '.*' is nan"):
        predictor.score(task.records["test"][:1], task.plots)


def test_batches_equal_one_by_one_and_a_slow_reference(asked: tuple[Predictor, TinyTask]) -> None:
    predictor, task = asked
    never = -1
    expected = reference(predictor, task, never)
    assert len({tuple(row) for row in expected}) > 1
    assert generated(predictor, task, never, batch_size=5) == expected
    assert generated(predictor, task, never, batch_size=1) == expected
    # A token that some cases reach early and others late or never.
    ending = expected[0][1]
    ended = generated(predictor, task, ending, batch_size=5)
    assert ended == reference(predictor, task, ending)
    assert len(ended[0]) <= 2


def test_generation_changes_no_score_and_costs_a_pass_for_each_token(
    asked: tuple[Predictor, TinyTask],
) -> None:
    predictor, task = asked
    records = task.records["train"][:5]
    calls: list[int] = []
    handle = predictor.model.register_forward_hook(lambda *_: calls.append(1))
    alone = predictor.score(records, task.plots)
    scoring = len(calls)
    scores, (texts, indices) = predictor.score_and_generate(records, task.plots)
    handle.remove()
    np.testing.assert_array_equal(scores, alone)
    limit = generation_limit(predictor.processor.tokenizer, predictor.representation)
    assert len(calls) - 2 * scoring <= limit - 1
    assert len(texts) == len(indices) == 5


def test_a_batch_stops_when_all_have_ended(asked: tuple[Predictor, TinyTask]) -> None:
    predictor, task = asked
    question = predictor.questions(task.records["train"][:1])[0]
    calls: list[int] = []
    with torch.inference_mode():
        images = predictor.vision([task.plots / question.image]).inputs([0, 0])
        prompts = [question.prompt, question.prompt]
        prefilled = prefill(predictor.model.eval(), prompts, [], images, 0, keep_cache=True)
        first = int(prefilled.log_likelihoods[0, 0].argmax())
        handle = predictor.model.register_forward_hook(lambda *_: calls.append(1))
        found = generate_greedily(predictor.model, prefilled, first, 9)
        handle.remove()
        assert found == [[first], [first]]
        assert calls == []
        without = prefill(predictor.model, prompts, [], images, 0, keep_cache=False)
        with pytest.raises(ValueError, match="keep_cache=True"):
            generate_greedily(predictor.model, without, first, 9)


@pytest.mark.parametrize("rationale", [False, True])
def test_an_answer_as_it_was_trained_is_read_as_its_class(
    tiny_checkpoint: Path, llama_checkpoint: Path, tmp_path: Path, rationale: bool
) -> None:
    for number, checkpoint in enumerate((tiny_checkpoint, llama_checkpoint)):
        task = make_task(
            checkpoint, tmp_path / str(number), modality="numbers", n_classes=12, rationale_target=rationale
        )
        tokenizer = load_processor(checkpoint).tokenizer
        answers = answer_tokens(tokenizer, task.representation)
        # Not ended by the end token where a rationale follows: generation may be in the middle of it.
        found = [read_answer(answer, tokenizer, task.representation) for answer in answers]
        assert [label for _, label in found] == list(range(12))
        if not rationale:
            assert [text for text, _ in found] == list(task.representation.label_texts)
        assert generation_limit(tokenizer, task.representation) == max(map(len, answers)) + BEYOND_LONGEST


@pytest.mark.parametrize(
    ("text", "ended", "rationale", "expected"),
    [
        ("1", True, False, 0),
        ("12", True, False, 2),
        ("1", False, False, INVALID),
        ("", True, False, INVALID),
        ("1.", True, False, INVALID),
        ("class 1", True, False, INVALID),
        ("1 2", True, False, INVALID),
        ("<image>1", True, False, INVALID),
        ("1.5", True, False, 3),
        ("1. It goes up", False, True, 0),
        ("1.5. It goes up", False, True, 3),
        ("12", True, True, 2),
        ("12", False, True, INVALID),
        ("3. It goes up", False, True, INVALID),
    ],
)
def test_only_an_answer_is_an_answer(text: str, ended: bool, rationale: bool, expected: int) -> None:
    assert class_of_text(text, ["1", "2", "12", "1.5"], ended=ended, rationale=rationale) == expected


@given(st.lists(st.integers(0, 4), min_size=2, max_size=40), st.integers(0, 3))
def test_every_case_gets_another_one_of_another_class_if_possible(labels: list[int], seed: int) -> None:
    classes = np.array(labels)
    other = other_cases(classes, seed)
    assert sorted(other.tolist()) == list(range(len(labels)))
    assert (other != np.arange(len(labels))).all()
    # Of a class with more than half of the cases, so many have to stay among themselves.
    unavoidable = max(0, 2 * int(np.bincount(classes).max()) - len(labels))
    assert (classes[other] == classes).sum() == unavoidable
    np.testing.assert_array_equal(other, other_cases(classes, seed))


def test_the_seed_chooses_the_other_case() -> None:
    labels = np.arange(30) % 3
    assert (other_cases(labels, 0) != other_cases(labels, 1)).any()


@pytest.fixture(scope="module")
def both(tiny_checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> TinyTask:
    return make_task(tiny_checkpoint, tmp_path_factory.mktemp("plots"), n_channels=2, n_classes=3)


def told(task: TinyTask, **changes: object) -> Representation:
    """Give the representation of a task, with other factors of its scenario."""
    scenario = task.representation.scenario.changed(**changes)
    scale = {"scale_centre": (0.0, 0.0), "scale_reach": (20.0, 20.0)}
    return dataclasses.replace(task.representation, scenario=scenario, **scale)


FORMATS = [
    {"numbers": "decimals"},
    {"numbers": "decimals", "context_text": "stats"},
    {"numbers": "scaled", "scale": "stated", "separator": "space"},
    {"numbers": "scaled", "scale": "omitted", "separator": "comma"},
]


@pytest.mark.parametrize("factors", FORMATS, ids=lambda factors: "-".join(factors.values()))
def test_shuffled_numbers_are_the_same_numbers_in_one_other_order(
    both: TinyTask, factors: dict[str, str]
) -> None:
    representation = told(both, **factors)
    features = ["mean 1", "mean 2"] if factors.get("context_text") == "stats" else None
    prompt = representation.prompt(both.series.values[0], statistics=features)
    shuffled = shuffle_numbers(prompt, representation, np.random.default_rng(3))
    # What the code that writes prompts makes of the series with its timepoints in that order; features stay.
    order = np.random.default_rng(3).permutation(16)
    expected = representation.prompt(both.series.values[0][:, order], statistics=features)
    assert shuffled == expected != prompt


@pytest.mark.parametrize("factors", FORMATS, ids=lambda factors: "-".join(factors.values()))
def test_without_numbers_the_rest_of_the_prompt_stays(both: TinyTask, factors: dict[str, str]) -> None:
    representation = told(both, **factors)
    first, second = (representation.prompt(both.series.values[case]) for case in (0, 1))
    removed = remove_numbers(first, representation)
    lists = r"\[[^]]*\]" if factors["numbers"] == "decimals" else r"(?m)(?<=: )[-\d ,]+$"
    assert removed == re.sub(lists, "[]" if factors["numbers"] == "decimals" else "", first)
    assert len(removed) < len(first) - 60
    if "context_text" not in factors:
        assert removed == remove_numbers(second, representation)


def test_a_prompt_of_another_form_is_an_error(both: TinyTask) -> None:
    with pytest.raises(InputError, match="numbers of 0 channels; allowed: 2"):
        remove_numbers("Which class?", both.representation)


@pytest.mark.parametrize(
    ("modality", "expected"),
    [("plot", IMAGE_CONTROLS), ("numbers", NUMBER_CONTROLS), ("both", IMAGE_CONTROLS + NUMBER_CONTROLS)],
)
def test_a_scenario_has_the_controls_of_its_inputs(
    tiny_checkpoint: Path, tmp_path: Path, modality: str, expected: tuple[str, ...]
) -> None:
    representation = make_task(tiny_checkpoint, tmp_path / "plots", modality=modality).representation
    assert controls_of(representation, 8) == list(expected)
    assert controls_of(representation, 1) == [name for name in expected if name != "image_swapped"]


def test_each_control_changes_one_thing(both: TinyTask) -> None:
    records, representation = both.records["test"], both.representation
    labels = [record["label_index"] for record in records]
    made = {
        name: controlled_records(name, records, representation, 0)
        for name in (*IMAGE_CONTROLS, *NUMBER_CONTROLS)
    }
    assert {record["image"] for record in made["image_blank"]} == {BLANK}
    images = {record["image"]: label for record, label in zip(records, labels, strict=True)}
    assert sorted(record["image"] for record in made["image_swapped"]) == sorted(images)
    assert all(images[r["image"]] != label for r, label in zip(made["image_swapped"], labels, strict=True))
    for name in IMAGE_CONTROLS:
        assert [{**r, "image": 0} for r in made[name]] == [{**r, "image": 0} for r in records]
    for name in NUMBER_CONTROLS:
        assert [{**r, "conversations": 0} for r in made[name]] == [{**r, "conversations": 0} for r in records]
        assert all(
            r["conversations"][1:] == o["conversations"][1:] for r, o in zip(made[name], records, strict=True)
        )
        texts = [record["conversations"][0]["value"] for record in made[name]]
        assert all(text.startswith("<image>\nGiven the following") for text in texts)
    assert made["numbers_shuffled"] == controlled_records("numbers_shuffled", records, representation, 0)
    assert made["numbers_shuffled"] != controlled_records("numbers_shuffled", records, representation, 1)


def untrained(checkpoint: Path, task: TinyTask) -> Predictor:
    """Give a model with an adapter that does nothing yet."""
    base = load_checkpoint(checkpoint, precision="fp32", attention="eager", context_length=512)
    return Predictor(add_adapter(base, recipe()), load_processor(checkpoint), task.representation, recipe())


@pytest.mark.parametrize("modality", ["plot", "numbers", "both"])
def test_scores_under_control_are_those_of_changed_conversations(
    tiny_checkpoint: Path, tmp_path: Path, modality: str
) -> None:
    task = make_task(tiny_checkpoint, tmp_path / "plots", modality=modality, n_classes=3)
    predictor, records = untrained(tiny_checkpoint, task), task.records["test"]
    intact = predictor.score(records, task.plots)
    scores, n_scored = score_controls(predictor, records, intact, task.plots, seed=0, scratch=tmp_path)
    assert list(scores) == controls_of(task.representation, len(records))
    # Each question once: of plots alone the blank one, of numbers alone the shuffled ones and the one without any.
    assert n_scored == {"plot": 1, "numbers": len(records) + 1, "both": 4 * len(records)}[modality]
    changed = tmp_path / "changed"
    if task.plots is not None:
        shutil.copytree(task.plots, changed)
        Image.new("RGB", Image.open(changed / records[0]["image"]).size, BLANK_COLOUR).save(changed / BLANK)
    for name, found in scores.items():
        conversations = controlled_records(name, records, task.representation, 0)
        expected = predictor.score(conversations, None if task.plots is None else changed)
        np.testing.assert_allclose(found, expected, atol=2e-5, rtol=1e-5)
        assert np.abs(found - intact).max(axis=1).min() > 1e-4  # every case has another input


def test_an_image_that_makes_no_difference_is_found(tiny_checkpoint: Path, tmp_path: Path) -> None:
    task = make_task(tiny_checkpoint, tmp_path / "plots", modality="both", n_train=32)
    predictor, records = untrained(tiny_checkpoint, task), task.records["train"]
    for name, weights in predictor.model.named_parameters():
        if "multi_modal_projector.modules_to_save" in name:
            weights.data.zero_()  # every image is now the same
    intact = predictor.score(records, task.plots)
    scores, _ = score_controls(predictor, records, intact, task.plots, seed=0, scratch=tmp_path)
    labels = np.array([record["label_index"] for record in records])
    row = control_row("image_swapped", labels, intact, scores["image_swapped"], ["a", "b"])
    assert row["total_variation"] < 1e-5
    assert row["finding"] == "image not used"
    assert (
        control_row("numbers_removed", labels, intact, scores["numbers_removed"], ["a", "b"])[
            "total_variation"
        ]
        > 1e-3
    )


def test_a_model_that_is_given_no_image_has_none_to_swap(tiny_checkpoint: Path, tmp_path: Path) -> None:
    task = make_task(tiny_checkpoint, tmp_path / "plots", modality="both", compat=["no_image_token"])
    assert all("image" not in record for record in task.records["test"])
    assert controls_of(task.representation, 8) == list(NUMBER_CONTROLS)


def test_a_row_compares_with_the_intact_scores() -> None:
    labels = np.array([0] * 10 + [1] * 10)
    right = np.where(np.arange(2) == labels[:, None], 0.0, np.log(1 / 3))  # 0.75 and 0.25
    wrong = right[:, ::-1]
    intact = control_row(INTACT, labels, right, right, ["a", "b"])
    assert intact["accuracy"] == 1
    assert intact["p_value"] is None
    assert intact["finding"] is None
    swapped = control_row("image_swapped", labels, right, wrong, ["a", "b"])
    assert (swapped["accuracy"], swapped["balanced_accuracy"], swapped["changed"]) == (0, 0, 1)
    assert swapped["total_variation"] == pytest.approx(0.5)
    assert swapped["p_value"] == pytest.approx(2 * 0.5**20)
    assert swapped["finding"] is None
    unmoved = control_row("image_swapped", labels, right, 2 * right, ["a", "b"])
    assert unmoved["changed"] == 0
    assert unmoved["total_variation"] == pytest.approx(0.9 - 0.75)
    assert (unmoved["p_value"], unmoved["finding"]) == (1, "image not used")
    assert control_row("image_blank", labels, right, right, ["a", "b"])["finding"] is None
    # As many right as before, but others: that is use.
    half = right.copy()
    half[:5] = wrong[:5]
    other = right.copy()
    other[10:15] = wrong[10:15]
    moved = control_row("numbers_removed", labels, half, other, ["a", "b"])
    assert (moved["p_value"], moved["finding"]) == (1, None)
    one = right.copy()
    one[0] = wrong[0]
    assert control_row("numbers_removed", labels, right, one, ["a", "b"])["finding"] == "numbers not used"
