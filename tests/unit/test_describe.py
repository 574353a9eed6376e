"""Descriptions by the template and by an endpoint, a local server that speaks the protocol."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from chat_server import ChatServer, Reply, completion
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from describe_series import describe_series
from vlmtsc.data.series import CleanSeries
from vlmtsc.describe import client as client_module
from vlmtsc.describe.client import DescriberClient, Endpoint, as_paragraph, request_body, request_digest
from vlmtsc.describe.descriptions import (
    channel_shape,
    describe_template,
    level_shifts,
    period_of,
    read_descriptions,
)
from vlmtsc.errors import InputError
from vlmtsc.files import read_json
from vlmtsc.settings import KEY_VARIABLE, URL_VARIABLE, EndpointSettings, RequestLimits

T = np.arange(200)
NOISE = np.random.default_rng(0).normal(size=200)
STEP = 2.0 * (T >= 60) - 2.0 * (T >= 120) + 0.1 * NOISE


def analysis(x: np.ndarray) -> str:
    return describe_template(x[None], "signal_analysis")


def rationale(x: np.ndarray) -> str:
    return describe_template(x[None], "rationale")


def test_trend() -> None:
    rising = 0.01 * T + 0.1 * NOISE
    assert "rises along a line from" in analysis(rising)
    assert "falls along a line from" in analysis(-rising)
    assert "no overall trend" in analysis(NOISE)
    assert "steady rise" in rationale(rising)
    assert "steady fall" in rationale(-rising)


def test_level_shifts_are_found_where_they_are() -> None:
    found = level_shifts(STEP)
    assert [round(position, 2) for position, _, _ in found] == [0.3, 0.6]
    assert np.allclose([levels for _, *levels in found], [(0, 2), (2, 0)], atol=0.1)
    assert "At 30% of its length the level shifts from" in analysis(STEP)
    assert "an abrupt step up at 30% of its length, an abrupt step down at 60%" in rationale(STEP)


@pytest.mark.parametrize("x", [0.01 * T, np.sin(T / 4), NOISE, NOISE.cumsum(), np.where(T == 50, 5.0, 0.0)])
def test_slopes_waves_noise_and_spikes_are_no_level_shifts(x: np.ndarray) -> None:
    assert level_shifts(x) == ()


def test_a_shift_at_the_first_possible_place_is_found() -> None:
    assert level_shifts(np.array([0.0] * 3 + [1.0] * 17)) == ((0.15, 0.0, 1.0),)


@pytest.mark.parametrize("period", [8, 20, 50])
def test_period(period: int) -> None:
    wave = np.sin(2 * np.pi * T / period) + 0.02 * T
    assert abs(period_of(wave) - period) <= 1
    assert f"repeats about every {period_of(wave)} timepoints" in rationale(wave)


@pytest.mark.parametrize("x", [NOISE, 0.5 * T, STEP, np.sin(2 * np.pi * T / 150)])
def test_what_does_not_fit_in_twice_does_not_repeat(x: np.ndarray) -> None:
    assert period_of(x) is None


def test_peaks_and_troughs() -> None:
    x = np.zeros(100)
    x[[20, 35, 70]], x[50] = (2, 0.5, 3), -2
    shape = channel_shape(x)
    assert shape.peaks == ((0.2, 2.0), (0.7, 3.0))  # the one of a tenth of the range does not count
    assert shape.troughs == ((0.5, -2.0),)
    assert "2 peaks; the highest is 3.00 at 70%" in analysis(x)
    assert "1 trough; it is -2.00 at 50%" in analysis(x)


def test_every_channel_is_told_under_its_name() -> None:
    text = describe_template(np.stack([STEP, np.full(200, 0.1)]), "signal_analysis")
    assert text.startswith("Dimension 0 ranges from")
    assert text.endswith("Dimension 1 is constant at 0.1.")


def test_small_units_are_no_constant() -> None:
    assert "constant" not in analysis(2e-13 * np.sin(T))
    assert "constant" in analysis(2e-13 * np.ones(50))


@pytest.mark.parametrize("x", [np.zeros(50), np.full(50, 0.1), np.array([3.0]), 0.1 + 1e-17 * T])
def test_a_constant_is_said_to_be_one(x: np.ndarray) -> None:
    assert "constant" in analysis(x)
    assert "does not change at all" in rationale(x)


@settings(max_examples=60, deadline=None)
@given(
    arrays(
        np.float64,
        st.tuples(st.integers(1, 3), st.integers(1, 60)),
        elements=st.floats(-1e9, 1e9, allow_nan=False),
    ),
    st.sampled_from(["signal_analysis", "rationale"]),
)
def test_any_series_has_a_paragraph_of_plain_text(values: np.ndarray, kind: str) -> None:
    text = describe_template(values, kind)  # type: ignore[arg-type]
    assert text == describe_template(values.copy(), kind)  # type: ignore[arg-type]
    assert text == " ".join(text.split())
    assert not {"nan", "inf", "-0", "-0.00"} & set(text.lower().replace(",", "").replace(".", "").split())
    assert "'" not in text
    assert "<" not in text


def test_a_rationale_names_a_class_only_where_one_is_leaked() -> None:
    assert "class" in rationale(STEP)  # the word, without a name
    leaked = describe_template(STEP[None], "rationale", leaked_label="walk")
    assert leaked.endswith("These traits are those of class walk.")


@pytest.mark.parametrize("kind", ["signal_analysis", "rationale"])
def test_texts_of_a_dataset_are_the_same_whatever_its_labels_are(tmp_path: Path, kind: str) -> None:
    values = np.random.default_rng(1).normal(size=(12, 2, 30)).cumsum(axis=2)
    ids = np.array([f"Toy-{case:05d}" for case in range(12)])
    written = []
    for name, index, classes in (
        ("a", np.arange(12) % 3, ["1", "2", "3"]),
        ("b", (np.arange(12) + 1) % 3, ["walk", "run", "sit"]),
    ):
        clean = CleanSeries(values, index, np.array(classes), ids, 6)
        clean.save(tmp_path / f"{name}.npz")
        describe_series(tmp_path / f"{name}.npz", "Toy", kind, tmp_path / f"{name}.json")  # type: ignore[arg-type]
        written.append((tmp_path / f"{name}.json").read_bytes())
        for text in read_descriptions(tmp_path / f"{name}.json", kind, "template").values():  # type: ignore[arg-type]
            assert not {"walk", "run", "sit"} & set(text.replace(".", "").split())
    assert written[0] == written[1]


def test_texts_of_another_kind_or_describer_are_refused(tmp_path: Path) -> None:
    clean = CleanSeries(np.ones((1, 1, 9)), np.zeros(1, int), np.array(["a"]), np.array(["Toy-00000"]), 1)
    clean.save(tmp_path / "series.npz")
    describe_series(tmp_path / "series.npz", "Toy", "rationale", tmp_path / "texts.json")
    with pytest.raises(InputError, match="kind='rationale'; allowed: 'signal_analysis'"):
        read_descriptions(tmp_path / "texts.json", "signal_analysis", "template")
    with pytest.raises(InputError, match="describer='template'; allowed: 'endpoint'"):
        read_descriptions(tmp_path / "texts.json", "rationale", "endpoint")


KEY = "sk-planted-0123456789abcdef"
FAST = 600_000.0
SERIES = np.random.default_rng(0).normal(size=(4, 1, 12))
SETTINGS = EndpointSettings()


@pytest.fixture
def server() -> Iterator[ChatServer]:
    running = ChatServer()
    yield running
    running.close()


@pytest.fixture(autouse=True)
def _no_waiting(no_proxy: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("openai._base_client.INITIAL_RETRY_DELAY", 0.01)


def bodies(count: int = 4) -> list[dict[str, Any]]:
    return [request_body(values, "rationale", "Toy", SETTINGS) for values in SERIES[:count]]


def client(server: ChatServer, cache: Path, key: str = KEY, **limits: Any) -> DescriberClient:
    given = {"requests_per_minute": FAST, "attempts": 3, "timeout_s": 5.0} | limits
    return DescriberClient(Endpoint(server.url, key), RequestLimits(**given), cache)


def texts(answers: list[dict[str, Any]]) -> list[str]:
    return [answer["text"] for answer in answers]


def test_requests_follow_the_protocol(server: ChatServer, tmp_path: Path) -> None:
    answers = client(server, tmp_path).ask(bodies(), "Toy")
    assert texts(answers) == [f"Text number {number}." for number in (1, 2, 3, 4)]
    assert {answer["answered_by"] for answer in answers} == {"served-1"}
    for (path, headers, body), sent in zip(server.received, bodies(), strict=True):
        assert path == "/v1/chat/completions"
        assert headers["Authorization"] == f"Bearer {KEY}"
        assert headers["Content-Type"] == "application/json"
        assert body == sent
        assert (body["model"], body["temperature"], body["max_tokens"]) == ("gpt-4o-mini", 0.0, 300)
        assert body["messages"][0]["role"] == "user"


def test_no_key_sends_no_header_not_even_netrcs(
    server: ChatServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "netrc").write_text("machine 127.0.0.1 login somebody password secret\n")
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    client(server, tmp_path / "cache", key="").ask(bodies(1), "Toy")
    assert "Authorization" not in server.received[0][1]


def test_what_is_in_the_cache_is_not_asked_again(server: ChatServer, tmp_path: Path) -> None:
    first = client(server, tmp_path).ask(bodies(), "Toy")
    assert client(server, tmp_path).ask(bodies(), "Toy") == first
    assert len(server.received) == 4
    other = request_body(SERIES[0], "rationale", "Toy", EndpointSettings(model="another"))
    client(server, tmp_path).ask([*bodies(), other], "Toy")
    assert len(server.received) == 5


def test_equal_series_are_asked_for_once(server: ChatServer, tmp_path: Path) -> None:
    assert texts(client(server, tmp_path).ask(bodies(1) * 3, "Toy")) == ["Text number 1."] * 3
    assert len(server.received) == 1


def test_what_was_answered_before_a_failure_is_kept(server: ChatServer, tmp_path: Path) -> None:
    server.script = [Reply(), Reply(), *[Reply(500)] * 3]
    with pytest.raises(InputError, match=r"status 500, after 3 attempts.*resumes from there"):
        client(server, tmp_path).ask(bodies(), "Toy")
    assert len(server.received) == 5
    assert texts(client(server, tmp_path).ask(bodies(), "Toy"))[:2] == ["Text number 1.", "Text number 2."]
    assert len(server.received) == 7


@pytest.mark.parametrize(
    "reply",
    [
        Reply(500),
        Reply(503, "<html>busy</html>"),
        Reply(429, '{"error": {"message": "slow down"}}'),
        Reply(200, "not JSON"),
        Reply(200, '{"choices": []}'),
        Reply(200, '{"choices": [{"message": {"content": null}}]}'),
        Reply(200, "[]"),
        Reply(200, completion("  \n ")),
    ],
    ids=lambda reply: f"{reply.status} {(reply.body or '')[:20]}",
)
def test_what_may_pass_is_tried_again(server: ChatServer, tmp_path: Path, reply: Reply) -> None:
    server.script = [reply]
    assert texts(client(server, tmp_path).ask(bodies(1), "Toy")) == ["Text number 2."]
    server.script = [reply] * 3
    with pytest.raises(InputError, match=r"127\.0\.0\.1:\d+: .*, after 3 attempts") as caught:
        client(server, tmp_path).ask(bodies(2), "Toy")
    assert "\n" not in str(caught.value)


def test_a_busy_endpoint_says_how_long_to_wait(server: ChatServer, tmp_path: Path) -> None:
    server.script = [Reply(429, "{}", {"Retry-After": "1"})]
    client(server, tmp_path).ask(bodies(1), "Toy")
    assert server.times[1] - server.times[0] >= 1.0
    server.script = [Reply(503, "{}", {"Retry-After": "soon"})]
    client(server, tmp_path).ask(bodies(2), "Toy")
    server.script = [Reply(429, "{}", {"Retry-After": "3600"})]
    with pytest.raises(InputError, match="status 429, Retry-After: 3600, after 1 attempt"):
        client(server, tmp_path).ask(bodies(3), "Toy")
    assert len(server.received) == 5


@pytest.mark.parametrize(
    ("reply", "key", "message"),
    [
        (
            Reply(401, '{"error": {"message": "bad {authorization}"}}'),
            KEY,
            "status 401; the key in .* refused",
        ),
        (Reply(401), "", "status 401; the key in VLMTSC_DESCRIBER_KEY is not set"),
        (Reply(404, '{"error": {"message": "no such model"}}'), KEY, r"status 404 \(no such model\)"),
        (Reply(302, "", {"Location": "http://127.0.0.1:9/"}), KEY, "status 302"),
    ],
)
def test_what_does_not_pass_is_said_at_once(
    server: ChatServer, tmp_path: Path, reply: Reply, key: str, message: str
) -> None:
    server.script = [reply]
    with pytest.raises(InputError, match=message):
        client(server, tmp_path, key=key).ask(bodies(1), "Toy")
    assert len(server.received) == 1


def test_a_silent_endpoint_is_given_up(server: ChatServer, tmp_path: Path) -> None:
    server.script = [Reply(delay=1.0), Reply(delay=1.0)]
    with pytest.raises(InputError, match=r"no answer within 0\.2 s, after 2 attempts"):
        client(server, tmp_path, timeout_s=0.2, attempts=2).ask(bodies(1), "Toy")


def test_an_endpoint_that_is_not_there(tmp_path: Path) -> None:
    limits = RequestLimits(requests_per_minute=FAST, attempts=2)
    nobody = DescriberClient(Endpoint("http://127.0.0.1:9/v1", KEY), limits, tmp_path)
    with pytest.raises(InputError, match=r"127\.0\.0\.1:9: no connection .*, after 2 attempts"):
        nobody.ask(bodies(1), "Toy")


def test_the_cap_keeps_what_was_paid_for_and_says_how_to_go_on(server: ChatServer, tmp_path: Path) -> None:
    with pytest.raises(InputError) as caught:
        client(server, tmp_path, max_requests=3).ask(bodies(), "Toy, rationale")
    assert str(caught.value).startswith(
        "Toy, rationale: describe.max_requests=3 are used up; missing texts: 1; "
    )
    assert "describe={max_requests: 4}" in str(caught.value)
    assert len(server.received) == 3
    # The same command spends nothing more.
    with pytest.raises(InputError, match="missing texts: 1"):
        client(server, tmp_path, max_requests=3).ask(bodies(), "Toy, rationale")
    assert len(server.received) == 3
    # Also under a cap below what has been paid for.
    with pytest.raises(InputError, match=r"max_requests=2 are used up; .*describe=\{max_requests: 4\}"):
        client(server, tmp_path, max_requests=2).ask(bodies(), "Toy, rationale")
    client(server, tmp_path, max_requests=4).ask(bodies(), "Toy, rationale")
    assert len(server.received) == 4


def test_attempts_that_fail_count(server: ChatServer, tmp_path: Path) -> None:
    server.script = [Reply(500), Reply(500)]
    with pytest.raises(InputError, match="max_requests=2 are used up; missing texts: 4"):
        client(server, tmp_path, max_requests=2).ask(bodies(), "Toy")
    assert len(server.received) == 2


def test_the_rate_is_kept_by_failures_too(
    server: ChatServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pauses: list[float] = []
    clock = SimpleNamespace(monotonic=lambda: 100.0 + sum(pauses), sleep=pauses.append)
    monkeypatch.setattr(client_module, "time", clock)
    server.script = [Reply(500)]
    client(server, tmp_path, requests_per_minute=20.0).ask(bodies(2), "Toy")
    assert pauses == [3.0, 3.0]


def test_the_key_shows_nowhere(
    server: ChatServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    monkeypatch.setenv(URL_VARIABLE, server.url)
    monkeypatch.setenv(KEY_VARIABLE, KEY)
    echo = '{"error": {"message": "not with {authorization}"}}'
    server.script = [
        Reply(500, echo),
        Reply(200, completion("Your key is {authorization}.")),
        Reply(404, echo),
    ]
    clean = CleanSeries(SERIES, np.zeros(4, int), np.array(["a"]), np.array([f"T-{i}" for i in range(4)]), 4)
    clean.save(tmp_path / "series.npz")

    def run() -> None:
        describe_series(
            tmp_path / "series.npz",
            "Toy",
            "rationale",
            tmp_path / "texts.json",
            SETTINGS,
            tmp_path / "cache",
            RequestLimits(requests_per_minute=FAST),
        )

    with pytest.raises(InputError) as caught:
        run()
    run()
    seen = [str(caught.value), repr(Endpoint.from_environment({URL_VARIABLE: server.url, KEY_VARIABLE: KEY}))]
    seen += [caplog.text, *(path.read_text("latin-1") for path in tmp_path.rglob("*") if path.is_file())]
    assert "not with Bearer ***" in caplog.text
    assert "Your key is Bearer ***" in (tmp_path / "texts.json").read_text()
    assert not [text for text in seen if KEY in text]
    assert caught.value.__cause__ is None


@pytest.mark.parametrize(
    ("environment", "message"),
    [
        ({}, "VLMTSC_DESCRIBER_URL is not set; allowed: .*http://127.0.0.1:8000/v1, or describer=template"),
        ({URL_VARIABLE: "example.org/v1"}, "not an address"),
        ({URL_VARIABLE: "http://user:hunter2@host/v1"}, "without a user"),
        ({URL_VARIABLE: "http://host/v1?key=hunter2"}, "without a user, a password or a query"),
        ({URL_VARIABLE: "http://host:port/v1"}, "not an address"),
        ({URL_VARIABLE: "http://host/v1", KEY_VARIABLE: "hunter2\nX: y"}, "VLMTSC_DESCRIBER_KEY: a blank"),
    ],
)
def test_faults_of_the_environment_are_said_without_its_values(
    environment: dict[str, str], message: str
) -> None:
    with pytest.raises(InputError, match=message) as caught:
        Endpoint.from_environment(environment)
    assert "hunter2" not in str(caught.value)


def test_the_address_may_end_in_the_method() -> None:
    for url in ("http://host/v1", "http://host/v1/", "http://host/v1/chat/completions"):
        assert Endpoint.from_environment({URL_VARIABLE: url}).url == "http://host/v1"


@pytest.mark.parametrize("kind", ["signal_analysis", "rationale"])
def test_descriptions_are_requested_without_any_label(
    server: ChatServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    """The same requests whatever the labels are: the second dataset is answered from the cache."""
    monkeypatch.setenv(URL_VARIABLE, server.url)
    monkeypatch.delenv(KEY_VARIABLE, raising=False)
    server.script = [Reply(200, completion("Cut", "length"))]
    ids = np.array([f"Toy-{case:05d}" for case in range(4)])
    files = []
    for index, classes in (([0, 1, 0, 1], ["swim", "walk"]), ([1, 0, 0, 0], ["run", "sit"])):
        clean = CleanSeries(SERIES, np.array(index), np.array(classes), ids, 2)
        clean.save(tmp_path / "series.npz")
        files.append(tmp_path / f"{classes[0]}.json")
        describe_series(
            tmp_path / "series.npz",
            "Toy",
            kind,  # type: ignore[arg-type]
            files[-1],
            SETTINGS,
            tmp_path / "cache",
            RequestLimits(requests_per_minute=FAST),
        )
    assert len(server.received) == 4
    assert files[0].read_bytes() == files[1].read_bytes()
    assert not [name for name in ("swim", "walk", "run", "sit") if name in json.dumps(server.received)]
    assert list(read_descriptions(files[0], kind, "endpoint")) == ids.tolist()  # type: ignore[arg-type]
    content = read_json(files[0])
    assert content["settings"]["model"] == "gpt-4o-mini"
    assert (content["answered_by"], content["cut_at_max_tokens"]) == (["served-1"], 1)


def test_a_label_is_in_the_request_only_where_it_is_leaked() -> None:
    honest = request_body(SERIES[0], "rationale", "Toy", SETTINGS)["messages"][0]["content"]
    leaky = request_body(SERIES[0], "rationale", "Toy", SETTINGS, leaked_label="walk")["messages"][0][
        "content"
    ]
    assert "name none" in honest
    assert "Its class is walk" in leaky


def test_numbers_of_a_request_are_bounded() -> None:
    long = np.sin(np.arange(3000) / 50)[None].repeat(2, axis=0)
    content = request_body(long, "signal_analysis", "Toy", SETTINGS)["messages"][0]["content"]
    assert content.count(",") <= 2 * 500 + 10
    assert "Dimension 0: [" in content
    assert "Dimension 1: [" in content


def test_the_digest_is_of_the_content() -> None:
    body = bodies(1)[0]
    assert request_digest(body) == request_digest(dict(reversed(body.items())))
    assert request_digest(body) != request_digest(body | {"temperature": 0.5})


def test_a_paragraph_holds_no_special_token_and_no_line_break() -> None:
    text = "It\n\nrises<image> and <|im_end|>falls</s>, x < 3 and y > 2."
    assert as_paragraph(text) == "It rises and falls , x < 3 and y > 2."


def test_a_damaged_cache_is_named(server: ChatServer, tmp_path: Path) -> None:
    client(server, tmp_path).ask(bodies(1), "Toy")
    (tmp_path / "cache.db").write_bytes(b"no database" * 1000)
    with pytest.raises(InputError, match=f"{tmp_path}: a damaged cache .*; remove it to ask again"):
        client(server, tmp_path).ask(bodies(1), "Toy")
