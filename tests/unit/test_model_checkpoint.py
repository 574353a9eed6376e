"""Loading a checkpoint: what is refused, precision, kernels and quantisation; and rows skipped in the last layer."""

from __future__ import annotations

import importlib.util
import json
import shutil
from pathlib import Path

import pytest
import torch
from hub_llava import write_hub_checkpoint
from safetensors.torch import load_file, save_file
from test_model_adapter import LINEARS, add, load, remove, rename, reshape
from tiny_llava import recipe
from transformers.quantizers import HfQuantizer
from transformers.quantizers.quantizers_utils import should_convert_module

from vlmtsc.errors import InputError
from vlmtsc.model.adapter import add_adapter
from vlmtsc.model.checkpoint import (
    allow_tf32,
    autocast,
    check_kernels,
    choose_attention,
    inner_model,
    last_positions,
    load_checkpoint,
    only_rows,
    quantization_config,
    unquantised,
    uses_bfloat16,
)


@pytest.fixture
def model(tiny_checkpoint: Path):
    base = load_checkpoint(tiny_checkpoint, precision="fp32", attention="eager", context_length=64)
    adapted = add_adapter(base, recipe())
    for name, parameter in adapted.named_parameters():
        if "lora_B" in name:  # zero at first, so that their matrices A would have no gradient
            torch.nn.init.normal_(parameter, std=0.1)
    return adapted.eval()


def gradients(model) -> dict[str, torch.Tensor]:
    found = {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}
    model.zero_grad()
    return found


def test_logits_and_gradients_are_those_of_the_whole_layer(model) -> None:
    torch.manual_seed(0)
    tokens = torch.randint(5, 50, (3, 9))
    kept = torch.rand((3, 9)) < 0.4
    whole = model(input_ids=tokens).logits[kept]
    whole.square().mean().backward()
    expected = gradients(model)
    with only_rows(model, kept):
        ours = model(input_ids=tokens, logits_to_keep=kept).logits.reshape(whole.shape)
    ours.square().mean().backward()
    torch.testing.assert_close(ours, whole)
    found = gradients(model)
    assert found.keys() == expected.keys()
    for name, gradient in expected.items():
        torch.testing.assert_close(found[name], gradient, msg=name)
    # The context is over: every position is computed again.
    torch.testing.assert_close(model(input_ids=tokens).logits[kept], whole)


def test_the_rows_really_are_skipped(model) -> None:
    layer = inner_model(model).model.language_model.layers[-1]
    seen = []
    layer.mlp.up_proj.register_forward_hook(lambda _, inputs, __: seen.append(inputs[0].shape))
    tokens = torch.full((2, 6), 7)
    with only_rows(model, last_positions(2, 6, 1, tokens.device)):
        model(input_ids=tokens, logits_to_keep=1)
    model(input_ids=tokens)
    assert [shape[:-1] for shape in seen] == [(2,), (2, 6)]


def test_no_row_is_skipped_where_activations_are_computed_again(model) -> None:
    inner_model(model).activation_checkpointing_enable()
    model.train()
    model.enable_input_require_grads()
    tokens = torch.randint(5, 50, (2, 6))
    kept = last_positions(2, 6, 2, tokens.device)
    with only_rows(model, kept):
        loss = model(input_ids=tokens, logits_to_keep=kept).logits.square().mean()
    loss.backward()
    assert gradients(model)


@pytest.mark.parametrize("change", [rename, remove, add, reshape])
def test_a_checkpoint_that_does_not_fit_is_refused(tiny_checkpoint: Path, tmp_path: Path, change) -> None:
    copy = shutil.copytree(tiny_checkpoint, tmp_path / "copy")
    state = load_file(copy / "model.safetensors")
    [name] = [name for name in state if name.endswith("layers.0.mlp.gate_proj.weight")]
    change(state, name)
    save_file(state, copy / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(InputError, match="weights do not fit the model"):
        load(copy)


def test_a_checkpoint_without_readable_weights(tiny_checkpoint: Path, tmp_path: Path) -> None:
    copy = shutil.copytree(tiny_checkpoint, tmp_path / "copy")
    (copy / "model.safetensors").write_bytes(b"cut")
    with pytest.raises(InputError, match="copy: not a readable checkpoint"):
        load(copy)
    (copy / "model.safetensors").unlink()
    with pytest.raises(InputError, match=r"copy: no weights; allowed: model\.safetensors"):
        load(copy)


def test_a_folder_that_is_no_checkpoint(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"no config\.json; allowed: a checkpoint folder"):
        load(tmp_path)


def test_a_checkpoint_of_another_architecture(tiny_checkpoint: Path, tmp_path: Path) -> None:
    copy = shutil.copytree(tiny_checkpoint, tmp_path / "copy")
    config = json.loads((copy / "config.json").read_text())
    (copy / "config.json").write_text(json.dumps(config["text_config"]))
    with pytest.raises(InputError, match=r"copy/config\.json: model_type 'llama'; allowed: a kind of"):
        load(copy)


@pytest.mark.usefixtures("bfloat16_instructions")
def test_bf16_stores_only_the_language_models_matrices(tiny_checkpoint: Path) -> None:
    model = load(tiny_checkpoint, "bf16")
    kept = {name for name, parameter in model.named_parameters() if parameter.dtype == torch.bfloat16}
    assert kept == {
        "lm_head.weight",
        *(f"model.language_model.layers.{layer}.{linear}.weight" for layer in range(2) for linear in LINEARS),
    }
    assert not any(parameter.requires_grad for parameter in model.parameters())


def test_bf16_is_float32_on_a_processor_without_instructions_for_it(
    tiny_checkpoint: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("vlmtsc.model.checkpoint.has_bfloat16_instructions", lambda: False)
    model = load(tiny_checkpoint, "bf16")
    assert {parameter.dtype for parameter in model.parameters()} == {torch.float32}
    with autocast("bf16", model.device):
        assert model(input_ids=torch.tensor([[5, 6]])).logits.dtype == torch.float32
    assert uses_bfloat16("bf16", torch.device("cuda"))


def test_attention_is_chosen_by_device_and_length() -> None:
    cpu, gpu = torch.device("cpu"), torch.device("cuda")
    assert choose_attention("auto", cpu, 512) == "eager"
    assert choose_attention("auto", cpu, 513) == choose_attention("auto", gpu, 100) == "sdpa"
    assert choose_attention("sdpa", cpu, 100) == "sdpa"


@pytest.mark.usefixtures("bfloat16_instructions")
@pytest.mark.parametrize("checkpoint", ["tiny_checkpoint", "llama_checkpoint"])
def test_scores_of_classes_come_from_logits_in_float32(
    request: pytest.FixtureRequest, checkpoint: str
) -> None:
    """In bfloat16, whose steps are 1/16 where logits are 8 to 16, the likeliest classes of many cases tie."""
    model = load(request.getfixturevalue(checkpoint), "bf16")
    output = model.get_output_embeddings()
    hidden = torch.randn(3, 5, output.in_features, generator=torch.Generator().manual_seed(0))
    with autocast("bf16", model.device):
        assert output(hidden).dtype == torch.bfloat16  # in training
        with torch.inference_mode():
            logits = output(hidden)
    torch.testing.assert_close(logits, hidden @ output.weight.float().T)


def test_four_bits_are_nf4_with_double_quantisation_and_bf16_products(tiny_checkpoint: Path) -> None:
    architecture = load(tiny_checkpoint).architecture
    assert quantization_config("none", architecture) is None
    config = quantization_config("nf4", architecture)
    assert config.quantization_method() == "nf4"
    assert (config.load_in_4bit, config.load_in_8bit) == (True, False)
    assert (config.bnb_4bit_quant_type, config.bnb_4bit_use_double_quant) == ("nf4", True)
    assert config.bnb_4bit_compute_dtype == torch.bfloat16


@pytest.mark.parametrize("layout", ["tiny", "hub"])
def test_only_the_language_models_layers_are_quantised(
    tiny_checkpoint: Path, layout: str, tmp_path: Path
) -> None:
    """transformers' own choice, from our configuration: what it would replace by four-bit layers."""
    folder = tiny_checkpoint
    if layout == "hub":
        folder = write_hub_checkpoint(tmp_path / "hub")
    model = load(folder)
    config = quantization_config("nf4", model.architecture)
    kept = HfQuantizer.get_modules_to_not_convert(
        model, config.llm_int8_skip_modules, model._keep_in_fp32_modules
    )
    linears = {name for name, module in model.named_modules() if type(module) is torch.nn.Linear}
    converted = {name for name in linears if should_convert_module(name, kept)}
    layers = len(model.model.language_model.layers)
    assert converted == {
        f"model.language_model.layers.{layer}.{linear}" for layer in range(layers) for linear in LINEARS
    }
    for part in unquantised(model.architecture):
        assert any(name.startswith(part) for name in linears - converted), part


NF4 = {"quantization": "nf4", "attention": "auto", "precision": "bf16", "has_gpu": True}


FLASH = {"quantization": "none", "attention": "flash_attention_2", "precision": "bf16", "has_gpu": True}


@pytest.mark.parametrize(
    ("kernels", "message"),
    [
        (NF4 | {"precision": "fp32"}, "quantization=nf4 with precision=fp32; allowed: precision=bf16"),
        (
            NF4 | {"has_gpu": False},
            "quantization=nf4, and no NVIDIA GPU is here; allowed .* quantization=none",
        ),
        (NF4, r"quantization=nf4 needs the package bitsandbytes: pip install 'bitsandbytes>=0\.46\.1'"),
        (FLASH | {"precision": "tf32"}, "attention=flash_attention_2 with precision=tf32"),
        (FLASH | {"has_gpu": False}, "no NVIDIA GPU is here; .* attention=auto, eager or sdpa"),
        (FLASH, "attention=flash_attention_2 needs the package flash_attn: pip install flash-attn"),
    ],
)
def test_what_a_kernel_needs_is_said(
    monkeypatch: pytest.MonkeyPatch, kernels: dict[str, object], message: str
) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(InputError, match=message):
        check_kernels(**kernels)


def test_kernels_that_need_nothing_pass(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    for attention in ("auto", "eager", "sdpa"):
        for precision in ("bf16", "tf32", "fp32"):
            check_kernels(attention=attention, quantization="none", precision=precision, has_gpu=False)
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: name)
    check_kernels(**NF4)
    check_kernels(**FLASH)


@pytest.mark.parametrize(
    "changes", [{"quantization": "nf4"}, {"attention": "flash_attention_2"}], ids=lambda value: str(value)
)
def test_training_refuses_before_it_reads_the_checkpoint(changes: dict[str, str], tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no NVIDIA GPU is here"):
        load_checkpoint(
            tmp_path / "nowhere",
            **{"precision": "bf16", "attention": "auto", "context_length": 64} | changes,
        )


def test_tf32_is_allowed_but_for_fp32() -> None:
    gpu, cpu = torch.device("cuda"), torch.device("cpu")
    before = torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32
    try:
        for precision, allowed in (("fp32", False), ("tf32", True), ("fp32", False), ("bf16", True)):
            allow_tf32(precision, gpu)
            assert (torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32) == (allowed,) * 2
        allow_tf32("fp32", cpu)
        assert torch.backends.cuda.matmul.allow_tf32
    finally:
        torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32 = before
