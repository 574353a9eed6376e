"""Cases as token sequences: prompt, answer and the plot that belongs to them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from transformers import PreTrainedTokenizerBase

from vlmtsc.errors import InputError
from vlmtsc.representation.plot_files import PlotPath, plots_in
from vlmtsc.representation.representation import Representation

#: Target of a position without loss (PyTorch's cross-entropy).
IGNORED = -100
#: Index of an unsupervised example that fills up the last batch of several processes.
PADDING = -1


@dataclass(frozen=True)
class Example:
    """One case as tokens.

    Attributes
    ----------
    prompt : list of int
        Up to where the model continues, with all tokens of the image.
    answer : list of int
        The supervised tokens: answer, rationale if the scenario has one, and end token.
    label_index : int
        Class index; -1 if unknown.
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


@dataclass(frozen=True)
class ExampleSet:
    """Examples of one set of a split, and their plots' positions in `image_paths` (-1 without an image)."""

    examples: Sequence[Example]
    image_indices: Sequence[int]

    def __len__(self) -> int:
        return len(self.examples)

    def __getitem__(self, index: int) -> dict[str, Any]:
        if index == PADDING:
            first = self.examples[0]
            example = Example(first.prompt + first.answer, [], first.label_index, first.image)
            return {"example": example, "image_index": self.image_indices[0]}
        return {"example": self.examples[index], "image_index": self.image_indices[index]}


def check_without_training_plots(representation: Representation) -> None:
    """Raise InputError if questions show plots of training cases, which new series come without."""
    if representation.shot_images:
        raise InputError(
            f"scenario {representation.scenario.name}: its questions show plots of training cases, which are not here; "
            "allowed: evaluation within the workflow, or another scenario"
        )


def shot_paths(representation: Representation, plots: Path | None) -> list[PlotPath]:
    """List the plots of the solved cases before every question; InputError if there are some, but no folder."""
    if plots is None or not representation.shot_images:
        check_without_training_plots(representation)
        return []
    store = plots_in(plots)
    return [store / name for name in representation.shot_images]


def image_paths(sets: Sequence[Sequence[Example]], plots: Path | None) -> list[PlotPath]:
    """List the plots of all sets, in order; InputError if examples have images but there is no folder of plots."""
    names = [example.image for examples in sets for example in examples if example.image is not None]
    if names and plots is None:
        raise InputError(f"conversations with images ({names[0]}, ...), but no folder of plots was given")
    if plots is None:
        return []
    store = plots_in(plots)
    return [store / name for name in names]


def index_images(sets: Sequence[Sequence[Example]]) -> list[ExampleSet]:
    """Pair the examples of each set with the positions of their plots in the list of `image_paths`."""
    indexed, position = [], 0
    for examples in sets:
        indices = []
        for example in examples:
            indices.append(-1 if example.image is None else position)
            position += example.image is not None
        indexed.append(ExampleSet(examples, indices))
    return indexed


def answer_tokens(tokenizer: PreTrainedTokenizerBase, representation: Representation) -> list[list[int]]:
    """Return the tokens of each class's answer after a prompt, including the token that ends it.

    That is the end token, or the full stop between answer and rationale. An answer is tokenised behind a prompt and cut
    out, since tokenisation depends on the preceding text.

    Raises
    ------
    InputError
        If the prompt's own tokens depend on the answer, or two answers have the same tokens.
    """
    question = representation.turn("Class:")
    prompt = tokenizer(representation.text(question))["input_ids"]
    answers = []
    for text in representation.label_texts:
        whole = tokenizer(representation.ended_answer(question, text))["input_ids"]
        if whole[: len(prompt)] != prompt:
            raise InputError(
                f"tokenizer: the answer {text!r} merges with the prompt, whose last token it changes"
            )
        answers.append(whole[len(prompt) :])
    if len({tuple(answer) for answer in answers}) < len(answers):
        raise InputError(f"tokenizer: answers {list(representation.label_texts)} share their tokens")
    return answers


def scored_tokens(tokenizer: PreTrainedTokenizerBase, representation: Representation) -> list[list[int]]:
    """Return the tokens by which each class is scored: its answer, or the part that distinguishes it.

    With the switch `single_token_score`, the single token of `original_tokens`.
    """
    if representation.scenario.restores("single_token_score"):
        return original_tokens(tokenizer, len(representation.classes))
    return distinguishing_tokens(answer_tokens(tokenizer, representation))


def original_tokens(tokenizer: PreTrainedTokenizerBase, n_classes: int) -> list[list[int]]:
    """Return the one token by which the original scores each class: "1", "2", ..., right after ``ASSISTANT:``.

    It differs from the token trained there, which begins with a blank. A number that is not in the vocabulary, as
    from 10 on, becomes the unknown token, or the number's first token if the tokenizer has none; such classes cannot
    be told apart. Log-likelihoods differ from the original's logits by a constant for each case, so order and softmax
    are the same.
    """
    tokens = []
    for number in range(1, n_classes + 1):
        token = tokenizer.convert_tokens_to_ids(str(number))
        if token is None:
            token = tokenizer(str(number), add_special_tokens=False)["input_ids"][0]
        tokens.append([token])
    return tokens


def distinguishing_tokens(answers: Sequence[Sequence[int]]) -> list[list[int]]:
    """Drop the last token (end token, or full stop before a rationale) unless an answer is the beginning of another.

    With answers such as "1" and "12", the likelihoods add up to at most one only with the end token.
    """
    bodies = [tuple(answer[:-1]) for answer in answers]
    prefixes = {body[:length] for body in bodies for length in range(len(body))}
    return [list(answer) for answer in (answers if prefixes & set(bodies) else bodies)]


def make_examples(
    records: Sequence[Mapping[str, Any]], representation: Representation, tokenizer: PreTrainedTokenizerBase
) -> list[Example]:
    """Tokenise whole conversations and split each into prompt and answer.

    Nothing is truncated, except with the switch `first_case_factor` (`truncate`).

    Raises
    ------
    InputError
        If the answer's tokens are not where they belong, a sequence has another length than was budgeted, or the
        image placeholder is missing.
    """
    answers = answer_tokens(tokenizer, representation)
    image = image_tokens(tokenizer, representation)
    sequences = _tokenise(records, representation, tokenizer, with_answer=True)
    # The supervised part is the answer alone, or everything after the prompt.
    prompts: Sequence[Sequence[int] | None] = [None] * len(records)
    if representation.scenario.has_rationale_target:
        prompts = _tokenise(records, representation, tokenizer, with_answer=False)
    examples = []
    for record, tokens, prompt in zip(records, sequences, prompts, strict=True):
        answer = answers[record["label_index"]]
        start = len(tokens) - len(answer) if prompt is None else len(prompt)
        kept = truncate(tokens, image, record["id"], representation)
        if tokens[start : start + len(answer)] != answer or len(kept) != record["tokens"]:
            raise InputError(
                f"conversation {record['id']}: {len(kept)} tokens; allowed: the {record['tokens']} that "
                "were budgeted, with the answer's behind the prompt's. Are the conversations another model's?"
            )
        examples.append(Example(kept[:start], kept[start:], record["label_index"], record.get("image")))
    return examples


def make_questions(
    records: Sequence[Mapping[str, Any]],
    representation: Representation,
    tokenizer: PreTrainedTokenizerBase,
    *,
    slack: int = 0,
) -> list[Example]:
    """Tokenise conversations up to the answer, which is ignored; the label is -1.

    Nothing is truncated, except with the switch `first_case_factor` (`truncate`).

    Raises
    ------
    InputError
        If a question leaves no room for the longest answer in the scenario's context and `slack` more tokens, or the
        image placeholder is missing.
    """
    image = image_tokens(tokenizer, representation)
    longest = max(map(len, answer_tokens(tokenizer, representation)))
    context = representation.scenario.context_length + slack
    questions = []
    sequences = _tokenise(records, representation, tokenizer, with_answer=False)
    for record, tokens in zip(records, sequences, strict=True):
        prompt = truncate(tokens, image, record["id"], representation)
        if len(prompt) + longest > context and not representation.scenario.restores("first_case_factor"):
            raise InputError(
                f"series {record['id']}: {len(prompt)} tokens and up to {longest} of an answer; allowed: {context}"
            )
        questions.append(Example(prompt, [], -1, record.get("image")))
    return questions


def _tokenise(
    records: Sequence[Mapping[str, Any]],
    representation: Representation,
    tokenizer: PreTrainedTokenizerBase,
    *,
    with_answer: bool,
) -> list[list[int]]:
    """Return the tokens of each record, image placeholders expanded."""
    if not records:
        return []
    texts = [representation.record_text(record, with_answer=with_answer) for record in records]
    image = image_tokens(tokenizer, representation)
    count = len(representation.shot_images) + 1
    return [expand_placeholders(tokens, image, count) for tokens in tokenizer(texts)["input_ids"]]


def image_tokens(tokenizer: PreTrainedTokenizerBase, representation: Representation) -> list[int]:
    """Return the tokens that take the place of the image; none without an image."""
    return [
        token
        for name, count in representation.image_layout
        for token in [tokenizer.convert_tokens_to_ids(name)] * count
    ]


def expand_placeholders(tokens: Sequence[int], image: Sequence[int], count: int = 1) -> list[int]:
    """Replace each placeholder, the first token of an image, by all of them.

    InputError unless there are `count` placeholders; without an image the tokens stay as they are.
    """
    if not image:
        return list(tokens)
    if (found := tokens.count(image[0])) != count:
        raise InputError(f"prompt with {found} image placeholders; allowed: {count}")
    return [new for token in tokens for new in (image if token == image[0] else [token])]


def truncate(
    tokens: list[int], image: Sequence[int], identity: str, representation: Representation
) -> list[int]:
    """Cut a case to the context with the switch `first_case_factor`, perhaps without answer and question.

    Otherwise return it whole. A cut within the image is an InputError.
    """
    context = representation.scenario.context_length
    if not representation.scenario.restores("first_case_factor") or len(tokens) <= context:
        return tokens
    if image and (end := tokens.index(image[0]) + len(image)) > context:
        raise InputError(
            f"conversation {identity}: context_length={context} ends within the image; allowed: at least {end}"
        )
    return tokens[:context]


@dataclass(frozen=True)
class Collator:
    """Makes a right-padded training batch.

    Attributes
    ----------
    pad_token_id : int
    """

    pad_token_id: int

    def __call__(self, features: Sequence[Mapping[str, Any]]) -> dict[str, torch.Tensor]:
        """Pad items of an `ExampleSet` to the longest.

        Returns
        -------
        dict of str to torch.Tensor
            int64: input_ids, attention_mask, labels (`IGNORED` outside the answer), each of shape
            (batch, length), and image_index and label_index, each of shape (batch,).
        """
        examples = [feature["example"] for feature in features]
        sequences = [example.prompt + example.answer for example in examples]
        shape = (len(features), max(map(len, sequences)))
        batch = {
            "input_ids": torch.full(shape, self.pad_token_id),
            "attention_mask": torch.zeros(shape, dtype=torch.int64),
            "labels": torch.full(shape, IGNORED),
            "image_index": torch.tensor([feature["image_index"] for feature in features]),
            "label_index": torch.tensor([example.label_index for example in examples]),
        }
        for row, (sequence, example) in enumerate(zip(sequences, examples, strict=True)):
            start = len(example.prompt)
            batch["input_ids"][row, : len(sequence)] = torch.tensor(sequence)
            batch["attention_mask"][row, : len(sequence)] = 1
            batch["labels"][row, start : len(sequence)] = torch.tensor(sequence[start:])
        return batch
