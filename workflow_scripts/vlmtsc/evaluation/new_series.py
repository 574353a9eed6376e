"""New series, drawn and written as those of a run, and scored."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from vlmtsc.describe.descriptions import describe_template
from vlmtsc.errors import InputError
from vlmtsc.evaluation.predictor import Predictor
from vlmtsc.representation.plots import make_plotter, write_png
from vlmtsc.representation.representation import Representation
from vlmtsc.settings import ScenarioSettings


def score_cases(
    predictor: Predictor,
    ids: Sequence[str],
    cases: np.ndarray,
    paragraphs: Sequence[str | None] | None = None,
    *,
    slack: int = 0,
    blank: bool = False,
) -> np.ndarray:
    """Draw and write prepared series as a run's own, and score every class.

    Parameters
    ----------
    predictor : Predictor
    ids : sequence of str
        Names of the series in messages.
    cases : ndarray of float64, shape (n_cases, n_channels, n_timepoints)
    paragraphs : sequence of str, optional
        Descriptions in the questions, if the scenario has them.
    slack : int
        Tokens by which a question may exceed the scenario's context.
    blank : bool
        Whether plots are white.

    Returns
    -------
    ndarray of float64, shape (n_cases, n_classes)
        Log-likelihoods.
    """
    representation = predictor.representation
    prompts = [
        representation.prompt(case, description=paragraph)
        for case, paragraph in zip(cases, paragraphs or [None] * len(cases), strict=True)
    ]
    with tempfile.TemporaryDirectory() as folder:
        for index, pixels in enumerate(render_cases(representation, cases)):
            write_png(np.full_like(pixels, 255) if blank else pixels, Path(folder) / f"{index}.png")
        records = [
            representation.record(identity, prompt, None, f"{index}.png")
            for index, (identity, prompt) in enumerate(zip(ids, prompts, strict=True))
        ]
        plots = Path(folder) if representation.has_image else None
        return predictor.score(records, plots, slack=slack)


def render_cases(representation: Representation, cases: np.ndarray) -> list[np.ndarray]:
    """Return the plots of prepared series, uint8 of shape (height, width, 3); none if the scenario has no plot."""
    if representation.plot is None:
        return []
    drawn = representation.values_to_draw(cases)
    plotter = make_plotter(representation.plot, drawn.shape[1], representation.plot_limits)
    return [plotter.render(case) for case in drawn]


def template_paragraphs(
    cases: Sequence[np.ndarray], scenario: ScenarioSettings, place: str
) -> Sequence[str | None]:
    """Return the template's paragraph about each prepared series, where the scenario's questions have one.

    InputError, beginning with `place`, if its texts name the class or come from a hosted model.
    """
    kind = scenario.described_context
    if kind is None:
        return [None] * len(cases)
    if kind == "leaked_rationale" or kind == "leaked_rationale_merged_labels":
        raise InputError(
            f"{place}: its questions contain rationales that name the class (compat='leaked_rationale'), and the class "
            "of a new series is unknown; allowed: a run of a scenario without this switch"
        )
    if scenario.describer != "template":
        raise InputError(f"{place}: descriptions by a hosted model; allowed here: by the template")
    return [describe_template(case, kind) for case in cases]
