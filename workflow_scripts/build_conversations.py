"""Write the conversations of one scenario."""

from __future__ import annotations

import logging
from pathlib import Path

from vlmtsc.data.series import CleanSeries, load_arrays
from vlmtsc.describe.files import read_descriptions
from vlmtsc.errors import InputError
from vlmtsc.files import write_json
from vlmtsc.model.files import read_checked_processor
from vlmtsc.representation.breakdown import input_digest, token_breakdown
from vlmtsc.representation.conversations import PARTS, make_conversations
from vlmtsc.representation.tokens import count_image_tokens, counter_and_locator
from vlmtsc.script import run_script
from vlmtsc.settings import DescriptionKind, LeakedKind, PlotSettings, ScenarioSettings

logger = logging.getLogger("vlmtsc.build_conversations")


def build_conversations(
    series: Path,
    split: Path,
    model: Path,
    scenario: ScenarioSettings,
    train: Path,
    validation: Path,
    test: Path,
    representation: Path,
    budget: Path,
    plot: PlotSettings | None = None,
    system_prompt: str = "",
    descriptions: Path | None = None,
    rationales: Path | None = None,
    log: Path | None = None,
) -> None:
    """Write the conversations of one scenario of a dataset, for one model's tokenizer and context.

    Parameters
    ----------
    series : Path
        Clean series (.npz) of `preprocess_dataset`.
    split : Path
        Case indices (.npz) of `split_dataset`.
    model : Path
        Checkpoint folder; only its tokenizer and processor are read.
    scenario : ScenarioSettings
        How a series is told to the model.
    train, validation, test : Path
        Conversations (.json) to write.
    representation : Path
        Everything fitted (.json) to write: what encodes a new series in the same way.
    budget : Path
        Tokens, what they are spent on, values kept, and a digest of the inputs (.json) to write.
    plot : PlotSettings, optional
        Settings of the scenario's plot, if it has one.
    system_prompt : str, default ""
        Put before every conversation.
    descriptions : Path, optional
        Paragraphs (.json) for the questions, where the scenario shows them.
    rationales : Path, optional
        Paragraphs (.json) that follow the answers, where the scenario trains them.
    log : Path, optional
        File for messages.
    """
    parts = load_arrays(split, PARTS)
    asked = scenario.described_context
    trained: DescriptionKind | None = "rationale" if scenario.has_rationale_target else None
    processor = read_checked_processor(model)
    try:
        count_tokens, locate = counter_and_locator(processor.tokenizer)
        result = make_conversations(
            CleanSeries.load(series),
            parts,
            scenario,
            plot,
            count_tokens=count_tokens,
            image_tokens=count_image_tokens(processor),
            system_prompt=system_prompt,
            eos_token=processor.tokenizer.eos_token,
            descriptions=_texts(descriptions, asked, scenario.describer, "descriptions"),
            rationales=_texts(rationales, trained, scenario.describer, "rationales"),
        )
        cases = [record for part in PARTS for record in result.records[part]]
        spent = token_breakdown(cases, result.representation, locate)
    except InputError as error:
        raise InputError(f"{series}, scenario {scenario.name}, model {model}: {error}") from error
    for path, part in ((train, "train"), (validation, "validation"), (test, "test")):
        write_json(path, result.records[part])
    result.representation.save(representation)
    digest = input_digest(result.records, result.representation)
    write_json(budget, result.budget | {"breakdown": spent, "input_digest": digest})
    logger.info(
        "factor %d keeps %d of %d values a channel; longest case %d of %d tokens",
        result.budget["factor"],
        result.budget["values_kept"],
        result.budget["n_timepoints"],
        result.budget["longest_case"]["tokens"],
        scenario.context_length,
    )


def _texts(
    path: Path | None, kind: DescriptionKind | LeakedKind | None, describer: str, option: str
) -> dict[str, str] | None:
    """Read the paragraphs that a scenario needs; None if it needs none."""
    if (path is None) != (kind is None):
        raise InputError(
            f"--{option} {path or 'is missing'}; allowed: {'none' if kind is None else f'texts of the kind {kind}'}"
        )
    return None if path is None or kind is None else read_descriptions(path, kind, describer)


if __name__ == "__main__":
    run_script(build_conversations)
