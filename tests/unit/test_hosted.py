"""The baseline `hosted_model`: its questions, how its answers are read, and what is measured, on a local server."""

from __future__ import annotations

import base64
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from chat_server import ChatServer

from ask_hosted_model import ask_hosted_model
from build_conversations import build_conversations
from vlmtsc.baselines.hosted import questions, read_reply
from vlmtsc.configuration import load_configuration
from vlmtsc.data.series import CleanSeries
from vlmtsc.errors import InputError
from vlmtsc.evaluation.metrics import INVALID
from vlmtsc.files import read_json
from vlmtsc.paths import BaselineKey, Paths, plot_file_name
from vlmtsc.reporting.baselines import baselines_table, read_baseline
from vlmtsc.settings import (
    KEY_VARIABLE,
    URL_VARIABLE,
    EndpointSettings,
    PlotSettings,
    RequestLimits,
    ScenarioSettings,
)

ROOT = Path(__file__).parents[2]
SCENARIO = ScenarioSettings(name="both", modality="both", numbers="decimals", context_length=400)
KEY = {
    "baseline": "hosted_model",
    "dataset": "Toy",
    "protocol": "pooled",
    "model": "tiny",
    "scenario": "both",
}
FOLDER = "probes/tiny/Toy/pooled/hosted_model"
VALUES = (
    np.where(np.arange(20) % 2, 1.0, -1.0)[:, None, None] * np.arange(1, 7)
    + np.arange(20)[:, None, None] / 50
)
SETTINGS = EndpointSettings(model="mine", max_tokens=9)


def answer(body: dict[str, Any]) -> str:
    """Name the class of the last question's first number, or none for one of the cases."""
    content = body["messages"][-1]["content"]
    first = re.search(r"\[(\S+?),", content if isinstance(content, str) else content[1]["text"])
    assert first is not None
    return "I cannot tell." if first[1] == "-0.68" else f"Class {1 + (float(first[1]) > 0)}."


@pytest.fixture
def server(no_proxy: None, monkeypatch: pytest.MonkeyPatch) -> Iterator[ChatServer]:
    monkeypatch.delenv(KEY_VARIABLE, raising=False)
    running = ChatServer(answer)
    monkeypatch.setenv(URL_VARIABLE, running.url)
    yield running
    running.close()


@pytest.fixture
def made(tiny_checkpoint: Path, tmp_path: Path) -> Path:
    """Twenty cases of two classes, the last four for testing: conversations, and plots of a few bytes."""
    ids = np.array([f"Toy-{case:05d}" for case in range(20)])
    CleanSeries(VALUES, np.arange(20) % 2, np.array(["down", "up"]), ids, 8).save(tmp_path / "series.npz")
    np.savez(
        tmp_path / "split.npz", train=np.arange(12), validation=np.arange(12, 16), test=np.arange(16, 20)
    )
    files = (tmp_path / "series.npz", tmp_path / "split.npz")
    build_conversations(*files, tiny_checkpoint, SCENARIO, tmp_path / "conversations", plot=PlotSettings())
    (tmp_path / "plots").mkdir()
    for case in range(20):
        (tmp_path / "plots" / plot_file_name(case)).write_bytes(b"plot %d" % case)
    return tmp_path


def ask(folder: Path, shots: int = 0, **limits: Any) -> pd.DataFrame:
    ask_hosted_model(
        KEY,
        folder / "series.npz",
        folder / "split.npz",
        folder / "conversations",
        SETTINGS,
        folder / FOLDER,
        plots=folder / "plots",
        shots=shots,
        cache=folder / "cache",
        limits=RequestLimits(requests_per_minute=600_000, attempts=1, **limits),
    )
    return pd.read_csv(folder / FOLDER / "predictions.csv", keep_default_na=False)


def test_questions_show_plot_numbers_allowed_answers_and_solved_cases(made: Path) -> None:
    [first, *_], answers = questions(made / "conversations", made / "plots", SETTINGS, 0)
    assert answers == ("1", "2")
    assert {name: first[name] for name in ("model", "temperature", "max_tokens")} == {
        **{"model": "mine", "temperature": 0.0, "max_tokens": 9}
    }
    [turn] = first["messages"]
    image, text = turn["content"]
    url = image["image_url"]["url"]
    assert base64.b64decode(url.removeprefix("data:image/png;base64,")) == b"plot 16"
    assert text["text"].startswith("Answer with one of these and nothing else: 1, 2\n\nWhich class")
    assert "-0.68, -1.68" in text["text"]
    assert "<image>" not in str(first)
    bodies, _ = questions(made / "conversations", made / "plots", SETTINGS, 2)
    *solved, last = bodies[0]["messages"]
    assert last == turn
    assert [message["role"] for message in solved] == ["user", "assistant"] * 4
    assert sorted(message["content"] for message in solved[1::2]) == ["1", "1", "2", "2"]
    for question, reply in zip(solved[::2], solved[1::2], strict=True):
        shown = base64.b64decode(question["content"][0]["image_url"]["url"].partition(",")[2])
        case = int(shown.removeprefix(b"plot "))
        assert case < 12  # of the training set
        assert reply["content"] == str(1 + case % 2)
    [[message]] = [body["messages"] for body in questions(made / "conversations", None, SETTINGS, 0)[0][:1]]
    assert (
        message["content"] == text["text"]
    )  # without a plot a text, as endpoints of language models want it


@pytest.mark.parametrize(
    ("text", "index"),
    [
        *(("1", 0), ("10", 2), ("The class is 10.", 2), ("**2**", 1), ("Class 1, as 1 says", 0)),
        *(("1 or 2", INVALID), ("101", INVALID), ("", INVALID), ("A class", INVALID)),
    ],
)
def test_an_answer_is_equal_to_a_class_or_contains_one_alone(text: str, index: int) -> None:
    assert read_reply(text, ("1", "2", "10")) == index


def test_names_with_signs_and_blanks_are_read() -> None:
    names = ("a", "a+b", "left hand")
    assert [read_reply(text, names) for text in ("It is a+b.", "a", "the left hand")] == [1, 0, 2]


def test_an_invalid_answer_is_wrong_and_everything_is_counted(made: Path, server: ChatServer) -> None:
    table = ask(made)
    assert table["true"].tolist() == ["down", "up", "down", "up"]
    assert table["predicted"].tolist() == ["", "up", "down", "up"]
    assert table["generated"].tolist()[0] == "I cannot tell."
    metrics, record = (read_json(made / FOLDER / f"{name}.json") for name in ("metrics", "record"))
    assert (metrics["accuracy"], metrics["generated_valid_rate"]) == (0.75, 0.75)
    assert (metrics["generated_accuracy_of_valid"], metrics["log_loss"]) == (1.0, None)
    assert metrics["balanced_accuracy"] == pytest.approx(0.75)
    assert metrics["macro_f1"] == pytest.approx((2 / 3 + 1) / 2)
    assert metrics["confusion_matrix"] == [[1, 0], [0, 2]]
    assert metrics["accuracy_interval_95"] == pytest.approx([0.3006, 0.9544], abs=1e-4)  # Wilson, 3 of 4
    assert record["validation_accuracy"] is None
    assert record["chosen"] == {
        **{"endpoint_model": "mine", "shots": 0, "answered_by": ["served-1"], "requests": 4},
        **{"prompt_tokens": 40, "completion_tokens": 20, "cut_at_max_tokens": 0},
    }
    row = read_baseline(Paths(str(made)), BaselineKey("hosted_model", "Toy", "pooled", "tiny"))
    assert row is not None
    shown = baselines_table([row], ["Toy"], "pooled")
    assert shown.cells["hosted_model"].tolist() == ["75.0 [30.1, 95.4] (75.0% valid)"]
    assert "4 requests, 40 tokens of prompts, 20 of answers" in shown.note


def test_no_answer_is_paid_for_twice_and_the_cap_holds(made: Path, server: ChatServer) -> None:
    with pytest.raises(
        InputError, match=r"Toy, both: describe\.max_requests=3 are used up; missing texts: 1"
    ):
        ask(made, max_requests=3)
    assert len(server.received) == 3
    first = ask(made, max_requests=4)
    assert len(server.received) == 4
    assert ask(made).equals(first)
    assert len(server.received) == 4
    ask(made, shots=1)  # other questions
    assert len(server.received) == 8


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"describe": {"scenario": "plt"}}, "describe.scenario: unknown scenario 'plt'; did you mean 'plot'"),
        (
            {"scenarios": ["plot__untuned"]},
            "describe.scenario: plot__untuned for the baseline hosted_model; allowed",
        ),
        ({"describe": {"shots": -1}}, "describe.shots: found -1; allowed: 0 or more"),
    ],
)
def test_a_scenario_that_cannot_be_asked_is_refused_at_once(options: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=re.escape(message)):
        load_configuration({"baselines": ["hosted_model"], **options}, ROOT)
    if "shots" not in options.get("describe", {}):
        assert load_configuration(options, ROOT).baselines == ()
