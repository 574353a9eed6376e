"""Activation checkpointing and compiled layers change what a run costs, and not what it learns."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import pytest
import torch
from test_training_finetune import interrupted_at, train, weights
from test_training_loss import make_batch, make_vision
from tiny_llava import TinyTask, make_task, recipe

from vlmtsc.errors import InputError
from vlmtsc.model.adapter import add_adapter
from vlmtsc.model.checkpoint import inner_model, load_checkpoint
from vlmtsc.representation.tokens import load_processor
from vlmtsc.settings import MemorySettings
from vlmtsc.training import finetune as finetune_module
from vlmtsc.training import trainer as trainer_module
from vlmtsc.training.compilation import compile_layers, set_activation_checkpointing
from vlmtsc.training.trainer import answer_loss


@pytest.fixture(scope="module")
def task(tiny_checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> TinyTask:
    return make_task(tiny_checkpoint, tmp_path_factory.mktemp("plots"))


@pytest.fixture
def model(tiny_checkpoint: Path):
    base = load_checkpoint(tiny_checkpoint, precision="fp32", attention="eager", context_length=512)
    torch.manual_seed(0)
    return add_adapter(base, recipe(lora_dropout=0.2)).train()


def layers(model) -> list[torch.nn.Module]:
    return list(inner_model(model).model.language_model.layers)


def passes(model, task: TinyTask, processor) -> tuple[torch.Tensor, dict[str, torch.Tensor], int, int]:
    """Give loss, gradients, how often layers' forwards ran, and how many tensors were kept for the backward pass."""
    batch, vision = make_batch(task, processor), make_vision(model, task, processor)
    vision(batch["image_index"].tolist())  # the tower's part, once
    runs: list[int] = []
    kept: list[int] = []
    hooks = [layer.self_attn.register_forward_hook(lambda *_: runs.append(1)) for layer in layers(model)]
    model.zero_grad()
    torch.manual_seed(3)
    with torch.autograd.graph.saved_tensors_hooks(lambda t: (kept.append(t.numel()), t)[1], lambda t: t):
        loss = answer_loss(model, batch, vision)
    loss.backward()
    for hook in hooks:
        hook.remove()
    gradients = {n: p.grad.clone() for n, p in model.named_parameters() if p.grad is not None}
    return loss.detach(), gradients, len(runs), sum(kept)


def test_loss_and_gradients_are_the_same(model, task: TinyTask, tiny_checkpoint: Path) -> None:
    processor = load_processor(tiny_checkpoint)
    loss, gradients, runs, kept = passes(model, task, processor)
    set_activation_checkpointing(model, True)
    loss_again, gradients_again, runs_again, kept_again = passes(model, task, processor)
    assert torch.equal(loss, loss_again)
    assert gradients.keys() == gradients_again.keys()
    assert {name for name in gradients if not torch.equal(gradients[name], gradients_again[name])} == set()
    # The first layer twice. The second is the last: its backward pass comes before anything is freed.
    assert (runs, runs_again) == (2, 3)
    assert kept_again < 0.8 * kept
    set_activation_checkpointing(model, False)
    assert passes(model, task, processor)[2] == 2


def test_the_frozen_tower_builds_no_graph(model, task: TinyTask, tiny_checkpoint: Path) -> None:
    set_activation_checkpointing(model, True)
    seen = []
    tower = inner_model(model).model.vision_tower
    tower.register_forward_hook(lambda module, inputs, output: seen.append(output.last_hidden_state))
    embedded = []
    inner_model(model).get_input_embeddings().register_forward_hook(lambda *a: embedded.append(a[2]))
    processor = load_processor(tiny_checkpoint)
    answer_loss(model, make_batch(task, processor), make_vision(model, task, processor)).backward()
    assert [features.requires_grad for features in seen] == [False]
    assert [vectors.requires_grad for vectors in embedded] == [False]
    assert not any(layer.gradient_checkpointing for layer in tower.encoder.layers)
    assert [layer.gradient_checkpointing for layer in layers(model)] == [True, False]


def test_memory_used_up_in_training_is_no_traceback(
    tiny_checkpoint: Path, task: TinyTask, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*args: object, **kwargs: object) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(finetune_module, "_run", full)
    with pytest.raises(InputError, match="tiny: the GPU's memory is used up; activation_checkpointing: true"):
        train(tiny_checkpoint, task, tmp_path)


def test_a_run_may_go_on_with_other_memory(
    tiny_checkpoint: Path, task: TinyTask, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As one does after it has run out of memory."""
    options = {"epochs": 2, "lora_dropout": 0.1, "batch_size": 6, "micro_batch_size": 3, "ema_decay": 0.5}
    whole = train(tiny_checkpoint, task, tmp_path / "whole", **options)
    with interrupted_at(3, monkeypatch):
        train(tiny_checkpoint, task, tmp_path / "states", **options)
    memory = MemorySettings(activation_checkpointing=True, evaluation_batch_size=3, vision_cache_mb=0)
    resumed = train(tiny_checkpoint, task, tmp_path / "states", memory=memory, **options)
    assert resumed.record["activation_checkpointing"]
    expected, found = weights(whole.model), weights(resumed.model)
    assert {name for name in expected if not torch.equal(expected[name], found[name])} == set()


def test_compiled_layers_give_the_same_loss_and_names(model, task: TinyTask, tiny_checkpoint: Path) -> None:
    processor = load_processor(tiny_checkpoint)
    model.eval()
    loss, gradients, *_ = passes(model, task, processor)
    names = set(weights(model))
    compile_layers(model, backend="aot_eager")
    compiled, gradients_compiled, *_ = passes(model, task, processor)
    torch.testing.assert_close(compiled, loss)
    for name, value in gradients.items():
        torch.testing.assert_close(gradients_compiled[name], value, msg=name)
    assert set(weights(model)) == names
    assert [layer._compiled_call_impl is not None for layer in layers(model)] == [True, False]


def test_the_recipe_asks_for_compiling(
    tiny_checkpoint: Path, task: TinyTask, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    compiled = []
    monkeypatch.setattr(finetune_module, "compile_layers", compiled.append)
    train(tiny_checkpoint, task, tmp_path / "a", epochs=1)
    assert compiled == []
    done = train(tiny_checkpoint, task, tmp_path / "b", epochs=1, torch_compile=True)
    assert compiled == [done.model]


def test_a_compiled_run_goes_on_and_ends_the_same(
    tiny_checkpoint: Path, task: TinyTask, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # A backend that needs no compiler: graphs, guards and names are those of any other.
    monkeypatch.setattr(finetune_module, "compile_layers", partial(compile_layers, backend="aot_eager"))
    options = {"epochs": 2, "batch_size": 6, "micro_batch_size": 3, "torch_compile": True}
    whole = train(tiny_checkpoint, task, tmp_path / "whole", **options)
    assert whole.record["stopped_by"] == "epochs"
    with interrupted_at(3, monkeypatch):
        train(tiny_checkpoint, task, tmp_path / "states", **options)
    resumed = train(tiny_checkpoint, task, tmp_path / "states", **options)
    expected, found = weights(whole.model), weights(resumed.model)
    assert {name for name in expected if not torch.equal(expected[name], found[name])} == set()
    plain = weights(
        train(tiny_checkpoint, task, tmp_path / "plain", **options | {"torch_compile": False}).model
    )
    assert set(plain) == set(expected)
    for name, value in plain.items():
        torch.testing.assert_close(expected[name], value, atol=1e-3, rtol=1e-2, msg=name)


def test_sharded_weights_are_not_averaged(
    tiny_checkpoint: Path, task: TinyTask, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    create = trainer_module.AnswerTrainer.create_accelerator_and_postprocess

    def sharded(self):
        create(self)
        self.is_fsdp_enabled = True

    monkeypatch.setattr(trainer_module.AnswerTrainer, "create_accelerator_and_postprocess", sharded)
    with pytest.raises(InputError, match="ema_decay with FSDP"):
        train(tiny_checkpoint, task, tmp_path, epochs=1, ema_decay=0.5)
