"""Cases as LLaVA conversations, within the token budget."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from vlmtsc.data.series import CleanSeries
from vlmtsc.errors import InputError
from vlmtsc.paths import plot_file_name
from vlmtsc.representation.budget import TokenCounter, count_all, find_smallest_factor, original_factor
from vlmtsc.representation.labels import merge_labels
from vlmtsc.representation.limits import fit_limits
from vlmtsc.representation.prompts import IMAGE_TOKEN, human_turn
from vlmtsc.representation.representation import Representation, feature_lines, representation_at_factor
from vlmtsc.settings import PlotSettings, ScenarioSettings

PARTS = ("train", "validation", "test")


@dataclass(frozen=True)
class Conversations:
    """What one scenario makes of a dataset.

    Parameters
    ----------
    records : dict of str to list of dict
        By part (train, validation, test), in the order of the split's indices.
    representation : Representation
    budget : dict
        Tokens and values, see `token_budget`.
    """

    records: dict[str, list[dict[str, Any]]]
    representation: Representation
    budget: dict[str, Any]


def make_conversations(
    series: CleanSeries,
    split: Mapping[str, np.ndarray],
    scenario: ScenarioSettings,
    plot: PlotSettings | None,
    *,
    count_tokens: TokenCounter,
    image_tokens: int,
    system_prompt: str,
    eos_token: str,
    descriptions: Mapping[str, str] | None = None,
    rationales: Mapping[str, str] | None = None,
) -> Conversations:
    """Choose the downsampling factor, and write every case's question and answer.

    Parameters
    ----------
    series : CleanSeries
    split : mapping of str to ndarray of int64
        Case indices of train, validation and test. The number scale is fitted to train alone; the factor has
        to suit the longest case of all three, since no case is ever cut.
    scenario : ScenarioSettings
    plot : PlotSettings or None
        Settings of the scenario's plot.
    count_tokens : callable
        Tokens of each text, special tokens included, with the image placeholder as one.
    image_tokens : int
        Tokens of one image in the model.
    system_prompt, eos_token : str
    descriptions, rationales : mapping of str to str, optional
        By case identifier, the paragraphs that the questions hold, and those that follow the answers; where
        the scenario has them.

    Raises
    ------
    InputError
        If a part has no case, a case has no description, not even one value of each channel fits the context, or
        a case does not with the scenario's own factor.

    Notes
    -----
    With the switch `first_case_factor` the factor is the original's, and a longer case counts as the tokens that
    are left of it: `vlmtsc.examples` cuts it.
    """
    if scenario.restores("merged_labels"):
        series = merge_labels(series)
    for part in PARTS:
        if len(split[part]) == 0:
            raise InputError(f"split: the part {part} has no case; allowed: one or more")
    cases = np.concatenate([split[part] for part in PARTS])
    shared = plot is not None and scenario.has_image and plot.axis_limits == "shared"
    at_factor = representation_at_factor(
        scenario,
        plot,
        series.values[split["train"]],
        classes=series.classes.tolist(),
        image_tokens=image_tokens,
        system_prompt=system_prompt,
        eos_token=eos_token,
        limits=fit_limits(series.values[: series.n_train]) if shared else None,
    )
    ids = series.case_ids.tolist()
    for texts in (descriptions, rationales):
        missing = [] if texts is None else sorted({ids[case] for case in cases} - set(texts))
        if missing:
            raise InputError(
                f"no description of {missing[0]} ({len(missing)} missing); allowed: one for each case"
            )
    statistics: dict[int, list[str] | None] = {}
    fitted: dict[int, Representation] = {}
    questions: dict[int, str] = {}

    def question(factor: int, case: int) -> str:
        if factor not in fitted:
            fitted.clear()  # factors are tried in order and left behind
            questions.clear()
            fitted[factor] = at_factor(factor)
        if case in questions:
            return questions[case]
        # Features are those of the full series: the same at every factor.
        if case not in statistics:
            statistics[case] = feature_lines(series.values[case], scenario.context_text)
        questions[case] = fitted[factor].prompt(
            series.values[case],
            statistics=statistics[case],
            description=None if descriptions is None else descriptions[ids[case]],
        )
        return questions[case]

    def answer(factor: int, case: int) -> str:
        rationale = None if rationales is None else rationales[ids[case]]
        return fitted[factor].answer(int(series.label_index[case]), rationale)

    def texts_at(factor: int, positions: Sequence[int]) -> list[str]:
        texts = []
        for case in cases[list(positions)].tolist():
            prompt = question(factor, case)
            texts.append(fitted[factor].text(prompt, answer(factor, case)))
        return texts

    def count_with_image(texts: list[str]) -> np.ndarray:
        return count_tokens(texts) + (image_tokens - 1 if scenario.has_image else 0)

    theirs = None
    if scenario.numbers == "decimals":  # the only format that the original has
        first = question(1, int(split["train"][0]))
        whole, beside = count_tokens([first, re.sub(r"\[.*?\]", "", first, count=1)]).tolist()
        theirs = original_factor(whole, beside, scenario.context_length)
    if scenario.restores("first_case_factor"):
        if theirs is None:
            raise InputError(
                f"context_length={scenario.context_length}: the original's formula has no factor, since the text "
                f"beside the numbers takes {beside} tokens; allowed with compat='first_case_factor': "
                f"{beside + 6} or more"
            )
        factor = theirs
        whole_lengths = count_all(texts_at, count_with_image, factor, len(cases))
        tokens = np.minimum(whole_lengths, scenario.context_length)
    elif scenario.factor == "auto":
        factor, tokens = find_smallest_factor(
            texts_at,
            count_with_image,
            n_cases=len(cases),
            n_timepoints=series.values.shape[2] if scenario.has_numbers else 1,
            context_length=scenario.context_length,
        )
    else:
        factor = scenario.factor
        tokens = count_all(texts_at, count_with_image, factor, len(cases))
        longest = int(tokens.argmax())
        if tokens[longest] > scenario.context_length:
            case = series.case_ids[cases[longest]]
            raise InputError(
                f"factor={factor}: the longest case, {case}, takes {tokens[longest]} tokens; "
                f"allowed: {scenario.context_length} (context_length), a larger factor, or factor=auto"
            )
    records = [
        _record(series, case, question(factor, case), answer(factor, case), fitted[factor], int(taken))
        for case, taken in zip(cases.tolist(), tokens, strict=True)
    ]
    representation = fitted[factor]
    budget = token_budget(records, {part: len(split[part]) for part in PARTS}, representation)
    if scenario.numbers == "decimals":
        cut = None
        if theirs is not None:
            # Often the same factor, whose lengths are known (those of the switch are cut, so they are counted).
            known = theirs == factor and not scenario.restores("first_case_factor")
            lengths = tokens if known else count_all(texts_at, count_with_image, theirs, len(cases))
            cut = int(np.count_nonzero(lengths > scenario.context_length))
        budget["original"] = {"factor": theirs, "cases_cut": cut}
    bounds = np.cumsum([0] + [len(split[part]) for part in PARTS])
    parts = {part: records[bounds[i] : bounds[i + 1]] for i, part in enumerate(PARTS)}
    return Conversations(parts, representation, budget)


def _record(
    series: CleanSeries, case: int, prompt: str, answer: str, representation: Representation, tokens: int
) -> dict[str, Any]:
    """Return one case in LLaVA's format, with its label and tokens beside it."""
    index = int(series.label_index[case])
    return {
        "id": str(series.case_ids[case]),
        **({"image": plot_file_name(case)} if representation.has_image else {}),
        "conversations": [
            {"from": "human", "value": human_turn(prompt, has_image=representation.has_image)},
            {"from": "gpt", "value": answer},
        ],
        "label": representation.classes[index],
        "label_index": index,
        "tokens": tokens,
    }


def record_text(record: Mapping[str, Any], representation: Representation, *, with_answer: bool) -> str:
    """Return the text of a record that the tokenizer is given.

    Parameters
    ----------
    record : mapping
        An element of train.json, validation.json or test.json.
    representation : Representation
        The one stored beside it.
    with_answer : bool
        Without, the text ends after ``ASSISTANT:``.
    """
    turns = [turn["value"] for turn in record["conversations"]]
    prompt = turns[0].removeprefix(f"{IMAGE_TOKEN}\n") if representation.has_image else turns[0]
    return representation.text(prompt, turns[1] if with_answer else None)


def question_record(
    identity: str,
    values: np.ndarray,
    representation: Representation,
    image: str,
    description: str | None = None,
) -> dict[str, Any]:
    """Return a conversation that ends with the question: a series whose class is not known.

    Parameters
    ----------
    identity : str
    values : ndarray of float64, shape (n_channels, n_timepoints)
    representation : Representation
    image : str
        File name of the series' plot, used if the scenario shows one.
    description : str, optional
        The paragraph about the series, if the scenario's question holds one.
    """
    prompt = representation.prompt(values, description=description)
    question = human_turn(prompt, has_image=representation.has_image)
    return {
        "id": identity,
        **({"image": image} if representation.has_image else {}),
        "conversations": [{"from": "human", "value": question}],
    }


def token_budget(
    records: Sequence[Mapping[str, Any]], sizes: Mapping[str, int], representation: Representation
) -> dict[str, Any]:
    """Return what a scenario costs, and what it keeps of a series.

    Parameters
    ----------
    records : sequence of mapping
        The records of all parts, one part after the other.
    sizes : mapping of str to int
        Records of each part, in that order.
    representation : Representation

    Returns
    -------
    dict
        `values_kept` counts timepoints of each channel as text (0 without numbers); `headroom` is what the
        longest case leaves of the context; `training_tokens` is one epoch's.
    """
    tokens = np.array([record["tokens"] for record in records])
    longest = records[int(tokens.argmax())]
    context = representation.scenario.context_length
    by_part = {}
    start = 0
    for part, size in sizes.items():
        own = tokens[start : start + size]
        start += size
        by_part[part] = {
            "cases": size,
            "total": int(own.sum()),
            "min": int(own.min()),
            "mean": round(float(own.mean()), 2),
            "max": int(own.max()),
        }
    kept = -(-representation.n_timepoints // representation.factor)
    return {
        "context_length": context,
        "image_tokens": representation.image_tokens,
        "factor": representation.factor,
        "n_channels": representation.n_channels,
        "n_timepoints": representation.n_timepoints,
        "values_kept": kept if representation.scenario.has_numbers else 0,
        "tokens": by_part,
        "longest_case": {"id": longest["id"], "tokens": longest["tokens"]},
        "headroom": context - longest["tokens"],
        "training_tokens": by_part["train"]["total"],
        "original": None,
    }
