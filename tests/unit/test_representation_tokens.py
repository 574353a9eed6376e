"""Tokens are counted as the processor makes them, and the script writes its five files."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors
from transformers import CLIPImageProcessorPil, LlavaConfig, LlavaProcessor, PreTrainedTokenizerFast

from vlmtsc.data.series import CleanSeries
from vlmtsc.errors import InputError
from vlmtsc.representation.representation import Representation
from vlmtsc.representation.tokens import (
    TextTokens,
    count_image_tokens,
    load_processor,
)
from vlmtsc.settings import PlotSettings, ScenarioSettings


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
    assert count_image_tokens(made) == expected
    text = "USER: <image>\nWhich? ASSISTANT: 12</s>"
    encoded = made(text=[text], images=[Image.new("RGB", (310, 308))])
    counted = TextTokens(made.tokenizer).count([text])[0] + count_image_tokens(made) - 1
    assert counted == len(encoded["input_ids"][0])
    assert encoded["input_ids"][0][0] == made.tokenizer.bos_token_id


def test_image_size_that_depends_on_the_picture_is_refused() -> None:
    made = processor(crop=True)
    made.image_processor.do_center_crop = False
    with pytest.raises(InputError, match="a fixed height and width"):
        count_image_tokens(made)


def test_tokenizer_without_the_placeholder_is_refused() -> None:
    plain = PreTrainedTokenizerFast(tokenizer_object=byte_tokenizer().backend_tokenizer, eos_token="</s>")
    assert TextTokens(plain)  # its backend has the placeholder
    tokenizer = Tokenizer(models.WordLevel({"?": 0, "</s>": 1}, unk_token="?"))
    tokenizer.pre_tokenizer = pre_tokenizers.Punctuation()
    with pytest.raises(InputError, match="<image> takes 3 tokens"):
        TextTokens(PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token="</s>"))
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
    outputs = {
        name: tmp_path / "out" / f"{name}.json"
        for name in ("train", "validation", "test", "representation", "budget")
    }
    build_conversations(
        tmp_path / "series.npz",
        tmp_path / "split.npz",
        tmp_path / "model",
        ScenarioSettings(name="x", modality="both", numbers="scaled", context_length=200),
        plot=PlotSettings(),
        **outputs,
    )
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == sorted(
        f"{name}.json" for name in outputs
    )
    representation = Representation.load(outputs["representation"])
    assert representation.eos_token == "</s>"
    loaded = load_processor(tmp_path / "model")
    for name in ("train", "validation", "test"):
        for record in json.loads(outputs[name].read_text()):
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
    outputs = {name: tmp_path / name for name in ("train", "validation", "test", "representation", "budget")}
    with pytest.raises(InputError, match=r"series\.npz, scenario x, model .*context_length=10"):
        build_conversations(
            tmp_path / "series.npz",
            tmp_path / "split.npz",
            tmp_path / "model",
            ScenarioSettings(name="x", modality="both", numbers="scaled", context_length=10),
            plot=PlotSettings(),
            **outputs,
        )
    assert not any(path.exists() for path in outputs.values())


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
