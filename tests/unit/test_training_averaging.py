"""Weight averaging: what is averaged, when it is used, and that an interrupted run ends the same."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from test_training_finetune import interrupted_at, train, weights
from tiny_llava import TinyTask, make_task
from torch import nn

from vlmtsc.training import finetune as module
from vlmtsc.training import trainer as trainer_module
from vlmtsc.training.averaging import FILE, AveragingTrainer, WeightAverage
from vlmtsc.training.states import latest_state

DECAY = 0.6


@pytest.fixture(scope="module")
def task(tiny_checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> TinyTask:
    return make_task(tiny_checkpoint, tmp_path_factory.mktemp("plots"))


def layer() -> nn.Linear:
    model = nn.Linear(3, 2)
    model.bias.requires_grad_(False)
    return model


def test_the_average_equals_a_slow_reference_and_leaves_the_rest(tmp_path: Path) -> None:
    model = layer()
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
    assert set(load_file(tmp_path / FILE)) == {"weight", "n_averaged"}
    other = layer()
    again = WeightAverage(other, DECAY)
    again.restore(tmp_path)
    with torch.no_grad():
        other.weight.fill_(1)
        model.weight.fill_(1)
    for copy in (average, again):  # the next update goes on from what was restored
        copy.update()
        copy.copy_to_model()
    assert torch.equal(model.weight, other.weight)
    torch.testing.assert_close(model.weight.detach(), DECAY * expected + (1 - DECAY))
    assert torch.equal(model.bias, frozen)


def test_before_the_first_step_the_weights_are_their_own_average() -> None:
    model = layer()
    average = WeightAverage(model, DECAY)
    with torch.no_grad():
        model.weight.fill_(2)
    with average.in_place():
        assert model.weight.eq(2).all()


@pytest.mark.parametrize("keep", ["last", "best"])
def test_the_average_is_validated_and_kept(
    tiny_checkpoint: Path, task: TinyTask, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, keep: str
) -> None:
    """The losses are given, so that the best validation is not the last; weights are taken after each step."""
    losses = {3: 0.5, 6: 0.3, 9: 0.9}
    steps: list[dict[str, torch.Tensor]] = []
    validated: dict[int, dict[str, torch.Tensor]] = {}
    update = WeightAverage.update

    def watched(self):
        steps.append(weights(trainers[0].model))
        update(self)

    trainers: list[AveragingTrainer] = []

    class Watched(AveragingTrainer):
        def __init__(self, *args, **kwargs):
            super().__init__(*args, **kwargs)
            trainers.append(self)

    def evaluate(self, *args, **kwargs):
        step = self.state.global_step
        validated[step] = weights(self.model)
        metrics = {"eval_loss": losses[step], "eval_accuracy": 0.5}
        self.log(metrics)
        self.control = self.callback_handler.on_evaluate(self.args, self.state, self.control, metrics)
        return metrics

    monkeypatch.setattr(trainer_module.AnswerTrainer, "evaluate", evaluate)
    monkeypatch.setattr(WeightAverage, "update", watched)
    monkeypatch.setattr(module, "AveragingTrainer", Watched)
    result = train(tiny_checkpoint, task, tmp_path, epochs=3, keep=keep, ema_decay=DECAY)
    assert (len(steps), set(validated)) == (9, {3, 6, 9})
    trained = {name for name, p in result.model.named_parameters() if p.requires_grad}
    kept, best = weights(result.model), 6 if keep == "best" else 9
    for name in kept:
        average = steps[0][name]
        for step, value in enumerate(steps[1:], start=2):
            average = DECAY * average + (1 - DECAY) * value[name]
            if step in validated:
                torch.testing.assert_close(validated[step][name], average, msg=name)
        assert torch.equal(kept[name], validated[best][name]), name
    assert all(not torch.equal(kept[name], steps[best - 1][name]) for name in trained)


def test_the_kept_figures_are_those_of_the_kept_weights(
    tiny_checkpoint: Path, task: TinyTask, tmp_path: Path
) -> None:
    """A budget ends the run within an epoch; its last validation is after training, of the average once more."""
    total = sum(case["tokens"] for case in task.records["train"])
    made: list[AveragingTrainer] = []

    class Watched(AveragingTrainer):
        def __init__(self, *args, **kwargs):
            super().__init__(*args, **kwargs)
            made.append(self)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "AveragingTrainer", Watched)
        options = {"epochs": 5, "token_budget": int(1.4 * total), "ema_decay": DECAY}
        result = train(tiny_checkpoint, task, tmp_path, **options)
    assert result.record["steps"] == 4
    again = super(AveragingTrainer, made[0]).evaluate()
    assert again["eval_loss"] == result.record["validation_loss"]


@pytest.mark.parametrize(
    "changes",
    [
        {"ema_decay": DECAY},
        {"ema_decay": DECAY, "keep": "best", "use_dora": True, "use_rslora": True},
        {"use_dora": True, "lora_targets": "attention", "precision": "bf16"},
    ],
    ids=["average", "average of the best, DoRA", "DoRA in bf16"],
)
def test_an_interrupted_run_goes_on_and_ends_the_same(
    tiny_checkpoint: Path,
    task: TinyTask,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    changes: dict[str, object],
) -> None:
    options = {"epochs": 3, "lora_dropout": 0.1, "batch_size": 8, "micro_batch_size": 2, **changes}
    whole = train(tiny_checkpoint, task, tmp_path / "whole", **options)
    with interrupted_at(3, monkeypatch):  # the middle of the second epoch
        train(tiny_checkpoint, task, tmp_path / "states", **options)
    state = latest_state(tmp_path / "states", keep_best=False)
    assert state is not None
    assert (state / FILE).is_file() is ("ema_decay" in changes)
    resumed = train(tiny_checkpoint, task, tmp_path / "states", **options)
    expected, found = weights(whole.model), weights(resumed.model)
    assert {name for name in expected if not torch.equal(expected[name], found[name])} == set()
    assert resumed.log.rows == whole.log.rows
    assert resumed.record["validation_loss"] == whole.record["validation_loss"]
