"""Controls at test time: a fine-tuned model's accuracy with one of its inputs corrupted.

Each control changes the plot or the list of numbers of every test case and nothing else: statistics and descriptions
in a prompt stay those of the unchanged series.
"""

from __future__ import annotations

import logging
import re
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from PIL import Image
from scipy.special import softmax

from vlmtsc.errors import InputError
from vlmtsc.evaluation.constants import (
    ALPHA,
    FEW_CHANGES,
    IMAGE_CONTROLS,
    INTACT,
    NUMBER_CONTROLS,
    UNUSED,
    Control,
)
from vlmtsc.evaluation.metrics import compute_metrics, read_predictions
from vlmtsc.evaluation.statistics import paired_test
from vlmtsc.representation.plot_files import PlotPath, plots_in
from vlmtsc.representation.prompts import IMAGE_TOKEN, number_spans
from vlmtsc.representation.representation import Representation
from vlmtsc.settings import MemorySettings

if TYPE_CHECKING:
    from vlmtsc.evaluation.predictor import Predictor

logger = logging.getLogger(__name__)

#: File name of the blank plot.
BLANK = "blank.png"
#: The background of plots: a blank plot lacks the line and contains nothing else that is new to the model.
BLANK_COLOUR = (255, 255, 255)
#: Additional tokens that shuffled numbers may take: the first has no blank before it, and may merge differently.
SLACK = 16
#: A number of either format, with its sign.
_NUMBER = re.compile(r"[^\s,\[\]]+")
#: A prompt's tokens and the file name of its plot: equal questions have equal scores.
Question = tuple[tuple[int, ...], str | None]


def controls_of(representation: Representation, n_cases: int) -> list[Control]:
    """Return the controls of a scenario, in the order of tables; plots are swapped only between two or more cases."""
    images = IMAGE_CONTROLS if n_cases > 1 else IMAGE_CONTROLS[:1]
    return [
        *(images if representation.has_image else ()),
        *(NUMBER_CONTROLS if representation.scenario.has_numbers else ()),
    ]


def other_cases(label_index: np.ndarray, seed: int) -> np.ndarray:
    """Assign to each case another case, of another class as far as possible: a permutation without a fixed point.

    Cases are sorted by class (`label_index`), at random within a class, and shifted by the size of the largest class.
    Only if that class has more than half of the cases do some of them get another case of the same class, as few as
    possible.
    """
    n_cases = len(label_index)
    mixed = np.random.default_rng(seed).permutation(n_cases)
    order = mixed[np.argsort(label_index[mixed], kind="stable")]
    largest = int(np.bincount(label_index).max())
    other = np.empty(n_cases, dtype=np.int64)
    other[order] = np.roll(order, -(largest if largest < n_cases else 1))
    return other


def shuffle_numbers(prompt: str, representation: Representation, random: np.random.Generator) -> str:
    """Permute the (downsampled) numbers of a prompt, in the same way in all channels."""
    spans = _spans(prompt, representation)
    numbers = [[match.span() for match in _NUMBER.finditer(prompt, *span)] for span in spans]
    permutation = random.permutation(len(numbers[0]))
    edits = [
        (place, prompt[slice(*channel[source])])
        for channel in numbers
        for place, source in zip(channel, permutation.tolist(), strict=True)
    ]
    return _replaced(prompt, edits)


def remove_numbers(prompt: str, representation: Representation) -> str:
    """Replace the numbers of each channel by an empty list or an empty line."""
    empty = "[]" if representation.scenario.numbers == "decimals" else ""
    return _replaced(prompt, [(span, empty) for span in _spans(prompt, representation)])


def _spans(prompt: str, representation: Representation) -> list[tuple[int, int]]:
    spans = number_spans(prompt, representation.scenario.numbers, representation.n_channels)
    if len(spans) != representation.n_channels:
        raise InputError(
            f"a prompt with the numbers of {len(spans)} channels; allowed: {representation.n_channels}"
        )
    return spans


def _replaced(text: str, edits: Sequence[tuple[tuple[int, int], str]]) -> str:
    for (begin, end), new in sorted(edits, reverse=True):
        text = text[:begin] + new + text[end:]
    return text


def controlled_records(
    control: Control, records: Sequence[Mapping[str, Any]], representation: Representation, seed: int
) -> list[dict[str, Any]]:
    """Return the conversations of a test set (`records`) with one input corrupted; `seed` is that of random choices.

    Controls: the plot `BLANK`; the plot of one of the `other_cases`; `shuffle_numbers`; `remove_numbers`.
    """
    if control == "image_blank":
        return [dict(record) | {"image": BLANK} for record in records]
    if control == "image_swapped":
        others = other_cases(np.array([record["label_index"] for record in records]), seed).tolist()
        return [
            dict(record) | {"image": records[other]["image"]}
            for record, other in zip(records, others, strict=True)
        ]
    controlled = [dict(record) for record in records]
    for position, record in enumerate(controlled):
        human, *rest = record["conversations"]
        prompt: str = human["value"]
        prompt = prompt.removeprefix(f"{IMAGE_TOKEN}\n") if representation.has_image else prompt
        if control == "numbers_removed":
            prompt = remove_numbers(prompt, representation)
        else:
            prompt = shuffle_numbers(prompt, representation, np.random.default_rng([seed, position]))
        record["conversations"] = [{**human, "value": representation.turn(prompt)}, *rest]
    return controlled


def score_controls(
    predictor: Predictor,
    records: Sequence[Mapping[str, Any]],
    intact: np.ndarray,
    plots: Path | None,
    *,
    seed: int,
    scratch: Path,
) -> tuple[dict[Control, np.ndarray], int]:
    """Score the conversations of a test set under every control of their scenario.

    Many questions recur: of plots alone, a swapped case is another unchanged one, and all blank ones are equal; of
    numbers alone, all cases without numbers are equal. Each question is scored once, and each plot encoded once.
    `intact` are the scores of the unchanged conversations; the blank plot is written to the folder `scratch`.
    Returned are the scores by control, float64 of shape (n_cases, n_classes), and the number of questions scored.
    """
    from vlmtsc.examples import Example  # PyTorch and transformers take seconds to import

    representation = predictor.representation
    known = dict(zip(_questions(predictor, records), intact, strict=True))
    questions = {
        control: _questions(predictor, controlled_records(control, records, representation, seed))
        for control in controls_of(representation, len(records))
    }
    fresh = [
        question
        for question in dict.fromkeys(question for asked in questions.values() for question in asked)
        if question not in known
    ]
    images = list(dict.fromkeys(image for _, image in fresh if image is not None))
    vision = predictor.vision(
        _plot_paths(images, records, plots, scratch), cache_mb=MemorySettings().vision_cache_mb
    )
    position = {name: index for index, name in enumerate(images)}
    scores = predictor.score_questions(
        [Example(list(prompt), [], -1, image) for prompt, image in fresh],
        vision,
        [-1 if image is None else position[image] for _, image in fresh],
    )
    known |= dict(zip(fresh, scores, strict=True))
    by_control = {
        name: np.stack([known[question] for question in asked]) for name, asked in questions.items()
    }
    return by_control, len(fresh)


def _questions(predictor: Predictor, records: Sequence[Mapping[str, Any]]) -> list[Question]:
    examples = predictor.questions(records, slack=SLACK)
    return [(tuple(example.prompt), example.image) for example in examples]


def _plot_paths(
    images: Sequence[str], records: Sequence[Mapping[str, Any]], plots: Path | None, scratch: Path
) -> list[PlotPath]:
    """Return the paths of plots; the blank one is written first, in the size of the others."""
    if not images:
        return []
    if plots is None:
        raise InputError(f"conversations with images ({images[0]}, ...), but no folder of plots was given")
    store = plots_in(plots)
    if BLANK in images:
        with (store / records[0]["image"]).open("rb") as file, Image.open(file) as drawn:
            Image.new("RGB", drawn.size, BLANK_COLOUR).save(scratch / BLANK)
    return [(scratch if name == BLANK else store) / name for name in images]


def evaluate_controls(
    predictor: Predictor,
    test: Sequence[Mapping[str, Any]],
    predictions: Path,
    plots: Path | None,
    seed: int = 0,
) -> pd.DataFrame:
    """Return one row of `control_row` for each control of a test set, the unchanged test set first.

    `predictions` is the table (.csv) of the unchanged conversations; InputError if it has other cases.
    """
    ids, labels, intact = read_predictions(predictions)
    if ids != [record["id"] for record in test]:
        raise InputError(f"{predictions}: other cases than the conversations; allowed: the same, in order")
    with tempfile.TemporaryDirectory() as scratch:
        scores, n_scored = score_controls(predictor, test, intact, plots, seed=seed, scratch=Path(scratch))
    rows = [
        control_row(control, labels, intact, controlled, predictor.representation.classes)
        for control, controlled in ({INTACT: intact} | scores).items()
    ]
    accuracies = ", ".join(f"{row['control']} {100 * row['accuracy']:.1f}%" for row in rows)
    logger.info("%s; %d questions scored", accuracies, n_scored)
    return pd.DataFrame(rows)


def control_row(
    control: Control,
    label_index: np.ndarray,
    intact: np.ndarray,
    controlled: np.ndarray,
    classes: Sequence[str],
) -> dict[str, Any]:
    """Compare a model's scores under a control with those of the same cases unchanged (`intact`).

    Scores are log-likelihoods, float64 of shape (n_cases, n_classes). The row has ``control``; ``n_cases``;
    ``accuracy`` with its 95% Wilson interval ``accuracy_low``, ``accuracy_high``; ``balanced_accuracy``;
    ``total_variation``, the mean over cases of half the sum of absolute changes of the class probabilities, 0 to 1;
    ``changed``, the share of changed predictions; ``p_value`` of McNemar's exact test against the unchanged test set;
    ``finding``, one of `UNUSED` or None. The last four are None for the unchanged test set.
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
        **dict.fromkeys(("total_variation", "changed", "p_value", "finding")),
    }
    if control == INTACT:
        return row
    before, after = intact.argmax(axis=1), controlled.argmax(axis=1)
    moved = np.abs(softmax(controlled, axis=1) - softmax(intact, axis=1)).sum(axis=1) / 2
    changed = float((before != after).mean())
    p_value = paired_test(before == label_index, after == label_index).p_value
    unused = p_value >= ALPHA and changed <= FEW_CHANGES
    return row | {
        "total_variation": float(moved.mean()),
        "changed": changed,
        "p_value": p_value,
        "finding": UNUSED.get(control) if unused else None,
    }
