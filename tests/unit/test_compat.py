"""Each switch restores one fault of the original, and without it nothing of that fault is there."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest
from chat_server import ChatServer
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from describe_series import describe_series
from render_plots import render_plots
from vlmtsc.configuration import load_configuration_files
from vlmtsc.data.cleaning import merge_labels
from vlmtsc.data.series import CleanSeries
from vlmtsc.data.splits import SETS
from vlmtsc.describe.descriptions import read_descriptions
from vlmtsc.errors import InputError
from vlmtsc.representation.conversations import Conversations, make_conversations
from vlmtsc.settings import (
    KEY_VARIABLE,
    URL_VARIABLE,
    EndpointSettings,
    PlotSettings,
    RequestLimits,
    ScenarioSettings,
    Switch,
    check_switches_of_plot,
)

ROOT = Path(__file__).parents[2]
SWITCHES = [switch for switch in get_args(Switch) if switch != "none"]
SPLIT = {"train": np.arange(10), "validation": np.arange(10, 15), "test": np.arange(15, 20)}
DOWNSAMPLED = PlotSettings(series="downsampled", inches=1.0, dpi=50)


def settings(*compat: str, **changes: Any) -> ScenarioSettings:
    return ScenarioSettings(
        **{"name": "mine", "modality": "both", "numbers": "decimals", "compat": compat} | changes
    )


def series(classes: list[str]) -> CleanSeries:
    values = np.random.default_rng(0).normal(size=(20, 1, 60)).cumsum(axis=2)
    values[7] *= 1000  # a training case with longer numbers than the first
    ids = np.array([f"Toy-{case:05d}" for case in range(20)])
    return CleanSeries(values, np.arange(20) % len(classes), np.array(classes), ids, 10)


def made(
    scenario: ScenarioSettings, data: CleanSeries, plot: PlotSettings | None = None, **options: Any
) -> Conversations:
    return make_conversations(
        data,
        SPLIT,
        scenario,
        (plot or PlotSettings()) if scenario.plot != "none" else None,
        # One token a character, and one for the placeholder.
        count_tokens=lambda texts: np.array([len(text.replace("<image>", "I")) for text in texts]),
        image_tokens=9,
        system_prompt="A chat.",
        eos_token="</s>",
        **options,
    )


def test_no_switch_is_on_by_default_and_none_says_so() -> None:
    assert ScenarioSettings(name="mine", modality="both", numbers="decimals").compat == ()
    assert settings("none").compat == ()
    assert not any(settings().restores(switch) for switch in SWITCHES)
    table = load_configuration_files([], ROOT).scenario_table
    with_faults = {name for name, row in table.items() if row.compat}
    assert with_faults == {name for name in table if name.startswith("as_published_")}


@pytest.mark.parametrize(
    ("compat", "changes", "message"),
    [
        (["none", "merged_labels"], {}, "allowed: none, or each switch once"),
        (["merged_labels"] * 2, {}, "each switch once"),
        (["no_image_token"], {"modality": "plot", "numbers": "none"}, "modality='plot'; allowed .*: both"),
        (["no_image_token"], {"modality": "numbers", "plot": "none"}, "modality='numbers'"),
        (["merged_labels"], {"labels": "characters"}, "labels='characters'; .*: numbers or letters or names"),
        (["single_token_score"], {"labels": "letters"}, "labels='letters'; allowed with this switch: numbers"),
        (["first_case_factor"], {"numbers": "scaled"}, "numbers='scaled'; allowed with this switch: decimals"),
        (["first_case_factor"], {"factor": 3}, "factor=3; allowed with this switch: auto"),
        (["blank_plot"], {"modality": "numbers", "plot": "none"}, "modality='numbers'; .*: plot or both"),
        (["leaked_rationale"], {"context_text": "stats"}, "context_text='stats'; allowed with this switch: rationale"),
        (
            ["leaked_rationale"],
            {"describer": "template", "target": "answer_then_rationale"},
            "context_text='none'",
        ),
        (["padding_in_training_only"], {"modality": "numbers", "plot": "none"}, "modality='numbers'"),
    ],
)  # fmt: skip
def test_a_switch_with_nothing_to_act_on_is_refused(
    compat: list[str], changes: dict[str, Any], message: str
) -> None:
    with pytest.raises(InputError, match=f"compat.*{message}"):
        settings(*compat, **changes)


@pytest.mark.parametrize(
    ("plot", "message"),
    [
        (PlotSettings(), "the plot 'line' has series='full'; allowed with this switch: downsampled"),
        (DOWNSAMPLED.changed(style="area"), "style='area'; allowed with this switch: line"),
    ],
)
def test_only_a_line_of_the_downsampled_series_can_be_blank(plot: PlotSettings, message: str) -> None:
    with pytest.raises(InputError, match=message):
        check_switches_of_plot(settings("blank_plot"), plot)
    with pytest.raises(InputError, match=message):
        made(settings("blank_plot", context_length=9000), series(["1", "2"]), plot)
    check_switches_of_plot(settings("blank_plot"), DOWNSAMPLED)


def test_switches_of_a_table_are_checked(tmp_path: Path) -> None:
    lines = (ROOT / "config/scenarios.tsv").read_text().splitlines()
    path = tmp_path / "scenarios.tsv"
    for cell, message in (
        ("merged", "compat.0: unknown value 'merged'; did you mean 'merged_labels'?"),
        ("blank_plot", "the plot 'line' has series='full'"),
    ):
        row = lines[-1].rpartition("\t")[0].replace("as_published_WITH_RATIONALE", "mine")
        path.write_text(f"{lines[0]}\n{row}\t{cell}\n")
        with pytest.raises(InputError, match=rf"scenarios\.tsv.*{message}"):
            load_configuration_files([], ROOT, {"scenarios": ["mine"], "tables": {"scenarios": str(path)}})


def with_switch(scenario: ScenarioSettings, switch: str, plot: PlotSettings) -> None:
    changed = scenario.changed(compat=(*scenario.compat, switch))
    check_switches_of_plot(changed, plot)


def test_as_published_scenarios_have_every_switch_that_applies() -> None:
    configuration = load_configuration_files([], ROOT)
    family = [name for name in configuration.scenario_table if name.startswith("as_published_")]
    assert len(family) == 7
    for name in family:
        scenario = configuration.scenario_table[name]
        for switch in set(SWITCHES) - set(scenario.compat):
            with pytest.raises(InputError, match=switch):
                with_switch(scenario, switch, configuration.plot_table[scenario.plot])
        # No placeholder, so no pixels: nothing is drawn for them.
        assert configuration.shown_plot(name) is None
    assert configuration.shown_plot("plot_and_numbers") == "line"
    assert configuration.descriptions("as_published_WITH_RATIONALE")["question"] == (
        "template/leaked_rationale_merged_labels"
    )


def test_a_fault_is_put_into_a_scenario_that_has_none() -> None:
    faulty = settings().with_fault("merged_labels")
    assert faulty == settings("merged_labels", name="mine__merged_labels")
    with pytest.raises(InputError, match="mine__merged_labels: compat=merged_labels; allowed here: none"):
        faulty.with_fault("no_image_token")


def test_no_image_token() -> None:
    honest, faulty = (
        made(settings(*compat, context_length=9000), series(["1", "2"]))
        for compat in ((), ("no_image_token",))
    )
    assert (honest.representation.image_tokens, faulty.representation.image_tokens) == (9, 0)
    assert faulty.representation.plot is None
    for part in SETS:
        for one, other in zip(honest.records[part], faulty.records[part], strict=True):
            with_image = honest.representation.record_text(one, with_answer=True)
            assert with_image.count("<image>") == 1
            assert faulty.representation.record_text(other, with_answer=True) == with_image.replace(
                "<image>\n", ""
            )
            assert "image" in one
            assert "image" not in other
            assert other["tokens"] == one["tokens"] - 10  # the line break is a token here


def test_merged_labels_leave_nine_of_ten_digits() -> None:
    digits = [str(digit) for digit in range(10)]
    honest, faulty = (
        made(settings(*compat, context_length=9000), series(digits)) for compat in ((), ("merged_labels",))
    )
    assert honest.representation.classes == tuple(digits)
    assert honest.representation.label_texts[-1] == "10"
    assert faulty.representation.classes == tuple(digits[1:])
    assert faulty.representation.label_texts == tuple(digits[1:])
    for part in SETS:
        for one, other in zip(honest.records[part], faulty.records[part], strict=True):
            assert other["label"] == ("2" if one["label"] == "0" else one["label"])
            assert other["conversations"][1]["value"] == other["label"]
            assert one["conversations"][1]["value"] == str(int(one["label"]) + 1)
            assert other["conversations"][0] == one["conversations"][0]


@pytest.mark.parametrize(
    ("classes", "merged"),
    [
        (["-1", "1"], ["1", "2"]),
        (["1", "2"], ["1", "2"]),
        (["-1", "0", "7"], ["2", "7"]),
        (["0", "b"], ["2", "b"]),
    ],
)
def test_two_classes_stay_two(classes: list[str], merged: list[str]) -> None:
    data = series(classes)
    changed = merge_labels(data)
    assert changed.classes.tolist() == merged
    assert [changed.classes[index] for index in changed.label_index] == [
        "2" if data.classes[index] in ("0", "-1") else data.classes[index] for index in data.label_index
    ]
    np.testing.assert_array_equal(changed.values, data.values)


@given(st.sets(st.integers(-3, 12).map(str), min_size=1).map(sorted))
def test_only_the_labels_of_the_original_are_merged(classes: list[str]) -> None:
    rest = set(classes) - {"0", "-1"} | ({"2"} if {"0", "-1"} & set(classes) else set())
    if len(rest) < 2:
        with pytest.raises(InputError, match="become one"):
            merge_labels(series(classes))
    else:
        assert set(merge_labels(series(classes)).classes.tolist()) == rest


def test_first_case_factor_is_the_papers_and_longer_cases_count_as_cut() -> None:
    plain = made(settings(context_length=9000), series(["1", "2"])).representation
    context = len(plain.prompt(series(["1", "2"]).values[0])) + 1
    honest, faulty = (
        made(settings(*compat, context_length=context), series(["1", "2"]))
        for compat in ((), ("first_case_factor",))
    )
    # The first question alone fits, so that nothing is downsampled: image and system prompt are forgotten.
    assert faulty.representation.factor == honest.budget["original"]["factor"] == 1
    assert honest.representation.factor > 1
    assert honest.budget["original"] == faulty.budget["original"]
    assert faulty.budget["original"]["cases_cut"] > 0
    assert max(record["tokens"] for part in SETS for record in honest.records[part]) <= context
    cut = 0
    for part in SETS:
        for record in faulty.records[part]:
            text = faulty.representation.record_text(record, with_answer=True)
            cut += (
                len(text) + 2 > context
            )  # the placeholder's characters and the image's tokens differ by two
            assert record["tokens"] == min(len(text) + 2, context)
    assert cut == faulty.budget["original"]["cases_cut"]


def test_first_case_factor_without_room_for_a_value_is_refused() -> None:
    with pytest.raises(
        InputError, match=r"the original's formula has no factor.* takes 50 tokens; allowed .*: 56 or more"
    ):
        made(settings("first_case_factor", context_length=50), series(["1", "2"]))


def test_blank_plot(tmp_path: Path) -> None:
    series(["1", "2"]).save(tmp_path / "series.npz")
    pictures = {}
    for compat in ((), ("blank_plot",)):
        scenario = settings(*compat, factor=4, context_length=9000)
        fitted = made(scenario, series(["1", "2"]), DOWNSAMPLED).representation
        fitted.save(tmp_path / "representation.json")
        folder = tmp_path / f"plots{len(compat)}"
        render_plots(tmp_path / "series.npz", folder, representation=tmp_path / "representation.json")
        pictures[compat] = [np.asarray(Image.open(path)) for path in sorted(folder.glob("*.png"))]
    assert all((picture < 255).any() for picture in pictures[()])
    assert all((picture == 255).all() for picture in pictures[("blank_plot",)])
    assert pictures[()][0].shape == pictures[("blank_plot",)][0].shape


def test_only_a_leak_tells_the_describer_the_class(tmp_path: Path) -> None:
    data = series(["-1", "0", "3"])
    data.save(tmp_path / "series.npz")
    path = tmp_path / "texts.json"
    told = {
        "rationale": [None] * 3,
        "leaked_rationale": [
            "1",
            "2",
            "3",
        ],  # by the answer, as in the original, where label and answer are one
        "leaked_rationale_merged_labels": ["1", "1", "2"],
    }
    for kind, answers in told.items():
        describe_series(tmp_path / "series.npz", "Toy", kind, path)  # type: ignore[arg-type]
        texts = read_descriptions(path, kind, "template")  # type: ignore[arg-type]
        for case, identity in enumerate(data.case_ids.tolist()):
            answer = answers[case % 3]
            assert ("These traits are those of class" in texts[identity]) == (answer is not None)
            assert answer is None or texts[identity].endswith(f" class {answer}.")


@pytest.mark.parametrize(("kind", "leaks"), [("rationale", False), ("leaked_rationale", True)])
def test_an_endpoint_is_told_the_class_only_with_the_leak(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str, leaks: bool
) -> None:
    data = series(["a", "b"])
    data.save(tmp_path / "series.npz")
    limits = RequestLimits(requests_per_minute=60_000)
    monkeypatch.delenv(KEY_VARIABLE, raising=False)
    server = ChatServer()
    try:
        monkeypatch.setenv(URL_VARIABLE, server.url)
        arguments = (
            tmp_path / "series.npz",
            "Toy",
            kind,
            tmp_path / "t.json",
            EndpointSettings(),
            tmp_path / "cache",
        )
        describe_series(*arguments, limits=limits)  # type: ignore[arg-type]
    finally:
        server.close()
    sent = [json.dumps(body) for _, _, body in server.received]
    assert len(sent) == 20
    assert sum("Its class is 1." in text for text in sent) == sum("Its class is 2." in text for text in sent)
    assert any("Its class is 2." in text for text in sent) == leaks


def test_a_leaked_rationale_stands_in_the_questions_of_all_parts() -> None:
    texts = {f"Toy-{case:05d}": f"A rationale of class {case % 2 + 1}." for case in range(20)}
    for compat, kind in (((), "rationale"), (("leaked_rationale",), "leaked_rationale")):
        scenario = settings(*compat, context_text="rationale", describer="template", context_length=9000)
        assert scenario.described_context == kind
        result = made(scenario, series(["1", "2"]), descriptions=texts)
        for part in SETS:
            for record in result.records[part]:
                said = record["conversations"][1]["value"]
                assert f"Rationale:A rationale of class {said}." in record["conversations"][0]["value"]
