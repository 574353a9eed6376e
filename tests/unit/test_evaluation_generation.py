"""Free generation: batched and from the cache of scoring it equals one plain greedy forward pass a token."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch
from tiny_llava import TinyTask, make_task, recipe

from vlmtsc.evaluation.generation import (
    BEYOND_LONGEST,
    INVALID,
    GenerationLimits,
    class_of_text,
    generate_greedily,
    generation_limits,
    generation_metrics,
    read_answer,
    until,
)
from vlmtsc.evaluation.predictor import Predictor
from vlmtsc.examples import answer_tokens
from vlmtsc.model.adapter import add_adapter
from vlmtsc.model.checkpoint import load_checkpoint
from vlmtsc.model.vision import load_pixels
from vlmtsc.representation.tokens import load_processor
from vlmtsc.scoring import prefill


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


def reference(predictor: Predictor, task: TinyTask, limits: GenerationLimits) -> list[list[int]]:
    """Generate case by case, from pixels, with a whole forward pass for each token."""
    rows = []
    for example in predictor.questions(task.records["train"]):
        pixels = load_pixels([task.plots / example.image], predictor.processor)
        tokens: list[int] = []
        while len(tokens) < limits.max_tokens and limits.end_token not in tokens:
            whole = torch.tensor([[*example.prompt, *tokens]])
            with torch.no_grad():
                logits = predictor.model.eval()(input_ids=whole, pixel_values=pixels).logits
            tokens.append(int(logits[0, -1].argmax()))
        rows.append(tokens)
    return rows


def generated(
    predictor: Predictor, task: TinyTask, limits: GenerationLimits, batch_size: int
) -> list[list[int]]:
    """Generate in batches, each from the cache that scoring leaves."""
    questions = predictor.questions(task.records["train"])
    vision = predictor.vision([task.plots / question.image for question in questions])
    rows: list[list[int]] = [[]] * len(questions)

    def go_on(cases, prefilled):
        for case, tokens in zip(cases, generate_greedily(predictor.model, prefilled, limits), strict=True):
            rows[case] = tokens

    batched = dataclasses.replace(predictor, batch_size=batch_size)
    batched.score_questions(questions, vision, range(len(questions)), go_on)
    return rows


def test_batches_equal_one_by_one_and_a_slow_reference(asked: tuple[Predictor, TinyTask]) -> None:
    predictor, task = asked
    free = GenerationLimits(end_token=-1, max_tokens=6)
    expected = reference(predictor, task, free)
    assert len({tuple(row) for row in expected}) > 1
    assert generated(predictor, task, free, batch_size=5) == expected
    assert generated(predictor, task, free, batch_size=1) == expected
    # A token that some cases reach early and others late or never.
    ending = GenerationLimits(end_token=expected[0][1], max_tokens=6)
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
    alone = predictor.read(records, task.plots, generate=False)
    scoring = len(calls)
    both = predictor.read(records, task.plots, generate=True)
    handle.remove()
    np.testing.assert_array_equal(both.scores, alone.scores)
    assert alone.generated is None
    limits = generation_limits(predictor.processor.tokenizer, predictor.representation)
    assert len(calls) - 2 * scoring <= limits.max_tokens - 1
    texts, indices = both.generated
    assert len(texts) == len(indices) == 5


def test_a_batch_stops_when_all_have_ended(asked: tuple[Predictor, TinyTask]) -> None:
    predictor, task = asked
    question = predictor.questions(task.records["train"][:1])[0]
    calls: list[int] = []
    with torch.inference_mode():
        features = predictor.vision([task.plots / question.image])([0, 0])
        prompts = [question.prompt, question.prompt]
        prefilled = prefill(predictor.model.eval(), prompts, [], features, 0, keep_cache=True)
        first = int(prefilled.log_likelihoods[0, 0].argmax())
        handle = predictor.model.register_forward_hook(lambda *_: calls.append(1))
        found = generate_greedily(predictor.model, prefilled, GenerationLimits(first, 9))
        handle.remove()
        assert found == [[first], [first]]
        assert calls == []
        without = prefill(predictor.model, prompts, [], features, 0, keep_cache=False)
        with pytest.raises(ValueError, match="keep_cache=True"):
            generate_greedily(predictor.model, without, GenerationLimits(first, 9))


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
        limits = generation_limits(tokenizer, task.representation)
        assert limits == GenerationLimits(tokenizer.eos_token_id, max(map(len, answers)) + BEYOND_LONGEST)


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


def test_tokens_end_with_the_first_end_token() -> None:
    assert until([5, 6, 9, 7, 9], 9) == [5, 6, 9]
    assert until([5, 6], 9) == [5, 6]


def test_an_invalid_answer_is_a_wrong_one() -> None:
    found = generation_metrics(np.array([0, 1, 1, 0, 2]), np.array([0, 1, 0, INVALID, INVALID]))
    assert found == {
        "generated_valid_rate": pytest.approx(3 / 5),
        "generated_accuracy_of_valid": pytest.approx(2 / 3),
        "generated_accuracy": pytest.approx(2 / 5),
    }
    nothing = generation_metrics(np.array([0, 1]), np.array([INVALID, INVALID]))
    assert nothing == {
        "generated_valid_rate": 0.0,
        "generated_accuracy_of_valid": None,
        "generated_accuracy": 0.0,
    }
