"""A small model with the architecture and files of llava-hf/llava-1.5-*, through the same code as the large one."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from hub_llava import IMAGE_TOKENS, write_hub_checkpoint
from safetensors.torch import load_file
from tiny_llava import TinyTask, make_task, recipe

from build_conversations import build_conversations
from vlmtsc.configuration import load_configuration_files
from vlmtsc.errors import InputError
from vlmtsc.evaluation.predictor import Predictor
from vlmtsc.model.adapter import save_adapter
from vlmtsc.model.checkpoint import convert_weights, load_checkpoint
from vlmtsc.model.files import check_files, load_checked_processor
from vlmtsc.representation.processor import image_layout
from vlmtsc.settings import ScenarioSettings
from vlmtsc.training.finetune import finetune

ROOT = Path(__file__).parents[2]
MODELS = load_configuration_files([], ROOT).model_table
SYSTEM = MODELS["llava-1.5-7b"].system_prompt


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_hub_checkpoint(tmp_path_factory.mktemp("hub") / "llava")


@pytest.fixture(scope="module")
def task(hub: Path, tmp_path_factory: pytest.TempPathFactory) -> TinyTask:
    plots = tmp_path_factory.mktemp("plots")
    return make_task(hub, plots, n_classes=12, n_train=12, context_length=1024, system_prompt=SYSTEM)


@pytest.fixture
def copy(hub: Path, tmp_path: Path) -> Path:
    return shutil.copytree(hub, tmp_path / "copy")


def test_names_and_types_are_those_of_the_hub(hub: Path) -> None:
    index = json.loads((hub / "model.safetensors.index.json").read_text())
    names = set(index["weight_map"])
    assert {
        "language_model.lm_head.weight",
        "language_model.model.layers.0.self_attn.q_proj.weight",
        "multi_modal_projector.linear_1.weight",
        "vision_tower.vision_model.embeddings.class_embedding",
    } <= names
    assert all(
        name.startswith(("language_model.", "multi_modal_", "vision_tower.vision_model.")) for name in names
    )
    for file in set(index["weight_map"].values()):
        assert {tensor.dtype for tensor in load_file(hub / file).values()} == {torch.float16}


def test_an_image_takes_576_tokens(hub: Path, task: TinyTask) -> None:
    assert image_layout(load_checked_processor(hub), (310, 308), {}).count == IMAGE_TOKENS
    assert task.representation.image_tokens == IMAGE_TOKENS


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_two_steps_of_the_papers_recipe_and_an_evaluation(
    hub: Path, task: TinyTask, tmp_path: Path, precision: str
) -> None:
    settings = recipe(
        **MODELS["llava-1.5-7b"].recipe.model_dump()
        | {"precision": precision, "lora_r": 4, "batch_size": 6, "micro_batch_size": 3, "epochs": 1}
    )
    done = finetune(task.job(hub, tmp_path, settings=settings))
    assert done.record["steps"] == 2
    save_adapter(done.model, tmp_path / "adapter", "hub")
    parameters = {"finetune": done.record["settings"], "representation": task.representation.to_json()}
    predictor = Predictor.load(hub, tmp_path / "adapter", parameters)
    scores = predictor.score(task.records["test"], task.plots)
    assert scores.shape == (len(task.records["test"]), 12)
    # Twelve answers of one to two digits: whole sequences, which share less than all probability.
    total = torch.tensor(scores).logsumexp(1)
    assert torch.isfinite(total).all()
    assert (total <= 1e-3).all()


def test_a_gpu_keeps_the_language_model_in_half_the_memory(hub: Path) -> None:
    model = load_checkpoint(hub, precision="fp32", attention="eager", context_length=256)
    convert_weights(model, "bf16", torch.device("cuda"))
    types = {name: parameter.dtype for name, parameter in model.named_parameters()}
    language = {name for name in types if "language_model" in name or "lm_head" in name}
    assert {types[name] for name in language} == {torch.bfloat16}
    assert {types[name] for name in types.keys() - language} == {torch.float32}


def change(folder: Path, file: str, edit: Callable[[dict], object]) -> None:
    content = json.loads((folder / file).read_text())
    edit(content)
    (folder / file).write_text(json.dumps(content))


PROCESSOR, PIXELS, CONFIG = "processor_config.json", "preprocessor_config.json", "config.json"


@pytest.mark.parametrize(
    ("file", "edit", "message"),
    [
        (PROCESSOR, {"patch_size": 16}, "patch_size is 16 in the processor and 14 in the model"),
        (
            PROCESSOR,
            {"num_additional_image_tokens": 0},
            "num_additional_image_tokens is 0 in the processor and 1 in the model",
        ),
        (
            PROCESSOR,
            {"vision_feature_select_strategy": "full"},
            "vision_feature_select_strategy is full in the processor and default in the model",
        ),
        (
            PIXELS,
            {"crop_size": {"height": 224, "width": 224}},
            "image height is 224 in the processor and 336 in the model",
        ),
        (
            CONFIG,
            {"image_token_index": 7},
            r"index of the image token is \d+ in the processor and 7 in the model",
        ),
        (CONFIG, {"pad_token_id": 7}, r"pad_token_id is \d+ in the processor and 7 in the model"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_a_processor_that_does_not_fit_its_model(copy: Path, file: str, edit: dict, message: str) -> None:
    change(copy, file, lambda content: content.update(edit))
    with pytest.raises(InputError, match=message) as caught:
        load_checked_processor(copy)
    assert str(copy) in str(caught.value)


def test_a_processor_without_the_setting_counts_as_0(copy: Path) -> None:
    # As in revisions of the repositories from before processors had it.
    change(copy, PROCESSOR, lambda content: content.pop("num_additional_image_tokens"))
    with pytest.raises(InputError, match="num_additional_image_tokens is 0 in the processor and 1 in"):
        load_checked_processor(copy)


def test_more_tokens_than_rows(copy: Path) -> None:
    change(copy, CONFIG, lambda content: content["text_config"].update(vocab_size=300))
    with pytest.raises(InputError, match=r"\d+ tokens in the tokenizer and 300 in the model"):
        load_checked_processor(copy)


def test_conversations_and_training_refuse_a_processor_that_does_not_fit(
    copy: Path, task: TinyTask, tmp_path: Path
) -> None:
    change(copy, PROCESSOR, lambda content: content.update(patch_size=16))
    with pytest.raises(InputError, match="patch_size is 16"):
        finetune(task.job(copy, tmp_path / "run"))
    task.series.save(tmp_path / "series.npz")
    import numpy as np

    parts = {"train": np.arange(12), "validation": np.arange(12, 16), "test": np.arange(16, 20)}
    np.savez(tmp_path / "split.npz", **parts)
    scenario = ScenarioSettings(
        name="numbers", modality="numbers", numbers="decimals", plot="none", context_length=1024
    )
    with pytest.raises(InputError, match="patch_size is 16"):
        build_conversations(tmp_path / "series.npz", tmp_path / "split.npz", copy, scenario, tmp_path)


def remove_shard(folder: Path) -> None:
    (folder / "model-00002-of-00002.safetensors").unlink()


def only_a_pickle(folder: Path) -> None:
    for path in folder.glob("model*"):
        path.unlink()
    (folder / "pytorch_model.bin").write_bytes(b"")


def remove_processor(folder: Path) -> None:
    (folder / PROCESSOR).unlink()
    (folder / PIXELS).unlink()


def remove_tokenizer(folder: Path) -> None:
    (folder / "tokenizer.json").unlink()


def cut_tokenizer(folder: Path) -> None:
    (folder / "tokenizer.json").write_text("{")


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (remove_shard, r"1 of 2 files of weights are missing \(model-00002-of-00002"),
        (only_a_pickle, "only pytorch_model.bin, which is never unpickled; allowed: model.safetensors"),
        (remove_processor, r"no processor_config\.json and no preprocessor_config\.json; allowed"),
        (cut_tokenizer, "its processor or tokenizer cannot be read"),
        (remove_tokenizer, r"no tokenizer\.json and no tokenizer\.model; allowed"),
    ],
)
def test_missing_files_are_named(copy: Path, damage: Callable[[Path], None], message: str) -> None:
    damage(copy)
    with pytest.raises(InputError, match=message):  # noqa: PT012  the two checks of a checkpoint, in order
        check_files(copy)
        load_checked_processor(copy)


@pytest.mark.parametrize("model", ["llava-1.5-7b", "llava-1.5-13b"])
def test_the_table_has_the_papers_recipe(model: str) -> None:
    row = MODELS[model]
    assert row.source.hub.repository == f"llava-hf/{model}-hf"
    assert row.system_prompt.startswith("A chat between a curious user and an artificial")
    expected = {
        "lora_r": 128,
        "lora_alpha": 256,
        "lora_dropout": 0.05,
        "learning_rate": 2e-4,
        "projector_learning_rate": 2e-5,
        "warmup_ratio": 0.03,
        "weight_decay": 0.0,
        "batch_size": 16,
        "micro_batch_size": 4,
        "epochs": 2,
        "precision": "bf16",
    }
    assert {key: getattr(row.recipe, key) for key in expected} == expected
