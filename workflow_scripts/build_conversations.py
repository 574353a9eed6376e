"""Write the conversations of one scenario."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

from vlmtsc.data.series import CleanSeries, load_arrays
from vlmtsc.data.splits import SETS
from vlmtsc.describe.descriptions import read_descriptions
from vlmtsc.errors import InputError
from vlmtsc.files import write_json
from vlmtsc.model.files import load_checked_processor
from vlmtsc.representation.conversations import (
    dataset_info,
    input_digest,
    make_conversations,
    token_breakdown,
)
from vlmtsc.representation.tokens import TextTokens
from vlmtsc.script import paused_collection, run_script
from vlmtsc.settings import DescriptionKind, LeakedKind, PlotSettings, ScenarioSettings, Template

logger = logging.getLogger("vlmtsc.build_conversations")


def build_conversations(
    series: Path,
    split: Path,
    model: Path,
    scenario: ScenarioSettings,
    output: Path,
    plot: PlotSettings | None = None,
    system_prompt: str = "",
    template: Template = "llava_v1",
    image_options: dict[str, Any] | None = None,
    descriptions: Path | None = None,
    rationales: Path | None = None,
) -> None:
    """Write the conversations of one scenario of a dataset, for one model's tokenizer and context.

    Parameters
    ----------
    series : Path
        Clean series of `preprocess_dataset` (.npz).
    split : Path
        Case indices of `split_dataset` (.npz).
    model : Path
        Checkpoint folder; only its tokenizer and processor are read.
    scenario : ScenarioSettings
        How a series is shown to the model.
    output : Path
        Folder for the conversations (train.json, validation.json, test.json), everything fitted, which encodes a new
        series in the same way (representation.json), tokens, values kept and a digest of the inputs (budget.json), and
        entries for LLaMA-Factory (dataset_info.json).
    plot : PlotSettings, optional
        Settings of the scenario's plot, if it has one.
    system_prompt : str, default ""
        Text before every conversation.
    template : {"llava_v1", "model"}, default "llava_v1"
        Text around question and answer.
    image_options : dict, optional
        Arguments of the image processor.
    descriptions : Path, optional
        Paragraphs for the questions, where the scenario shows them (JSON).
    rationales : Path, optional
        Paragraphs after the answers, where the scenario trains them (JSON).
    """
    with paused_collection():
        from vlmtsc.representation.processor import model_options

    sets = load_arrays(split, SETS)
    processor = load_checked_processor(model)
    trained: DescriptionKind | None = "rationale" if scenario.has_rationale_target else None
    try:
        shown = plot if scenario.has_image else None
        options = model_options(processor, shown, system_prompt, template, image_options)
        tokens = TextTokens(processor.tokenizer)  # what it has counted, it locates without tokenising again
        made = make_conversations(
            CleanSeries.load(series),
            sets,
            scenario,
            plot,
            **(options | {"count_tokens": tokens.count}),
            descriptions=_texts(descriptions, scenario.described_context, scenario.describer, "descriptions"),
            rationales=_texts(rationales, trained, scenario.describer, "rationales"),
        )
        records = [record for name in SETS for record in made.records[name]]
        breakdown = token_breakdown(records, made.representation, tokens.locate)
    except InputError as error:
        raise InputError(f"{series}, scenario {scenario.name}, model {model}: {error}") from error
    for name in SETS:
        write_json(output / f"{name}.json", made.records[name])
    made.representation.save(output / "representation.json")
    write_json(output / "dataset_info.json", dataset_info(made.representation.has_image))
    digest = input_digest(made.records, made.representation)
    write_json(output / "budget.json", made.budget | {"breakdown": breakdown, "input_digest": digest})
    logger.info(
        "factor %d keeps %d of %d values a channel; longest case %d of %d tokens",
        made.budget["factor"],
        made.budget["values_kept"],
        made.budget["n_timepoints"],
        made.budget["longest_case"]["tokens"],
        scenario.context_length,
    )


def _texts(
    path: Path | None, kind: DescriptionKind | LeakedKind | None, describer: str, option: str
) -> dict[str, str] | None:
    """Return the paragraphs that a scenario needs; None if it needs none."""
    if (path is None) != (kind is None):
        raise InputError(
            f"--{option} {path or 'is missing'}; allowed: {'none' if kind is None else f'texts of the kind {kind}'}"
        )
    return None if path is None or kind is None else read_descriptions(path, kind, describer)


if __name__ == "__main__":
    run_script(build_conversations)
