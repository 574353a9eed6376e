"""The prompts are the paper's, to the character."""

import numpy as np
import pytest

from vlmtsc.errors import InputError
from vlmtsc.representation.prompts import build_prompt, chat_text
from vlmtsc.representation.representation import Representation
from vlmtsc.settings import PlotSettings, ScenarioSettings


def test_univariate_baseline() -> None:
    assert (
        build_prompt(["[0.12, -1.05]"]) == "Which class is the following signal from?\n[0.12, -1.05]\nClass: "
    )


def test_multivariate_baseline() -> None:
    assert build_prompt(["[1.0]", "[2.0]"]) == (
        "Given the following multi-dimensional timeseries\nDimension 0: [1.0]\nDimension 1: [2.0]\n"
        "Which class is the above signal from\nClass: "
    )


def test_with_stats() -> None:
    assert build_prompt(["[1.0]"], statistics=["mean: 1.0000e+00, std_dev: 0.0000e+00"]) == (
        "TimeSeries data:[1.0]\nmean: 1.0000e+00, std_dev: 0.0000e+00\n"
        "Question:Which class is the above signal from? Class:"
    )


def test_with_stats_of_several_channels_names_each() -> None:
    assert build_prompt(["[1.0]", "[2.0]"], statistics=["mean: 1", "mean: 2"]) == (
        "TimeSeries data:\nDimension 0: [1.0]\nDimension 1: [2.0]\n"
        "Dimension 0: mean: 1\nDimension 1: mean: 2\n"
        "Question:Which class is the above signal from? Class:"
    )


def test_with_rationale() -> None:
    assert build_prompt(["[1.0]"], description="It rises.") == (
        "TimeSeries data:[1.0]\nRationale:It rises.\nQuestion:Which class is the above signal from? Class:"
    )
    assert build_prompt(["[1.0]", "[2.0]"], description="Dimension 0 rises.") == (
        "TimeSeries data:\nDimension 0: [1.0]\nDimension 1: [2.0]\nRationale:Dimension 0 rises.\n"
        "Question:Which class is the above signal from? Class:"
    )


def test_with_signal_analysis() -> None:
    assert build_prompt(["[1.0]"], statistics=["mean:1.00 variance:0.00"], description="It rises.") == (
        "TimeSeries data:[1.0]\nSignal Analysis:mean:1.00 variance:0.00\nIt rises.\n"
        "Question:Which class is the above signal from? Class:"
    )
    assert build_prompt(
        ["[1.0]", "[2.0]"], statistics=["mean:1.00", "mean:2.00"], description="They rise."
    ) == (
        "TimeSeries data:\nDimension 0: [1.0]\nDimension 1: [2.0]\n"
        "Signal Analysis:\nDimension 0: mean:1.00\nDimension 1: mean:2.00\nThey rise.\n"
        "Question:Which class is the above signal from? Class:"
    )


def test_plot_alone_has_no_numbers() -> None:
    assert build_prompt(None) == "Which class is the following signal from?\nClass: "


def test_scale_is_told_once_and_quotes_are_stripped() -> None:
    text = build_prompt(["[01]", "['02']"], scale="Scale 20: 0+-1, 0+-2")
    assert text.count("Scale") == 1
    assert "'" not in text


@pytest.mark.parametrize("system", ["", "A chat."])
@pytest.mark.parametrize("has_image", [True, False])
def test_chat_text_is_llava_v1(system: str, has_image: bool) -> None:
    opening = "A chat. " if system else ""
    image = "<image>\n" if has_image else ""
    asked = chat_text(f"{image}Class: ", system=system)
    answered = chat_text(f"{image}Class: ", "12", system=system, eos="<|im_end|>")
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
        "eos_token": "</s>",
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
    quiet = representation(scenario=loaded.scenario.changed(scale="untold"))
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
