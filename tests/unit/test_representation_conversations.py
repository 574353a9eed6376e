"""Conversations: their form, their tokens, and nothing that tells the answer."""

import dataclasses
import json

import numpy as np
import pytest
from PIL import Image

from vlmtsc.data.series import CleanSeries
from vlmtsc.data.splits import SETS
from vlmtsc.describe.descriptions import describe_template
from vlmtsc.errors import InputError
from vlmtsc.paths import plot_file_name
from vlmtsc.representation.conversations import Conversations, make_conversations
from vlmtsc.representation.downsampling import DOWNSAMPLERS, downsample
from vlmtsc.representation.plots import make_plotter
from vlmtsc.representation.prompts import IMAGE_TOKEN, fit_scale
from vlmtsc.representation.representation import Representation
from vlmtsc.settings import DescriptionKind, PlotSettings, ScenarioSettings

IMAGE_TOKENS = 9
CLASSES = np.array([f"class-{letter}" for letter in "abcdefghijkl"])  # twelve: answers of one and two digits
SPLIT = {"train": np.arange(4, 30), "validation": np.arange(30, 40), "test": np.array([0, 2, 1, 3])}
SCENARIOS = {
    "plot": {"modality": "plot", "numbers": "none", "context_length": 100},
    "numbers": {"modality": "numbers", "numbers": "scaled", "plot": "none", "context_length": 300},
    "both": {"modality": "both", "numbers": "decimals", "context_length": 400},
    "stats": {"modality": "both", "numbers": "decimals", "context_text": "stats", "context_length": 1500},
    "signal_analysis": {
        "modality": "both",
        "numbers": "decimals",
        "context_text": "signal_analysis",
        "describer": "template",
        "context_length": 2500,
    },
    "rationale": {
        "modality": "both",
        "numbers": "decimals",
        "context_text": "rationale",
        "describer": "template",
        "context_length": 1500,
    },
}


def series(n_channels: int = 2) -> CleanSeries:
    values = np.random.default_rng(0).normal(size=(40, n_channels, 60)).cumsum(axis=2)
    values[1] *= 1000  # a test case with longer numbers than any other
    case_ids = np.array([f"Toy-{case:05d}" for case in range(40)])
    return CleanSeries(values, np.arange(40) % 12, CLASSES, case_ids, 20)


def count(texts: list[str]) -> np.ndarray:
    """One token a character, and one for the placeholder."""
    return np.array([len(text.replace(IMAGE_TOKEN, "I")) for text in texts])


def texts_of(data: CleanSeries, kind: DescriptionKind | None) -> dict[str, str] | None:
    if kind is None:
        return None
    return {str(i): describe_template(x, kind) for i, x in zip(data.case_ids, data.values, strict=True)}


def made(
    scenario: str,
    n_channels: int = 2,
    data: CleanSeries | None = None,
    plot: PlotSettings | None = None,
    **changes: object,
) -> Conversations:
    settings = ScenarioSettings(name=scenario, **SCENARIOS[scenario] | changes)  # type: ignore[arg-type]
    data = data or series(n_channels)
    return make_conversations(
        data,
        SPLIT,
        settings,
        (plot or PlotSettings()) if settings.has_image else None,
        count_tokens=count,
        image_tokens=IMAGE_TOKENS,
        system_prompt="A chat.",
        eos_token="</s>",
        descriptions=texts_of(data, settings.described_context),
        rationales=texts_of(data, "rationale" if settings.has_rationale_target else None),
    )


@pytest.mark.parametrize(
    ("scenario", "n_channels"), [*((name, 1) for name in SCENARIOS), ("both", 2), ("numbers", 2), ("plot", 2)]
)
def test_records(scenario: str, n_channels: int) -> None:
    result = made(scenario, n_channels)
    data = series(n_channels)
    context = SCENARIOS[scenario]["context_length"]
    for part in SETS:
        assert [record["id"] for record in result.records[part]] == data.case_ids[SPLIT[part]].tolist()
        for record, case in zip(result.records[part], SPLIT[part].tolist(), strict=True):
            human, reply = record["conversations"]
            assert (human["from"], reply["from"]) == ("human", "gpt")
            assert reply["value"] == str(data.label_index[case] + 1)
            assert record["label"] == CLASSES[record["label_index"]] == CLASSES[data.label_index[case]]
            assert record["label"] not in human["value"]
            text = result.representation.record_text(record, with_answer=True)
            assert text.endswith(f" ASSISTANT: {reply['value']}</s>")
            assert text.startswith("A chat. USER: ")
            assert (
                text == f"{result.representation.record_text(record, with_answer=False)} {reply['value']}</s>"
            )
            if scenario == "numbers":
                assert "image" not in record
                assert IMAGE_TOKEN not in text
                assert record["tokens"] == len(text)
            else:
                assert record["image"] == f"case-{case:05d}.png"
                assert human["value"].startswith(f"{IMAGE_TOKEN}\n")
                assert text.count(IMAGE_TOKEN) == 1
                assert record["tokens"] == len(text.replace(IMAGE_TOKEN, "I" * IMAGE_TOKENS))
            assert record["tokens"] <= context
    json.dumps(result.records, allow_nan=False)


@pytest.mark.parametrize("scenario", ["numbers", "both"])
def test_next_smaller_factor_does_not_fit(scenario: str) -> None:
    budget = made(scenario).budget
    assert budget["factor"] > 1
    longer = budget["context_length"] + 1
    assert made(scenario, context_length=longer + 2000).budget["factor"] < budget["factor"]
    least = budget["longest_case"]["tokens"]
    assert made(scenario, context_length=least).budget["factor"] == budget["factor"]
    assert made(scenario, context_length=least - 1).budget["factor"] > budget["factor"]


def test_new_series_are_encoded_as_the_conversations_are() -> None:
    for scenario in SCENARIOS:
        result = made(scenario, n_channels=1)
        for record, case in zip(result.records["test"], SPLIT["test"], strict=True):
            values = series(1).values[case]
            kind = result.representation.scenario.described_context
            description = None if kind is None else describe_template(values, kind)
            question = result.representation.text(
                result.representation.turn(result.representation.prompt(values, description=description))
            )
            assert question == result.representation.record_text(record, with_answer=False)


def test_scale_is_fitted_to_train_alone() -> None:
    result = made("numbers", context_length=5000)
    centre, reach = fit_scale(series().values[SPLIT["train"]])
    assert result.representation.factor == 1
    assert result.representation.scale_centre == tuple(centre)
    assert result.representation.scale_reach == tuple(reach)


def test_budget_adds_up() -> None:
    result = made("both")
    budget = result.budget
    for part in SETS:
        tokens = [record["tokens"] for record in result.records[part]]
        assert budget["tokens"][part] == {
            "cases": len(tokens),
            "total": sum(tokens),
            "min": min(tokens),
            "mean": round(sum(tokens) / len(tokens), 2),
            "max": max(tokens),
        }
    assert budget["longest_case"]["id"] == "Toy-00001"
    assert budget["headroom"] == 400 - budget["longest_case"]["tokens"] >= 0
    assert budget["training_tokens"] == budget["tokens"]["train"]["total"]
    assert budget["values_kept"] == -(-60 // budget["factor"])
    assert budget["image_tokens"] == IMAGE_TOKENS


def test_budget_tells_what_the_original_would_have_cut() -> None:
    whole = made("both", n_channels=1, context_length=5000)
    first = whole.representation.prompt(series(1).values[SPLIT["train"][0]])
    # The first training question fits alone, but not with the image and the system prompt, which it forgot.
    tight = made("both", n_channels=1, context_length=len(first) + 1).budget
    assert tight["original"]["factor"] == 1
    assert tight["original"]["cases_cut"] > 0
    assert tight["factor"] > 1
    assert made("both", context_length=5000).budget["original"] == {"factor": 1, "cases_cut": 0}
    assert made("plot").budget["original"] is None


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_questions_are_the_same_whatever_the_labels_are(scenario: str) -> None:
    """No question of any scenario depends on the class of its case, nor on what classes are called."""
    data = series()
    other = dataclasses.replace(
        data,
        label_index=(data.label_index + 1) % 12,
        classes=np.array([f"other-{letter}" for letter in "lkjihgfedcba"]),
    )
    # Without downsampling, whose factor has to leave room for answers of one digit or two.
    given, changed = (made(scenario, data=d, context_length=9000) for d in (data, other))
    for part in SETS:
        for record, twin in zip(given.records[part], changed.records[part], strict=True):
            assert record["conversations"][0] == twin["conversations"][0]
            assert record["label"] != twin["label"]


def test_signal_analysis_holds_statistics_and_a_paragraph_of_every_channel() -> None:
    human = made("signal_analysis").records["test"][0]["conversations"][0]["value"]
    for part in ("Signal Analysis:\nDimension 0: mean:", "\nDimension 1: mean:", "\nDimension 0 ranges from"):
        assert part in human
    assert human.endswith("\nQuestion:Which class is the above signal from? Class:")
    one = made("signal_analysis", 1).records["test"][0]["conversations"][0]["value"]
    assert "Signal Analysis:mean:" in one
    assert "\nThe signal ranges from" in one


def test_a_rationale_follows_the_answer_and_counts() -> None:
    plain, trained = (
        made("plot", context_length=2000, **changes)
        for changes in ({}, {"target": "answer_then_rationale", "describer": "template"})
    )
    rationales = texts_of(series(), "rationale")
    assert rationales is not None
    for part in SETS:
        for record, other in zip(trained.records[part], plain.records[part], strict=True):
            assert record["conversations"][0] == other["conversations"][0]
            answer = other["conversations"][1]["value"]
            assert record["conversations"][1]["value"] == f"{answer}. {rationales[record['id']]}"
            assert record["tokens"] == other["tokens"] + len(f". {rationales[record['id']]}")


def test_a_case_without_its_description_is_refused() -> None:
    data = series()
    with pytest.raises(InputError, match=r"no description of Toy-00039 \(1 missing\)"):
        make_conversations(
            data,
            SPLIT,
            ScenarioSettings(name="r", **SCENARIOS["rationale"]),  # type: ignore[arg-type]
            PlotSettings(),
            count_tokens=count,
            image_tokens=9,
            system_prompt="",
            eos_token="</s>",
            descriptions={str(identity): "It rises." for identity in data.case_ids[:-1]},
        )


def test_the_same_input_gives_the_same_bytes() -> None:
    assert json.dumps(made("stats", 1).records) == json.dumps(made("stats", 1).records)


def test_too_small_a_context_is_refused_with_what_it_takes() -> None:
    with pytest.raises(InputError, match=r"context_length=60: .* takes \d+ tokens; allowed: \d+ or more"):
        made("numbers", context_length=60)
    with pytest.raises(InputError, match="the question and the image"):
        made("plot", context_length=60)


def test_empty_part_is_refused() -> None:
    with pytest.raises(InputError, match="the validation set has no case"):
        make_conversations(
            series(),
            SPLIT | {"validation": np.array([], dtype=np.int64)},
            ScenarioSettings(name="plot", modality="plot", numbers="none"),
            PlotSettings(),
            count_tokens=count,
            image_tokens=9,
            system_prompt="",
            eos_token="</s>",
        )


@pytest.mark.parametrize("downsampling", sorted(DOWNSAMPLERS))
def test_every_method_fits_and_is_encoded_alike(downsampling: str) -> None:
    result = made("numbers", downsampling=downsampling)
    assert result.budget["factor"] > 1
    assert result.budget["longest_case"]["tokens"] <= 300
    encode = Representation.from_json(json.loads(json.dumps(result.representation.to_json())))
    for record, case in zip(result.records["test"], SPLIT["test"], strict=True):
        question = encode.text(encode.prompt(series().values[case]))
        assert question == result.representation.record_text(record, with_answer=False)
        kept = [len(line.split(": ")[1].split()) for line in question.splitlines() if "Dimension" in line]
        assert kept == [result.budget["values_kept"]] * 2


def test_a_fixed_factor_is_kept_or_refused_with_the_longest_case() -> None:
    result = made("both", factor=10)
    assert result.representation.factor == result.budget["factor"] == 10
    assert result.budget["values_kept"] == 6
    with pytest.raises(
        InputError, match=r"factor=2: the longest case, Toy-00001, takes \d+ tokens; allowed: 400"
    ):
        made("both", factor=2)
    assert made("plot", factor=3).budget["values_kept"] == 0


@pytest.mark.parametrize(("labels", "answer"), [("letters", "L"), ("names", "class-l")])
def test_answers_follow_the_scenario(labels: str, answer: str) -> None:
    result = made("plot", labels=labels)
    replies = {
        record["label_index"]: record["conversations"][1]["value"] for record in result.records["train"]
    }
    assert replies[11] == answer == result.representation.label_texts[11]


def test_plots_show_the_full_or_the_downsampled_series() -> None:
    values = series().values
    full = made("both", factor=10).representation
    assert full.values_to_draw(values) is values
    downsampled = made(
        "both", plot=PlotSettings(series="downsampled"), factor=10, downsampling="lttb"
    ).representation
    np.testing.assert_array_equal(downsampled.values_to_draw(values), downsample(values, "lttb", 10))
    assert downsampled.values_to_draw(values[3]).shape == (2, 6)


def test_shared_limits_are_those_of_the_train_file() -> None:
    result = made("plot", plot=PlotSettings(axis_limits="shared"))
    low, high = Representation.from_json(json.loads(json.dumps(result.representation.to_json()))).plot_limits
    expected = series().values[: series().n_train]
    assert low.tolist() == expected.min(axis=(0, 2)).tolist()
    assert high.tolist() == expected.max(axis=(0, 2)).tolist()
    assert made("plot").representation.plot_limits is None


def test_the_script_draws_what_the_representation_says(tmp_path) -> None:
    from render_plots import render_plots

    settings = PlotSettings(series="downsampled", axis_limits="shared", inches=1.0, dpi=50)
    fitted = made("both", plot=settings, factor=10, downsampling="adaptive").representation
    fitted.save(tmp_path / "representation.json")
    series().save(tmp_path / "series.npz")
    render_plots(tmp_path / "series.npz", tmp_path / "plots", representation=tmp_path / "representation.json")
    plotter = make_plotter(settings, 2, fitted.plot_limits)
    for case in (0, 39):
        expected = plotter.render(downsample(series().values[case], "adaptive", 10))
        found = np.asarray(Image.open(tmp_path / f"plots/case-{case:05d}.png"))
        np.testing.assert_array_equal(found, expected)
    made("numbers").representation.save(tmp_path / "numbers.json")
    with pytest.raises(InputError, match=r"numbers\.json: scenario numbers has no plot"):
        render_plots(tmp_path / "series.npz", tmp_path / "none", representation=tmp_path / "numbers.json")


@pytest.mark.parametrize("scenario", ["numbers", "both"])
def test_solved_training_cases_precede_each_question(scenario: str) -> None:
    plain = made(scenario, 1)
    options = {"shots": 2, "tuned": False, "context_length": 9000, "factor": plain.representation.factor}
    few = made(scenario, 1, **options)
    data, begin, image = series(1), few.representation.chat.begin, plain.representation.chat.image
    assert image == ("<image>\n" if scenario == "both" else "")
    assert begin.endswith(f"\n\n{image}")
    solved = begin.removeprefix(plain.representation.chat.begin.removesuffix(image)).split("\n\n")[:-1]
    questions = {
        f"{image}{few.representation.prompt(data.values[case])}{data.label_index[case] + 1}": case
        for case in SPLIT["train"].tolist()
    }
    shown = [questions[text] for text in solved]
    plots = tuple(plot_file_name(case) for case in shown)
    assert few.representation.shot_images == (plots if scenario == "both" else ())
    assert np.bincount(data.label_index[shown]).tolist() == [2] * len(CLASSES)
    assert len(set(shown)) == len(shown)
    # The budget counts them, and what controls change is the question's own numbers.
    text = few.representation.record_text(few.records["test"][0], with_answer=True)
    images = len(shown) + 1 if scenario == "both" else 0
    assert few.records["test"][0]["tokens"] == count([text])[0] + (IMAGE_TOKENS - 1) * images
    assert few.records["test"][0]["conversations"] == plain.records["test"][0]["conversations"]
    again = made(scenario, 1, **options)
    assert again.representation == few.representation
