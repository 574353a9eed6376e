"""Prompts, number formats and answers as text, and the representation that combines them."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vlmtsc.errors import InputError
from vlmtsc.representation.prompts import (
    build_prompt,
    describe_scale,
    fit_scale,
    format_decimals,
    format_levels,
    label_texts,
    llava_format,
    to_levels,
)
from vlmtsc.representation.representation import Representation
from vlmtsc.settings import PlotSettings, ScenarioSettings

NUMBERS = st.floats(-1e6, 1e6, allow_nan=False)


@pytest.mark.parametrize(
    ("round_to", "text"), [(2, "[0.12, -1.05, 3.0]"), (1, "[0.1, -1.1, 3.0]"), (0, "[0.0, -1.0, 3.0]")]
)
def test_decimals_are_the_papers_list(round_to: int, text: str) -> None:
    assert format_decimals(np.array([0.1234, -1.051, 3.0]), round_to) == text


@given(st.lists(NUMBERS, min_size=2, max_size=40), st.integers(1, 2000))
@settings(max_examples=100, deadline=None)
def test_scaled_values_come_back_within_half_a_step(numbers: list[float], levels: int) -> None:
    values = np.array(numbers)[None]
    centre, reach = fit_scale(values[None])
    level = to_levels(values, centre, reach, levels)
    assert np.abs(level).max() <= levels
    inside = np.abs(values - centre[:, None]) <= reach[:, None]
    error = np.abs(centre[:, None] + level / levels * reach[:, None] - values)[inside]
    assert error.max(initial=0) <= reach[0] / levels / 2 + 1e-9 * np.abs(values).max()


def test_values_outside_the_scale_are_clipped() -> None:
    level = to_levels(np.array([[-5.0, 0, 1, 9]]), np.array([0.0]), np.array([1.0]), 20)
    assert level.tolist() == [[-20, 0, 20, 20]]


def test_constant_channel_is_zero() -> None:
    values = np.full((3, 1, 7), 0.1)
    centre, reach = fit_scale(values)
    assert to_levels(values, centre, reach, 20).tolist() == np.zeros((3, 1, 7)).tolist()


def test_levels_are_signed_and_separated() -> None:
    assert format_levels(np.array([-7, 12, 0]), " ") == "-7 12 0"
    assert format_levels(np.array([-7, 12, 0]), ",") == "-7,12,0"


def test_scale_is_of_each_channel_and_ignores_rare_outliers() -> None:
    values = np.random.default_rng(0).uniform(-1, [[1.0], [10.0]], size=(200, 2, 50))
    values[0, 0, 0] = 1e3
    centre, reach = fit_scale(values)
    np.testing.assert_allclose(centre, [0, 4.5], atol=0.2)
    np.testing.assert_allclose(reach, [1, 5.5], atol=0.2)


def test_scale_of_mostly_constant_channel_falls_back_to_the_extremes() -> None:
    values = np.zeros((10, 1, 1000))
    values[3, 0, 5] = 2.0
    centre, reach = fit_scale(values)
    assert centre[0] + reach[0] == pytest.approx(2.0)


def test_scale_is_one_short_line() -> None:
    assert describe_scale(np.array([-1.4321, 0]), np.array([2.31, 1e6]), 20) == (
        "Scale 20: -1.4+-2.3, 0+-1e+06"
    )


@pytest.mark.parametrize("kind", ["numbers", "letters", "characters", "names"])
@given(st.sets(st.integers(-9, 2000).map(str), min_size=1, max_size=800).map(sorted))
def test_answers_are_a_bijection(kind: str, classes: list[str]) -> None:
    answers = label_texts(kind, classes)
    assert len(answers) == len(set(answers)) == len(classes)


def test_answers() -> None:
    classes = ["-1", "1", "10", "Standing still"]
    assert label_texts("numbers", classes) == ("1", "2", "3", "4")
    assert label_texts("letters", classes) == ("A", "B", "C", "D")
    assert label_texts("names", classes) == tuple(classes)
    assert label_texts("characters", ["x"] * 9) == label_texts("numbers", ["x"] * 9)
    assert label_texts("characters", ["x"] * 10) == label_texts("letters", ["x"] * 10)


@pytest.mark.parametrize(
    ("index", "text"),
    [(0, "A"), (25, "Z"), (26, "a"), (51, "z"), (52, "AA"), (104, "BA"), (52 + 52**2, "AAA")],
)
def test_letters_go_on(index: int, text: str) -> None:
    assert label_texts("letters", ["x"] * (index + 1))[index] == text


@pytest.mark.parametrize(
    "name", [" walk", "walk ", "", "walk\nrun", "walk\trun", "a</s>", "<image>", "a\u200bb"]
)
def test_names_that_cannot_be_answers_are_refused(name: str) -> None:
    with pytest.raises(
        InputError, match=r"class label .* cannot be an answer; allowed with labels=names: "
    ) as caught:
        label_texts("names", ["run", name], reserved=("<image>", "</s>"))
    assert repr(name) in str(caught.value)
    assert "\n" not in str(caught.value)
    assert label_texts("numbers", ["run", name]) == ("1", "2")


QUESTION = "Question:Which class is the above signal from? Class:"


@pytest.mark.parametrize(
    ("numbers", "options", "prompt"),
    [
        (["[0.12, -1.05]"], {}, "Which class is the following signal from?\n[0.12, -1.05]\nClass: "),
        (
            ["[1.0]", "[2.0]"],
            {},
            "Given the following multi-dimensional timeseries\nDimension 0: [1.0]\nDimension 1: [2.0]\n"
            "Which class is the above signal from\nClass: ",
        ),
        (
            ["[1.0]"],
            {"statistics": ["mean: 1.0000e+00, std_dev: 0.0000e+00"]},
            f"TimeSeries data:[1.0]\nmean: 1.0000e+00, std_dev: 0.0000e+00\n{QUESTION}",
        ),
        (
            ["[1.0]", "[2.0]"],
            {"statistics": ["mean: 1", "mean: 2"]},
            "TimeSeries data:\nDimension 0: [1.0]\nDimension 1: [2.0]\n"
            f"Dimension 0: mean: 1\nDimension 1: mean: 2\n{QUESTION}",
        ),
        (["[1.0]"], {"description": "It rises."}, f"TimeSeries data:[1.0]\nRationale:It rises.\n{QUESTION}"),
        (
            ["[1.0]", "[2.0]"],
            {"description": "Dimension 0 rises."},
            "TimeSeries data:\nDimension 0: [1.0]\nDimension 1: [2.0]\n"
            f"Rationale:Dimension 0 rises.\n{QUESTION}",
        ),
        (
            ["[1.0]"],
            {"statistics": ["mean:1.00 variance:0.00"], "description": "It rises."},
            f"TimeSeries data:[1.0]\nSignal Analysis:mean:1.00 variance:0.00\nIt rises.\n{QUESTION}",
        ),
        (
            ["[1.0]", "[2.0]"],
            {"statistics": ["mean:1.00", "mean:2.00"], "description": "They rise."},
            "TimeSeries data:\nDimension 0: [1.0]\nDimension 1: [2.0]\nSignal Analysis:\n"
            f"Dimension 0: mean:1.00\nDimension 1: mean:2.00\nThey rise.\n{QUESTION}",
        ),
        (None, {}, "Which class is the following signal from?\nClass: "),
        (
            ["1", "'2'"],
            {"scale": "Scale 20: 0+-1, 0+-2"},
            "Given the following multi-dimensional timeseries\nScale 20: 0+-1, 0+-2\nDimension 0: 1\n"
            "Dimension 1: 2\nWhich class is the above signal from\nClass: ",
        ),
    ],
)
def test_prompts_are_the_papers_to_the_character(
    numbers: list[str] | None, options: dict[str, Any], prompt: str
) -> None:
    assert build_prompt(numbers, **options) == prompt


@pytest.mark.parametrize("system", ["", "A chat."])
@pytest.mark.parametrize("has_image", [True, False])
def test_chat_text_is_llava_v1(system: str, has_image: bool) -> None:
    opening = "A chat. " if system else ""
    image = "<image>\n" if has_image else ""
    chat = llava_format(system=system, image="<image>" if has_image else "", end="<|im_end|>")
    asked, answered = chat.text("Class: "), chat.text("Class: ", "12")
    assert asked == f"{opening}USER: {image}Class:  ASSISTANT:"
    assert answered == f"{asked} 12<|im_end|>"


@pytest.mark.parametrize(
    ("changes", "key"),
    [
        ({"numbers": "decimals"}, "numbers"),
        ({"modality": "both"}, "numbers"),
        ({"plot": "none"}, "plot"),
        ({"modality": "numbers", "numbers": "scaled"}, "plot"),
        ({"context_text": "stats"}, "context_text"),
        ({"context_text": "rationale", "describer": "template"}, "context_text"),
        ({"describer": "template"}, "describer"),
        ({"target": "answer_then_rationale"}, "describer"),
        ({"modality": "both", "numbers": "decimals", "context_text": "signal_analysis"}, "describer"),
        (
            {
                "modality": "both",
                "numbers": "decimals",
                "context_text": "rationale",
                "describer": "endpoint",
                "target": "answer_then_rationale",
            },
            "target",
        ),
    ],
)
def test_contradicting_settings_name_the_key_and_what_is_allowed(changes: dict, key: str) -> None:
    settings = {"name": "x", "modality": "plot", "numbers": "none"} | changes
    with pytest.raises(InputError, match=rf"scenario x: {key}=.*allowed"):
        ScenarioSettings(**settings)


def test_plot_of_no_pixels_is_refused() -> None:
    with pytest.raises(InputError, match="allowed: 32 to 4096"):
        PlotSettings(inches=0.1)


def representation(**changes: object) -> Representation:
    fields = {
        "scenario": ScenarioSettings(
            name="both", modality="both", numbers="scaled", levels=9, separator="comma"
        ),
        "plot": PlotSettings(),
        "factor": 2,
        "scale_centre": (0.0, -1.0),
        "limits_low": None,
        "limits_high": None,
        "scale_reach": (9.0, 1.0),
        "classes": ("-1", "walk"),
        "label_texts": ("1", "2"),
        "n_channels": 2,
        "n_timepoints": 4,
        "image_tokens": 49,
        "system_prompt": "",
        "chat": llava_format(image="<image>"),
        "image_layout": (("<image>", 49),),
        "image_options": {},
    }
    return Representation(**fields | changes)  # type: ignore[arg-type]


def test_representation_survives_its_file(tmp_path) -> None:
    made = representation()
    made.save(tmp_path / "representation.json")
    loaded = Representation.load(tmp_path / "representation.json")
    assert loaded == made
    values = np.array([[0.0, 0, 9, 9], [1, 1, -1, -1]])
    assert loaded.prompt(values) == (
        "Given the following multi-dimensional timeseries\nScale 9: 0+-9, -1+-1\n"
        "Dimension 0: 0,4\nDimension 1: 9,9\nWhich class is the above signal from\nClass: "
    )
    assert loaded.text(loaded.turn("x"), "2") == "USER: <image>\nx ASSISTANT: 2</s>"
    quiet = representation(scenario=loaded.scenario.changed(scale="omitted"))
    assert quiet.prompt(values) == loaded.prompt(values).replace("Scale 9: 0+-9, -1+-1\n", "")


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (np.zeros((1, 4)), r"shape \(1, 4\); allowed: 2 channels of 4 timepoints"),
        (np.full((2, 4), np.nan), "missing or infinite"),
    ],
)
def test_other_series_are_refused(values: np.ndarray, message: str) -> None:
    with pytest.raises(InputError, match=message):
        representation().prompt(values)


@pytest.mark.parametrize(
    "changes",
    [{"label_texts": ("1", "1")}, {"classes": ("a", "b", "c")}, {"plot": None}, {"scale_centre": (0.0,)}],
)
def test_inconsistent_representations_are_refused(changes: dict) -> None:
    with pytest.raises(InputError):
        representation(**changes)


def test_a_description_is_asked_for_where_it_is_shown_and_only_there() -> None:
    shown = ScenarioSettings(
        name="r", modality="both", numbers="decimals", context_text="rationale", describer="endpoint"
    )
    with pytest.raises(InputError, match="scenario r: context_text='rationale' needs a description"):
        representation(scenario=shown).prompt(np.zeros((2, 4)))
    with pytest.raises(InputError, match="context_text='none' takes no description"):
        representation().prompt(np.zeros((2, 4)), description="It rises.")
    trained = ScenarioSettings(
        name="t", modality="both", numbers="decimals", describer="template", target="answer_then_rationale"
    )
    assert representation(scenario=trained).answer(1, "It rises.") == "2. It rises."
    with pytest.raises(InputError, match="target='answer_then_rationale' needs a rationale"):
        representation(scenario=trained).answer(1)
    with pytest.raises(InputError, match="target='answer' takes no rationale"):
        representation().answer(1, "It rises.")


def test_representations_of_earlier_runs_are_read() -> None:
    content = representation().to_json()
    del content["scenario"]["describer"], content["scenario"]["target"]
    assert Representation.from_json(content) == representation()


def test_unknown_keys_are_refused() -> None:
    with pytest.raises(InputError, match="allowed"):
        Representation.from_json({"factor": 1})
