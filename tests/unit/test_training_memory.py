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
from vlmtsc.examples import Example
from vlmtsc.model.adapter import add_adapter
from vlmtsc.model.checkpoint import inner_model, load_checkpoint
from vlmtsc.model.vision_features import VisionFeatures
from vlmtsc.representation.tokens import load_processor
from vlmtsc.training import activation_checkpointing as module
from vlmtsc.training import finetune as finetune_module
from vlmtsc.training import trainer as trainer_module
from vlmtsc.training.activation_checkpointing import (
    choose_activation_checkpointing,
    longest_batch,
    optimizer_bytes,
    set_activation_checkpointing,
)
from vlmtsc.training.compilation import compile_layers
from vlmtsc.training.settings import MemorySettings
from vlmtsc.training.trainer import answer_loss

GPU = torch.device("cuda")


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


def out_of_memory_unless_checkpointed(model, calls: list[bool], always: bool = False):
    """Give a loss that does not fit while activations are kept."""

    def loss() -> torch.Tensor:
        checkpointed = layers(model)[0].gradient_checkpointing
        calls.append(checkpointed)
        assert model.training
        torch.rand(7)
        if always or not checkpointed:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return sum(p.sum() for p in model.parameters() if p.requires_grad)

    return loss


@pytest.mark.parametrize(("mode", "expected"), [("auto", False), ("always", True), ("never", False)])
def test_on_a_processor_nothing_is_tried(model, mode: str, expected: bool) -> None:
    def never() -> torch.Tensor:
        raise AssertionError

    found = choose_activation_checkpointing(model, mode, never, device=torch.device("cpu"), reserved_bytes=0)
    assert found is expected is layers(model)[0].gradient_checkpointing


def test_auto_falls_back_where_the_longest_batch_does_not_fit(model) -> None:
    model.eval()
    before, state = weights(model), torch.get_rng_state()
    calls: list[bool] = []
    loss = out_of_memory_unless_checkpointed(model, calls)
    assert choose_activation_checkpointing(model, "auto", loss, device=GPU, reserved_bytes=8)
    assert calls == [False, True]
    assert [layer.gradient_checkpointing for layer in layers(model)] == [True, False]
    # As if nothing had been tried.
    assert torch.equal(torch.get_rng_state(), state)
    assert all(parameter.grad is None for parameter in model.parameters())
    assert not model.training
    assert all(torch.equal(value, before[name]) for name, value in weights(model).items())


def test_auto_keeps_activations_that_fit(model) -> None:
    tried: list[int] = []

    def fits() -> torch.Tensor:
        tried.append(1)
        return sum(p.sum() for p in model.parameters() if p.requires_grad)

    assert not choose_activation_checkpointing(model, "auto", fits, device=GPU, reserved_bytes=8)
    assert tried == [1]
    assert not layers(model)[0].gradient_checkpointing


def test_a_batch_that_fits_in_no_way_is_refused_with_what_may_help(model) -> None:
    loss = out_of_memory_unless_checkpointed(model, [], always=True)
    with pytest.raises(InputError, match=r"longest batch does not fit .* smaller micro_batch_size.*nf4"):
        choose_activation_checkpointing(model, "auto", loss, device=GPU, reserved_bytes=8)


def test_memory_used_up_in_training_is_no_traceback(
    tiny_checkpoint: Path, task: TinyTask, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*args: object, **kwargs: object) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(finetune_module, "_run", full)
    with pytest.raises(InputError, match="tiny: the GPU's memory is used up; a smaller micro_batch_size"):
        train(tiny_checkpoint, task, tmp_path)


def test_the_longest_batch_and_the_optimizers_memory(model) -> None:
    examples = [Example([0] * length, [0], 0, None) for length in (3, 9, 5, 7)]
    assert longest_batch(examples, 2) == [1, 3]
    assert longest_batch(examples, 8) == [1, 3, 2, 0]
    trained = sum(p.numel() for p in model.parameters() if p.requires_grad)
    assert (optimizer_bytes(model, averages=False), optimizer_bytes(model, averages=True)) == (
        8 * trained,
        12 * trained,
    )


@pytest.mark.parametrize("images_that_fit", [0, 1, 5, 99])
def test_memory_of_features_to_come(
    model, task: TinyTask, tiny_checkpoint: Path, images_that_fit: int
) -> None:
    paths = [task.plots / record["image"] for record in task.records["train"]]
    base, processor = inner_model(model), load_processor(tiny_checkpoint)
    whole = VisionFeatures(base, processor, paths, precision="fp32", cache_mb=1)
    size = whole([0]).nbytes
    assert whole.bytes_to_come() == size * (len(paths) - 1)
    assert whole.bytes_to_come() == size * (len(paths) - 1)
    whole(range(len(paths)))
    assert whole.bytes_to_come() == 0
    limited = VisionFeatures(base, processor, paths, precision="fp32", cache_mb=1)
    limited._room = images_that_fit * size + size // 2
    assert limited.bytes_to_come() == size * max(0, min(images_that_fit, len(paths)) - 1)


def test_a_run_may_go_on_with_other_memory(
    tiny_checkpoint: Path, task: TinyTask, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As one does after it has run out of memory."""
    options = {"epochs": 2, "lora_dropout": 0.1, "batch_size": 6, "micro_batch_size": 3, "ema_decay": 0.5}
    whole = train(tiny_checkpoint, task, tmp_path / "whole", **options)
    with interrupted_at(3, monkeypatch):
        train(tiny_checkpoint, task, tmp_path / "states", **options)
    memory = MemorySettings(activation_checkpointing="always", evaluation_batch_size=3, vision_cache_mb=0)
    resumed = train(tiny_checkpoint, task, tmp_path / "states", memory=memory, **options)
    expected, found = weights(whole.model), weights(resumed.model)
    assert {name for name in expected if not torch.equal(expected[name], found[name])} == set()


@pytest.mark.parametrize("mode", ["auto", "always"])
def test_a_run_ends_the_same(
    tiny_checkpoint: Path, task: TinyTask, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mode: str
) -> None:
    """With dropout, whose masks the second forward pass has to repeat; and with a batch tried before the first step."""
    if mode == "auto":
        monkeypatch.setattr(
            module,
            "choose_activation_checkpointing",
            lambda *a, device, **k: choose_activation_checkpointing(*a, device=GPU, **k),
        )
    options = {"lora_dropout": 0.1, "batch_size": 6, "micro_batch_size": 3, "epochs": 1}
    plain = train(tiny_checkpoint, task, tmp_path / "a", **options)
    done = train(
        tiny_checkpoint,
        task,
        tmp_path / "b",
        memory=MemorySettings(activation_checkpointing=mode, evaluation_batch_size=3, vision_cache_mb=0),
        **options,
    )
    expected, found = weights(plain.model), weights(done.model)
    assert {name for name in expected if not torch.equal(expected[name], found[name])} == set()
    assert done.record["activation_checkpointing"] is (mode == "always")


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


def test_sharded_weights_are_not_tried_and_not_averaged(
    tiny_checkpoint: Path, task: TinyTask, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []
    monkeypatch.setattr(
        module, "choose_activation_checkpointing", lambda model, mode, *_, **__: asked.append(mode)
    )

    class Sharded(trainer_module.AnswerTrainer):
        def __init__(self, *args, **kwargs):
            super().__init__(*args, **kwargs)
            self.is_fsdp_enabled = True
            module.fit_to_memory(self, "auto")
            module.fit_to_memory(self, "never")
            self.is_fsdp_enabled = False

    monkeypatch.setattr(finetune_module, "AnswerTrainer", Sharded)
    train(tiny_checkpoint, task, tmp_path / "a", epochs=1)
    assert asked == ["always", "never", "auto"]

    create = trainer_module.AnswerTrainer.create_accelerator_and_postprocess

    def sharded(self):
        create(self)
        self.is_fsdp_enabled = True

    monkeypatch.setattr(trainer_module.AnswerTrainer, "create_accelerator_and_postprocess", sharded)
    with pytest.raises(InputError, match="ema_decay with FSDP"):
        train(tiny_checkpoint, task, tmp_path / "b", epochs=1, ema_decay=0.5)
