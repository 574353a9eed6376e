"""The frozen tower's features: the same as the model's own, kept within a limit of memory."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from tiny_llava import IMAGE_TOKENS, TinyTask, make_task
from transformers import AutoModel, LlavaForConditionalGeneration

from vlmtsc.errors import InputError
from vlmtsc.model.checkpoint import load_checkpoint
from vlmtsc.model.pooled_llava import EfficientNetLiteConfig, EfficientNetLiteModel
from vlmtsc.model.vision import (
    VisionFeatures,
    encode_pixels,
    feature_tensor,
    load_pixels,
    read_features,
    write_features,
)
from vlmtsc.representation.processor import load_processor

FEATURES = IMAGE_TOKENS * 16 * 4  # bytes of one image's features in float32


@pytest.fixture(scope="module")
def task(tiny_checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> TinyTask:
    return make_task(tiny_checkpoint, tmp_path_factory.mktemp("plots"), modality="plot")


@pytest.fixture(scope="module")
def paths(task: TinyTask) -> list[Path]:
    return sorted(task.plots.glob("*.png"))


@pytest.fixture
def model(tiny_checkpoint: Path) -> LlavaForConditionalGeneration:
    return load_checkpoint(tiny_checkpoint, precision="fp32", attention="eager", context_length=256)


@pytest.mark.parametrize(
    ("layer", "strategy"), [(-2, "default"), (-1, "full"), ([-2, -1], "default"), ([1], "full")]
)
def test_projected_features_are_the_models_own(model, paths, tiny_checkpoint, layer, strategy) -> None:
    model.config.vision_feature_layer = layer
    model.config.vision_feature_select_strategy = strategy
    if layer == [-2, -1]:
        model.model.multi_modal_projector.linear_1 = torch.nn.Linear(32, 32)
    pixels = load_pixels(paths[:3], load_processor(tiny_checkpoint))
    assert pixels.shape == (3, 3, 28, 28)
    with torch.no_grad():
        features = encode_pixels(model, pixels)
        ours = model.model.multi_modal_projector(features)
        theirs = model.get_image_features(pixels, return_dict=True).pooler_output
    assert features.shape[1] == IMAGE_TOKENS + (strategy == "full")
    for one, other in zip(ours, theirs, strict=True):
        torch.testing.assert_close(one, other)
    assert not torch.allclose(ours[0], ours[1])


@pytest.mark.parametrize("kept", [0, 3, 8])
def test_the_cache_stays_within_its_limit(model, paths, tiny_checkpoint, monkeypatch, kept) -> None:
    vision = VisionFeatures(
        model, load_processor(tiny_checkpoint), paths[:8], precision="fp32", cache_mb=0, batch_size=3
    )
    vision._room = kept * FEATURES + FEATURES // 2  # less than one megabyte
    encoded = []

    def counted(model, pixels):
        encoded.append(len(pixels))
        return encode_pixels(model, pixels)

    monkeypatch.setattr("vlmtsc.model.vision.encode_pixels", counted)
    order = [5, 2, 2, 0, 7, 1, 3, 4, 6]
    first = vision(order)
    assert encoded == [3, 3, 2]
    again = vision(order)
    assert sum(encoded) == 8 + (8 - kept)
    torch.testing.assert_close(again, first)
    assert first.shape == (9, IMAGE_TOKENS, 16)
    assert torch.equal(first[1], first[2])
    assert not first.requires_grad
    assert (
        sum(f.numel() * f.element_size() for f in vision._cache.values()) <= kept * FEATURES + FEATURES // 2
    )
    # What is kept is a copy: not a view that holds a whole batch in memory.
    assert all(f.untyped_storage().nbytes() == FEATURES for f in vision._cache.values())


def test_features_kept_in_validation_serve_training(model, paths, tiny_checkpoint) -> None:
    vision = VisionFeatures(model, load_processor(tiny_checkpoint), paths, precision="fp32", cache_mb=1)
    with torch.inference_mode():
        vision([0, 1])
    model.model.multi_modal_projector.requires_grad_(True)
    model.model.multi_modal_projector(vision([0, 1])).sum().backward()
    assert model.model.multi_modal_projector.linear_1.weight.grad is not None
    assert all(parameter.grad is None for parameter in model.model.vision_tower.parameters())


@pytest.mark.parametrize(("instructions", "expected"), [(True, torch.bfloat16), (False, torch.float32)])
def test_features_with_bf16_have_the_type_of_products(
    task: TinyTask, tiny_checkpoint, paths, tmp_path, monkeypatch, instructions, expected
) -> None:
    """They are stored in bfloat16 with and without instructions for it: processors of both kinds can read them."""
    monkeypatch.setattr("vlmtsc.model.checkpoint.has_bfloat16_instructions", lambda: instructions)
    model = load_checkpoint(tiny_checkpoint, precision="bf16", attention="eager", context_length=256)
    processor = load_processor(tiny_checkpoint)
    computed = VisionFeatures(model, processor, paths, precision="bf16", cache_mb=1)([0, 3])
    assert computed.dtype == expected
    file = tmp_path / "line.npy"
    write_features(tiny_checkpoint, task.plots, "bf16", file)
    assert read_features(file).dtype == np.int16
    stored = VisionFeatures(model, processor, paths, precision="bf16", cache_mb=0, stored=file)([0, 3])
    assert stored.dtype == expected
    torch.testing.assert_close(stored, computed)
    assert torch.equal(stored, stored.bfloat16().to(expected))


@pytest.mark.usefixtures("bfloat16_instructions")
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_stored_features_are_those_of_the_tower(
    task: TinyTask, paths, tiny_checkpoint, tmp_path, monkeypatch, precision
) -> None:
    file = tmp_path / "line.npy"
    write_features(tiny_checkpoint, task.plots, precision, file)
    model = load_checkpoint(tiny_checkpoint, precision=precision, attention="eager", context_length=256)
    processor = load_processor(tiny_checkpoint)
    options = {"precision": precision, "cache_mb": 0, "padded": range(1)}
    computed = VisionFeatures(model, processor, paths, **options)([5, 2, 7])
    stored = VisionFeatures(model, processor, paths, **options, stored=file)
    with monkeypatch.context() as patch:
        patch.setattr("vlmtsc.model.vision.encode_pixels", None)
        found = stored([5, 2, 7])
    assert found.dtype == computed.dtype
    torch.testing.assert_close(found, computed)
    assert torch.equal(feature_tensor(read_features(file), [5, 2, 7]), found)
    # A padded plot, and one that is not of the dataset, are encoded.
    assert not torch.equal(stored([0]), feature_tensor(read_features(file), [0]))
    other = shutil.copy(paths[3], tmp_path / "blank.png")
    mixed = VisionFeatures(model, processor, [other, paths[4]], precision=precision, cache_mb=0, stored=file)
    torch.testing.assert_close(mixed([0, 1]), feature_tensor(read_features(file), [3, 4]))


def test_a_damaged_file_of_features_or_an_empty_folder(tiny_checkpoint, tmp_path) -> None:
    (tmp_path / "line.npy").write_bytes(b"\x93NUMPY")
    with pytest.raises(InputError, match=r"line\.npy: not a file of features .* remove it"):
        read_features(tmp_path / "line.npy")
    (tmp_path / "plots").mkdir()
    with pytest.raises(InputError, match="no plots; allowed: a folder with at least one"):
        write_features(tiny_checkpoint, tmp_path / "plots", "fp32", tmp_path / "line.npy")


def test_a_plot_that_is_missing_or_damaged(tiny_checkpoint, tmp_path) -> None:
    processor = load_processor(tiny_checkpoint)
    with pytest.raises(InputError, match=r"case-00001\.png: not a readable image"):
        load_pixels([tmp_path / "case-00001.png"], processor)
    (tmp_path / "case-00002.png").write_bytes(b"\x89PNG\r\n")
    with pytest.raises(InputError, match=r"case-00002\.png: not a readable image"):
        load_pixels([tmp_path / "case-00002.png"], processor)


def test_efficientnet_tower_stays_in_evaluation_mode_and_loads_as_saved(tmp_path) -> None:
    tower = AutoModel.from_config(EfficientNetLiteConfig())
    assert isinstance(tower, EfficientNetLiteModel)
    tower.train()
    assert not any(module.training for module in tower.modules())
    pixels = torch.randn(2, 3, 224, 224)
    with torch.no_grad():
        output = tower(pixels, output_hidden_states=True, return_dict=True)
        alone = tower(pixels[:1]).last_hidden_state
    assert output.last_hidden_state.shape == (2, 49, 1280)
    assert torch.equal(output.hidden_states[-1], output.last_hidden_state)
    torch.testing.assert_close(alone, output.last_hidden_state[:1], atol=1e-4, rtol=1e-3)
    tower.save_pretrained(tmp_path)
    with torch.no_grad():
        again = AutoModel.from_pretrained(tmp_path).eval()(pixels).last_hidden_state
    torch.testing.assert_close(again, output.last_hidden_state)
