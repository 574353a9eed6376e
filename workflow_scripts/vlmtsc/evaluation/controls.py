"""Controls at test time: what is left of a fine-tuned model's accuracy when one of its inputs is spoilt.

Each changes one thing of every test case and leaves the rest: the plot, or the list of numbers. Statistics and
descriptions in a prompt stay those of the intact series.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from scipy.special import softmax

from vlmtsc.errors import InputError
from vlmtsc.evaluation.control_kinds import (
    FEW_CHANGES,
    IMAGE_CONTROLS,
    INTACT,
    LEVEL,
    NUMBER_CONTROLS,
    UNUSED,
    Control,
)
from vlmtsc.evaluation.metrics import compute_metrics
from vlmtsc.evaluation.paired import mcnemar_p_value
from vlmtsc.representation.prompts import IMAGE_TOKEN, number_spans
from vlmtsc.representation.representation import Representation

#: File name of the blank plot.
BLANK = "blank.png"
#: A number of either format, with its sign.
_NUMBER = re.compile(r"[^\s,\[\]]+")


def controls_of(representation: Representation, n_cases: int) -> list[Control]:
    """Return the controls that a scenario has, in the order of tables.

    A test part of one case has no other case's plot.
    """
    images = IMAGE_CONTROLS if n_cases > 1 else IMAGE_CONTROLS[:1]
    return [
        *(images if representation.has_image else ()),
        *(NUMBER_CONTROLS if representation.scenario.has_numbers else ()),
    ]


def other_cases(label_index: np.ndarray, seed: int) -> np.ndarray:
    """Give each case another case: of another class, as far as that is possible.

    Cases are sorted by class, at random within a class, and moved on by the size of the largest class. Only where
    that class holds more than half of the cases do some of them get another one of their own class; as few as can be.

    Parameters
    ----------
    label_index : ndarray of int, shape (n_cases,)
    seed : int

    Returns
    -------
    ndarray of int64, shape (n_cases,)
        A permutation without a fixed point.

    Raises
    ------
    InputError
        If there are fewer than two cases.
    """
    n_cases = len(label_index)
    if n_cases < 2:
        raise InputError(f"swapped plots of {n_cases} cases; allowed: two or more")
    mixed = np.random.default_rng(seed).permutation(n_cases)
    order = mixed[np.argsort(label_index[mixed], kind="stable")]
    largest = int(np.bincount(label_index).max())
    other = np.empty(n_cases, dtype=np.int64)
    other[order] = np.roll(order, -(largest if largest < n_cases else 1))
    return other


def shuffle_numbers(prompt: str, representation: Representation, order: np.random.Generator) -> str:
    """Put the numbers of a prompt into another order, the same in all channels.

    The numbers are those that the model is told, after downsampling, so that exactly the same ones are left.

    Parameters
    ----------
    prompt : str
        The question, without the image placeholder.
    representation : Representation
        Of the scenario, with numbers.
    order : Generator
        Source of the permutation.

    Raises
    ------
    InputError
        If the prompt does not hold as many numbers in each channel.
    """
    spans = _spans(prompt, representation)
    numbers = [[match.span() for match in _NUMBER.finditer(prompt, *span)] for span in spans]
    counts = {len(channel) for channel in numbers}
    if len(counts) > 1:
        raise InputError(f"a prompt with {sorted(counts)} numbers a channel; allowed: as many in each")
    permutation = order.permutation(counts.pop())
    edits = [
        (place, prompt[slice(*channel[source])])
        for channel in numbers
        for place, source in zip(channel, permutation.tolist(), strict=True)
    ]
    return _replaced(prompt, edits)


def remove_numbers(prompt: str, representation: Representation) -> str:
    """Leave an empty list, or an empty line, in the place of each channel's numbers.

    Parameters
    ----------
    prompt : str
        The question, without the image placeholder.
    representation : Representation
        Of the scenario, with numbers.
    """
    empty = "[]" if representation.scenario.numbers == "decimals" else ""
    return _replaced(prompt, [(span, empty) for span in _spans(prompt, representation)])


def _spans(prompt: str, representation: Representation) -> list[tuple[int, int]]:
    """Return where the numbers of each channel stand."""
    spans = number_spans(prompt, representation.scenario.numbers, representation.n_channels)
    if len(spans) != representation.n_channels:
        raise InputError(
            f"a prompt with the numbers of {len(spans)} channels; allowed: {representation.n_channels}"
        )
    return spans


def _replaced(text: str, edits: Sequence[tuple[tuple[int, int], str]]) -> str:
    """Replace spans of a text."""
    for (begin, end), new in sorted(edits, reverse=True):
        text = text[:begin] + new + text[end:]
    return text


def controlled_records(
    control: Control, records: Sequence[Mapping[str, Any]], representation: Representation, seed: int
) -> list[dict[str, Any]]:
    """Return the conversations of a test part with one input spoilt.

    Parameters
    ----------
    control : str
        `intact` leaves them as they are. `image_blank`: the plot `BLANK`. `image_swapped`: the plot of
        another case (`other_cases`). `numbers_shuffled`, `numbers_removed`: what these functions do.
    records : sequence of mapping
        Elements of test.json.
    representation : Representation
        The one stored beside them.
    seed : int
        Which other case, and which order.
    """
    if control == INTACT:
        return [dict(record) for record in records]
    if control == "image_blank":
        return [dict(record) | {"image": BLANK} for record in records]
    if control == "image_swapped":
        labels = np.array([record["label_index"] for record in records])
        return [
            dict(record) | {"image": records[other]["image"]}
            for record, other in zip(records, other_cases(labels, seed).tolist(), strict=True)
        ]

    prompts = [_prompt(record, representation) for record in records]
    if control == "numbers_removed":
        prompts = [remove_numbers(prompt, representation) for prompt in prompts]
    else:
        prompts = [
            shuffle_numbers(prompt, representation, np.random.default_rng([seed, position]))
            for position, prompt in enumerate(prompts)
        ]
    return [
        _with_prompt(record, prompt, representation) for record, prompt in zip(records, prompts, strict=True)
    ]


def _prompt(record: Mapping[str, Any], representation: Representation) -> str:
    """Return the question of a conversation, without the image placeholder."""
    turn: str = record["conversations"][0]["value"]
    return turn.removeprefix(f"{IMAGE_TOKEN}\n") if representation.has_image else turn


def _with_prompt(record: Mapping[str, Any], prompt: str, representation: Representation) -> dict[str, Any]:
    """Return a conversation with another question."""
    human, *rest = record["conversations"]
    turn = representation.turn(prompt)
    return dict(record) | {"conversations": [{**human, "value": turn}, *rest]}


def control_row(
    control: Control,
    label_index: np.ndarray,
    intact: np.ndarray,
    controlled: np.ndarray,
    classes: Sequence[str],
) -> dict[str, Any]:
    """Compare a model's scores under a control with its intact ones.

    Parameters
    ----------
    control : str
    label_index : ndarray of int, shape (n_cases,)
    intact, controlled : ndarray of float64, shape (n_cases, n_classes)
        Log-likelihoods of the same cases in the same order.
    classes : sequence of str

    Returns
    -------
    dict
        ``control``; ``n_cases``; ``accuracy`` with its 95% Wilson interval ``accuracy_low``, ``accuracy_high``;
        ``balanced_accuracy``; ``total_variation``, the mean over cases of half the sum of absolute changes of the
        class probabilities, 0 to 1; ``changed``, the share of other predictions; ``p_value`` of McNemar's exact test
        against the intact run; ``finding``, one of `UNUSED` or nothing. These four are None for `intact`.
    """
    measured = compute_metrics(label_index, controlled, classes)
    low, high = measured["accuracy_interval_95"]
    row: dict[str, Any] = {
        "control": control,
        "n_cases": measured["n_cases"],
        "accuracy": measured["accuracy"],
        "accuracy_low": low,
        "accuracy_high": high,
        "balanced_accuracy": measured["balanced_accuracy"],
        "total_variation": None,
        "changed": None,
        "p_value": None,
        "finding": None,
    }
    if control == INTACT:
        return row
    before, after = intact.argmax(axis=1), controlled.argmax(axis=1)
    moved = np.abs(softmax(controlled, axis=1) - softmax(intact, axis=1)).sum(axis=1) / 2
    changed = float((before != after).mean())
    p_value = mcnemar_p_value(before == label_index, after == label_index)
    unused = p_value >= LEVEL and changed <= FEW_CHANGES
    return row | {
        "total_variation": float(moved.mean()),
        "changed": changed,
        "p_value": p_value,
        "finding": UNUSED.get(control) if unused else None,
    }
