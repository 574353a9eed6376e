"""A model hub on 127.0.0.1: one repository of one revision, as a file server gives it."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

from file_server import Answer, FileServer, sends

REPOSITORY, REVISION = "someone/tiny-llava", "a" * 40
TREE = f"/api/models/{REPOSITORY}/tree/{REVISION}?recursive=true&expand=false"


def place_of(name: str) -> str:
    """Return where the hub has a file of the repository."""
    return f"/{REPOSITORY}/resolve/{REVISION}/{name}"


def git_digest(content: bytes) -> str:
    """Return how Git names a file of this content."""
    return hashlib.sha1(b"blob %d\0" % len(content) + content, usedforsecurity=False).hexdigest()


def hub_headers(digest: str) -> dict[str, str]:
    """Return what a hub tells of a file of this digest."""
    return {"ETag": f'"{digest}"', "X-Repo-Commit": REVISION}


def hub_answers(checkpoint: Path) -> dict[str, Answer]:
    """Return what a hub answers that has the files of a checkpoint folder."""
    answers: dict[str, Answer] = {}
    entries: list[dict[str, Any]] = []
    for path in sorted(checkpoint.iterdir()):
        content = path.read_bytes()
        entry = {"type": "file", "oid": git_digest(content), "size": len(content), "path": path.name}
        digest = entry["oid"]
        if path.suffix == ".safetensors":  # large files are named by their SHA-256
            digest = hashlib.sha256(content).hexdigest()
            entry["lfs"] = {"oid": digest, "size": len(content), "pointerSize": 130}
        entries.append(entry)
        answers[place_of(path.name)] = sends(content, headers=hub_headers(digest))
    answers[TREE] = sends(json.dumps(entries).encode(), kind="application/json")
    return answers


def start_hub(checkpoint: Path) -> FileServer:
    """Start a hub that has the files of a checkpoint folder."""
    server = FileServer()
    server.answers |= hub_answers(checkpoint)
    return server
