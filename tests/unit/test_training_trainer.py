"""The Trainer's parts: the loss on answers, activation checkpointing, compiled layers, averaged weights."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from test_training_finetune import weights
from tiny_llava import TinyTask, make_task, recipe
from torch import nn
from torch.nn.functional import cross_entropy

from vlmtsc.examples import IGNORED, Collator, make_examples
from vlmtsc.model.adapter import add_adapter
from vlmtsc.model.checkpoint import inner_model, load_checkpoint
from vlmtsc.model.vision import VisionFeatures, load_pixels
from vlmtsc.representation.processor import load_processor
from vlmtsc.training.trainer import (
    AVERAGE,
    WeightAverage,
    answer_loss,
    compile_layers,
    set_activation_checkpointing,
)


@pytest.fixture(scope="module")
def task(tiny_checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> TinyTask:
    return make_task(tiny_checkpoint, tmp_path_factory.mktemp("plots"), n_classes=12)


@pytest.fixture(scope="module")
def processor(tiny_checkpoint: Path):
    return load_processor(tiny_checkpoint)


@pytest.fixture
def model(tiny_checkpoint: Path):
    base = load_checkpoint(tiny_checkpoint, precision="fp32", attention="eager", context_length=512)
    return add_adapter(base, recipe()).eval()


def make_batch(task: TinyTask, processor, size: int = 6) -> dict[str, torch.Tensor]:
    examples = make_examples(task.records["train"][:size], task.representation, processor.tokenizer)
    return Collator(processor.tokenizer.pad_token_id)(
        [{"example": example, "image_index": index} for index, example in enumerate(examples)]
    )


def make_vision(model, task: TinyTask, processor, folder: Path | None = None) -> VisionFeatures:
    paths = [(folder or task.plots) / record["image"] for record in task.records["train"]]
    return VisionFeatures(model.get_base_model(), processor, paths, precision="fp32", cache_mb=1)


def test_the_loss_is_the_models_own_over_all_logits(model, task: TinyTask, processor) -> None:
    batch = make_batch(task, processor)
    vision = make_vision(model, task, processor)
    whole = model(
        input_ids=batch["input_ids"],
        attention_mask=batch["attention_mask"],
        labels=batch["labels"],
        pixel_values=load_pixels([task.plots / r["image"] for r in task.records["train"][:6]], processor),
    )
    ours = answer_loss(model, batch, vision)
    torch.testing.assert_close(ours, whole.loss)
    shifted = cross_entropy(
        whole.logits[:, :-1].flatten(0, 1), batch["labels"][:, 1:].flatten(), ignore_index=IGNORED
    )
    torch.testing.assert_close(ours, shifted)
    # And so are its gradients.
    names = [name for name, parameter in model.named_parameters() if parameter.requires_grad]
    parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
    expected = torch.autograd.grad(whole.loss, parameters)
    for name, one, other in zip(names, torch.autograd.grad(ours, parameters), expected, strict=True):
        torch.testing.assert_close(one, other, msg=name)


def test_the_divisor_makes_micro_batches_add_up(model, task: TinyTask, processor) -> None:
    vision = make_vision(model, task, processor)
    batch = make_batch(task, processor)
    items = (batch["labels"] != IGNORED).sum()
    halves = [{key: value[rows] for key, value in batch.items()} for rows in ([0, 1, 2, 3], [4, 5])]
    total = sum(answer_loss(model, half, vision, items) for half in halves)
    torch.testing.assert_close(total, answer_loss(model, batch, vision))


def test_padding_does_not_count(model, task: TinyTask, processor) -> None:
    vision = make_vision(model, task, processor)
    batch = make_batch(task, processor, size=3)
    longer = {
        key: value if value.ndim == 1 else torch.cat([value, torch.full((3, 9), fill)], dim=1)
        for key, fill in (("input_ids", 7), ("attention_mask", 0), ("labels", IGNORED), ("image_index", 0))
        for value in [batch[key]]
    }
    torch.testing.assert_close(answer_loss(model, longer, vision), answer_loss(model, batch, vision))


def test_another_image_changes_the_loss(model, task: TinyTask, processor, tmp_path: Path) -> None:
    batch = make_batch(task, processor)
    other = shutil.copytree(task.plots, tmp_path / "plots")
    names = [record["image"] for record in task.records["train"]]
    for name, source in zip(names, names[1:] + names[:1], strict=True):
        shutil.copy(task.plots / source, other / name)
    with torch.no_grad():
        own = answer_loss(model, batch, make_vision(model, task, processor))
        rolled = answer_loss(model, batch, make_vision(model, task, processor, other))
    assert abs(own - rolled) > 1e-4


def test_another_image_changes_the_logits(model, task: TinyTask, processor) -> None:
    [record, other, *_] = task.records["train"]
    [example] = make_examples([record], task.representation, processor.tokenizer)
    results = []
    for name in (record["image"], other["image"]):
        with torch.no_grad():
            results.append(
                model(
                    input_ids=torch.tensor([example.prompt]),
                    pixel_values=load_pixels([task.plots / name], processor),
                ).logits[0]
            )
    first = example.prompt.index(processor.tokenizer.convert_tokens_to_ids("<image>"))
    assert torch.equal(results[0][:first], results[1][:first])
    assert (results[0][-1] - results[1][-1]).abs().max() > 1e-3


@pytest.fixture
def dropping(tiny_checkpoint: Path):
    """Return a model with dropout, in training mode."""
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


def test_recomputed_activations_give_the_same_loss_and_gradients(dropping, task: TinyTask, processor) -> None:
    loss, gradients, runs, kept = passes(dropping, task, processor)
    set_activation_checkpointing(dropping, True)
    loss_again, gradients_again, runs_again, kept_again = passes(dropping, task, processor)
    assert torch.equal(loss, loss_again)
    assert gradients.keys() == gradients_again.keys()
    assert {name for name in gradients if not torch.equal(gradients[name], gradients_again[name])} == set()
    # The first layer twice. The second is the last: its backward pass comes before anything is freed.
    assert (runs, runs_again) == (2, 3)
    assert kept_again < 0.8 * kept
    set_activation_checkpointing(dropping, False)
    assert passes(dropping, task, processor)[2] == 2


def test_the_frozen_tower_builds_no_graph(dropping, task: TinyTask, processor) -> None:
    set_activation_checkpointing(dropping, True)
    seen = []
    tower = inner_model(dropping).model.vision_tower
    tower.register_forward_hook(lambda module, inputs, output: seen.append(output.last_hidden_state))
    embedded = []
    inner_model(dropping).get_input_embeddings().register_forward_hook(lambda *a: embedded.append(a[2]))
    answer_loss(dropping, make_batch(task, processor), make_vision(dropping, task, processor)).backward()
    assert [features.requires_grad for features in seen] == [False]
    assert [vectors.requires_grad for vectors in embedded] == [False]
    assert not any(layer.gradient_checkpointing for layer in tower.encoder.layers)
    assert [layer.gradient_checkpointing for layer in layers(dropping)] == [True, False]


def test_compiled_layers_give_the_same_loss_and_names(dropping, task: TinyTask, processor) -> None:
    dropping.eval()
    loss, gradients, *_ = passes(dropping, task, processor)
    names = set(weights(dropping))
    compile_layers(dropping, backend="aot_eager")
    compiled, gradients_compiled, *_ = passes(dropping, task, processor)
    torch.testing.assert_close(compiled, loss)
    for name, value in gradients.items():
        torch.testing.assert_close(gradients_compiled[name], value, msg=name)
    assert set(weights(dropping)) == names
    assert [layer._compiled_call_impl is not None for layer in layers(dropping)] == [True, False]


DECAY = 0.6


def linear() -> nn.Linear:
    model = nn.Linear(3, 2)
    model.bias.requires_grad_(False)
    return model


def test_the_average_equals_a_slow_reference_and_leaves_the_rest(tmp_path: Path) -> None:
    model = linear()
    average = WeightAverage(model, DECAY)
    expected, frozen = None, model.bias.clone()
    for step in range(5):
        with torch.no_grad():
            model.weight.normal_(generator=torch.Generator().manual_seed(step))
        value = model.weight.detach().clone()
        expected = value if expected is None else DECAY * expected + (1 - DECAY) * value
        average.update()
    with average.in_place():
        torch.testing.assert_close(model.weight.detach(), expected)
        assert not torch.equal(model.weight, value)
    assert torch.equal(model.weight, value)
    average.save(tmp_path)
    assert set(load_file(tmp_path / AVERAGE)) == {"weight", "n_averaged"}
    other = linear()
    again = WeightAverage(other, DECAY)
    again.restore(tmp_path)
    with torch.no_grad():
        other.weight.fill_(1)
        model.weight.fill_(1)
    for copy in (average, again):  # the next update continues from the restored average
        copy.update()
        copy.copy_to_model()
    assert torch.equal(model.weight, other.weight)
    torch.testing.assert_close(model.weight.detach(), DECAY * expected + (1 - DECAY))
    assert torch.equal(model.bias, frozen)


def test_before_the_first_step_the_weights_are_their_own_average() -> None:
    model = linear()
    average = WeightAverage(model, DECAY)
    with torch.no_grad():
        model.weight.fill_(2)
    with average.in_place():
        assert model.weight.eq(2).all()
