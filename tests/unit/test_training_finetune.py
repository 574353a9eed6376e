"""A whole fine-tuning of a tiny model: what it changes, records, averages and keeps, and how it resumes."""

from __future__ import annotations

import json
import math
import pickle
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from test_model_adapter import LORA, PROJECTOR
from tiny_llava import TinyTask, make_task
from torch import nn

from vlmtsc.errors import InputError
from vlmtsc.files import read_json, write_json
from vlmtsc.model.adapter import add_adapter, load_adapter, save_adapter
from vlmtsc.model.checkpoint import load_checkpoint
from vlmtsc.paths import Run
from vlmtsc.reporting.runs import RECORD, run_row
from vlmtsc.settings import MemorySettings
from vlmtsc.training import finetune as module
from vlmtsc.training import trainer as trainer_module
from vlmtsc.training.checkpoints import CheckpointFiles, latest_checkpoint
from vlmtsc.training.finetune import Finetuned, finetune
from vlmtsc.training.muon import Muon
from vlmtsc.training.progress import COLUMNS, TrainingLog
from vlmtsc.training.trainer import AVERAGE, AnswerTrainer, WeightAverage

MEMORY = MemorySettings(evaluation_batch_size=8, vision_cache_mb=16)
#: Dropout, an incomplete last batch and several micro batches: all that has to be restored.
RESUMED = {"epochs": 3, "lora_dropout": 0.1, "batch_size": 8, "micro_batch_size": 2}
#: The middle of the second epoch.
INTERRUPTED_AT = 3
DECAY = 0.6

Train = Callable[..., Finetuned]


@pytest.fixture(scope="module")
def tasks(tiny_checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, TinyTask]:
    return {
        modality: make_task(tiny_checkpoint, tmp_path_factory.mktemp("plots"), modality=modality)
        for modality in ("both", "numbers", "plot")
    }


@pytest.fixture(scope="module")
def train(tiny_checkpoint: Path, tasks: dict[str, TinyTask]) -> Train:
    """Return a function that fine-tunes in a folder."""

    def run(folder: Path, modality: str = "both", **options: Any) -> Finetuned:
        return finetune(tasks[modality].job(tiny_checkpoint, folder, **{"memory": MEMORY} | options))

    return run


@pytest.fixture(scope="module")
def undisturbed(train: Train, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Finetuned]:
    """Return runs with the recipe of the interrupted ones."""
    return {name: train(tmp_path_factory.mktemp("run"), name, **RESUMED) for name in ("both", "numbers")}


def weights(model: torch.nn.Module) -> dict[str, torch.Tensor]:
    return {name: parameter.detach().clone() for name, parameter in model.named_parameters()}


def assert_same_weights(found: Finetuned, expected: Finetuned) -> None:
    one, other = weights(found.model), weights(expected.model)
    assert {name for name in other if not torch.equal(one[name], other[name])} == set()


class Interruption(Exception):
    """Stands for a machine that fails."""


@contextmanager
def interrupted_at(step: int, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Interrupt the training in the block when it logs this step."""
    on_log = TrainingLog.on_log

    def interrupted(self, args, state, control, logs=None, **_):
        on_log(self, args, state, control, logs)
        if state.global_step == step:
            raise Interruption

    with monkeypatch.context() as patch:
        patch.setattr(TrainingLog, "on_log", interrupted)
        with pytest.raises(Interruption):
            yield


def with_losses(losses: dict[int, float], seen: dict[int, dict[str, torch.Tensor]]) -> Callable[..., Any]:
    """Stand in for validation: return given losses to choose by, and store the weights that were validated."""

    def validate(self, dataset, prefix):
        step = self.state.global_step
        seen[step] = weights(self.model)
        return {
            f"{prefix}_loss": 1 - losses[step],
            f"{prefix}_selection_loss": losses[step],
            f"{prefix}_accuracy": 0.5,
        }

    return validate


@pytest.mark.parametrize(("modality", "expected"), [("both", LORA | PROJECTOR), ("numbers", LORA)])
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_exactly_these_parameters_move(
    train: Train,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    modality: str,
    expected: set[str],
    precision: str,
) -> None:
    before: dict[str, torch.Tensor] = {}

    def watched(model, settings):
        adapted = add_adapter(model, settings)
        before.update(weights(adapted))
        return adapted

    monkeypatch.setattr(module, "add_adapter", watched)
    after = weights(train(tmp_path, modality, epochs=1, precision=precision).model)
    assert after.keys() == before.keys()
    assert {name for name in after if not torch.equal(after[name], before[name])} == expected


def test_training_learns_and_keeps_a_log_and_a_record(
    train: Train, tasks: dict[str, TinyTask], tmp_path: Path
) -> None:
    result = train(tmp_path, epochs=8)
    rows = result.log.rows
    assert all(tuple(row) == COLUMNS for row in rows)
    assert [row["step"] for row in rows] == sorted(row["step"] for row in rows)
    validated = [row for row in rows if row["validation_loss"] is not None]
    assert [row["epoch"] for row in validated] == list(range(1, 9))
    losses = [row["loss"] for row in rows if row["loss"] is not None]
    assert losses[-1] < losses[0] / 2
    record = result.record
    assert set(RECORD) - set(record) == {"shared_with"}  # added where trainings are shared
    assert (record["steps"], record["epochs_done"], record["stopped_by"]) == (24, 8.0, "epochs")
    assert record["train_samples"] == 8 * 12
    assert record["train_tokens"] == 8 * sum(case["tokens"] for case in tasks["both"].records["train"])
    assert record["token_budget"] is None
    assert record["validation_accuracy"] == validated[-1]["validation_accuracy"]
    assert record["validation_loss"] == validated[-1]["validation_loss"]
    assert record["trainable_parameters"] == sum(
        p.numel() for p in result.model.parameters() if p.requires_grad
    )
    assert {"torch", "transformers", "peft", "python"} <= set(record["versions"])
    assert {"processor", "cores", "threads", "memory_gib", "gpus"} == set(record["hardware"])
    json.dumps(record, allow_nan=False)
    # The tables read it as it is.
    key = {"model": "tiny", "dataset": "Waves", "protocol": "pooled", "scenario": "both", "seed": 0}
    metrics = dict.fromkeys(
        ["n_cases", "accuracy", "balanced_accuracy", "macro_f1", "log_loss", "majority_rate"], 1
    )
    shared = {"shared_with": None}
    row = run_row(Run(**key), metrics | {"accuracy_interval_95": [0, 1]}, key | record | shared)
    assert row["status"] == "done"


@pytest.mark.parametrize(("tolerance", "expected"), [(0.0, 6), (0.05, 9)])
def test_the_adapter_of_the_best_validation_is_kept(
    train: Train, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tolerance: float, expected: int
) -> None:
    losses = {3: 0.5, 6: 0.30, 9: 0.33, 12: 0.7, 15: 0.9}
    seen: dict[int, dict[str, torch.Tensor]] = {}
    monkeypatch.setattr(AnswerTrainer, "_validate", with_losses(losses, seen))
    result = train(tmp_path, epochs=5, keep="best", early_stopping_threshold=tolerance)
    record, kept = result.record, weights(result.model)
    assert (record["steps"], record["kept_step"]) == (15, expected)
    assert record["validation_loss"] == 1 - losses[expected]
    assert all(torch.equal(kept[name], value) for name, value in seen[expected].items())
    assert any(not torch.equal(seen[3][name], value) for name, value in kept.items())


def test_a_run_without_progress_stops(
    train: Train, tasks: dict[str, TinyTask], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "chance_loss", lambda labels: math.inf)  # every loss is better
    changes = {"early_stopping_patience": 2, "epochs": 9, "keep": "best", "early_stopping_threshold": 0.3}
    record = train(tmp_path, **changes).record
    # The first validation has nothing before it; the next two are no progress.
    assert (record["epochs_done"], record["stopped_by"]) == (3.0, "early_stopping")
    assert record["train_samples"] == 3 * 12
    assert record["train_tokens"] == 3 * sum(case["tokens"] for case in tasks["both"].records["train"])


def test_a_budget_ends_a_run_in_the_middle_of_an_epoch(
    train: Train, tasks: dict[str, TinyTask], tmp_path: Path
) -> None:
    total = sum(case["tokens"] for case in tasks["numbers"].records["train"])
    result = train(tmp_path, "numbers", epochs=5, token_budget=int(1.4 * total))
    assert (result.record["steps"], result.record["stopped_by"]) == (4, "token_budget")
    assert result.record["train_tokens"] <= result.record["token_budget"]
    # The final weights are validated.
    assert result.log.rows[-1]["validation_accuracy"] is not None
    assert result.log.rows[-1]["step"] == 4


def test_the_recipe_reaches_optimizer_and_compiler(
    train: Train, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made, compiled = [], []

    class Watched(AnswerTrainer):
        def create_optimizer(self, model=None):
            made.append((self, super().create_optimizer(model)))
            return made[-1][1]

    monkeypatch.setattr(module, "AnswerTrainer", Watched)
    monkeypatch.setattr(module, "compile_layers", compiled.append)
    changes = {
        "adam_beta2": 0.9,
        "projector_learning_rate": 2e-3,
        "max_grad_norm": 0.5,
        "torch_compile": True,
    }
    result = train(tmp_path, epochs=1, **changes)
    assert compiled == [result.model]
    trainer, optimizer = made[0]
    assert {group["betas"] for group in optimizer.param_groups} == {(0.9, 0.9)}
    assert {group["initial_lr"] for group in optimizer.param_groups} == {5e-3, 2e-3}
    assert trainer.args.max_grad_norm == 0.5
    assert trainer.state.max_steps == 3
    # The rate ends at zero.
    assert all(group["lr"] == pytest.approx(0, abs=1e-9) for group in optimizer.param_groups)


@pytest.mark.parametrize(
    ("scenario", "optimizer", "rate"), [("numbers", "Muon", 2e-3), ("both", "AdamW", 5e-3)]
)
def test_muon_trains_where_there_are_no_images(
    train: Train, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, scenario: str, optimizer: str, rate: float
) -> None:
    made = []
    create = AnswerTrainer.create_optimizer
    monkeypatch.setattr(
        AnswerTrainer, "create_optimizer", lambda *args: made.append(create(*args)) or made[-1]
    )
    train(tmp_path, scenario, epochs=1, muon_learning_rate=2e-3, projector_learning_rate=5e-3)
    assert type(made[0]).__name__ == optimizer
    assert {group["initial_lr"] for group in made[0].param_groups} == {rate}


@pytest.mark.parametrize("shape", [(4, 9), (9, 4), (6, 6)])
def test_muon_takes_the_steps_of_pytorchs(shape: tuple[int, int]) -> None:
    """PyTorch's are computed in bfloat16."""
    generator = torch.Generator().manual_seed(0)
    start = torch.randn(shape, generator=generator)
    found, expected = (nn.Parameter(start.clone()) for _ in range(2))
    group = {"lr": 0.1, "weight_decay": 0.2}
    optimizers = [
        Muon([group | {"params": [found]}]),
        torch.optim.Muon([group | {"params": [expected]}], adjust_lr_fn="match_rms_adamw"),
    ]
    for _ in range(3):
        found.grad = torch.randn(shape, generator=generator)
        expected.grad = found.grad.clone()
        for optimizer in optimizers:
            optimizer.step()
    torch.testing.assert_close(found, expected, atol=0.01, rtol=0.01)
    assert (found - start).norm() > 0.2


@pytest.mark.parametrize("modality", ["both", "numbers"])
def test_training_in_bf16_without_instructions_for_it_is_in_float32(
    train: Train, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, modality: str
) -> None:
    monkeypatch.setattr("vlmtsc.model.checkpoint.has_bfloat16_instructions", lambda: False)
    settings = {"epochs": 1, "align_steps": 2, "soft_answers": True, "projector_learning_rate": 0}
    found = train(tmp_path / "a", modality, precision="bf16", **settings)
    expected = train(tmp_path / "b", modality, precision="fp32", **settings)
    assert found.record["used"]["weights"] == ["float32"]
    one, other = weights(found.model), weights(expected.model)
    for name in other:  # features of plots are rounded to bfloat16
        torch.testing.assert_close(one[name], other[name], atol=0.02, rtol=0.02, msg=name)


def test_accumulated_micro_batches_train_like_whole_batches(train: Train, tmp_path: Path) -> None:
    whole = weights(train(tmp_path / "a", epochs=1).model)
    parts = weights(train(tmp_path / "b", epochs=1, micro_batch_size=2).model)
    for name in LORA | PROJECTOR:
        torch.testing.assert_close(parts[name], whole[name], atol=1e-4, rtol=1e-3, msg=name)


def test_a_seed_repeats_a_run_and_another_does_not(
    train: Train, undisturbed: dict[str, Finetuned], tmp_path: Path
) -> None:
    again, other = (train(tmp_path / str(seed), "numbers", seed=seed, **RESUMED) for seed in (0, 1))
    assert_same_weights(again, undisturbed["numbers"])
    one, two = weights(again.model), weights(other.model)
    assert not all(torch.equal(one[name], two[name]) for name in LORA)


@pytest.mark.parametrize("modality", ["both", "numbers"])
def test_an_interrupted_run_resumes_and_ends_the_same(
    train: Train,
    undisturbed: dict[str, Finetuned],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    modality: str,
) -> None:
    """With images also with other limits of memory, as after it has run out of memory."""
    with interrupted_at(INTERRUPTED_AT, monkeypatch):
        train(tmp_path, modality, **RESUMED)
    checkpoint = latest_checkpoint(tmp_path / "checkpoints", keep_best=False)
    assert checkpoint == tmp_path / "checkpoints/checkpoint-2"
    assert 0 < read_json(checkpoint / CheckpointFiles.SECONDS)["seconds"] < 600
    write_json(checkpoint / CheckpointFiles.SECONDS, {"seconds": 1000.0})
    other = MemorySettings(activation_checkpointing=True, evaluation_batch_size=3, vision_cache_mb=0)
    resumed = train(tmp_path, modality, memory=other if modality == "both" else MEMORY, **RESUMED)
    whole = undisturbed[modality]
    assert_same_weights(resumed, whole)
    for name in ("step", "loss", "learning_rate", "validation_accuracy"):
        assert [row[name] for row in resumed.log.rows] == [row[name] for row in whole.log.rows]
    assert 1000 < resumed.record["wall_seconds"] < 1600  # including the time before the interruption
    assert resumed.record["activation_checkpointing"] is (modality == "both")
    if modality == "numbers":
        costs = {"wall_seconds", "tokens_per_second", "samples_per_second", "peak_memory_mb"}
        assert {key for key in whole.record if whole.record[key] != resumed.record[key]} <= costs


def test_checkpoints_that_were_moved_still_know_the_best_one(train: Train, tmp_path: Path) -> None:
    # A rate that makes later epochs worse: the best adapter is not the last one.
    options = {"epochs": 3, "keep": "best", "learning_rate": 0.05, "early_stopping_threshold": 0.0}
    whole = train(tmp_path / "there", "numbers", **options)
    assert whole.record["kept_step"] < whole.record["steps"]
    (tmp_path / "there").rename(tmp_path / "here")
    again = train(tmp_path / "here", "numbers", **options)
    assert_same_weights(again, whole)
    assert again.record["kept_step"] == whole.record["kept_step"]
    assert again.log.rows == whole.log.rows  # a run interrupted after its last epoch only finishes


def test_each_validation_scores_each_case_once(
    train: Train, tasks: dict[str, TinyTask], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scored: list[int] = []
    score = trainer_module.score_examples

    def counted(model, examples, *rest, **names):
        scored.append(len(examples))
        return score(model, examples, *rest, **names)

    monkeypatch.setattr(trainer_module, "score_examples", counted)
    run = train(tmp_path, "numbers", epochs=2)
    validations = [row for row in run.log.rows if row["validation_loss"] is not None]
    assert scored == [len(tasks["numbers"].records["validation"])] * len(validations)


#: Both stages.
STAGES = {
    "align_steps": 100,
    "align_token_share": 0.5,
    "soft_answers": True,
    "mixed_share": 0.7,
    "projector_learning_rate": 0.0,
    "ema_decay": 0.5,
}


def projector_of(found: Finetuned) -> dict[str, torch.Tensor]:
    return {name: tensor for name, tensor in weights(found.model).items() if name in PROJECTOR}


def test_both_stages_train_record_and_save_what_they_should(
    train: Train, tasks: dict[str, TinyTask], tiny_checkpoint: Path, tmp_path: Path
) -> None:
    found = train(tmp_path, **STAGES | RESUMED)
    record = found.record
    assert set(record["alignment"]) == {
        *("steps", "epochs", "projected_tokens", "seconds"),
        *("kept_step", "validation_accuracy", "validation_loss"),
    }
    assert record["alignment"]["steps"] == 100
    assert record["train_tokens"] == 3 * sum(case["tokens"] for case in tasks["both"].records["train"])
    # The projector is the aligned one, frozen, and part of the adapter.
    [file] = tmp_path.glob("checkpoints/alignments/*/projector.safetensors")
    stored = load_file(file)
    for name, tensor in projector_of(found).items():
        assert torch.equal(tensor, stored[name.partition("default.")[2]])
    assert not any(
        parameter.requires_grad for name, parameter in found.model.named_parameters() if name in PROJECTOR
    )
    save_adapter(found.model, tmp_path / "adapter", base="tiny")
    base = load_checkpoint(tiny_checkpoint, precision="fp32", attention="eager", context_length=512)
    loaded = load_adapter(base, tmp_path / "adapter")
    saved = weights(loaded)
    own = {name: tensor for name, tensor in weights(found.model).items() if "original_module" not in name}
    assert {name for name, tensor in own.items() if not torch.equal(tensor, saved[name])} == set()


def test_weights_are_chosen_by_the_cross_entropy_with_the_soft_answers(
    train: Train, tasks: dict[str, TinyTask], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def validations(name: str) -> list[tuple[float, float]]:
        rows = train(tmp_path / name, epochs=2, **STAGES).log.rows
        return [
            (row["validation_loss"], row["selection_loss"])
            for row in rows
            if row["selection_loss"] is not None
        ]

    assert all(loss != pytest.approx(selection, rel=1e-3) for loss, selection in validations("soft"))
    labels = torch.tensor([case["label_index"] for case in tasks["both"].records["validation"]])
    certain = torch.nn.functional.one_hot(labels).log()
    monkeypatch.setattr(module.ProjectorHead, "scores", lambda *_: certain)
    found = validations("certain")
    assert len(found) == 2
    assert all(loss == pytest.approx(selection, rel=1e-6) for loss, selection in found)


def test_an_interrupted_run_of_both_stages_ends_the_same_and_aligns_once(
    train: Train, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = train(tmp_path / "whole", **STAGES | RESUMED)
    aligned = []
    align_projector = module.align_projector

    def counted(*arguments):
        aligned.append(1)
        return align_projector(*arguments) | {"seconds": 1000.0}

    monkeypatch.setattr(module, "align_projector", counted)
    for step in (1, INTERRUPTED_AT):  # before and after the first checkpoint
        with interrupted_at(step, monkeypatch):
            train(tmp_path / "run", **STAGES | RESUMED)
    resumed = train(tmp_path / "run", **STAGES | RESUMED)
    assert len(aligned) == 1
    assert_same_weights(resumed, whole)
    assert 1000 < resumed.record["wall_seconds"] < 2000
    assert resumed.record["tokens_per_second"] > 0
    seconds = {"alignment", "wall_seconds", "tokens_per_second", "samples_per_second", "peak_memory_mb"}
    assert {key for key in whole.record if whole.record[key] != resumed.record[key]} <= seconds


def test_scenarios_that_show_the_same_images_align_once(
    train: Train, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    aligned = []
    align_projector = module.align_projector

    def counted(*arguments):
        aligned.append(1)
        return align_projector(*arguments)

    monkeypatch.setattr(module, "align_projector", counted)
    options = STAGES | {"epochs": 1, "alignments": tmp_path / "alignments"}
    both = train(tmp_path / "both", **options)
    plot = train(tmp_path / "plot", "plot", **options | {"lora_r": 3})
    assert len(aligned) == 1
    assert plot.record["alignment"] == both.record["alignment"]
    assert plot.record["wall_seconds"] >= plot.record["alignment"]["seconds"]  # the cost of the run by itself
    alone = train(tmp_path / "alone", "plot", **STAGES | {"epochs": 1, "lora_r": 3})
    assert len(aligned) == 2
    assert_same_weights(plot, alone)


def test_a_scenario_without_an_image_has_no_first_stage(train: Train, tmp_path: Path) -> None:
    plain = train(tmp_path / "plain", "numbers", epochs=1)
    staged = train(tmp_path / "staged", "numbers", epochs=1, **STAGES | {"ema_decay": 0.0})
    assert staged.record["alignment"] is None
    assert plain.record["alignment"] is None
    assert_same_weights(staged, plain)


def test_an_aligned_projector_can_be_trained_further(train: Train, tmp_path: Path) -> None:
    further = {"projector_learning_rate": 1e-3, "soft_answers": False, "mixed_share": 0, "ema_decay": 0.0}
    found = train(tmp_path, epochs=1, **STAGES | further)
    [file] = tmp_path.glob("checkpoints/alignments/*/projector.safetensors")
    stored = load_file(file)
    for name, tensor in projector_of(found).items():
        assert not torch.equal(tensor, stored[name.partition("default.")[2]])


class Command:
    """An object whose unpickling creates a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, ...]:
        return Path.touch, (self.path,)


@pytest.mark.parametrize("name", ["optimizer.pt", "scheduler.pt", "rng_state.pth"])
def test_a_checkpoint_is_loaded_without_unpickling_objects(train: Train, tmp_path: Path, name: str) -> None:
    train(tmp_path, "numbers", epochs=1)
    checkpoint = latest_checkpoint(tmp_path / "checkpoints", keep_best=False)
    assert checkpoint is not None
    assert (checkpoint / name).is_file()
    torch.save(Command(tmp_path / "run"), checkpoint / name)
    with pytest.raises(pickle.UnpicklingError, match="weights_only"):
        train(tmp_path, "numbers", epochs=2)
    assert not (tmp_path / "run").exists()


def test_a_run_that_diverges_ends_with_a_hint(train: Train, tmp_path: Path) -> None:
    message = (
        r"tiny/Waves/pooled/mine/seed-0: the loss is (nan|inf) at step \d+; last finite loss: [\d.e+]+ at"
    )
    with pytest.raises(InputError, match=message):
        train(tmp_path, "numbers", learning_rate=1e30, max_grad_norm=1e30, epochs=10)


def test_memory_that_is_used_up_ends_a_run_with_a_hint(
    train: Train, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*args: object, **kwargs: object) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(module, "_run", full)
    with pytest.raises(InputError, match="the GPU's memory is used up; activation_checkpointing: true"):
        train(tmp_path)


@pytest.mark.parametrize("keep", ["last", "best"])
def test_averaged_weights_are_validated_and_kept(
    train: Train, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, keep: str
) -> None:
    losses = {3: 0.5, 6: 0.3, 9: 0.9}
    steps: list[dict[str, torch.Tensor]] = []
    validated: dict[int, dict[str, torch.Tensor]] = {}
    trainers: list[AnswerTrainer] = []
    update = WeightAverage.update

    class Watched(AnswerTrainer):
        def __init__(self, *args, **kwargs):
            super().__init__(*args, **kwargs)
            trainers.append(self)

    def watched(self):
        steps.append(weights(trainers[0].model))
        update(self)

    monkeypatch.setattr(AnswerTrainer, "_validate", with_losses(losses, validated))
    monkeypatch.setattr(WeightAverage, "update", watched)
    monkeypatch.setattr(module, "AnswerTrainer", Watched)
    result = train(tmp_path, epochs=3, keep=keep, ema_decay=DECAY)
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


@pytest.mark.parametrize(
    ("scenario", "changes"), [("both", {"use_dora": True}), ("numbers", {"muon_learning_rate": 2e-3})]
)
def test_an_interrupted_run_with_averages_ends_the_same(
    train: Train, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, scenario: str, changes: dict[str, Any]
) -> None:
    options = {**RESUMED, "ema_decay": DECAY, "keep": "best", "precision": "bf16", **changes}
    whole = train(tmp_path / "whole", scenario, **options)
    with interrupted_at(INTERRUPTED_AT, monkeypatch):
        train(tmp_path / "interrupted", scenario, **options)
    checkpoint = latest_checkpoint(tmp_path / "interrupted/checkpoints", keep_best=False)
    assert checkpoint is not None
    assert (checkpoint / AVERAGE).is_file()
    resumed = train(tmp_path / "interrupted", scenario, **options)
    assert_same_weights(resumed, whole)
    assert resumed.log.rows == whole.log.rows
    assert resumed.record["validation_loss"] == whole.record["validation_loss"]


def test_the_recorded_loss_is_that_of_the_averaged_weights(
    train: Train, tasks: dict[str, TinyTask], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A budget ends the run within an epoch; its last validation is after training, of the average again."""
    total = sum(case["tokens"] for case in tasks["both"].records["train"])
    made: list[AnswerTrainer] = []

    class Watched(AnswerTrainer):
        def __init__(self, *args, **kwargs):
            super().__init__(*args, **kwargs)
            made.append(self)

    monkeypatch.setattr(module, "AnswerTrainer", Watched)
    result = train(tmp_path, epochs=5, token_budget=int(1.4 * total), ema_decay=DECAY)
    assert result.record["steps"] == 4
    assert made[0].average is None  # the model's weights are the average
    assert made[0].evaluate()["eval_loss"] == result.record["validation_loss"]


def test_sharded_weights_are_not_averaged(
    train: Train, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    create = AnswerTrainer.create_accelerator_and_postprocess

    def sharded(self):
        create(self)
        self.is_fsdp_enabled = True

    monkeypatch.setattr(AnswerTrainer, "create_accelerator_and_postprocess", sharded)
    with pytest.raises(InputError, match="ema_decay with FSDP"):
        train(tmp_path, epochs=1, ema_decay=0.5)
