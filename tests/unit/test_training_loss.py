"""The loss on answers alone is the model's own; the image takes part in it."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import torch
from tiny_llava import TinyTask, make_task, recipe
from torch.nn.functional import cross_entropy

from vlmtsc.examples import IGNORED, Collator, make_examples
from vlmtsc.model.adapter import add_adapter
from vlmtsc.model.checkpoint import load_checkpoint
from vlmtsc.model.vision_features import VisionFeatures, load_pixels
from vlmtsc.representation.tokens import load_processor
from vlmtsc.training.trainer import answer_loss


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
