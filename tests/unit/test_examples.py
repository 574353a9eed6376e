"""Conversations become tokens whole, and only the answer is supervised."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from tiny_llava import IMAGE_TOKENS, TinyTask, llama_tokenizer, make_task

from vlmtsc.errors import InputError
from vlmtsc.examples import (
    IGNORED,
    Collator,
    answer_tokens,
    expand_placeholders,
    image_paths,
    make_examples,
    make_questions,
)
from vlmtsc.representation.processor import load_processor


@pytest.fixture(scope="module", params=["tiny_checkpoint", "llama_checkpoint"])
def checkpoint(request: pytest.FixtureRequest) -> Path:
    return request.getfixturevalue(request.param)


@pytest.fixture(scope="module")
def tokenizer(checkpoint: Path):
    return load_processor(checkpoint).tokenizer


@pytest.fixture(scope="module")
def task(checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> TinyTask:
    return make_task(checkpoint, tmp_path_factory.mktemp("plots"), n_classes=12)


def test_only_the_answer_is_supervised(task: TinyTask, tokenizer) -> None:
    records = task.records["train"]
    examples = make_examples(records, task.representation, tokenizer)
    batch = Collator(tokenizer.pad_token_id)(
        [{"example": example, "image_index": index} for index, example in enumerate(examples)]
    )
    assert len({example.tokens for example in examples}) > 1
    for row, record in enumerate(records):
        text = task.representation.text(
            record["conversations"][0]["value"], record["conversations"][1]["value"]
        )
        # What the library's own processor gives the model, with the image's tokens in it.
        whole = tokenizer(text.replace("<image>", "<image>" * IMAGE_TOKENS))["input_ids"]
        answer = tokenizer.tokenize(" " + record["conversations"][1]["value"])[-1]
        length = len(whole)
        assert batch["input_ids"][row, :length].tolist() == whole
        assert batch["attention_mask"][row].tolist() == [1] * length + [0] * (
            batch["input_ids"].shape[1] - length
        )
        supervised = torch.nonzero(batch["labels"][row] != IGNORED).flatten().tolist()
        size = len(record["conversations"][1]["value"]) + 2  # the blank, the digits, the end token
        assert supervised == list(range(length - size, length))
        tokens = tokenizer.convert_ids_to_tokens(batch["labels"][row, supervised].tolist())
        assert tokens[0] in ("Ġ", "▁")
        assert "".join(tokens[1:-1]) == record["conversations"][1]["value"]
        assert tokens[-2] == answer
        assert tokens[-1] == tokenizer.eos_token
        assert tokenizer.pad_token_id not in whole


def test_every_sample_holds_all_image_tokens_and_its_budgeted_length(task: TinyTask, tokenizer) -> None:
    for part in task.records.values():
        for record, example in zip(part, make_examples(part, task.representation, tokenizer), strict=True):
            assert example.tokens == record["tokens"]
            assert example.prompt.count(tokenizer.convert_tokens_to_ids("<image>")) == IMAGE_TOKENS


def test_tokens_are_those_of_the_processor(task: TinyTask, checkpoint: Path) -> None:
    processor = load_processor(checkpoint)
    [record, *_] = task.records["train"]
    [example, *_] = make_examples(task.records["train"], task.representation, processor.tokenizer)
    from PIL import Image

    prompt = task.representation.text(record["conversations"][0]["value"])
    given = processor(text=prompt, images=Image.open(task.plots / record["image"]), return_tensors="pt")
    assert given["input_ids"][0].tolist() == example.prompt


def test_a_question_is_the_prompt_of_its_example(task: TinyTask, tokenizer) -> None:
    records = task.records["test"]
    unknown = [{**record, "conversations": record["conversations"][:1]} for record in records]
    questions = make_questions(unknown, task.representation, tokenizer)
    examples = make_examples(records, task.representation, tokenizer)
    assert [question.prompt for question in questions] == [example.prompt for example in examples]
    assert {question.label_index for question in questions} == {-1}
    scenario = task.representation.scenario.changed(context_length=examples[0].tokens - 1)
    short = dataclasses.replace(task.representation, scenario=scenario)
    with pytest.raises(InputError, match=rf"series {records[0]['id']}: .* allowed: {examples[0].tokens - 1}"):
        make_questions(unknown[:1], short, tokenizer)


def test_answers_are_all_different_and_complete(task: TinyTask, tokenizer) -> None:
    answers = answer_tokens(tokenizer, task.representation)
    assert len({tuple(answer) for answer in answers}) == 12
    assert [tokenizer.decode(answer).strip() for answer in answers] == [
        f"{index}{tokenizer.eos_token}" for index in range(1, 13)
    ]


def test_a_rationale_is_trained_and_not_scored(
    task: TinyTask, tokenizer, checkpoint: Path, tmp_path: Path
) -> None:
    own = make_task(checkpoint, tmp_path / "plots", n_classes=12, rationale_target=True)
    answers = answer_tokens(tokenizer, own.representation)
    # Twelve answers, none the beginning of another: the full stop ends them.
    assert [tokenizer.decode(answer).strip() for answer in answers] == [f"{n}." for n in range(1, 13)]
    assert [a[:-1] for a in answers] == [a[:-1] for a in answer_tokens(tokenizer, task.representation)]
    for part, records in own.records.items():
        plain = make_examples(task.records[part], task.representation, tokenizer)
        for record, example, other in zip(
            records, make_examples(records, own.representation, tokenizer), plain, strict=True
        ):
            assert example.prompt == other.prompt
            assert example.answer[: len(answers[example.label_index])] == answers[example.label_index]
            said = record["conversations"][1]["value"]
            assert said.startswith(f"{example.label_index + 1}. It goes")
            assert tokenizer.decode(example.answer).strip() == f"{said}{tokenizer.eos_token}"
            assert example.tokens == record["tokens"]
    questions = make_questions(own.records["test"], own.representation, tokenizer)
    assert [q.prompt for q in questions] == [
        e.prompt for e in make_examples(own.records["test"], own.representation, tokenizer)
    ]


def test_conversations_of_another_tokenizer_are_refused(
    tiny_checkpoint: Path, llama_checkpoint: Path, tmp_path: Path
) -> None:
    task = make_task(tiny_checkpoint, tmp_path / "plots", modality="numbers")
    other = load_processor(llama_checkpoint).tokenizer
    with pytest.raises(InputError, match=r"Waves-00000: \d+ tokens; allowed: the \d+ .*another model's"):
        make_examples(task.records["train"], task.representation, other)


def test_conversations_of_another_image_size_are_refused(tiny_checkpoint: Path, tmp_path: Path) -> None:
    task = make_task(tiny_checkpoint, tmp_path / "plots", modality="plot")
    larger = dataclasses.replace(task.representation, image_layout=(("<image>", 9),))
    with pytest.raises(InputError, match="another model's"):
        make_examples(task.records["train"], larger, load_processor(tiny_checkpoint).tokenizer)


def test_an_answer_that_merges_with_the_prompt_is_refused(llama_checkpoint: Path, tmp_path: Path) -> None:
    task = make_task(llama_checkpoint, tmp_path / "plots", modality="plot")
    with pytest.raises(InputError, match="merges with the prompt"):
        answer_tokens(llama_tokenizer(split=False), task.representation)


def test_answers_that_share_their_tokens_are_refused(llama_checkpoint: Path, tmp_path: Path) -> None:
    task = make_task(llama_checkpoint, tmp_path / "plots", modality="plot")
    unknown = dataclasses.replace(task.representation, label_texts=("é", "ü"))  # both are <unk>
    with pytest.raises(InputError, match="share their tokens"):
        answer_tokens(load_processor(llama_checkpoint).tokenizer, unknown)


@pytest.mark.parametrize(("tokens", "found"), [([5, 6], 0), ([5, 9, 9], 2)])
def test_a_wrong_number_of_placeholders(tokens: list[int], found: int) -> None:
    with pytest.raises(InputError, match=f"with {found} image placeholders; allowed: 1"):
        expand_placeholders(tokens, [9, 7])


@given(
    before=st.lists(st.integers(0, 8)), after=st.lists(st.integers(0, 8)), image=st.lists(st.integers(10, 12))
)
def test_the_image_takes_the_place_of_its_placeholder(
    before: list[int], after: list[int], image: list[int]
) -> None:
    expanded = expand_placeholders([*before, 9, *after], [9, *image])
    assert expanded == [*before, 9, *image, *after]
    assert expand_placeholders(before, []) == before


def test_images_without_a_folder_of_plots(task: TinyTask, tokenizer) -> None:
    examples = make_examples(task.records["train"], task.representation, tokenizer)
    with pytest.raises(InputError, match=r"case-00000\.png.*no folder of plots was given"):
        image_paths([examples], None)
