"""LoRA, DoRA and the projector: which parameters train, and that a saved adapter loads whole or not at all; dropout."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest
import torch
from peft import PeftModel
from peft.tuners.lora import LoraLayer
from safetensors.torch import load_file, save_file
from scipy.stats import binomtest
from tiny_llava import TinyTask, make_task, recipe
from transformers import LlavaForConditionalGeneration

from vlmtsc.errors import InputError
from vlmtsc.examples import make_examples
from vlmtsc.model.adapter import (
    MaskedDropout,
    add_adapter,
    load_adapter,
    merge_in_place,
    parameter_groups,
    save_adapter,
)
from vlmtsc.model.checkpoint import count_parameters, inner_model, load_checkpoint
from vlmtsc.model.vision import load_pixels
from vlmtsc.representation.processor import load_processor
from vlmtsc.training.finetune import finetune

LINEARS = [f"self_attn.{name}_proj" for name in "qkvo"] + [
    f"mlp.{name}_proj" for name in ("gate", "up", "down")
]


BASE = "base_model.model.model"


LORA = {
    f"{BASE}.language_model.layers.{layer}.{linear}.lora_{matrix}.default.weight"
    for layer in range(2)
    for linear in LINEARS
    for matrix in "AB"
}


PROJECTOR = {
    f"{BASE}.multi_modal_projector.modules_to_save.default.linear_{number}.{kind}"
    for number in (1, 2)
    for kind in ("weight", "bias")
}


def load(checkpoint: Path, precision: str = "fp32") -> LlavaForConditionalGeneration:
    return load_checkpoint(checkpoint, precision=precision, attention="eager", context_length=256)


@pytest.fixture(scope="module")
def task(tiny_checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> TinyTask:
    return make_task(tiny_checkpoint, tmp_path_factory.mktemp("plots"))


def logits(model: object, task: TinyTask, checkpoint: Path, case: int = 0) -> torch.Tensor:
    """Return the logits of one whole conversation, the plot given as pixels."""
    processor = load_processor(checkpoint)
    record = task.records["train"][case]
    [example] = make_examples([record], task.representation, processor.tokenizer)
    with torch.no_grad():
        return model(
            input_ids=torch.tensor([example.prompt + example.answer]),
            pixel_values=load_pixels([task.plots / record["image"]], processor),
        ).logits


@pytest.fixture
def saved(tiny_checkpoint: Path, tmp_path: Path) -> tuple[PeftModel, Path]:
    """Give a model whose adapter is far from its start, and the folder that it was saved in."""
    model = add_adapter(load(tiny_checkpoint), recipe()).eval()
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.requires_grad:
                parameter.add_(0.2 * torch.randn(parameter.shape, generator=generator))
    save_adapter(model, tmp_path / "adapter", "tiny")
    return model, tmp_path / "adapter"


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_exactly_these_parameters_train(tiny_checkpoint: Path, precision: str) -> None:
    model = add_adapter(load(tiny_checkpoint, precision), recipe())
    trainable = {name: p for name, p in model.named_parameters() if p.requires_grad}
    assert set(trainable) == LORA | PROJECTOR
    assert {parameter.dtype for parameter in trainable.values()} == {torch.float32}
    assert count_parameters(model)["trainable"] == sum(p.numel() for p in trainable.values())
    assert not any("lora" in name for name, _ in inner_model(model).model.vision_tower.named_parameters())


def test_the_projector_has_its_own_learning_rate(tiny_checkpoint: Path) -> None:
    model = add_adapter(load(tiny_checkpoint), recipe())
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    settings = recipe(learning_rate=3e-4, projector_learning_rate=2e-5, weight_decay=0.1)
    found = {
        (group["lr"], group["weight_decay"]): {names[id(parameter)] for parameter in group["params"]}
        for group in parameter_groups(model, settings)
    }
    biases = {name for name in PROJECTOR if name.endswith("bias")}
    assert found == {(3e-4, 0.1): LORA, (2e-5, 0.1): PROJECTOR - biases, (2e-5, 0.0): biases}


def test_a_new_adapter_changes_nothing(tiny_checkpoint: Path, task: TinyTask) -> None:
    before = logits(load(tiny_checkpoint), task, tiny_checkpoint)
    after = logits(add_adapter(load(tiny_checkpoint), recipe()).eval(), task, tiny_checkpoint)
    torch.testing.assert_close(after, before)


def test_the_folder_holds_lora_and_projector_and_no_path(saved: tuple[PeftModel, Path]) -> None:
    files = sorted(path.name for path in saved[1].iterdir())
    assert files == ["SHA256SUMS", "adapter_config.json", "adapter_model.safetensors"]
    assert json.loads((saved[1] / files[1]).read_text())["base_model_name_or_path"] == "tiny"
    names = set(load_file(saved[1] / "adapter_model.safetensors"))
    assert names == {re.sub(r"\.(modules_to_save\.)?default(?=\.|$)", "", name) for name in LORA | PROJECTOR}


def test_a_flipped_bit_of_an_adapter_is_seen(
    saved: tuple[PeftModel, Path], tiny_checkpoint: Path, tmp_path: Path
) -> None:
    folder = shutil.copytree(saved[1], tmp_path / "copy")
    assert subprocess.run(["sha256sum", "--check", "--quiet", "SHA256SUMS"], cwd=folder).returncode == 0
    weights = folder / "adapter_model.safetensors"
    content = bytearray(weights.read_bytes())
    content[-1] ^= 1
    weights.write_bytes(content)
    message = "adapter_model.safetensors is damaged: its SHA-256 is not that in SHA256SUMS; remove the folder"
    with pytest.raises(InputError, match=message):
        load_adapter(load(tiny_checkpoint), folder)
    weights.unlink()
    with pytest.raises(InputError, match=r"names 'adapter_model\.safetensors', which is not there"):
        load_adapter(load(tiny_checkpoint), folder)
    # One that was made elsewhere has no digests.
    shutil.copy(saved[1] / weights.name, weights)
    (folder / "SHA256SUMS").unlink()
    load_adapter(load(tiny_checkpoint), folder)


@pytest.mark.filterwarnings("error:.*base_model_name_or_path")
def test_a_reloaded_adapter_gives_equal_logits(
    saved: tuple[PeftModel, Path], tiny_checkpoint: Path, task: TinyTask
) -> None:
    model, folder = saved
    expected = logits(model, task, tiny_checkpoint)
    again = load_adapter(load(tiny_checkpoint), folder)
    assert torch.equal(logits(again, task, tiny_checkpoint), expected)
    assert not torch.allclose(expected, logits(load(tiny_checkpoint), task, tiny_checkpoint), atol=0.1)
    assert not any(parameter.requires_grad for parameter in again.parameters())
    merged = again.merge_and_unload()
    assert isinstance(merged, LlavaForConditionalGeneration)
    torch.testing.assert_close(logits(merged, task, tiny_checkpoint), expected, atol=1e-4, rtol=1e-4)


def test_a_merged_model_is_an_ordinary_checkpoint(
    saved: tuple[PeftModel, Path], tiny_checkpoint: Path, task: TinyTask, tmp_path: Path
) -> None:
    expected = logits(saved[0], task, tiny_checkpoint)
    load_adapter(load(tiny_checkpoint), saved[1]).merge_and_unload().save_pretrained(tmp_path / "merged")
    torch.testing.assert_close(
        logits(load(tmp_path / "merged"), task, tiny_checkpoint), expected, atol=1e-4, rtol=1e-4
    )


@pytest.mark.parametrize(("dtype", "merged"), [(torch.float32, True), (torch.bfloat16, False)])
def test_an_adapter_is_merged_where_that_rounds_nothing(
    saved: tuple[PeftModel, Path], tiny_checkpoint: Path, task: TinyTask, dtype: torch.dtype, merged: bool
) -> None:
    base = load(tiny_checkpoint)
    base.get_decoder().layers.to(dtype)
    model = load_adapter(base, saved[1])
    merge_in_place(model)
    layers = [module for module in model.modules() if isinstance(module, LoraLayer)]
    assert {layer.merged for layer in layers} == {merged}
    if merged:
        expected = logits(saved[0], task, tiny_checkpoint)
        torch.testing.assert_close(logits(model, task, tiny_checkpoint), expected, atol=1e-4, rtol=1e-4)


def rename(state: dict[str, torch.Tensor], name: str) -> None:
    state[name.replace("layers.0", "layers.7")] = state.pop(name)


def remove(state: dict[str, torch.Tensor], name: str) -> None:
    del state[name]


def add(state: dict[str, torch.Tensor], name: str) -> None:
    state["base_model.model.model.vision_tower.lora_A.weight"] = torch.zeros(4, 16)


def reshape(state: dict[str, torch.Tensor], name: str) -> None:
    state[name] = state[name].T.contiguous()


def without_digests(folder: Path) -> Path:
    """Make a saved adapter one that was made elsewhere; return its weights."""
    (folder / "SHA256SUMS").unlink()
    return folder / "adapter_model.safetensors"


@pytest.mark.parametrize("change", [rename, remove, add, reshape])
def test_an_adapter_that_does_not_fit_is_refused(
    saved: tuple[PeftModel, Path], tiny_checkpoint: Path, change
) -> None:
    weights = without_digests(saved[1])
    state = load_file(weights)
    change(state, f"{BASE}.language_model.layers.0.self_attn.q_proj.lora_A.weight")
    save_file(state, weights)
    with pytest.raises(InputError, match=r"tensors do not fit the model: .*lora_A"):
        load_adapter(load(tiny_checkpoint), saved[1])


def test_a_missing_projector_is_refused(saved: tuple[PeftModel, Path], tiny_checkpoint: Path) -> None:
    weights = without_digests(saved[1])
    save_file({n: t for n, t in load_file(weights).items() if "projector" not in n}, weights)
    with pytest.raises(InputError, match="multi_modal_projector"):
        load_adapter(load(tiny_checkpoint), saved[1])


def test_what_is_no_adapter(tiny_checkpoint: Path, tmp_path: Path, saved: tuple[PeftModel, Path]) -> None:
    with pytest.raises(InputError, match="nowhere: not an adapter"):
        load_adapter(load(tiny_checkpoint), tmp_path / "nowhere")
    without_digests(saved[1]).write_bytes(b"cut")
    with pytest.raises(InputError, match="adapter: not an adapter"):
        load_adapter(load(tiny_checkpoint), saved[1])


TARGETS = {
    "all": set(LINEARS),
    "attention": {name for name in LINEARS if name.startswith("self_attn")},
    "mlp": {name for name in LINEARS if name.startswith("mlp")},
    "query_value": {"self_attn.q_proj", "self_attn.v_proj"},
}


@pytest.mark.parametrize("targets", TARGETS)
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_lora_is_on_the_chosen_layers_alone(tiny_checkpoint: Path, targets: str, precision: str) -> None:
    model = add_adapter(load(tiny_checkpoint, precision), recipe(lora_targets=targets))
    trainable = {name for name, parameter in model.named_parameters() if parameter.requires_grad}
    expected = {name for name in LORA if any(f".{linear}." in name for linear in TARGETS[targets])}
    assert trainable == expected | PROJECTOR
    assert len(expected) == 2 * 2 * len(TARGETS[targets])


@pytest.mark.parametrize(("use_rslora", "factor"), [(False, 2.0), (True, 4.0)])
def test_the_scale_of_the_update(tiny_checkpoint: Path, use_rslora: bool, factor: float) -> None:
    model = add_adapter(load(tiny_checkpoint), recipe(lora_r=4, lora_alpha=8, use_rslora=use_rslora))
    layer = inner_model(model).model.language_model.layers[0].mlp.up_proj
    assert layer.scaling == {"default": factor}


def test_dora_trains_a_length_for_each_row(tiny_checkpoint: Path) -> None:
    model = add_adapter(load(tiny_checkpoint, "bf16"), recipe(use_dora=True, weight_decay=0.1))
    trainable = {name: p for name, p in model.named_parameters() if p.requires_grad}
    lengths = trainable.keys() - LORA - PROJECTOR
    assert len(lengths) == 2 * len(LINEARS)
    assert all("lora_magnitude_vector" in name and trainable[name].ndim == 1 for name in lengths)
    assert {parameter.dtype for parameter in trainable.values()} == {torch.float32}
    undecayed = [
        id(p) for g in parameter_groups(model, recipe()) for p in g["params"] if not g["weight_decay"]
    ]
    assert {id(trainable[name]) for name in lengths} <= set(undecayed)


@pytest.mark.parametrize(
    "changes", [{"use_dora": True}, {"use_rslora": True}, {"lora_targets": "query_value"}]
)
def test_a_trained_adapter_comes_back_and_merges(
    tiny_checkpoint: Path, task: TinyTask, tmp_path: Path, changes: dict
) -> None:
    done = finetune(task.job(tiny_checkpoint, tmp_path, **changes))
    expected = logits(done.model.eval(), task, tiny_checkpoint)
    assert not torch.allclose(expected, logits(load(tiny_checkpoint), task, tiny_checkpoint), atol=0.01)
    save_adapter(done.model, tmp_path / "adapter", "tiny")
    again = load_adapter(load(tiny_checkpoint), tmp_path / "adapter")
    assert torch.equal(logits(again, task, tiny_checkpoint), expected)
    merged = again.merge_and_unload()
    torch.testing.assert_close(logits(merged, task, tiny_checkpoint), expected, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32, torch.float64])
@pytest.mark.parametrize("p", [0.1, 0.5, 0.9])
def test_values_are_dropped_at_the_rate_and_the_rest_is_scaled(dtype: torch.dtype, p: float) -> None:
    torch.manual_seed(0)
    values = torch.ones((37, 1001), dtype=dtype)
    dropped = MaskedDropout(p).train()(values)
    rate = round(256 * p) / 256
    zeros = int((dropped == 0).sum())
    assert binomtest(zeros, values.numel(), rate).pvalue > 1e-4
    assert dropped.unique().tolist() == [0.0, pytest.approx(1 / (1 - rate), rel=0.01)]
    # No stripes: each column loses about its share.
    assert (dropped == 0).float().mean(0).std() < 3 * (rate * (1 - rate) / 37) ** 0.5


def test_the_gradient_passes_where_the_value_did() -> None:
    torch.manual_seed(0)
    values = torch.randn((5, 7, 3), requires_grad=True)
    dropped = MaskedDropout(0.3).train()(values)
    dropped.sum().backward()
    scale = 256 / (256 - round(256 * 0.3))
    torch.testing.assert_close(values.grad, (dropped != 0).float() * scale)
    torch.testing.assert_close(dropped, values * values.grad)


def test_one_seed_gives_one_mask_and_the_next_draw_another() -> None:
    values, dropout = torch.ones(1000), MaskedDropout(0.5).train()
    torch.manual_seed(3)
    first, second = dropout(values), dropout(values)
    torch.manual_seed(3)
    assert torch.equal(first, dropout(values))
    assert not torch.equal(first, second)


def test_nothing_is_dropped_in_evaluation_or_at_rate_zero() -> None:
    values = torch.randn(100)
    assert MaskedDropout(0.5).eval()(values) is values
    assert MaskedDropout(0.0).train()(values) is values
