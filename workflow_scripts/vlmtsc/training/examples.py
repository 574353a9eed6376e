"""From conversations to token sequences in which only the answer is supervised."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from transformers import PreTrainedTokenizerBase

from vlmtsc.errors import InputError
from vlmtsc.representation.conversations import record_text
from vlmtsc.representation.prompts import IMAGE_TOKEN
from vlmtsc.representation.representation import Representation

#: Target of a position that does not count (PyTorch's cross-entropy).
IGNORED = -100


@dataclass(frozen=True)
class Example:
    """One case as tokens.

    Attributes
    ----------
    prompt : list of int
        Up to and including ``ASSISTANT:``, with one placeholder token for each image token.
    answer : list of int
        What is supervised: the answer, a rationale if the scenario trains one, and the end token.
    label_index : int
        Class index; -1 if it is not known.
    image : str or None
        File name of the plot.
    """

    prompt: list[int]
    answer: list[int]
    label_index: int
    image: str | None

    @property
    def tokens(self) -> int:
        """Length of the whole sequence."""
        return len(self.prompt) + len(self.answer)


def answer_tokens(tokenizer: PreTrainedTokenizerBase, representation: Representation) -> list[list[int]]:
    """Return each class's answer as the tokens that follow a prompt, with the token that ends it.

    That is the end token, or the full stop between an answer and its rationale. An answer by itself tokenises
    differently than after ``ASSISTANT:``, so it is cut out of a whole text.

    Raises
    ------
    InputError
        If a prompt's own tokens change with the answer that follows, or two answers have the same tokens.
    """
    question = "Class:"
    prompt = tokenizer(representation.text(question))["input_ids"]
    answers = []
    for text in representation.label_texts:
        whole = tokenizer(representation.ended_answer(question, text))["input_ids"]
        if whole[: len(prompt)] != prompt:
            raise InputError(
                f"tokenizer: the answer {text!r} merges with the prompt; allowed: a clean boundary"
            )
        answers.append(whole[len(prompt) :])
    if len({tuple(answer) for answer in answers}) < len(answers):
        raise InputError(f"tokenizer: answers {list(representation.label_texts)} share their tokens")
    return answers


def make_examples(
    records: Sequence[Mapping[str, Any]], representation: Representation, tokenizer: PreTrainedTokenizerBase
) -> list[Example]:
    """Tokenise conversations whole, and divide each into prompt and answer.

    Nothing is ever cut: a sequence longer than the scenario's context is an error. But with the switch
    `first_case_factor` its tail is cut off (`kept_tokens`).

    Parameters
    ----------
    records : sequence of mapping
        Conversations of one part.
    representation : Representation
        The one stored beside them.
    tokenizer : PreTrainedTokenizerBase

    Raises
    ------
    InputError
        If a sequence does not end in its answer's tokens (or they do not follow its prompt, where a rationale
        comes after them), has another length than was budgeted, or the placeholder is missing.
    """
    texts = [record_text(record, representation, with_answer=True) for record in records]
    encoded = tokenizer(texts)["input_ids"] if texts else []
    rests = _rationale_lengths(records, encoded, representation, tokenizer)
    answers = answer_tokens(tokenizer, representation)
    placeholder = tokenizer.convert_tokens_to_ids(IMAGE_TOKEN)
    examples = []
    for record, tokens, rest in zip(records, encoded, rests, strict=True):
        expanded = expand_placeholder(tokens, placeholder, representation.image_tokens)
        answer = answers[record["label_index"]]
        start = len(expanded) - (rest or len(answer))
        kept = kept_tokens(expanded, placeholder, record["id"], representation)
        if expanded[start : start + len(answer)] != answer or len(kept) != record["tokens"]:
            raise InputError(
                f"conversation {record['id']}: {len(kept)} tokens; allowed: the {record['tokens']} that "
                "were budgeted, with the answer's behind the prompt's. Are the conversations another model's?"
            )
        examples.append(Example(kept[:start], kept[start:], record["label_index"], record.get("image")))
    return examples


def kept_tokens(
    tokens: list[int], placeholder: int, identity: str, representation: Representation
) -> list[int]:
    """Return the tokens of a case that the model is given: all of them.

    With the switch `first_case_factor` those that fit the context: what is too long loses its tail, and with it
    perhaps answer and question.

    Raises
    ------
    InputError
        If the tail begins before the end of the image.
    """
    context = representation.scenario.context_length
    if not representation.scenario.restores("first_case_factor") or len(tokens) <= context:
        return tokens
    kept = tokens[:context]
    if kept.count(placeholder) < representation.image_tokens:
        raise InputError(
            f"conversation {identity}: context_length={context} ends within the image; allowed: at least "
            f"{len(tokens) - tokens[::-1].index(placeholder)}"
        )
    return kept


def _rationale_lengths(
    records: Sequence[Mapping[str, Any]],
    encoded: Sequence[Sequence[int]],
    representation: Representation,
    tokenizer: PreTrainedTokenizerBase,
) -> list[int]:
    """Return how many tokens follow each prompt, answer and rationale together; 0 without rationales."""
    if not representation.scenario.has_rationale_target or not records:
        return [0] * len(records)
    texts = [record_text(record, representation, with_answer=False) for record in records]
    prompts = tokenizer(texts)["input_ids"]
    return [len(whole) - len(prompt) for whole, prompt in zip(encoded, prompts, strict=True)]


def make_questions(
    records: Sequence[Mapping[str, Any]],
    representation: Representation,
    tokenizer: PreTrainedTokenizerBase,
    *,
    slack: int = 0,
) -> list[Example]:
    """Tokenise conversations up to the question; their answers, if they have any, are not looked at.

    A question that is too long is cut with the switch `first_case_factor` only (`kept_tokens`).

    Parameters
    ----------
    records : sequence of mapping
    representation : Representation
    tokenizer : PreTrainedTokenizerBase
    slack : int
        Tokens that a question and the longest answer may take beyond the scenario's context.

    Raises
    ------
    InputError
        If a question leaves no room for the longest answer, or the placeholder is missing.
    """
    texts = [record_text(record, representation, with_answer=False) for record in records]
    encoded = tokenizer(texts)["input_ids"] if texts else []
    placeholder = tokenizer.convert_tokens_to_ids(IMAGE_TOKEN)
    longest = max(map(len, answer_tokens(tokenizer, representation)))
    context = representation.scenario.context_length + slack
    questions = []
    for record, tokens in zip(records, encoded, strict=True):
        expanded = expand_placeholder(tokens, placeholder, representation.image_tokens)
        prompt = kept_tokens(expanded, placeholder, record["id"], representation)
        if len(prompt) + longest > context and not representation.scenario.restores("first_case_factor"):
            raise InputError(
                f"series {record['id']}: {len(prompt)} tokens and up to {longest} of an answer; allowed: {context}"
            )
        questions.append(Example(prompt, [], -1, record.get("image")))
    return questions


def expand_placeholder(tokens: Sequence[int], placeholder: int, image_tokens: int) -> list[int]:
    """Repeat the image placeholder once for each image token.

    Raises
    ------
    InputError
        If there is not exactly one placeholder where there is an image, and none where there is none.
    """
    found = list(tokens).count(placeholder)
    if found != (1 if image_tokens else 0):
        raise InputError(f"prompt with {found} image placeholders; allowed: {1 if image_tokens else 0}")
    if not image_tokens:
        return list(tokens)
    position = list(tokens).index(placeholder)
    return [*tokens[:position], *[placeholder] * image_tokens, *tokens[position + 1 :]]


@dataclass(frozen=True)
class Collator:
    """Makes a right-padded training batch.

    Attributes
    ----------
    pad_token_id : int
    """

    pad_token_id: int

    def __call__(self, features: Sequence[Mapping[str, Any]]) -> dict[str, torch.Tensor]:
        """Pad examples to the longest.

        Parameters
        ----------
        features : sequence of mapping
            ``example`` (`Example`) and ``image_index`` (int, -1 without an image).

        Returns
        -------
        dict of str to torch.Tensor
            int64: input_ids, attention_mask, labels (`IGNORED` outside the answer), each of shape
            (batch, length), and image_index of shape (batch,).
        """
        length = max(feature["example"].tokens for feature in features)
        shape = (len(features), length)
        batch = {
            "input_ids": torch.full(shape, self.pad_token_id),
            "attention_mask": torch.zeros(shape, dtype=torch.int64),
            "labels": torch.full(shape, IGNORED),
            "image_index": torch.tensor([feature["image_index"] for feature in features]),
        }
        for row, feature in enumerate(features):
            example = feature["example"]
            sequence = torch.tensor(example.prompt + example.answer)
            batch["input_ids"][row, : len(sequence)] = sequence
            batch["attention_mask"][row, : len(sequence)] = 1
            batch["labels"][row, len(example.prompt) : len(sequence)] = sequence[len(example.prompt) :]
        return batch
