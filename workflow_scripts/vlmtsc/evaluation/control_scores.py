"""Scoring the controls of one fine-tuned model: every distinct question once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from vlmtsc.errors import InputError
from vlmtsc.evaluation.control_kinds import Control
from vlmtsc.evaluation.controls import BLANK, controlled_records, controls_of
from vlmtsc.evaluation.predictor import Predictor
from vlmtsc.examples import Example
from vlmtsc.representation.plot_files import PlotPath, plots_in
from vlmtsc.settings import MemorySettings

#: A plot's background: a white picture is a plot without its line, so that nothing else is new to the model.
BLANK_COLOUR = (255, 255, 255)
#: Tokens that shuffled numbers may take more than in order: the first has no blank before it, and may merge otherwise.
SLACK = 16


@dataclass(frozen=True)
class Question:
    """What a model is given. Equal questions have equal scores.

    Attributes
    ----------
    prompt : tuple of int
    image : str or None
        File name of the plot.
    """

    prompt: tuple[int, ...]
    image: str | None


def score_controls(
    predictor: Predictor,
    records: Sequence[Mapping[str, Any]],
    intact: np.ndarray,
    plots: Path | None,
    *,
    seed: int,
    scratch: Path,
) -> tuple[dict[Control, np.ndarray], int]:
    """Score the cases of a test part under every control that their scenario has.

    Many questions are asked twice: of plots alone, a swapped case is another intact one, and all blank ones are the
    same; so are all cases of numbers alone whose numbers are removed. Each is scored once, and each plot encoded once.

    Parameters
    ----------
    predictor : Predictor
    records : sequence of mapping
        Conversations.
    intact : ndarray of float64, shape (n_cases, n_classes)
        Scores of the conversations as they are.
    plots : Path or None
        Folder of plots.
    seed : int
    scratch : Path
        Folder for the blank plot.

    Returns
    -------
    scores : dict of str to ndarray of float64, shape (n_cases, n_classes)
        By control.
    n_scored : int
        Questions that were scored.
    """
    representation = predictor.representation
    names = controls_of(representation, len(records))
    asked = {name: controlled_records(name, records, representation, seed) for name in names}
    known = dict(zip(_questions(predictor, records), intact, strict=True))
    questions = {name: _questions(predictor, cases) for name, cases in asked.items()}
    fresh = [
        question
        for question in dict.fromkeys(question for part in questions.values() for question in part)
        if question not in known
    ]
    images = list(dict.fromkeys(question.image for question in fresh if question.image is not None))
    # A plot is looked at once for each question about it.
    vision = predictor.vision(
        _paths(images, records, plots, scratch), cache_mb=MemorySettings().vision_cache_mb
    )
    position = {name: index for index, name in enumerate(images)}
    scores = predictor.score_questions(
        [Example(list(question.prompt), [], -1, question.image) for question in fresh],
        vision,
        [-1 if question.image is None else position[question.image] for question in fresh],
    )
    known |= dict(zip(fresh, scores, strict=True))
    by_control = {name: np.stack([known[question] for question in part]) for name, part in questions.items()}
    return by_control, len(fresh)


def _questions(predictor: Predictor, records: Sequence[Mapping[str, Any]]) -> list[Question]:
    examples = predictor.questions(records, slack=SLACK)
    return [Question(tuple(example.prompt), example.image) for example in examples]


def _paths(
    images: Sequence[str], records: Sequence[Mapping[str, Any]], plots: Path | None, scratch: Path
) -> list[PlotPath]:
    """Return where plots are; the blank one is written first, in the size of the others."""
    if not images:
        return []
    if plots is None:
        raise InputError(f"conversations with images ({images[0]}, ...), but no folder of plots was given")
    store = plots_in(plots)
    if BLANK in images:
        with (store / records[0]["image"]).open("rb") as file, Image.open(file) as drawn:
            Image.new("RGB", drawn.size, BLANK_COLOUR).save(scratch / BLANK)
    return [(scratch if name == BLANK else store) / name for name in images]
