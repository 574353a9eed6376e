"""Options of the adapter and of the base model's storage: what each changes, and what it needs."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest
import torch
from test_model_adapter import LINEARS, LORA, PROJECTOR, load, logits
from tiny_llava import TinyTask, make_task, recipe
from transformers.quantizers import HfQuantizer
from transformers.quantizers.quantizers_utils import should_convert_module

from vlmtsc.errors import InputError
from vlmtsc.model.adapter import add_adapter, load_adapter, parameter_groups, save_adapter
from vlmtsc.model.checkpoint import allow_tf32, inner_model, load_checkpoint
from vlmtsc.model.quantization import UNQUANTISED, prepare_quantised, quantization_config
from vlmtsc.model.requirements import check_kernels
from vlmtsc.training.finetune import finetune


@pytest.fixture(scope="module")
def task(tiny_checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> TinyTask:
    return make_task(tiny_checkpoint, tmp_path_factory.mktemp("plots"))


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
    done = finetune(
        tiny_checkpoint,
        task.records["train"],
        task.records["validation"],
        task.representation,
        recipe(**changes),
        plots=task.plots,
        checkpoints=tmp_path / "states",
        name="tiny",
    )
    expected = logits(done.model.eval(), task, tiny_checkpoint)
    assert not torch.allclose(expected, logits(load(tiny_checkpoint), task, tiny_checkpoint), atol=0.01)
    save_adapter(done.model, tmp_path / "adapter", "tiny")
    again = load_adapter(load(tiny_checkpoint), tmp_path / "adapter")
    assert torch.equal(logits(again, task, tiny_checkpoint), expected)
    merged = again.merge_and_unload()
    torch.testing.assert_close(logits(merged, task, tiny_checkpoint), expected, atol=1e-4, rtol=1e-4)


def test_four_bits_are_nf4_with_double_quantisation_and_bf16_products() -> None:
    assert quantization_config("none") is None
    config = quantization_config("nf4")
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
        from hub_llava import write_hub_checkpoint

        folder = write_hub_checkpoint(tmp_path / "hub")
    model = load(folder)
    config = quantization_config("nf4")
    kept = HfQuantizer.get_modules_to_not_convert(
        model, config.llm_int8_skip_modules, model._keep_in_fp32_modules
    )
    linears = {name for name, module in model.named_modules() if type(module) is torch.nn.Linear}
    converted = {name for name in linears if should_convert_module(name, kept)}
    layers = len(model.model.language_model.layers)
    assert converted == {
        f"model.language_model.layers.{layer}.{linear}" for layer in range(layers) for linear in LINEARS
    }
    for part in UNQUANTISED:
        assert any(name.startswith(part) for name in linears - converted), part


def test_what_is_not_quantised_becomes_float32_and_frozen(tiny_checkpoint: Path) -> None:
    model = load(tiny_checkpoint).to(torch.bfloat16).requires_grad_(True)
    prepare_quantised(model)
    assert {parameter.dtype for parameter in model.parameters()} == {torch.float32}
    assert not any(parameter.requires_grad for parameter in model.parameters())
    assert not model.model.language_model.gradient_checkpointing


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


def test_tf32_is_allowed_but_for_fp32(monkeypatch: pytest.MonkeyPatch) -> None:
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
