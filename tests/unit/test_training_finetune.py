"""A whole fine-tuning of a tiny model: what moves, what is recorded, and how an interrupted run goes on."""

from __future__ import annotations

import json
import math
import pickle
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch
from test_model_adapter import LORA, PROJECTOR
from tiny_llava import TinyTask, make_task, recipe
from transformers import TrainerCallback

from vlmtsc.errors import InputError
from vlmtsc.examples import image_paths
from vlmtsc.files import read_json, write_json
from vlmtsc.model.adapter import add_adapter
from vlmtsc.paths import Run
from vlmtsc.reporting.runs import RECORD, run_row
from vlmtsc.settings import MemorySettings
from vlmtsc.training import finetune as module
from vlmtsc.training import trainer as trainer_module
from vlmtsc.training.finetune import Finetuned, claim_checkpoints, finetune
from vlmtsc.training.progress import COLUMNS, TrainingLog
from vlmtsc.training.state_files import Stopwatch
from vlmtsc.training.states import latest_state

#: Room for little, as there is little.
MEMORY = MemorySettings(evaluation_batch_size=8, vision_cache_mb=16)


@pytest.fixture(scope="module")
def both(tiny_checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> TinyTask:
    return make_task(tiny_checkpoint, tmp_path_factory.mktemp("plots"))


@pytest.fixture(scope="module")
def numbers(tiny_checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> TinyTask:
    return make_task(tiny_checkpoint, tmp_path_factory.mktemp("plots"), modality="numbers")


def train(
    checkpoint: Path,
    task: TinyTask,
    folder: Path,
    memory: MemorySettings = MEMORY,
    trackers: Sequence[TrainerCallback] = (),
    **changes: object,
) -> Finetuned:
    return finetune(
        checkpoint,
        task.records["train"],
        task.records["validation"],
        task.representation,
        recipe(**changes),
        plots=task.plots,
        checkpoints=folder,
        name="tiny",
        memory=memory,
        trackers=trackers,
    )


def weights(model: torch.nn.Module) -> dict[str, torch.Tensor]:
    return {name: parameter.detach().clone() for name, parameter in model.named_parameters()}


@pytest.mark.parametrize(("modality", "expected"), [("both", LORA | PROJECTOR), ("numbers", LORA)])
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_exactly_these_parameters_move(
    tiny_checkpoint: Path,
    tmp_path: Path,
    request: pytest.FixtureRequest,
    monkeypatch: pytest.MonkeyPatch,
    modality: str,
    expected: set[str],
    precision: str,
) -> None:
    task = request.getfixturevalue(modality)
    before: dict[str, torch.Tensor] = {}

    def watched(model, settings):
        adapted = add_adapter(model, settings)
        before.update(weights(adapted))
        return adapted

    monkeypatch.setattr(module, "add_adapter", watched)
    after = weights(train(tiny_checkpoint, task, tmp_path / "states", precision=precision).model)
    assert after.keys() == before.keys()
    assert {name for name in after if not torch.equal(after[name], before[name])} == expected


def test_training_learns_and_keeps_a_log_and_a_record(
    tiny_checkpoint: Path, both: TinyTask, tmp_path: Path
) -> None:
    result = train(tiny_checkpoint, both, tmp_path / "states", epochs=8)
    rows = result.log.rows
    assert all(tuple(row) == COLUMNS for row in rows)
    assert [row["step"] for row in rows] == sorted(row["step"] for row in rows)
    validated = [row for row in rows if row["validation_loss"] is not None]
    assert [row["epoch"] for row in validated] == list(range(1, 9))
    losses = [row["loss"] for row in rows if row["loss"] is not None]
    assert losses[-1] < losses[0] / 2
    record = result.record
    assert set(RECORD) - set(record) == {"shared_with"}  # which the script adds
    assert (record["steps"], record["epochs_done"], record["stopped_by"]) == (24, 8.0, "epochs")
    assert record["train_samples"] == 8 * 12
    assert record["train_tokens"] == 8 * sum(case["tokens"] for case in both.records["train"])
    assert record["token_budget"] is None
    assert record["validation_accuracy"] == validated[-1]["validation_accuracy"]
    assert record["validation_loss"] == validated[-1]["validation_loss"]
    assert record["trainable_parameters"] == sum(
        p.numel() for p in result.model.parameters() if p.requires_grad
    )
    assert {"torch", "transformers", "peft", "python"} <= set(record["versions"])
    assert {"processor", "cores", "threads", "memory_gib", "gpus"} == set(record["hardware"])
    json.dumps(record, allow_nan=False)
    # The tables take it as it is.
    key = {"model": "tiny", "dataset": "Waves", "protocol": "pooled", "scenario": "both", "seed": 0}
    metrics = dict.fromkeys(
        ["n_cases", "accuracy", "balanced_accuracy", "macro_f1", "log_loss", "majority_rate"], 1
    )
    shared = {"shared_with": None}
    row = run_row(Run(**key), metrics | {"accuracy_interval_95": [0, 1]}, key | record | shared)
    assert row["status"] == "done"


@pytest.mark.parametrize(("tolerance", "expected"), [(0.0, 6), (0.05, 9), (9.0, 15)])
def test_the_adapter_of_the_best_validation_is_kept(
    tiny_checkpoint: Path,
    both: TinyTask,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    tolerance: float,
    expected: int,
) -> None:
    """The losses are given, so that the best one is neither the first nor the last."""
    losses = {3: 0.5, 6: 0.30, 9: 0.33, 12: 0.7, 15: 0.9}
    states: dict[int, dict[str, torch.Tensor]] = {}

    def evaluate(self, *args, **kwargs):
        step = self.state.global_step
        states[step] = weights(self.model)
        metrics = {"eval_loss": losses[step], "eval_accuracy": 0.5}
        self.log(metrics)
        self.control = self.callback_handler.on_evaluate(self.args, self.state, self.control, metrics)
        return metrics

    monkeypatch.setattr(trainer_module.AnswerTrainer, "evaluate", evaluate)
    changes = {"epochs": 5, "keep": "best", "early_stopping_threshold": tolerance}
    record = (result := train(tiny_checkpoint, both, tmp_path, **changes)).record
    assert (record["steps"], record["kept_step"], record["validation_loss"]) == (
        15,
        expected,
        losses[expected],
    )
    kept = weights(result.model)
    for name, value in states[expected].items():
        assert torch.equal(kept[name], value), name
    assert any(not torch.equal(states[3][name], value) for name, value in kept.items())


def test_a_run_without_progress_stops(
    tiny_checkpoint: Path, both: TinyTask, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "chance_loss", lambda labels: math.inf)  # every loss is better than that
    changes = {"early_stopping_patience": 2, "epochs": 9, "keep": "best"}
    result = train(tiny_checkpoint, both, tmp_path, early_stopping_threshold=100.0, **changes)
    # The first validation has nothing before it; the next two are no progress.
    assert (result.record["epochs_done"], result.record["stopped_by"]) == (3.0, "early_stopping")
    assert result.record["train_samples"] == 3 * 12
    assert result.record["train_tokens"] == 3 * sum(case["tokens"] for case in both.records["train"])


def test_a_budget_ends_a_run_in_the_middle_of_an_epoch(
    tiny_checkpoint: Path, numbers: TinyTask, tmp_path: Path
) -> None:
    total = sum(case["tokens"] for case in numbers.records["train"])
    result = train(tiny_checkpoint, numbers, tmp_path, epochs=5, token_budget=int(1.4 * total))
    assert (result.record["steps"], result.record["stopped_by"]) == (4, "token_budget")
    assert result.record["train_tokens"] <= result.record["token_budget"]
    # The state that is kept is the state that was validated.
    assert result.log.rows[-1]["validation_accuracy"] is not None
    assert result.log.rows[-1]["step"] == 4


def test_the_recipe_reaches_the_optimizer(
    tiny_checkpoint: Path, both: TinyTask, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = []

    class Watched(trainer_module.AnswerTrainer):
        def create_optimizer(self, model=None):
            made.append((self, super().create_optimizer(model)))
            return made[-1][1]

    monkeypatch.setattr(module, "AnswerTrainer", Watched)
    train(
        tiny_checkpoint,
        both,
        tmp_path,
        epochs=1,
        adam_beta2=0.9,
        projector_learning_rate=2e-3,
        max_grad_norm=0.5,
    )
    trainer, optimizer = made[0]
    assert {group["betas"] for group in optimizer.param_groups} == {(0.9, 0.9)}
    assert {group["initial_lr"] for group in optimizer.param_groups} == {5e-3, 2e-3}
    assert trainer.args.max_grad_norm == 0.5
    assert trainer.state.max_steps == 3
    # The rate ends at zero.
    assert all(group["lr"] == pytest.approx(0, abs=1e-9) for group in optimizer.param_groups)


def test_accumulated_micro_batches_train_like_whole_batches(
    tiny_checkpoint: Path, both: TinyTask, tmp_path: Path
) -> None:
    whole = weights(train(tiny_checkpoint, both, tmp_path / "a", epochs=1).model)
    parts = weights(train(tiny_checkpoint, both, tmp_path / "b", epochs=1, micro_batch_size=2).model)
    for name in LORA | PROJECTOR:
        torch.testing.assert_close(parts[name], whole[name], atol=1e-4, rtol=1e-3, msg=name)


def test_a_seed_repeats_a_run_and_another_does_not(
    tiny_checkpoint: Path, numbers: TinyTask, tmp_path: Path
) -> None:
    options = {"epochs": 1, "lora_dropout": 0.1}
    first, again, other = (
        weights(train(tiny_checkpoint, numbers, tmp_path / str(n), seed=seed, **options).model)
        for n, seed in enumerate([0, 0, 1])
    )
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert not all(torch.equal(first[name], other[name]) for name in LORA)


class Interruption(Exception):
    """Stands for a machine that goes away."""


@contextmanager
def interrupted_at(step: int, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Have the training in the block end when it logs this step, and see that it does."""
    on_log = TrainingLog.on_log

    def interrupted(self, args, state, control, logs=None, **_):
        on_log(self, args, state, control, logs)
        if state.global_step == step:
            raise Interruption

    with monkeypatch.context() as patch:
        patch.setattr(TrainingLog, "on_log", interrupted)
        with pytest.raises(Interruption):
            yield


@pytest.mark.parametrize("modality", ["both", "numbers"])
def test_an_interrupted_run_goes_on_and_ends_the_same(
    tiny_checkpoint: Path,
    tmp_path: Path,
    request: pytest.FixtureRequest,
    monkeypatch: pytest.MonkeyPatch,
    modality: str,
) -> None:
    task = request.getfixturevalue(modality)
    # Dropout, an incomplete last batch and several micro batches: all that has to be restored.
    options = {"epochs": 3, "lora_dropout": 0.1, "batch_size": 8, "micro_batch_size": 2}
    whole = train(tiny_checkpoint, task, tmp_path / "whole", **options)

    with interrupted_at(3, monkeypatch):  # the middle of the second epoch
        train(tiny_checkpoint, task, tmp_path / "states", **options)
    state = latest_state(tmp_path / "states", keep_best=False)
    assert state == tmp_path / "states" / "checkpoint-2"
    assert 0 < read_json(state / Stopwatch.FILE)["seconds"] < 600
    write_json(state / Stopwatch.FILE, {"seconds": 1000.0})
    resumed = train(tiny_checkpoint, task, tmp_path / "states", **options)
    expected, found = weights(whole.model), weights(resumed.model)
    assert {name for name in expected if not torch.equal(expected[name], found[name])} == set()
    assert resumed.log.rows == whole.log.rows
    assert 1000 < resumed.record["wall_seconds"] < 1600  # with what was spent before the interruption
    costs = {"wall_seconds", "tokens_per_second", "samples_per_second", "peak_memory_mb"}
    assert {key for key in whole.record if whole.record[key] != resumed.record[key]} <= costs


def test_states_that_have_moved_still_know_the_best_one(
    tiny_checkpoint: Path, numbers: TinyTask, tmp_path: Path
) -> None:
    # A rate that makes later epochs worse: the best adapter is not the last one.
    options = {"epochs": 3, "keep": "best", "learning_rate": 0.05, "early_stopping_threshold": 0.0}
    whole = train(tiny_checkpoint, numbers, tmp_path / "there", **options)
    assert whole.record["kept_step"] < whole.record["steps"]
    (tmp_path / "there").rename(tmp_path / "here")
    again = train(tiny_checkpoint, numbers, tmp_path / "here", **options)
    expected, found = weights(whole.model), weights(again.model)
    assert all(torch.equal(expected[name], found[name]) for name in expected)
    assert again.record["kept_step"] == whole.record["kept_step"]


def test_each_validation_scores_each_case_once(
    tiny_checkpoint: Path, numbers: TinyTask, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scored: list[int] = []
    score = trainer_module.score_examples

    def counted(model, examples, *rest, **names):
        scored.append(len(examples))
        return score(model, examples, *rest, **names)

    monkeypatch.setattr(trainer_module, "score_examples", counted)
    run = train(tiny_checkpoint, numbers, tmp_path / "states", epochs=2)
    validations = [row for row in run.log.rows if row["validation_loss"] is not None]
    assert scored == [len(numbers.records["validation"])] * len(validations)


def test_a_run_interrupted_after_its_last_epoch_only_finishes(
    tiny_checkpoint: Path, numbers: TinyTask, tmp_path: Path
) -> None:
    whole = train(tiny_checkpoint, numbers, tmp_path / "states")
    again = train(tiny_checkpoint, numbers, tmp_path / "states")
    expected, found = weights(whole.model), weights(again.model)
    assert all(torch.equal(expected[name], found[name]) for name in expected)
    assert again.log.rows == whole.log.rows


class Command:
    """An object whose unpickling makes a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, ...]:
        return Path.touch, (self.path,)


@pytest.mark.parametrize("name", ["optimizer.pt", "scheduler.pt", "rng_state.pth"])
def test_a_state_is_loaded_without_unpickling_objects(
    tiny_checkpoint: Path, numbers: TinyTask, tmp_path: Path, name: str
) -> None:
    train(tiny_checkpoint, numbers, tmp_path / "states", epochs=1)
    state = latest_state(tmp_path / "states", keep_best=False)
    assert state is not None
    assert (state / name).is_file()
    torch.save(Command(tmp_path / "run"), state / name)
    with pytest.raises(pickle.UnpicklingError, match="weights_only"):
        train(tiny_checkpoint, numbers, tmp_path / "states", epochs=2)
    assert not (tmp_path / "run").exists()


def test_states_of_another_run_are_thrown_away(tmp_path: Path) -> None:
    folder = tmp_path / "states"
    identity = {"finetune": {"seed": 0, "learning_rate": 1e-4}, "inputs": {"train.json": "ab"}}
    claim_checkpoints(folder, identity)
    (folder / "checkpoint-2").mkdir()
    claim_checkpoints(folder, json.loads(json.dumps(identity)))
    assert (folder / "checkpoint-2").is_dir()
    claim_checkpoints(folder, identity | {"inputs": {"train.json": "cd"}})
    assert [path.name for path in folder.iterdir()] == ["identity.json"]
    assert read_json(folder / "identity.json")["inputs"] == {"train.json": "cd"}
    # A marker that is damaged says nothing: the states may be of any run.
    (folder / "identity.json").write_text('{"inp')
    (folder / "checkpoint-2").mkdir()
    claim_checkpoints(folder, identity)
    assert [path.name for path in folder.iterdir()] == ["identity.json"]


def test_a_run_that_diverges_says_so(tiny_checkpoint: Path, numbers: TinyTask, tmp_path: Path) -> None:
    with pytest.raises(
        InputError, match=r"tiny: the loss is (nan|inf) at step \d+; last finite loss: [\d.e+]+ at"
    ):
        train(tiny_checkpoint, numbers, tmp_path, learning_rate=1e30, max_grad_norm=1e30, epochs=10)


def test_a_loss_that_is_no_number_from_the_start(
    tiny_checkpoint: Path, numbers: TinyTask, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    answer_loss = trainer_module.answer_loss
    monkeypatch.setattr(trainer_module, "answer_loss", lambda *a: answer_loss(*a) * math.nan)
    with pytest.raises(InputError, match="the loss is nan at step 1; last finite loss: none"):
        train(tiny_checkpoint, numbers, tmp_path)


def test_images_without_a_folder_of_plots(tiny_checkpoint: Path, both: TinyTask, tmp_path: Path) -> None:
    from vlmtsc.examples import make_examples
    from vlmtsc.representation.tokens import load_processor

    tokenizer = load_processor(tiny_checkpoint).tokenizer
    examples = make_examples(both.records["train"], both.representation, tokenizer)
    with pytest.raises(InputError, match=r"case-00000\.png.*no folder of plots was given"):
        image_paths([examples], None)
