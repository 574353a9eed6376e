"""Which parameters train, and that a saved adapter comes back whole or not at all."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest
import torch
from peft import PeftModel
from safetensors.torch import load_file, save_file
from tiny_llava import TinyTask, make_task, recipe
from transformers import LlavaForConditionalGeneration

from vlmtsc.errors import InputError
from vlmtsc.examples import make_examples
from vlmtsc.model.adapter import add_adapter, load_adapter, parameter_groups, save_adapter
from vlmtsc.model.checkpoint import choose_attention, count_parameters, inner_model, load_checkpoint
from vlmtsc.model.vision_features import load_pixels
from vlmtsc.representation.tokens import load_processor

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
    message = "adapter_model.safetensors is damaged: not the SHA-256 that SHA256SUMS says; remove the folder"
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
    with pytest.raises(InputError, match=r"copy/config\.json: model_type 'llama'; allowed: 'llava'"):
        load(copy)


def test_bf16_stores_only_the_language_models_matrices(tiny_checkpoint: Path) -> None:
    model = load(tiny_checkpoint, "bf16")
    kept = {name for name, parameter in model.named_parameters() if parameter.dtype == torch.bfloat16}
    assert kept == {
        "lm_head.weight",
        *(f"model.language_model.layers.{layer}.{linear}.weight" for layer in range(2) for linear in LINEARS),
    }
    assert not any(parameter.requires_grad for parameter in model.parameters())


def test_attention_is_chosen_by_device_and_length() -> None:
    cpu, gpu = torch.device("cpu"), torch.device("cuda")
    assert choose_attention("auto", cpu, 512) == "eager"
    assert choose_attention("auto", cpu, 513) == choose_attention("auto", gpu, 100) == "sdpa"
    assert choose_attention("sdpa", cpu, 100) == "sdpa"
