"""Switches that act on tokens, pixels and scores, on a tiny model."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image
from tiny_llava import IMAGE_TOKENS, TinyTask, finetune_into, make_task, recipe

import vlmtsc.model.vision as vision_features
from evaluate_model import evaluate_model
from predict_series import predict_series
from vlmtsc.errors import InputError
from vlmtsc.examples import (
    IGNORED,
    Collator,
    answer_tokens,
    distinguishing_tokens,
    make_examples,
    make_questions,
    scored_tokens,
)
from vlmtsc.files import read_json, write_json
from vlmtsc.model.adapter import add_adapter
from vlmtsc.model.checkpoint import load_checkpoint
from vlmtsc.model.vision import VisionFeatures, load_pixels, pad_to_square
from vlmtsc.representation.processor import load_processor
from vlmtsc.representation.representation import Representation
from vlmtsc.scoring import score_examples
from vlmtsc.settings import PlotSettings
from vlmtsc.training.trainer import answer_loss


def with_switches(representation: Representation, *compat: str) -> Representation:
    """Return a representation with switches that act after conversations are made."""
    scenario = representation.scenario.changed(compat=compat)
    return dataclasses.replace(representation, scenario=scenario)


@pytest.fixture(scope="module")
def numbers(tiny_checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> TinyTask:
    return make_task(tiny_checkpoint, tmp_path_factory.mktemp("none"), modality="numbers", n_classes=11)


@pytest.mark.parametrize(("style", "tenth"), [("tiny_checkpoint", "1"), ("llama_checkpoint", "<unk>")])
def test_one_token_scores_a_class(
    request: pytest.FixtureRequest, tmp_path: Path, style: str, tenth: str
) -> None:
    checkpoint = request.getfixturevalue(style)
    task = make_task(checkpoint, tmp_path / "plots", modality="numbers", n_classes=11)
    tokenizer = load_processor(checkpoint).tokenizer
    answers = answer_tokens(tokenizer, task.representation)
    assert scored_tokens(tokenizer, task.representation) == distinguishing_tokens(answers)
    faulty = scored_tokens(tokenizer, with_switches(task.representation, "single_token_score"))
    assert [tokenizer.convert_ids_to_tokens(tokens) for tokens in faulty] == [
        *([str(number)] for number in range(1, 10)),
        [tenth],
        [tenth],
    ]
    # What was trained right after `ASSISTANT:` is the word-boundary mark, which the original does not look at.
    assert not {tokens[0] for tokens in faulty} & {answer[0] for answer in answers}


def test_the_score_is_that_of_the_last_position_of_the_prompt(
    numbers: TinyTask, tiny_checkpoint: Path
) -> None:
    tokenizer = load_processor(tiny_checkpoint).tokenizer
    model = load_checkpoint(tiny_checkpoint, precision="fp32", attention="eager", context_length=512)
    examples = make_questions(numbers.records["test"], numbers.representation, tokenizer)
    found = {}
    for compat in ((), ("single_token_score",)):
        found[compat] = score_examples(
            model,
            examples,
            scored_tokens(tokenizer, with_switches(numbers.representation, *compat)),
            features=None,
            image_indices=[-1] * len(examples),
            pad_token_id=0,
            batch_size=3,
            precision="fp32",
        )
    faulty = found[("single_token_score",)]
    digits = tokenizer.convert_tokens_to_ids([*"123456789", "1", "1"])
    for row, example in enumerate(examples):
        with torch.no_grad():
            logits = model(input_ids=torch.tensor([example.prompt])).logits[0, -1].double()
        np.testing.assert_allclose(faulty[row], logits.log_softmax(-1)[digits].numpy(), atol=2e-5)
    assert (faulty[:, 0] == faulty[:, 9]).all()
    assert (found[()][:, 0] != found[()][:, 9]).all()


def test_tails_are_cut_in_training_and_in_test(tiny_checkpoint: Path, tmp_path: Path) -> None:
    tokenizer = load_processor(tiny_checkpoint).tokenizer
    honest = make_task(tiny_checkpoint, tmp_path / "plots", n_classes=3)
    question = honest.records["train"][0]["conversations"][0]["value"].removeprefix("<image>\n")
    # The first question alone fits, so that nothing is downsampled and others are too long.
    context = len(tokenizer(question)["input_ids"]) + 1
    faulty = make_task(
        tiny_checkpoint,
        tmp_path / "plots",
        n_classes=3,
        context_length=context,
        compat=["first_case_factor"],
    )
    assert faulty.representation.factor == honest.representation.factor == 1
    cut = 0
    for part in ("train", "test"):
        whole = make_examples(honest.records[part], honest.representation, tokenizer)
        kept = make_examples(faulty.records[part], faulty.representation, tokenizer)
        questions = make_questions(faulty.records[part], faulty.representation, tokenizer)
        for one, other, question in zip(whole, kept, questions, strict=True):
            assert other.prompt + other.answer == (one.prompt + one.answer)[:context]
            assert other.prompt == question.prompt == one.prompt[:context]
            cut += one.tokens > context
    assert cut
    with pytest.raises(
        InputError, match=rf"Waves-\d+: \d+ tokens and up to \d+ of an answer; allowed: {context}"
    ):
        make_questions(faulty.records["test"], with_switches(faulty.representation), tokenizer)


def test_a_cut_within_the_image_is_refused(tiny_checkpoint: Path, tmp_path: Path) -> None:
    task = make_task(tiny_checkpoint, tmp_path / "plots")
    scenario = task.representation.scenario.changed(compat=("first_case_factor",), context_length=3)
    short = dataclasses.replace(task.representation, scenario=scenario)
    with pytest.raises(
        InputError, match=r"Waves-\d+: context_length=3 ends within the image; allowed: at least \d+"
    ):
        make_questions(task.records["test"], short, load_processor(tiny_checkpoint).tokenizer)


def test_a_batch_whose_answers_are_all_cut_off_has_no_loss(numbers: TinyTask, tiny_checkpoint: Path) -> None:
    tokenizer = load_processor(tiny_checkpoint).tokenizer
    base = load_checkpoint(tiny_checkpoint, precision="fp32", attention="eager", context_length=512)
    model = add_adapter(base, recipe())
    examples = make_examples(numbers.records["train"][:2], numbers.representation, tokenizer)
    batch = Collator(0)([{"example": example, "image_index": -1} for example in examples])
    assert answer_loss(model, batch, None) > 0
    batch["labels"][:] = IGNORED
    for items in (None, torch.tensor(0)):
        loss = answer_loss(model, batch, None, items)
        assert loss == 0
        loss.backward()


def test_padding_puts_the_picture_into_the_middle_of_a_square() -> None:
    image = Image.new("RGB", (6, 4), (255, 0, 0))
    square = np.asarray(pad_to_square(image, [0.5, 0.25, 0.0]))
    assert square.shape == (6, 6, 3)
    assert (square[1:5] == (255, 0, 0)).all()
    assert (square[[0, 5]] == (127, 63, 0)).all()
    assert pad_to_square(square_image := Image.new("RGB", (5, 5)), [0, 0, 0]).size == square_image.size


def test_only_the_named_plots_are_padded(tiny_checkpoint: Path, tmp_path: Path) -> None:
    path = tmp_path / "wide.png"
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (28, 60, 3), dtype=np.uint8)).save(path)
    processor = load_processor(tiny_checkpoint)
    model = load_checkpoint(tiny_checkpoint, precision="fp32", attention="eager", context_length=64)
    pixels = load_pixels([path, path], processor, padded=[1])
    torch.testing.assert_close(pixels[0], load_pixels([path], processor)[0])
    assert not torch.allclose(pixels[0], pixels[1])
    vision = VisionFeatures(model, processor, [path] * 3, precision="fp32", cache_mb=1, padded=range(1))
    features = vision([2, 0, 1])
    torch.testing.assert_close(features[0], features[2])
    assert not torch.allclose(features[0], features[1])


@pytest.fixture
def padded(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, int]]:
    """Give a list that grows with each padded image."""
    sizes: list[tuple[int, int]] = []

    def recorded(image, mean):
        sizes.append(image.size)
        return pad_to_square(image, mean)

    monkeypatch.setattr(vision_features, "pad_to_square", recorded)
    return sizes


def run_scripts(checkpoint: Path, folder: Path, task: TinyTask) -> Path:
    """Fine-tune, evaluate and predict through the scripts, and return the run's folder."""
    dataset = folder / "datasets/Waves"
    cleaning = {"missing": "interpolate", "unequal_length": "resample", "normalize": False}
    write_json(dataset / "facts.json", {"settings": cleaning})
    run = folder / "runs/tiny/Waves/pooled/mine/seed-0"
    finetune_into(task.job(checkpoint, folder, epochs=1), run)
    evaluate_model(
        model=checkpoint,
        adapter=run / "adapter",
        parameters=run / "parameters.json",
        test=folder / "test.json",
        predictions=run / "predictions.csv",
        metrics=run / "metrics.json",
        plots=task.plots if task.representation.has_image else None,
    )
    return run


def predict(run: Path, checkpoint: Path, task: TinyTask) -> pd.DataFrame:
    """Predict the test part anew, as unlabelled series."""
    new = run / "new.csv"
    cases = [int(record["id"].rpartition("-")[2]) for record in task.records["test"]]
    np.savetxt(new, task.series.values[cases, 0], delimiter=",")
    predict_series(run, new, run / "new_predictions.csv", model=checkpoint)
    return pd.read_csv(run / "new_predictions.csv")


def same_scores(run: Path, predicted: pd.DataFrame) -> None:
    scored = pd.read_csv(run / "predictions.csv")
    names = [name for name in scored if name.startswith("score_")]
    np.testing.assert_allclose(predicted[names], scored[names], atol=1e-4)


def test_plots_are_padded_in_training_and_nowhere_else(
    tiny_checkpoint: Path, tmp_path: Path, padded: list[tuple[int, int]]
) -> None:
    honest = make_task(tiny_checkpoint, tmp_path / "plots", modality="plot")
    run_scripts(tiny_checkpoint, tmp_path / "honest", honest)
    assert padded == []
    faulty = make_task(
        tiny_checkpoint, tmp_path / "plots", modality="plot", compat=["padding_in_training_only"]
    )
    run = run_scripts(tiny_checkpoint, tmp_path / "faulty", faulty)
    assert len(padded) == len(faulty.records["train"])  # once each: features are kept
    same_scores(run, predict(run, tiny_checkpoint, faulty))
    assert len(padded) == len(faulty.records["train"])


def test_a_run_as_published_trains_is_scored_and_predicts(llama_checkpoint: Path, tmp_path: Path) -> None:
    switches = ("no_image_token", "merged_labels", "single_token_score", "first_case_factor")
    task = make_task(
        llama_checkpoint,
        tmp_path / "plots",
        n_classes=3,
        context_length=100,
        system_prompt="A chat.",
        compat=(*switches, "padding_in_training_only"),
    )
    # No plot is given to any step, and none is asked for.
    run = run_scripts(llama_checkpoint, tmp_path, task)
    table = pd.read_csv(run / "predictions.csv", dtype=str)
    assert read_json(run / "metrics.json")["accuracy"] == pytest.approx(
        (table["true"] == table["predicted"]).mean()
    )
    same_scores(run, predict(run, llama_checkpoint, task))


def test_new_series_are_drawn_blank_where_the_training_series_were(
    tiny_checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    task = make_task(tiny_checkpoint, tmp_path / "plots", modality="both")
    plot = PlotSettings(series="downsampled", inches=1.0, dpi=40)
    drawn = dataclasses.replace(task.representation, plot=plot)
    blank = with_switches(drawn, "blank_plot")
    run = run_scripts(tiny_checkpoint, tmp_path, dataclasses.replace(task, representation=blank))
    seen = []

    def recorded(paths, processor, padded=()):
        seen.extend(np.asarray(Image.open(path).convert("RGB")) for path in paths)
        return load_pixels(paths, processor, padded)

    monkeypatch.setattr(vision_features, "load_pixels", recorded)
    predict(run, tiny_checkpoint, task)
    assert len(seen) == len(task.records["test"])
    assert all((picture == 255).all() for picture in seen)
    assert blank.image_tokens == IMAGE_TOKENS


def test_new_series_have_no_class_to_leak(tmp_path: Path, numbers: TinyTask) -> None:
    scenario = numbers.representation.scenario.changed(
        context_text="rationale",
        describer="template",
        compat=("leaked_rationale",),
    )
    fitted = dataclasses.replace(numbers.representation, scenario=scenario)
    run = tmp_path / "results/runs/tiny/Waves/pooled/mine/seed-0"
    names = {"model": "tiny", "dataset": "Waves", "protocol": "pooled", "scenario": "mine", "seed": 0}
    write_json(run / "parameters.json", {"run": names, "representation": fitted.to_json()})
    cleaning = {"missing": "interpolate", "unequal_length": "resample", "normalize": False}
    write_json(tmp_path / "results/datasets/Waves/facts.json", {"settings": cleaning})
    (tmp_path / "new.csv").write_text(",".join(["1.5"] * 16) + "\n")
    with pytest.raises(InputError, match=r"compat='leaked_rationale'.*the class of a new series is unknown"):
        predict_series(run, tmp_path / "new.csv", tmp_path / "out.csv")
