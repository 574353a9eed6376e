"""Tokens: counted as the processor makes them, spent on the parts of a text, and the factor that fits the context."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from tiny_llava import TinyTask, make_task
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors
from transformers import CLIPImageProcessorPil, LlavaConfig, LlavaProcessor, PreTrainedTokenizerFast

from vlmtsc.data.series import CleanSeries
from vlmtsc.errors import InputError
from vlmtsc.representation import tokens as module
from vlmtsc.representation.conversations import SEGMENTS, input_digest, token_breakdown
from vlmtsc.representation.processor import ImageLayout, image_layout, load_processor
from vlmtsc.representation.prompts import build_prompt, format_decimals, format_levels, number_spans
from vlmtsc.representation.representation import Representation
from vlmtsc.representation.tokens import (
    TextTokens,
    count_all,
    find_smallest_factor,
    original_factor,
)
from vlmtsc.settings import PlotSettings, ScenarioSettings


def counter(texts: list[str]) -> np.ndarray:
    return np.array([len(text) for text in texts])


@given(
    st.lists(st.lists(st.integers(1, 40), min_size=12, max_size=12), min_size=1, max_size=9),
    st.integers(1, 45),
)
@settings(max_examples=200, deadline=None)
def test_factor_is_the_smallest_that_fits_all(lengths: list[list[int]], context: int) -> None:
    """Lengths are arbitrary at each factor: they need not shrink."""
    table = np.array(lengths)  # (n_cases, n_factors)

    def texts_at(factor: int, cases: Sequence[int]) -> list[str]:
        return ["x" * table[case, factor - 1] for case in cases]

    fitting = np.flatnonzero((table <= context).all(axis=0))
    arguments = {"n_cases": len(table), "n_timepoints": 12, "context_length": context}
    if fitting.size == 0:
        with pytest.raises(InputError, match=f"context_length={context}"):
            find_smallest_factor(texts_at, counter, **arguments)
        return
    factor, tokens = find_smallest_factor(texts_at, counter, **arguments)
    assert factor == fitting[0] + 1
    assert tokens.tolist() == table[:, factor - 1].tolist()


def test_chunks_do_not_matter(monkeypatch) -> None:
    monkeypatch.setattr(module, "CHUNK", 3)
    sizes = np.array([5, 1, 1, 1, 9, 1, 1, 1])

    def texts_at(factor: int, cases: Sequence[int]) -> list[str]:
        return ["x" * -(-sizes[case] // factor) for case in cases]

    factor, tokens = find_smallest_factor(texts_at, counter, n_cases=8, n_timepoints=9, context_length=3)
    assert factor == 3
    assert tokens.tolist() == [2, 1, 1, 1, 3, 1, 1, 1]
    assert count_all(texts_at, counter, 1, 8).tolist() == sizes.tolist()


def test_few_cases_are_tokenised_to_rule_a_factor_out() -> None:
    asked: list[int] = []

    def texts_at(factor: int, cases: Sequence[int]) -> list[str]:
        asked.append(len(cases))
        return ["x" * (1000 // factor) for _ in cases]

    find_smallest_factor(texts_at, counter, n_cases=400, n_timepoints=1000, context_length=20)
    assert sum(asked) <= 400 + 50


@pytest.mark.parametrize(
    ("tokens", "beside", "factor"), [(90, 20, 1), (100, 20, 2), (500, 20, 7), (500, 96, None)]
)
def test_original_factor(tokens: int, beside: int, factor: int | None) -> None:
    assert original_factor(tokens, beside, 100) == factor


def byte_tokenizer() -> PreTrainedTokenizerFast:
    """One token a byte, with a begin token that the tokenizer adds, as Llama's does."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocabulary = {token: index for index, token in enumerate(["<s>", "</s>", *alphabet])}
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.post_processor = processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", 0)])
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, bos_token="<s>", eos_token="</s>", pad_token="</s>"
    )
    fast.add_special_tokens({"additional_special_tokens": ["<image>"]})
    return fast


def processor(strategy: str = "full", additional: int = 0, crop: bool = False) -> LlavaProcessor:
    images = CLIPImageProcessorPil(
        size={"shortest_edge": 50} if crop else {"height": 28, "width": 42},
        crop_size={"height": 28, "width": 28},
        do_center_crop=crop,
    )
    return LlavaProcessor(
        image_processor=images,
        tokenizer=byte_tokenizer(),
        patch_size=14,
        vision_feature_select_strategy=strategy,
        num_additional_image_tokens=additional,
    )


def save_model(folder: Path) -> None:
    """Write what conversations need of a checkpoint: processor, tokenizer, and a configuration that fits them."""
    made = processor(crop=True)
    made.save_pretrained(folder)
    vision = {"model_type": "siglip_vision_model", "image_size": 28, "patch_size": 14}
    LlavaConfig(
        vision_config=vision,
        text_config={"model_type": "llama", "vocab_size": len(made.tokenizer)},
        image_token_index=made.image_token_id,
        vision_feature_select_strategy="full",
    ).save_pretrained(folder)


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [(("full", 0, False), 6), (("full", 0, True), 4), (("default", 1, True), 4), (("default", 1, False), 6)],
)
def test_counts_equal_the_processors(arguments: tuple, expected: int) -> None:
    made = processor(*arguments)
    layout = image_layout(made, (310, 308), {})
    assert layout == ImageLayout("", (("<image>", expected),), "")
    text = "USER: <image>\nWhich? ASSISTANT: 12</s>"
    encoded = made(text=[text], images=[Image.new("RGB", (310, 308))])
    counted = TextTokens(made.tokenizer).count([text])[0] + layout.count - 1
    assert counted == len(encoded["input_ids"][0])
    assert encoded["input_ids"][0][0] == made.tokenizer.bos_token_id


def test_tokenizer_without_the_placeholder_is_refused() -> None:
    plain = PreTrainedTokenizerFast(tokenizer_object=byte_tokenizer().backend_tokenizer, eos_token="</s>")
    assert TextTokens(plain)  # its backend has the placeholder
    tokenizer = Tokenizer(models.WordLevel({"?": 0, "</s>": 1}, unk_token="?"))
    tokenizer.pre_tokenizer = pre_tokenizers.Punctuation()
    with pytest.raises(InputError, match="<image> takes 3 tokens"):
        TextTokens(PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token="</s>"), "<image>")
    with pytest.raises(InputError, match="without an end token"):
        TextTokens(PreTrainedTokenizerFast(tokenizer_object=tokenizer))


def test_script_writes_what_the_processor_will_make(tmp_path: Path) -> None:
    from build_conversations import build_conversations

    save_model(tmp_path / "model")
    values = np.random.default_rng(0).normal(size=(10, 1, 40))
    labels = np.arange(10) % 2
    case_ids = np.array([f"Toy-{case:05d}" for case in range(10)])
    CleanSeries(values, labels, np.array(["-1", "1"]), case_ids, 5).save(tmp_path / "series.npz")
    np.savez(tmp_path / "split.npz", train=np.arange(6), validation=np.arange(6, 8), test=np.arange(8, 10))
    build_conversations(
        tmp_path / "series.npz",
        tmp_path / "split.npz",
        tmp_path / "model",
        ScenarioSettings(name="x", modality="both", numbers="scaled", context_length=200),
        tmp_path / "out",
        plot=PlotSettings(),
    )
    names = ("budget", "dataset_info", "representation", "test", "train", "validation")
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [f"{name}.json" for name in names]
    representation = Representation.load(tmp_path / "out/representation.json")
    assert representation.chat.end == "</s>"
    loaded = load_processor(tmp_path / "model")
    for name in ("train", "validation", "test"):
        for record in json.loads((tmp_path / f"out/{name}.json").read_text()):
            text = representation.record_text(record, with_answer=True)
            ids = loaded(text=[text], images=[Image.new("RGB", (310, 308))])["input_ids"][0]
            assert len(ids) == record["tokens"] <= 200


def test_script_names_files_and_scenario_when_nothing_fits(tmp_path: Path) -> None:
    from build_conversations import build_conversations

    save_model(tmp_path / "model")
    case_ids = np.array([f"Toy-{case:05d}" for case in range(4)])
    series = CleanSeries(np.zeros((4, 1, 9)), np.zeros(4, dtype=np.int64), np.array(["a"]), case_ids, 2)
    series.save(tmp_path / "series.npz")
    np.savez(tmp_path / "split.npz", train=[0, 1], validation=[2], test=[3])
    with pytest.raises(InputError, match=r"series\.npz, scenario x, model .*context_length=10"):
        build_conversations(
            tmp_path / "series.npz",
            tmp_path / "split.npz",
            tmp_path / "model",
            ScenarioSettings(name="x", modality="both", numbers="scaled", context_length=10),
            tmp_path / "out",
            plot=PlotSettings(),
        )
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("style", ["tiny_checkpoint", "llama_checkpoint"])
def test_what_was_counted_is_located_without_tokenising_again(
    style: str, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    tokenizer = load_processor(request.getfixturevalue(style)).tokenizer
    texts = ["<image>\nWhich class? -10 7", "  two  blanks\n", "é [0.5, 12]"]
    # As transformers itself gives positions.
    pairs = tokenizer(texts, return_offsets_mapping=True)["offset_mapping"]
    located = [[begin if begin < end else -1 for begin, end in offsets] for offsets in pairs]
    counted = [len(ids) for ids in tokenizer(texts)["input_ids"]]
    tokens = TextTokens(tokenizer)
    assert tokens.count(texts).tolist() == counted
    assert tokens.count(texts[:1]).tolist() == counted[:1]
    assert [begins.tolist() for begins in tokens.locate([*texts, "another"])[:3]] == located
    monkeypatch.setattr(type(tokenizer), "backend_tokenizer", None)
    assert [begins.tolist() for begins in tokens.locate(texts)] == located


def test_a_stored_truncation_is_not_applied(tiny_checkpoint: Path) -> None:
    tokenizer = load_processor(tiny_checkpoint).tokenizer
    text = "a text of many tokens " * 9
    whole = len(tokenizer(text)["input_ids"])
    tokenizer.backend_tokenizer.enable_truncation(5)
    assert len(TextTokens(tokenizer).locate([text])[0]) == whole


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
    # With this switch a case longer than the context is cut.
    cut = [renamed(task, compat=("first_case_factor",), context_length=length) for length in (2048, 4096)]
    assert len({first, *cut}) == 3
    assert input_digest(task.records, task.representation, "of other plots") != first
    case = task.records["test"][0]
    for change in ({"image": "case-00099.png"}, {"conversations": case["conversations"][:1]}):
        changed = task.records | {"test": [case | change, *task.records["test"][1:]]}
        assert input_digest(changed, task.representation) != first
