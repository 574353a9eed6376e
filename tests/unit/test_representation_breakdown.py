"""What tokens are spent on, and when two scenarios count as the same."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tiny_llava import TinyTask, make_task

from vlmtsc.errors import InputError
from vlmtsc.representation.conversations import SEGMENTS, input_digest, token_breakdown
from vlmtsc.representation.numbers import format_decimals, format_levels
from vlmtsc.representation.prompts import build_prompt, number_spans
from vlmtsc.representation.tokens import TextTokens, load_processor

values = st.lists(st.floats(-1e4, 1e4), min_size=1, max_size=20)


@given(channels=st.lists(values, min_size=1, max_size=3), statistics=st.booleans(), described=st.booleans())
def test_numbers_are_found_in_every_prompt(
    channels: list[list[float]], statistics: bool, described: bool
) -> None:
    features = ["mean: 1.5000e+00"] * len(channels) if statistics else None
    paragraph = "It peaks [sic] at 3.\n12 15\n" if described else None
    rows = [np.array(channel) for channel in channels]
    told = {
        "decimals": [format_decimals(row, 2) for row in rows],
        "scaled": [format_levels(row.astype(int), " ") for row in rows],
    }
    for numbers, texts in told.items():
        scale = "0 is 1.2; 20 is 3.4" if numbers == "scaled" else None
        prompt = build_prompt(texts, statistics=features, description=paragraph, scale=scale)
        spans = number_spans(prompt, numbers, len(channels))
        assert [prompt[begin:end] for begin, end in spans] == texts


@pytest.mark.parametrize("style", ["tiny_checkpoint", "llama_checkpoint"])
@pytest.mark.parametrize("modality", ["plot", "numbers", "both"])
@pytest.mark.parametrize("system_prompt", ["", "A chat."])
def test_parts_add_up_to_what_was_counted(
    request: pytest.FixtureRequest, tmp_path: Path, style: str, modality: str, system_prompt: str
) -> None:
    checkpoint = request.getfixturevalue(style)
    task = make_task(checkpoint, tmp_path, modality=modality, n_channels=2, system_prompt=system_prompt)
    records = [record for part in task.records.values() for record in part]
    tokenizer = load_processor(checkpoint).tokenizer
    spent = token_breakdown(records, task.representation, TextTokens(tokenizer).locate)
    assert tuple(spent) == SEGMENTS
    assert sum(spent.values()) == sum(record["tokens"] for record in records)
    assert spent["image"] == len(records) * task.representation.image_tokens
    assert (spent["system_prompt"] > 0) == bool(system_prompt)
    assert (spent["numbers"] > 0) == (modality != "plot")
    # A class and the end token, and in one of the tokenizers a token for the blank.
    assert spent["label"] in (2 * len(records), 3 * len(records))
    assert spent["text"] > 0


def test_a_wrong_count_is_noticed_and_a_cut_case_ends_early(tiny_checkpoint: Path, tmp_path: Path) -> None:
    task = make_task(tiny_checkpoint, tmp_path, modality="numbers")
    locate = TextTokens(load_processor(tiny_checkpoint).tokenizer).locate
    case = task.records["train"][0]
    cut = token_breakdown([case | {"tokens": case["tokens"] - 2}], task.representation, locate)
    assert cut == token_breakdown([case], task.representation, locate) | {"label": cut["label"]}
    with pytest.raises(InputError, match=f"{case['tokens']} tokens, but 9999 counted"):
        token_breakdown([case | {"tokens": 9999}], task.representation, locate)


def renamed(task: TinyTask, **changes: object) -> str:
    scenario = task.representation.scenario.changed(**changes)
    return input_digest(task.records, dataclasses.replace(task.representation, scenario=scenario))


def test_the_digest_is_of_what_a_model_is_given(tiny_checkpoint: Path, tmp_path: Path) -> None:
    task = make_task(tiny_checkpoint, tmp_path)
    first = input_digest(task.records, task.representation)
    assert renamed(task, name="other", context_length=4096, downsampling="adaptive") == first
    assert renamed(task, labels="names") != first
    assert input_digest(task.records, task.representation, "of other plots") != first
    case = task.records["test"][0]
    for change in ({"image": "case-00099.png"}, {"conversations": case["conversations"][:1]}):
        changed = task.records | {"test": [case | change, *task.records["test"][1:]]}
        assert input_digest(changed, task.representation) != first
