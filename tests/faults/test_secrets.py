"""A describer that is asked with a key, fails, and sends the key back: no file of the run holds it."""

from __future__ import annotations

import json
import secrets
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from chat_server import ChatServer, Reply
from conftest import SnakemakeRunner
from tiny_project import CONFIGURATION, DATASET, tiny_project

NAMES = ("VLMTSC_DESCRIBER_KEY", "HF_TOKEN", "WANDB_API_KEY")
TARGET = f"results/descriptions/{DATASET}/endpoint/signal_analysis.json"
ECHO = '{"error": {"message": "who is {authorization}?"}}'


@pytest.fixture
def server() -> Iterator[ChatServer]:
    server = ChatServer()
    yield server
    server.close()


@pytest.mark.fault_grid(sample=1)
@pytest.mark.parametrize(
    ("replies", "works"),
    [
        ([Reply(status=500, body=ECHO)], True),  # tried again
        ([Reply(body=ECHO)] * 9, False),  # no chat completion, however often it is asked
        ([Reply(status=401, body=ECHO)] * 9, False),
    ],
    ids=["once overloaded", "another answer", "refused"],
)
def test_a_key_that_the_endpoint_sends_back_is_in_no_file(
    replies: list[Reply],
    works: bool,
    server: ChatServer,
    tmp_path: Path,
    tiny_checkpoint: Path,
    snakemake: SnakemakeRunner,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    planted = {name: secrets.token_hex(20) for name in NAMES}
    for name, value in planted.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("VLMTSC_DESCRIBER_URL", server.url)
    server.script = list(replies)
    project = tiny_project(tmp_path / "project", tiny_checkpoint, ["plot"])
    done: subprocess.CompletedProcess[str] = snakemake(
        project,
        TARGET,
        *("--cores", "1", "--printshellcmds", "--verbose", "--configfile", CONFIGURATION),
        *("--config", "describe={requests_per_minute: 100000, attempts: 2}"),
        timeout=600,
    )
    assert (done.returncode == 0) == works, done.stdout + done.stderr
    (project / "output.txt").write_text(done.stdout + done.stderr)
    assert server.received[0][1]["Authorization"] == f"Bearer {planted['VLMTSC_DESCRIBER_KEY']}"
    if works:
        texts = json.loads((project / TARGET).read_text())
        assert len(server.received) > 24
        assert len(texts["texts"]) == 24
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert any(path.suffix == ".log" and "request_descriptions" in str(path) for path in files)
    for name, value in planted.items():
        assert [path for path in files if value.encode() in path.read_bytes()] == [], name
