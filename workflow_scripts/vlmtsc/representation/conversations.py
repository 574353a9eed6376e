"""Cases as LLaVA conversations, within the token budget."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from vlmtsc.data.cleaning import merge_labels
from vlmtsc.data.series import CleanSeries
from vlmtsc.data.splits import SETS
from vlmtsc.errors import InputError
from vlmtsc.paths import plot_file_name
from vlmtsc.representation.plot_files import fit_limits
from vlmtsc.representation.prompts import ChatFormat, number_spans
from vlmtsc.representation.representation import Representation, feature_lines, fit_representation
from vlmtsc.representation.tokens import (
    CHUNK,
    TokenCounter,
    TokenLocator,
    count_all,
    find_smallest_factor,
    original_factor,
)
from vlmtsc.settings import PlotSettings, ScenarioSettings

#: Parts of a text whose tokens are counted separately.
SEGMENTS = ("system_prompt", "image", "numbers", "text", "label")
#: Settings that only shape prompts and plots, which are compared themselves.
_SEEN_IN_PROMPTS = ("name", "context_length", "downsampling", "factor", "plot")


@dataclass(frozen=True)
class Conversations:
    """The conversations of one scenario of a dataset.

    Attributes
    ----------
    records : dict of str to list of dict
        By set (train, validation, test), in the order of the split's indices.
    representation : Representation
    budget : dict
        Tokens and values: `values_kept` are timepoints per channel as text (0 without numbers), `headroom` the tokens
        of the context that the longest case leaves, `training_tokens` those of one epoch, `original` the factor of the
        paper's code and the cases it would cut (None unless numbers are decimals).
    """

    records: dict[str, list[dict[str, Any]]]
    representation: Representation
    budget: dict[str, Any]


class _CaseTexts:
    """Prompt, answer and text of each case, at one downsampling factor at a time, which `fit` makes a representation.

    Descriptions and rationales are by case identifier; empty where the scenario has none.
    """

    def __init__(
        self,
        series: CleanSeries,
        fit: Callable[[int], Representation],
        descriptions: Mapping[str, str],
        rationales: Mapping[str, str],
    ) -> None:
        self._series, self._fit = series, fit
        self._descriptions, self._rationales = descriptions, rationales
        self._ids = series.case_ids.tolist()
        self._features: dict[int, list[str] | None] = {}  # of the full series: the same at every factor
        self._prompts: dict[int, str] = {}
        self.representation = fit(1)

    def at(self, factor: int) -> None:
        """Change the factor; prompts are kept of one, since factors are tried in order."""
        if factor != self.representation.factor:
            self.representation, self._prompts = self._fit(factor), {}

    def prompt(self, case: int) -> str:
        if case not in self._prompts:
            values = self._series.values[case]
            if case not in self._features:
                self._features[case] = feature_lines(values, self.representation.scenario.context_text)
            description = self._descriptions.get(self._ids[case])
            self._prompts[case] = self.representation.prompt(
                values, statistics=self._features[case], description=description
            )
        return self._prompts[case]

    def answer(self, case: int) -> str:
        index, rationale = int(self._series.label_index[case]), self._rationales.get(self._ids[case])
        return self.representation.answer(index, rationale)

    def text(self, case: int) -> str:
        return self.representation.text(self.representation.turn(self.prompt(case)), self.answer(case))

    def record(self, case: int, tokens: int) -> dict[str, Any]:
        """Return a case in LLaVA's format, with its label and tokens."""
        index = int(self._series.label_index[case])
        record = self.representation.record(
            self._ids[case], self.prompt(case), self.answer(case), plot_file_name(case)
        )
        return record | {
            "label": self.representation.classes[index],
            "label_index": index,
            "tokens": tokens,
        }


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
    chat: ChatFormat | None = None,
    image_layout: tuple[tuple[str, int], ...] = (),
    image_options: dict[str, Any] | None = None,
    descriptions: Mapping[str, str] | None = None,
    rationales: Mapping[str, str] | None = None,
) -> Conversations:
    """Choose the downsampling factor, and write every case's question and answer.

    InputError if a set has no case, a case has no description, not even one value of each channel fits the context,
    or a case does not with the scenario's own factor.

    Parameters
    ----------
    split : mapping of str to ndarray of int64
        Case indices of the train, validation and test sets. The number scale is fitted to train alone; the factor has
        to suit the longest case of all three, since no case is ever cut.
    plot : PlotSettings or None
        Settings of the scenario's plot.
    count_tokens : callable
        Tokens of each text, special tokens included, with the image placeholder as one.
    image_tokens : int
        Tokens of one image.
    chat, image_layout, image_options : optional
        As for `vlmtsc.representation.representation.fit_representation`.
    descriptions, rationales : mapping of str to str, optional
        By case identifier, the paragraphs in the questions and after the answers, where the scenario has them.

    Notes
    -----
    With the switch `first_case_factor` the factor is the original's, and a longer case counts as the tokens that remain
    after it is cut, when it is tokenised for training and evaluation.
    """
    if scenario.restores("merged_labels"):
        series = merge_labels(series)
    for name in SETS:
        if len(split[name]) == 0:
            raise InputError(f"split: the {name} set has no case; allowed: one or more")
    cases = np.concatenate([split[name] for name in SETS]).tolist()
    for texts in (descriptions, rationales):
        missing = [] if texts is None else sorted({*series.case_ids[cases].tolist()} - set(texts))
        if missing:
            raise InputError(
                f"no description of {missing[0]} ({len(missing)} missing); allowed: one for each case"
            )
    shared = plot is not None and scenario.has_image and plot.axis_limits == "shared"
    fit = partial(
        fit_representation,
        scenario,
        plot,
        series.values[split["train"]],
        classes=series.classes.tolist(),
        image_tokens=image_tokens,
        system_prompt=system_prompt,
        eos_token=eos_token,
        chat=chat,
        image_layout=image_layout,
        image_options=image_options,
        train_labels=series.label_index[split["train"]],
        train_plots=[plot_file_name(case) for case in split["train"].tolist()],
        limits=fit_limits(series.values[: series.n_train]) if shared else None,
    )
    case_texts = _CaseTexts(series, fit, descriptions or {}, rationales or {})

    def texts_at(factor: int, positions: Sequence[int]) -> list[str]:
        case_texts.at(factor)
        return [case_texts.text(cases[position]) for position in positions]

    def count_with_image(texts: list[str]) -> np.ndarray:
        images = len(case_texts.representation.shot_images) + 1 if scenario.has_image else 0
        return count_tokens(texts) + (image_tokens - 1) * images

    count_at = partial(count_all, texts_at, count_with_image, n_cases=len(cases))
    theirs = None
    if scenario.numbers == "decimals":  # the only format of the original
        first = case_texts.prompt(cases[0])  # at factor 1
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
        tokens = np.minimum(count_at(factor), scenario.context_length)
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
        tokens = count_at(factor)
        longest = int(tokens.argmax())
        if tokens[longest] > scenario.context_length:
            raise InputError(
                f"factor={factor}: the longest case, {series.case_ids[cases[longest]]}, "
                f"takes {tokens[longest]} tokens; allowed: {scenario.context_length} (context_length), "
                "a larger factor, or factor=auto"
            )
    case_texts.at(factor)
    records = [case_texts.record(case, taken) for case, taken in zip(cases, tokens.tolist(), strict=True)]
    representation = case_texts.representation
    ends = np.cumsum([len(split[name]) for name in SETS]).tolist()
    by_set = {name: records[end - len(split[name]) : end] for name, end in zip(SETS, ends, strict=True)}
    budget = _token_budget(by_set, representation)
    if scenario.numbers == "decimals":
        cut = None
        if theirs is not None:
            # Often the same factor, whose lengths are known (unless the switch has cut them).
            known = theirs == factor and not scenario.restores("first_case_factor")
            lengths = tokens if known else count_at(theirs)
            cut = int(np.count_nonzero(lengths > scenario.context_length))
        budget["original"] = {"factor": theirs, "cases_cut": cut}
    return Conversations(by_set, representation, budget)


def _token_budget(
    by_set: Mapping[str, Sequence[Mapping[str, Any]]], representation: Representation
) -> dict[str, Any]:
    """Return the tokens of a scenario and the values that it keeps (see `Conversations`)."""
    tokens = {name: np.array([record["tokens"] for record in records]) for name, records in by_set.items()}
    longest = max(
        (record for records in by_set.values() for record in records), key=lambda record: record["tokens"]
    )
    kept = -(-representation.n_timepoints // representation.factor)
    context = representation.scenario.context_length
    return {
        "context_length": context,
        "image_tokens": representation.image_tokens,
        "factor": representation.factor,
        "n_channels": representation.n_channels,
        "n_timepoints": representation.n_timepoints,
        "values_kept": kept if representation.scenario.has_numbers else 0,
        "tokens": {
            name: {
                "cases": len(own),
                "total": int(own.sum()),
                "min": int(own.min()),
                "mean": round(float(own.mean()), 2),
                "max": int(own.max()),
            }
            for name, own in tokens.items()
        },
        "longest_case": {"id": longest["id"], "tokens": longest["tokens"]},
        "headroom": context - longest["tokens"],
        "training_tokens": int(tokens["train"].sum()),
        "original": None,
    }


def token_breakdown(
    records: Sequence[Mapping[str, Any]], representation: Representation, locate: TokenLocator
) -> dict[str, int]:
    """Return the tokens of all cases by `SEGMENTS`; a token belongs to the segment in which it begins.

    `label` is everything after the prompt, end token included; `text` the template's words and a begin token.
    InputError if a case has fewer tokens than were counted.
    """
    totals = np.zeros(len(SEGMENTS), dtype=np.int64)
    for start in range(0, len(records), CHUNK):
        chunk = records[start : start + CHUNK]
        texts = [representation.record_text(record, with_answer=True) for record in chunk]
        for record, text, begins in zip(chunk, texts, locate(texts), strict=True):
            spans = _spans(record, text, representation)
            edges = np.array([edge for begin, end, _ in spans for edge in (begin, end)])
            codes = np.full(len(edges) + 1, SEGMENTS.index("text"))
            codes[1::2] = [SEGMENTS.index(name) for _, _, name in spans]
            found = codes[np.searchsorted(edges, begins, side="right")]
            repeats = np.where(found == SEGMENTS.index("image"), representation.image_tokens, 1)
            found = np.repeat(found, repeats)
            if len(found) < record["tokens"]:
                raise InputError(f"case {record['id']}: {len(found)} tokens, but {record['tokens']} counted")
            # A case that is longer than was counted is cut at its end.
            totals += np.bincount(found[: record["tokens"]], minlength=len(SEGMENTS))
    return dict(zip(SEGMENTS, totals.tolist(), strict=True))


def _spans(
    record: Mapping[str, Any], text: str, representation: Representation
) -> list[tuple[int, int, str]]:
    """Return begin, end and name of the parts other than `text`, in order and without overlap."""
    answer = len(representation.record_text(record, with_answer=False))
    begin, system = representation.chat.begin, representation.system_prompt
    spans = []
    if system and system in begin:
        spans.append((begin.index(system), begin.index(system) + len(system), "system_prompt"))
    if representation.has_image:
        marks = re.finditer(re.escape(representation.image_layout[0][0]), begin)
        spans += [(*mark.span(), "image") for mark in marks]
    numbers = number_spans(
        text[len(begin) : answer], representation.scenario.numbers, representation.n_channels
    )
    spans += [(len(begin) + first, len(begin) + last, "numbers") for first, last in numbers]
    return [*spans, (answer, len(text), "label")]


def dataset_info(has_image: bool) -> dict[str, Any]:
    """Return the entries of a folder of conversations in LLaMA-Factory's ``dataset_info.json``, by set."""
    columns = {"messages": "conversations"} | ({"images": "image"} if has_image else {})
    return {
        name: {"file_name": f"{name}.json", "formatting": "sharegpt", "columns": columns} for name in SETS
    }


def input_digest(
    by_set: Mapping[str, Sequence[Mapping[str, Any]]], representation: Representation, plots: str = ""
) -> str:
    """Return a SHA-256 of a model's inputs and targets, 64 hexadecimal digits.

    Equal for two scenarios of one dataset and model exactly if questions, answers and plots are equal, whatever their
    names, context lengths and downsampling methods. `plots` is a digest of the plots; empty if it is compared
    elsewhere, or there are none.
    """
    content = representation.to_json()
    seen = {*_SEEN_IN_PROMPTS}
    if representation.scenario.restores("first_case_factor"):
        seen.remove("context_length")  # prompts may be cut
    scenario = {key: value for key, value in content["scenario"].items() if key not in seen}
    settings = {key: value for key, value in content.items() if key not in seen}
    shown = {
        name: [[record["id"], record.get("image"), record["conversations"]] for record in records]
        for name, records in by_set.items()
    }
    whole = {"settings": settings | {"scenario": scenario}, "parts": shown, "plots": plots}
    return hashlib.sha256(json.dumps(whole, sort_keys=True).encode()).hexdigest()
