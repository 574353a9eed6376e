"""The assembled architecture: EfficientNet-Lite, a projector and a Llama, as one ordinary LLaVA checkpoint."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from model_parts import make_projector, tower_state, write_language_model
from tiny_llava import byte_level_tokenizer, make_task
from transformers import LlamaConfig, LlamaForCausalLM

from vlmtsc.errors import InputError
from vlmtsc.model import assembly
from vlmtsc.model.adapter import load_adapter, save_adapter, write_merged_checkpoint
from vlmtsc.model.assembly import (
    assemble_checkpoint,
    calibrate_output,
    initialise_projector,
    load_vision_tower,
    random_plots,
)
from vlmtsc.model.checkpoint import inner_model, load_checkpoint
from vlmtsc.model.files import check_kind, load_checked_processor
from vlmtsc.model.vision import load_pixels
from vlmtsc.representation.processor import image_layout, load_processor
from vlmtsc.representation.prompts import llava_format
from vlmtsc.settings import AssemblySettings
from vlmtsc.training.alignment import ProjectorHead
from vlmtsc.training.finetune import finetune

SETTINGS = AssemblySettings(layers=2, column_share=0.5)


def small_llama(tokenizer) -> LlamaForCausalLM:
    torch.manual_seed(0)
    return LlamaForCausalLM(
        LlamaConfig(
            vocab_size=len(tokenizer),
            hidden_size=32,
            intermediate_size=64,
            num_hidden_layers=2,
            num_attention_heads=4,
            tie_word_embeddings=True,
            eos_token_id=tokenizer.eos_token_id,
        )
    ).eval()


def base_tokenizer():
    """Return a tokenizer without the placeholder, as a language model has it."""
    from transformers import PreTrainedTokenizerFast

    core = byte_level_tokenizer()._tokenizer
    return PreTrainedTokenizerFast(tokenizer_object=core, eos_token="</s>", unk_token="<pad>")


@pytest.fixture(scope="module")
def tower_weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give random weights in the layout of the published file, classifier included."""
    path = tmp_path_factory.mktemp("tower") / "tower.pth"
    torch.save(tower_state(), path)
    return path


@pytest.fixture(scope="module")
def assembled(tmp_path_factory: pytest.TempPathFactory, tower_weights: Path) -> Path:
    folder = tmp_path_factory.mktemp("assembled")
    write_language_model(folder / "model.gguf")
    assemble_checkpoint(folder / "model.gguf", tower_weights, SETTINGS, folder / "model")
    return folder / "model"


def test_the_folder_is_an_ordinary_checkpoint(assembled: Path) -> None:
    model = load_checkpoint(assembled, precision="fp32", attention="eager", context_length=256)
    processor = load_processor(assembled)
    assert image_layout(processor, (310, 308), {}).count == 4
    assert model.config.image_token_id == processor.tokenizer.convert_tokens_to_ids("<image>")
    assert processor.tokenizer.pad_token_id != processor.tokenizer.eos_token_id
    assert model.lm_head.weight is model.get_input_embeddings().weight
    [plot] = random_plots(1, seed=5)
    text = llava_format(image="<image>").text("Class: ")
    inputs = processor(text=text, images=plot, return_tensors="pt")
    with torch.no_grad():
        first = model(**inputs).logits[0, -1]
        other = model(**processor(text=text, images=255 - plot, return_tensors="pt")).logits[0, -1]
    assert torch.isfinite(first).all()
    assert not torch.allclose(first, other)
    assert "/" not in model.config.text_config._name_or_path


def test_the_same_parts_make_the_same_files_with_any_number_of_threads(
    assembled: Path, tower_weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    threads = []

    def noted(*arguments: object, **options: object) -> None:
        threads.append(torch.get_num_threads())
        initialise_projector(*arguments, **options)

    monkeypatch.setattr(assembly, "initialise_projector", noted)
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        assemble_checkpoint(assembled.parent / "model.gguf", tower_weights, SETTINGS, tmp_path / "again")
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)
    assert threads == [1]
    again = {path.name: path.read_bytes() for path in (tmp_path / "again").iterdir()}
    assert again == {path.name: path.read_bytes() for path in assembled.iterdir()}


def test_the_chat_template_writes_the_projects_own_text(assembled: Path) -> None:
    processor = load_processor(assembled)
    user = {"role": "user", "content": [{"type": "image"}, {"type": "text", "text": "Class: "}]}
    answer = {"role": "assistant", "content": [{"type": "text", "text": "2"}]}
    assert processor.apply_chat_template([user]) == llava_format(image="<image>").text("Class: ")
    assert processor.apply_chat_template([user, answer]) == llava_format(image="<image>").text("Class: ", "2")


def test_it_is_fine_tuned_like_any_other(assembled: Path, tmp_path: Path) -> None:
    task = make_task(assembled, tmp_path / "plots", modality="plot", n_train=4)
    result = finetune(task.job(assembled, tmp_path / "run", epochs=1))
    assert result.record["steps"] == 1
    trainable = {name for name, p in result.model.named_parameters() if p.requires_grad}
    assert not any("vision_tower" in name for name in trainable)


def test_an_adapter_is_saved_loaded_and_merged_with_the_pooled_token(assembled: Path, tmp_path: Path) -> None:
    task = make_task(assembled, tmp_path / "plots", modality="plot", n_train=4)
    tuned = finetune(task.job(assembled, tmp_path / "run", epochs=1)).model.eval()
    pixels = load_pixels(sorted(task.plots.glob("*.png"))[:2], load_processor(assembled))
    model = inner_model(tuned)
    projector = model.model.multi_modal_projector.modules_to_save["default"]
    projector.constant.data.normal_()
    save_adapter(tuned, tmp_path / "adapter", base="tiny")
    loaded = load_adapter(
        load_checkpoint(assembled, precision="fp32", attention="eager", context_length=256),
        tmp_path / "adapter",
    )
    write_merged_checkpoint(assembled, tmp_path / "adapter", tmp_path / "merged")
    merged = load_checkpoint(tmp_path / "merged", precision="fp32", attention="eager", context_length=256)
    with torch.no_grad():
        expected = torch.stack(model.model.get_image_features(pixels, return_dict=True).pooler_output)
        for other in (inner_model(loaded), merged):
            found = torch.stack(other.model.get_image_features(pixels, return_dict=True).pooler_output)
            torch.testing.assert_close(found, expected)
    assert expected.shape[:2] == (2, 4)
    assert torch.equal(expected[:, 0], expected[:, 3])
    head = ProjectorHead(inner_model(loaded).model.multi_modal_projector, torch.eye(2, 32), 10.0, "fp32")
    assert head.pools


def test_a_processor_with_another_number_of_image_tokens_is_refused(assembled: Path, tmp_path: Path) -> None:
    assert check_kind(assembled) == "pooled_llava"
    copy = Path(shutil.copytree(assembled, tmp_path / "copy"))
    content = json.loads((copy / "processor_config.json").read_text())
    (copy / "processor_config.json").write_text(json.dumps(content | {"patch_size": 32}))
    with pytest.raises(InputError, match="number of image tokens is 49 in the processor and 4 in the model"):
        load_checked_processor(copy)


def test_projected_plots_look_like_embeddings() -> None:
    generator = torch.Generator().manual_seed(0)
    features = torch.rand(64, 40, generator=generator) ** 4 * 7 + 3  # sparse, far from zero mean
    projector = make_projector(40, 24, repetitions=4)
    initialise_projector(projector, features, embedding_scale=0.05, seed=1)
    with torch.no_grad():
        first = projector.linear_1(features)
        outputs = projector.linear_2(projector.act(first))
    assert outputs.pow(2).mean().sqrt().item() == pytest.approx(0.05, rel=1e-4)
    np.testing.assert_allclose(first.mean(0), 0, atol=1e-4)
    assert projector.constant.pow(2).mean().sqrt().item() == pytest.approx(0.05, rel=1e-4)
    again = projector.linear_1.weight.detach().clone()
    initialise_projector(projector, features, embedding_scale=0.05, seed=1)
    assert torch.equal(projector.linear_1.weight, again)


def test_a_share_of_the_hidden_units_sees_one_column_each() -> None:
    generator = torch.Generator().manual_seed(0)
    columns, share = 4, 0.5
    codes = torch.eye(columns).repeat(16, 1)
    features = torch.cat([torch.rand(64, 40, generator=generator) * 7 + 3, codes], dim=1)
    projector = make_projector(44, 24, repetitions=4)
    initialise_projector(projector, features, 0.05, seed=1, columns=columns, column_share=share)
    with torch.no_grad():
        hidden = projector.act(projector.linear_1(features))
        outputs = projector.linear_2(hidden)
    assert outputs.pow(2).mean().sqrt().item() == pytest.approx(0.05, rel=1e-4)
    strength = torch.stack([hidden[column::columns].abs().mean(0) for column in range(columns)])
    assert torch.equal(strength[:, :12].argmax(0), torch.arange(12) % columns)
    others = strength[:, :12].sort(dim=0, descending=True).values
    assert (others[1:] < others[0] / 10).all()
    assert (strength[:, 12:].min(0).values > strength[:, 12:].max(0).values / 10).all()


def test_the_output_of_a_shortened_model_is_calibrated() -> None:
    tokenizer = base_tokenizer()
    model = small_llama(tokenizer)
    model.lm_head.weight.data.mul_(40)  # logits that are large and wrong
    text = tokenizer(assembly.CALIBRATION_TEXT, return_tensors="pt")["input_ids"]
    with torch.no_grad():
        before = model(input_ids=text, labels=text).loss.item()
        factor = calibrate_output(model, tokenizer)
        after = model(input_ids=text, labels=text).loss.item()
    assert 0 < factor < 1
    assert after < before / 2


@pytest.mark.parametrize("strides", [(32,), (16, 32), (8, 16, 32)])
def test_finer_maps_lie_beside_the_last(tower_weights: Path, strides: tuple[int, ...]) -> None:
    tower = load_vision_tower(tower_weights, strides)
    generator = torch.Generator().manual_seed(0)
    pixels = torch.rand(2, 3, 224, 224, generator=generator)
    with torch.no_grad():
        tokens = tower(pixels).last_hidden_state
        last = tower.network.extract_features(pixels)
    assert tokens.shape == (2, 49, tower.config.hidden_size)
    torch.testing.assert_close(tokens[..., -1280:], last.flatten(2).transpose(1, 2))
    if len(strides) > 1:
        # What a token's finer cells see is at the token's own place: a change in the upper left corner of the
        # picture changes the first token most.
        changed = pixels.clone()
        changed[:, :, :32, :32] = 1 - changed[:, :, :32, :32]
        with torch.no_grad():
            difference = (tower(changed).last_hidden_state - tokens)[..., :-1280].abs().mean((0, 2))
        assert difference.argmax() == 0


def test_a_token_ends_with_the_code_of_its_column(tower_weights: Path) -> None:
    plain = load_vision_tower(tower_weights, (16, 32))
    coded = load_vision_tower(tower_weights, (16, 32), column_codes=True)
    assert coded.config.hidden_size == plain.config.hidden_size + 7
    pixels = torch.rand(2, 3, 224, 224, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        tokens, expected = coded(pixels).last_hidden_state, plain(pixels).last_hidden_state
    assert torch.equal(tokens[..., :-7], expected)
    places = tokens[..., -7:].reshape(2, 7, 7, 7)  # image, row, column, code
    assert torch.equal(places, torch.eye(7).expand(2, 7, 7, 7))


@pytest.mark.parametrize("change", ["missing", "extra"])
def test_a_tower_file_that_does_not_fit(tower_weights: Path, tmp_path: Path, change: str) -> None:
    state = torch.load(tower_weights, weights_only=True)
    if change == "missing":
        del state[next(iter(state))]
    else:
        state["other.weight"] = torch.zeros(1)
    torch.save(state, tmp_path / "other.pth")
    with pytest.raises(InputError, match=r"other\.pth: missing .*allowed: the weights of EfficientNet-Lite0"):
        load_vision_tower(tmp_path / "other.pth")
