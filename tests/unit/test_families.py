"""Ten kinds of vision-language models through the library: inputs, training, scores, generation, adapters."""

from __future__ import annotations

import dataclasses
import json
import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from conftest import SharedFolder
from PIL import Image
from tiny_families import FAMILIES, write_family
from tiny_llava import TinyTask, make_task, recipe

from vlmtsc.errors import InputError
from vlmtsc.evaluation.controls import score_controls
from vlmtsc.evaluation.generation import read_answer
from vlmtsc.evaluation.metrics import INVALID
from vlmtsc.evaluation.predictor import Predictor
from vlmtsc.examples import IGNORED, Collator, image_tokens, index_images, make_examples, scored_tokens
from vlmtsc.model.adapter import add_adapter, parameter_groups, save_adapter
from vlmtsc.model.checkpoint import load_checkpoint
from vlmtsc.model.files import check_kind, check_model, load_checked_processor
from vlmtsc.representation.processor import ImageLayout, chat_format, image_layout, process_image
from vlmtsc.settings import ModelSettings
from vlmtsc.training.finetune import finetune
from vlmtsc.training.processes import name_sharded_layers

LINEARS = [f"self_attn.{name}_proj" for name in "qkvo"] + [
    f"mlp.{name}_proj" for name in ("gate", "up", "down")
]
TWO_LAYERS = [f"linear_{number}.{kind}" for number in (1, 2) for kind in ("weight", "bias")]
MERGER = [
    "norm.weight",
    "norm.bias",
    *(f"linear_fc{n}.{kind}" for n in (1, 2) for kind in ("weight", "bias")),
]


@dataclass(frozen=True)
class Parts:
    """The trained parameters of a family: its decoder, and its projector's modules with their parameters."""

    decoder: str
    projector: dict[str, list[str]]


LANGUAGE, PROJECTOR = "model.language_model", "model.multi_modal_projector"
CONNECTOR = {"model.connector": ["modality_projection.proj.weight"]}
PARTS = {
    "llava": Parts(LANGUAGE, {PROJECTOR: TWO_LAYERS}),
    "llava_next": Parts(LANGUAGE, {PROJECTOR: TWO_LAYERS}),
    "llava_onevision": Parts(LANGUAGE, {PROJECTOR: TWO_LAYERS}),
    "qwen2_5_vl": Parts(
        LANGUAGE,
        {
            "model.visual.merger": [
                "ln_q.weight",
                *(f"mlp.{n}.{k}" for n in (0, 2) for k in ("weight", "bias")),
            ]
        },
    ),
    "qwen3_vl": Parts(
        LANGUAGE, {"model.visual.merger": MERGER, "model.visual.deepstack_merger_list.0": MERGER}
    ),
    "smolvlm": Parts("model.text_model", CONNECTOR),
    "idefics3": Parts("model.text_model", CONNECTOR),
    "internvl": Parts(LANGUAGE, {PROJECTOR: ["layer_norm.weight", "layer_norm.bias", *TWO_LAYERS]}),
    "gemma3": Parts(LANGUAGE, {PROJECTOR: ["mm_input_projection_weight", "mm_soft_emb_norm.weight"]}),
    "paligemma": Parts(LANGUAGE, {PROJECTOR: ["linear.weight", "linear.bias"]}),
}


def template_of(family: str) -> str:
    return "model" if FAMILIES[family].template else "llava_v1"


@pytest.fixture(params=PARTS)
def family(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture
def checkpoint(family: str, shared_folder: SharedFolder) -> Path:
    return shared_folder(f"family_{family}", lambda folder: write_family(family, folder))


def trained_names(family: str) -> set[str]:
    parts, base = PARTS[family], "base_model.model"
    lora = {
        f"{base}.{parts.decoder}.layers.{layer}.{linear}.lora_{matrix}.default.weight"
        for layer in range(2)
        for linear in LINEARS
        for matrix in "AB"
    }
    projector = {
        f"{base}.{module}.modules_to_save.default.{name}"
        for module, names in parts.projector.items()
        for name in names
    }
    return lora | projector


def processor_tokens(processor: Any, task: TinyTask, text: str, image: str) -> list[int]:
    """Return the tokens that the processor itself makes of a text with the placeholder of an image."""
    with Image.open(task.plots / image) as plot:
        output = (
            processor(images=[[plot]], text=[text])
            if "row" in str(getattr(processor, "images_kwargs", {}))
            else processor(images=[plot], text=[text])
        )
    return list(output["input_ids"][0])


def test_a_family_from_conversations_to_a_merged_model(family: str, checkpoint: Path, tmp_path: Path) -> None:
    task = make_task(
        checkpoint,
        tmp_path / "plots",
        n_classes=12,
        n_train=12,
        context_length=1024,
        template=template_of(family),
    )
    processor = load_checked_processor(checkpoint)
    tokenizer = processor.tokenizer
    examples = make_examples(task.records["train"], task.representation, tokenizer)

    # Tokens: the image's once, one begin token, only the answer supervised, all of it.
    image = image_tokens(tokenizer, task.representation)
    for example, record in zip(examples, task.records["train"], strict=True):
        assert example.tokens == record["tokens"]
        whole = example.prompt + example.answer
        start = whole.index(image[0])
        assert whole[start : start + len(image)] == image
        # PaliGemma's processor switches it off.
        begins = FAMILIES[family].bos is not None and family != "paligemma"
        assert whole.count(tokenizer.bos_token_id) == begins
        answer = task.representation.label_texts[record["label_index"]]
        assert tokenizer.decode(example.answer).strip() == f"{answer}{task.representation.chat.end}"
    [items] = index_images([examples])
    batch = Collator(tokenizer.pad_token_id)([items[case] for case in range(4)])
    supervised = batch["labels"] != IGNORED
    assert supervised.sum().item() == sum(len(example.answer) for example in examples[:4])
    assert torch.equal(batch["labels"][supervised], batch["input_ids"][supervised])

    # Training.
    done = finetune(task.job(checkpoint, tmp_path, epochs=1))
    names = {name for name, parameter in done.model.named_parameters() if parameter.requires_grad}
    assert names == trained_names(family)
    moved = {
        name for name, p in done.model.named_parameters() if p.requires_grad and "lora_B" in name and p.any()
    }
    assert moved == {name for name in names if "lora_B" in name}
    rates = {group["lr"]: len(group["params"]) for group in parameter_groups(done.model, recipe())}
    assert rates[recipe().learning_rate] == sum("lora_" in name for name in names)
    save_adapter(done.model, tmp_path / "adapter", "tiny")
    parameters = {"finetune": done.record["settings"], "representation": task.representation.to_json()}

    # Scores: of a batch, of single cases, of the model in memory, whose LoRA is not merged; and another image.
    test = task.records["test"]
    reloaded = Predictor.load(checkpoint, tmp_path / "adapter", parameters, batch_size=8)
    scores, (texts, indices) = reloaded.score_and_generate(test, task.plots)
    assert np.isfinite(scores).all()
    assert len(texts) == len(indices) == len(test)
    single = Predictor(reloaded.model, processor, task.representation, reloaded.settings, batch_size=1)
    np.testing.assert_allclose(single.score(test, task.plots), scores, atol=1e-4)
    trained = Predictor(done.model.eval(), processor, task.representation, reloaded.settings, batch_size=8)
    np.testing.assert_allclose(trained.score(test, task.plots), scores, atol=1e-4)
    controls, _ = score_controls(reloaded, test, scores, task.plots, seed=0, scratch=tmp_path)
    assert np.abs(controls["image_swapped"] - scores).max() > 0.01
    assert np.abs(controls["numbers_removed"] - scores).max() > 0.01

    # One answer's likelihood is that of the whole sequence in one pass, without padding or a cache.
    for case in (0, 1):
        [example] = make_examples([test[case]], task.representation, tokenizer)
        path = task.plots / test[case]["image"]
        with Image.open(path) as plot:
            tensors = process_image(processor, plot.convert("RGB"), {})
        # Twelve answers: "1" begins "12", so the end token counts.
        expected = whole_likelihood(reloaded.model, tensors, example.prompt, example.answer)
        found = scores[case, test[case]["label_index"]]
        assert found == pytest.approx(expected, abs=1e-4)


#: Of a processor's tensors, those of its text.
TEXT = (
    *("input_ids", "attention_mask", "labels", "token_type_ids", "mm_token_type_ids"),
    *("text_replacement_offsets", "batch_num_images"),
)


def whole_likelihood(model: Any, tensors: Any, prompt: list[int], answer: list[int]) -> float:
    """Score an answer in one pass over the processor's tensors of images."""
    images = {name: value for name, value in tensors.items() if name not in TEXT}
    tokens = torch.tensor([prompt + answer])
    start = len(prompt)
    mask = torch.arange(tokens.shape[1])[None] >= start
    with torch.no_grad():
        logits = model(input_ids=tokens, answer_mask=mask, **images).logits.double().log_softmax(-1)[0]
    return sum(float(logits[place - 1, tokens[0, place]]) for place in range(start, tokens.shape[1]))


@pytest.mark.parametrize("family", [name for name in PARTS if FAMILIES[name].template])
def test_the_prompt_is_what_the_processor_makes_of_the_chat_template(
    family: str, checkpoint: Path, tmp_path: Path
) -> None:
    task = make_task(checkpoint, tmp_path / "plots", n_train=8, context_length=1024, template="model")
    processor = load_checked_processor(checkpoint)
    record = task.records["test"][0]
    question = record["conversations"][0]["value"].removeprefix("<image>\n")
    user = {"role": "user", "content": [{"type": "image"}, {"type": "text", "text": question}]}
    text = processor.apply_chat_template([user], add_generation_prompt=True, tokenize=False)
    tokenizer = processor.tokenizer
    if tokenizer.bos_token and tokenizer("")["input_ids"]:
        text = text.removeprefix(tokenizer.bos_token)
    [example] = make_examples([record], task.representation, tokenizer)
    thought = tokenizer("\n</think>\n\n", add_special_tokens=False)["input_ids"]
    expected = processor_tokens(processor, task, text, record["image"])
    if family == "qwen3_vl":  # which would go on with its reasoning
        assert example.prompt[-len(thought) :] == thought
        assert example.prompt[: len(expected) - 1] == expected[:-1]
    else:
        assert example.prompt == expected


def test_solved_cases_are_shown_with_their_plots(family: str, checkpoint: Path, tmp_path: Path) -> None:
    options: dict[str, Any] = {"shots": 2, "n_train": 8, "context_length": 4096}
    template = template_of(family)
    if family == "llava":  # whose own template writes all images first
        with pytest.raises(InputError, match="both: shots=2, but the model's chat template shows one image"):
            make_task(checkpoint, tmp_path / "plots", template=template, **options)
        template = "llava_v1"
    task = make_task(checkpoint, tmp_path / "plots", template=template, **options)
    settings = recipe(lora_r=1).untuned()
    base = load_checkpoint(checkpoint, precision="fp32", attention="eager", context_length=4096)
    processor = load_checked_processor(checkpoint)
    predictor = Predictor(base, processor, task.representation, settings, batch_size=4, shots=task.plots)
    test = task.records["test"]
    scores = predictor.score(test, task.plots)
    assert np.isfinite(scores).all()
    alone = dataclasses.replace(predictor, batch_size=1).score(test, task.plots)
    np.testing.assert_allclose(alone, scores, atol=1e-4)

    # The same as what the processor makes of the text and all plots, in one pass.
    shots = task.representation.shot_images
    assert len(shots) == 4
    assert set(shots) <= {record["image"] for record in task.records["train"]}
    plots = []
    for name in (*shots, test[0]["image"]):
        with Image.open(task.plots / name) as plot:
            plots.append(plot.convert("RGB"))
    placeholder = image_layout(processor, plots[0].size, {}).placeholder
    text = task.representation.record_text(test[0], with_answer=False)
    nested = "row" in str(getattr(processor, "images_kwargs", {}))
    tensors = processor(
        images=[plots] if nested else plots,
        text=[text.replace(placeholder, processor.image_token)],
        return_tensors="pt",
    )
    [question] = predictor.questions(test[:1])
    if family != "paligemma":  # whose processor adds to the text
        assert tensors["input_ids"][0].tolist() == question.prompt
    answers = scored_tokens(processor.tokenizer, task.representation)
    expected = [whole_likelihood(base, tensors, question.prompt, answer) for answer in answers]
    np.testing.assert_allclose(scores[0], expected, atol=1e-4)

    # Other plots of the solved cases change the answer.
    turned = dataclasses.replace(task.representation, shot_images=shots[::-1])
    other = dataclasses.replace(predictor, representation=turned).score(test, task.plots)
    assert np.abs(other - scores).max() > 2e-4
    with pytest.raises(InputError, match="show plots of training cases, which are not here"):
        dataclasses.replace(predictor, shots=None).score(test, task.plots)


def test_sharding_leaves_out_the_vision_tower_but_no_projector(
    checkpoint: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("FSDP_TRANSFORMER_CLS_TO_WRAP", "FSDP_IGNORED_MODULES"):
        monkeypatch.setenv(name, "")
    model = load_checkpoint(checkpoint, precision="fp32", attention="sdpa", context_length=512)
    name_sharded_layers(model)
    ignored = re.compile(os.environ["FSDP_IGNORED_MODULES"])
    left_out = {
        id(parameter)
        for name, module in model.named_modules()
        if ignored.fullmatch(name)
        for parameter in module.parameters()
    }
    tower = {id(parameter) for parameter in model.get_submodule(model.architecture.tower).parameters()}
    projector = {
        id(parameter)
        for name in model.architecture.projector
        for parameter in model.get_submodule(name).parameters()
    }
    assert left_out == tower - projector
    layers = {type(module).__name__ for module in model.get_decoder().layers}
    assert layers == {os.environ["FSDP_TRANSFORMER_CLS_TO_WRAP"]}


@pytest.mark.usefixtures("bfloat16_instructions")
@pytest.mark.parametrize("attention", ["eager", "sdpa"])
def test_half_precision(family: str, checkpoint: Path, tmp_path: Path, attention: str) -> None:
    task = make_task(
        checkpoint, tmp_path / "plots", n_train=4, context_length=1024, template=template_of(family)
    )
    processor = load_checked_processor(checkpoint)
    scores = {}
    for precision in ("fp32", "bf16"):
        settings = recipe(precision=precision, attention=attention)
        base = load_checkpoint(checkpoint, precision=precision, attention=attention, context_length=1024)
        model = add_adapter(base, settings).eval()
        predictor = Predictor(model, processor, task.representation, settings, batch_size=2)
        scores[precision] = predictor.score(task.records["test"][:2], task.plots)
    assert np.abs(scores["bf16"] - scores["fp32"]).max() < 0.5
    assert not np.array_equal(scores["bf16"], scores["fp32"])


def test_an_untuned_run_scores_the_checkpoint_as_it_comes(
    shared_folder: SharedFolder, tmp_path: Path
) -> None:
    folder = shared_folder("family_qwen2_5_vl", lambda path: write_family("qwen2_5_vl", path))
    task = make_task(folder, tmp_path / "plots", n_train=8, context_length=1024, template="model")
    settings = recipe(lora_r=16).untuned()
    done = finetune(task.job(folder, tmp_path, settings=settings))
    assert (done.record["steps"], done.record["train_tokens"]) == (0, 0)
    assert done.record["stopped_by"] == "untuned"
    assert [row["step"] for row in done.log.rows] == [0]
    save_adapter(done.model, tmp_path / "adapter", "tiny")
    parameters = {"finetune": done.record["settings"], "representation": task.representation.to_json()}
    untuned = Predictor.load(folder, tmp_path / "adapter", parameters)
    base = load_checkpoint(folder, precision="fp32", attention="eager", context_length=1024)
    plain = Predictor(base, untuned.processor, task.representation, settings)
    test = task.records["test"]
    np.testing.assert_array_equal(untuned.score(test, task.plots), plain.score(test, task.plots))
    validation = plain.score(task.records["validation"], task.plots)
    labels = [record["label_index"] for record in task.records["validation"]]
    assert done.record["validation_accuracy"] == (validation.argmax(1) == labels).mean()


@pytest.mark.parametrize("tuning", ["lora", "last_blocks"])
@pytest.mark.parametrize("family", ["llava", "qwen3_vl", "smolvlm", "gemma3"])
def test_the_vision_tower_can_be_trained(family: str, checkpoint: Path, tmp_path: Path, tuning: str) -> None:
    task = make_task(
        checkpoint, tmp_path / "plots", n_train=4, context_length=1024, template=template_of(family)
    )
    changes = {"vision_tuning": tuning, "vision_learning_rate": 3e-3, "vision_blocks": 1}
    done = finetune(task.job(checkpoint, tmp_path, epochs=3, **changes))
    names = {name for name, parameter in done.model.named_parameters() if parameter.requires_grad}
    vision = names - trained_names(family)
    assert names - vision == trained_names(family)
    tower = done.model.get_base_model().architecture.tower
    assert all(name.startswith(f"base_model.model.{tower}.") for name in vision)
    assert all(("lora_" in name) == (tuning == "lora") for name in vision)
    if tuning == "last_blocks":
        assert {re.sub(r"\.\d+\.modules_to_save.*", "", name) for name in vision} == {
            f"base_model.model.{tower}.{'blocks' if family == 'qwen3_vl' else 'encoder.layers'}"
        }
        assert all(re.search(r"\.1\.modules_to_save", name) for name in vision)
    rates = {group["lr"]: group["params"] for group in parameter_groups(done.model, recipe(**changes))}
    assert len(rates[3e-3]) == len(vision)
    save_adapter(done.model, tmp_path / "adapter", "tiny")
    parameters = {"finetune": done.record["settings"], "representation": task.representation.to_json()}
    again = Predictor.load(checkpoint, tmp_path / "adapter", parameters)
    trained = Predictor(done.model.eval(), again.processor, task.representation, again.settings)
    scores = trained.score(task.records["test"], task.plots)
    np.testing.assert_allclose(again.score(task.records["test"], task.plots), scores, atol=1e-4)
    untouched = [
        p for n, p in done.model.named_parameters() if n in vision and ("lora_B" in n or tuning != "lora")
    ]
    assert any(parameter.any() for parameter in untouched)


def row(**changes: Any) -> ModelSettings:
    resources = {"threads": 1, "mem_mb": 100, "runtime": 1, "gpu": 0}
    settings = recipe().model_dump(exclude={"seed"})
    return ModelSettings(
        **{
            "source": {"folder": {"path": "x"}},
            "system_prompt": "",
            "resources": resources,
            "recipe": settings,
        }
        | changes
    )


@pytest.fixture
def smolvlm(shared_folder: SharedFolder) -> Path:
    return shared_folder("family_smolvlm", lambda folder: write_family("smolvlm", folder))


def test_what_a_kind_lacks_is_said_before_anything_is_computed(smolvlm: Path) -> None:
    check_model(smolvlm, row())
    settings = recipe().model_dump(exclude={"seed"})
    for key, changed in (
        ("store_features", row(store_features=True)),
        ("recipe.align_steps", row(recipe=settings | {"align_steps": 9})),
    ):
        with pytest.raises(InputError, match=f"model_type 'smolvlm' does not have {re.escape(key)}"):
            check_model(smolvlm, changed)


@pytest.mark.parametrize("kind", ["llama", "clip", "no_such_kind", None])
def test_other_kinds_are_refused(tmp_path: Path, kind: str | None) -> None:
    (tmp_path / "config.json").write_text(json.dumps({"model_type": kind}))
    with pytest.raises(InputError, match=f"model_type {kind!r}; allowed: a kind of image-text-to-text"):
        check_kind(tmp_path)


def test_a_processor_without_its_package_is_one_line(tmp_path: Path, smolvlm: Path) -> None:
    for name in ("config.json", "processor_config.json", "tokenizer.json", "tokenizer_config.json"):
        content = json.loads((smolvlm / name).read_text())
        if name == "config.json":
            content["model_type"] = "mistral3"
        if "processor_class" in content:
            content["processor_class"] = "PixtralProcessor"
        (tmp_path / name).write_text(json.dumps(content))
    with pytest.raises(InputError, match=r"cannot be read \(.*PixtralProcessor") as caught:
        load_checked_processor(tmp_path)
    assert "\n" not in str(caught.value)


def test_image_options_bound_the_tokens(smolvlm: Path) -> None:
    processor = load_checked_processor(smolvlm)
    whole = image_layout(processor, (60, 56), {})
    assert whole.count > image_layout(processor, (60, 56), {"do_image_splitting": False}).count == 4
    assert whole.tokens[0] == whole.tokens[-1] == ("<fake_token_around_image>", 1)
    with pytest.raises(InputError, match="unknown option 'max_pixel'"):
        image_layout(processor, (60, 56), {"max_pixel": 3})


def test_a_processor_that_does_not_say_what_replaces_an_image(
    smolvlm: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    processor = load_checked_processor(smolvlm)
    monkeypatch.delattr(type(processor), "replace_image_token")
    with pytest.raises(InputError, match="SmolVLMProcessor: does not say which tokens replace an image"):
        image_layout(processor, (60, 56), {})


def test_a_checkpoint_without_a_chat_template(shared_folder: SharedFolder) -> None:
    folder = shared_folder("family_paligemma", lambda path: write_family("paligemma", path))
    with pytest.raises(InputError, match="no chat template; allowed: template=llava_v1"):
        chat_format(load_checked_processor(folder), "model")


def test_templates_that_cannot_be_used(smolvlm: Path) -> None:
    processor = load_checked_processor(smolvlm)
    image = ImageLayout("", (("<image>", 1),), "")
    for template, message in (
        ("{{ raise_exception('no') }}", "cannot write a question and its answer"),
        ("{{ messages[0]['content'][-1]['text'] * 2 }}", "allowed: the question and the answer, each once"),
        (
            "{% for m in messages %}{{ m['content'][-1]['text'] }}{% endfor %}",
            "0 of <image> before the question; allowed: one",
        ),
    ):
        processor.chat_template = template
        with pytest.raises(InputError, match=message):
            chat_format(processor, "model", image=image)


def test_reasoning_before_an_answer_is_dropped_and_an_unfinished_one_is_no_answer(
    shared_folder: SharedFolder, tmp_path: Path
) -> None:
    folder = shared_folder("family_qwen3_vl", lambda path: write_family("qwen3_vl", path))
    task = make_task(folder, tmp_path, modality="numbers", n_train=4, context_length=1024, template="model")
    tokenizer = load_checked_processor(folder).tokenizer

    def read(text: str) -> tuple[str, int]:
        return read_answer(
            tokenizer(text, add_special_tokens=False)["input_ids"], tokenizer, task.representation
        )

    assert read("<think>\nup, so 1.\n</think>\n\n2<|im_end|>") == ("2", 1)
    assert read("2<|im_end|>") == ("2", 1)
    assert read("<think>\nup, so 2")[1] == INVALID
    # Cut off: it may be the beginning of another answer.
    assert read("2") == ("2", INVALID)
