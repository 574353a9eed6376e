"""Controls at test time: what each changes and leaves, and what a tiny model makes of it."""

from __future__ import annotations

import dataclasses
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from tiny_llava import TinyTask, make_task, recipe

from vlmtsc.errors import InputError
from vlmtsc.evaluation.control_kinds import IMAGE_CONTROLS, INTACT, NUMBER_CONTROLS
from vlmtsc.evaluation.control_scores import BLANK_COLOUR, score_controls
from vlmtsc.evaluation.controls import (
    BLANK,
    control_row,
    controlled_records,
    controls_of,
    other_cases,
    remove_numbers,
    shuffle_numbers,
)
from vlmtsc.evaluation.predictor import Predictor
from vlmtsc.model.adapter import add_adapter
from vlmtsc.model.checkpoint import load_checkpoint
from vlmtsc.representation.representation import Representation
from vlmtsc.representation.tokens import load_processor


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
    with pytest.raises(InputError, match="swapped plots of 1 cases"):
        other_cases(np.array([0]), 0)


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
    {"numbers": "scaled", "scale": "told", "separator": "space"},
    {"numbers": "scaled", "scale": "untold", "separator": "comma"},
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
    with pytest.raises(InputError, match=r"\[2, 3\] numbers a channel"):
        shuffle_numbers("[1.0, 2.0]\n[1.0, 2.0, 3.0]", both.representation, np.random.default_rng(0))


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
        for name in (INTACT, *IMAGE_CONTROLS, *NUMBER_CONTROLS)
    }
    assert made[INTACT] == records
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
