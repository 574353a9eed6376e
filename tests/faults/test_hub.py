"""A model hub that is down, silent, cut off, or sends something else: one line, and what was downloaded is kept."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from conftest import ROOT
from file_server import Answer, FileServer, says_nothing, sends
from hub_server import REPOSITORY, REVISION, TREE, hub_answers, hub_headers, place_of, start_hub

from vlmtsc.commands import export
from vlmtsc.errors import InputError

WEIGHTS, CONFIGURATION = place_of("model.safetensors"), place_of("config.json")
HTML = b"<!DOCTYPE html>\n<html><body>Please log in</body></html>\n"


@pytest.fixture
def server(tiny_checkpoint: Path) -> Iterator[FileServer]:
    server = start_hub(tiny_checkpoint)
    yield server
    server.close()


def download(server: FileServer, folder: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run the script against the hub; the addresses are read when the library is imported."""
    environment = {
        **os.environ,
        "HF_ENDPOINT": server.url.rstrip("/"),
        "HF_HOME": str(folder / "cache"),
        "HF_HUB_ETAG_TIMEOUT": "1",
        "HF_HUB_DOWNLOAD_TIMEOUT": "1",
        "HF_HUB_DISABLE_XET": "1",
        **variables,
    }
    settings = f'{{"repository": "{REPOSITORY}", "revision": "{REVISION}"}}'
    command = [sys.executable, str(ROOT / "workflow_scripts/download_model.py"), "--hub", settings]
    return subprocess.run(
        [*command, "--output", str(folder / "models/tiny")],
        env=environment,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_a_checkpoint_is_downloaded_once_for_all_projects(
    server: FileServer, tiny_checkpoint: Path, tmp_path: Path
) -> None:
    done = download(server, tmp_path)
    assert done.returncode == 0, done.stderr
    model = tmp_path / "models/tiny"
    assert contents(model) == contents(tiny_checkpoint)
    assert (model / "model.safetensors").stat().st_nlink == 2  # no second copy
    # A configuration may be corrected by hand, which must not change what other projects get.
    assert (model / "config.json").stat().st_nlink == 1
    server.asked.clear()
    shutil.rmtree(model)
    server.close()
    done = download(server, tmp_path, HF_HUB_OFFLINE="1")
    assert done.returncode == 0, done.stderr
    assert contents(model) == contents(tiny_checkpoint)
    assert server.asked == []


def instead_of(content: bytes, sent: bytes, announced: int | None = None) -> Answer:
    """Send something else under the digest of the weights."""
    return sends(sent, announced=announced, headers=hub_headers(hashlib.sha256(content).hexdigest()))


DAMAGED = r"model\.safetensors is damaged.*; removed; the same command"
#: Where something goes wrong, how, by what the file holds, and what is said.
FAULTS: dict[str, tuple[str, Callable[[bytes], Answer], str]] = {
    "no repository": (TREE, lambda _: sends(b"no", status=404), "could not be downloaded .*404"),
    "no access": (TREE, lambda _: sends(b"no", status=401), "could not be downloaded .*401"),
    "broken": (TREE, lambda _: sends(b"no", status=500), "could not be downloaded .*500"),
    "HTML for the list": (
        TREE,
        lambda _: sends(HTML, kind="text/html"),
        "could not be downloaded .*JSON|Expecting",
    ),
    "silent": (TREE, lambda _: says_nothing(2), "could not be downloaded .*(timed out|disconnected)"),
    "no weights": (WEIGHTS, lambda _: sends(b"no", status=404), "could not be downloaded .*404"),
    "silent weights": (
        WEIGHTS,
        lambda _: says_nothing(2),
        "could not be downloaded .*(timed out|disconnected)",
    ),
    "cut off": (WEIGHTS, lambda good: instead_of(good, good[:-9], len(good)), "could not be downloaded"),
    "too short": (
        WEIGHTS,
        lambda good: instead_of(good, good[:-9]),
        DAMAGED,
    ),
    "HTML for weights": (
        WEIGHTS,
        lambda good: instead_of(good, HTML),
        DAMAGED,
    ),
    "other configuration": (
        CONFIGURATION,
        lambda _: sends(b"{", headers=hub_headers("0" * 40)),
        "config.json is damaged: its digest is",
    ),
    "other bytes": (
        WEIGHTS,
        lambda good: instead_of(good, good[::-1]),
        DAMAGED,
    ),
}


@pytest.mark.fault_grid(sample=2)
@pytest.mark.parametrize(("path", "answer", "message"), FAULTS.values(), ids=FAULTS)
def test_what_the_hub_does_wrong_is_one_line(
    server: FileServer,
    tiny_checkpoint: Path,
    tmp_path: Path,
    path: str,
    answer: Callable[[bytes], Answer],
    message: str,
) -> None:
    server.answers[path] = answer((tiny_checkpoint / "model.safetensors").read_bytes())
    done = download(server, tmp_path)
    assert done.returncode == 1
    [line] = [line for line in done.stderr.splitlines() if " ERROR " in line]
    assert re.search(rf"{REPOSITORY} at {REVISION}: {message}", line), done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "models/tiny").exists()
    # Once the hub works again, nothing is in the way.
    server.answers |= hub_answers(tiny_checkpoint)
    done = download(server, tmp_path)
    assert done.returncode == 0, done.stderr
    assert contents(tmp_path / "models/tiny") == contents(tiny_checkpoint)


UPLOAD = """
import sys
from pathlib import Path
from vlmtsc.hub import upload_folder

upload_folder(Path(sys.argv[1]), sys.argv[2])
"""


def test_an_upload_sends_the_files_with_the_token_of_the_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from vlmtsc.hub import upload_folder  # seconds of imports

    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "adapter_config.json").write_text("{}")
    server = FileServer()
    uploads = {"files": [{"path": "adapter_config.json", "uploadMode": "regular", "shouldIgnore": False}]}
    committed = {
        "success": True,
        "commitOid": "b" * 40,
        "commitUrl": f"{server.url}{REPOSITORY}/commit/{'b' * 40}",
    }
    place = f"/api/models/{REPOSITORY}"
    for path, content in {
        "/api/repos/create": {"url": f"{server.url}{REPOSITORY}", "name": REPOSITORY},
        f"{place}/preupload/main": uploads,
        f"{place}/commit/main": committed,
    }.items():
        server.answers[path] = sends(json.dumps(content).encode(), kind="application/json")
    environment = {**os.environ, "HF_ENDPOINT": server.url.rstrip("/"), "HF_TOKEN": "hf_secret"}
    environment |= {"PYTHONPATH": str(ROOT / "workflow_scripts"), "HF_HUB_OFFLINE": "0"}
    command = [sys.executable, "-c", UPLOAD, str(folder), REPOSITORY]
    try:
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr + str(server.asked)
        assert json.loads(server.received["/api/repos/create"])["visibility"] == "private"
        [_, file] = map(json.loads, server.received[f"{place}/commit/main"].splitlines())
        assert base64.b64decode(file["value"]["content"]) == b"{}"
        assert server.sender == "Bearer hf_secret"
        server.asked.clear()
        monkeypatch.delenv("HF_TOKEN", raising=False)
        with pytest.raises(InputError, match="HF_TOKEN is not set"):
            upload_folder(folder, REPOSITORY)
        with pytest.raises(InputError, match="HF_TOKEN is not set"):
            export(tmp_path / "run", tmp_path / "exported", upload=REPOSITORY)
        assert not (tmp_path / "exported").exists()
        assert server.asked == []
    finally:
        server.close()
