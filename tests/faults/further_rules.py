"""Rules that the tiny workflow does not ask for: those of networks, and those of tables that need more than a run.

They have run in a project of their own, `Further`.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from chat_server import ChatServer
from file_server import FileServer, sends
from hub_server import REPOSITORY, REVISION, hub_headers, place_of, start_hub
from model_parts import LANGUAGE_MODEL, REQUIREMENT, VISION_TOWER, WHEEL
from tiny_project import CONFIGURATION, DATASET
from workflow_runs import RUN, SCENARIO, run

ASSEMBLED, FROM_HUB = "assembled", "from_hub"
HOSTED = f"probes/tiny/{DATASET}/pooled/hosted_model"
TEXTS = f"descriptions/{DATASET}/endpoint/signal_analysis.json"
PARTS = tuple(f"model_parts/{ASSEMBLED}/{name}" for name in ("language_model.gguf", "vision_tower.pth"))
WHEELS = "packages of all"

#: What each rule writes, below the results folder.
OUTPUTS: dict[str, tuple[str, ...]] = {
    "download_model_parts": PARTS,
    "assemble_model": (f"models/{ASSEMBLED}",),
    "download_model": (f"models/{FROM_HUB}",),
    "request_descriptions": (TEXTS,),
    "ask_hosted_model": tuple(f"{HOSTED}/{name}" for name in ("predictions.csv", "metrics.json")),
    "write_corrections_table": tuple(f"tables/corrections.{kind}" for kind in ("csv", "md", "tex", "html")),
    "collect_paper": ("paper",),
}
#: A file whose new time makes a rule run again.
CAUSES = {
    "assemble_model": f"results/{PARTS[0]}",
    "request_descriptions": f"results/datasets/{DATASET}/series.npz",
    "ask_hosted_model": f"results/datasets/{DATASET}/pooled/split.npz",
    "write_corrections_table": f"results/{RUN}/metrics.json",
    "collect_paper": "results/tables/accuracy.csv",
}
#: What has to be removed so that a rule has everything to do again: of those without input what they write, and what is
#: kept of earlier downloads and answers.
REMOVED = {
    "download_model_parts": (WHEELS, f"results/{PARTS[0]}"),
    "download_model": ("hub", f"results/models/{FROM_HUB}"),
    "request_descriptions": ("describer_cache",),
    "ask_hosted_model": ("describer_cache",),
}


@dataclass(frozen=True)
class Further:
    """A project in which these rules have run, and the servers that they asked.

    Attributes
    ----------
    project : Path
    environment : mapping
        Variables by which the servers are found.
    """

    project: Path
    environment: Mapping[str, str]


def describe(body: Mapping[str, Any]) -> str:
    """Answer the same request with the same text, whenever it comes."""
    return f"It is number {hashlib.sha256(json.dumps(body, sort_keys=True).encode()).hexdigest()[:8]}."


@contextmanager
def servers(checkpoint: Path, wheel: bytes) -> Iterator[dict[str, str]]:
    """Start a hub, a package index and an endpoint; yield the variables by which a workflow finds them.

    They take their time, so that a job can be interrupted while it reads what they send.
    """
    hub, index, chat = start_hub(checkpoint), FileServer(), ChatServer(describe)
    content = (checkpoint / "model.safetensors").read_bytes()
    hub.answers[place_of("model.safetensors")] = sends(
        content, headers=hub_headers(hashlib.sha256(content).hexdigest()), piece=len(content) // 9, pause=0.05
    )
    page = f'<!DOCTYPE html><html><body><a href="/{WHEEL}">{WHEEL}</a></body></html>'.encode()
    index.answers["/simple/tiny-parts/"] = sends(page, kind="text/html")
    index.answers[f"/{WHEEL}"] = sends(wheel, piece=len(wheel) // 9, pause=0.05)
    try:
        yield {
            "HF_ENDPOINT": hub.url.rstrip("/"),
            "HF_HOME": "hub",
            "PIP_INDEX_URL": f"{index.url}simple/",
            "PIP_CONFIG_FILE": os.devnull,
            "PIP_NO_CACHE_DIR": "1",
            "VLMTSC_DESCRIBER_URL": chat.url,
        }
    finally:
        for server in (hub, index, chat):
            server.close()


def configure(project: Path, wheel: bytes) -> None:
    """Give a finished tiny project the models, the correction and the endpoint that these rules are for."""
    digest = hashlib.sha256(wheel).hexdigest()
    (project / "envs/data-wheels.txt").write_text(f"{REQUIREMENT} --hash=sha256:{digest}\n")
    table = project / "config/tiny_models.yaml"
    models = json.loads(table.read_text())
    parts = {
        "language_model": f"{REQUIREMENT}:{LANGUAGE_MODEL}",
        "vision_tower": f"{REQUIREMENT}:{VISION_TOWER}",
    }
    assemble = {**parts, "layers": 2, "vision_strides": [32], "seed": 0}
    models[ASSEMBLED] = {**models["tiny"], "source": {"assemble": assemble}}
    models[FROM_HUB] = {
        **models["tiny"],
        "source": {"hub": {"repository": REPOSITORY, "revision": REVISION}},
    }
    table.write_text(json.dumps(models))
    configuration = json.loads((project / CONFIGURATION).read_text())
    configuration["corrections"] = [{"switch": "no_image_token", "scenario": SCENARIO, "datasets": [DATASET]}]
    configuration["download"]["wheels"] = WHEELS
    configuration["describe"] = {"requests_per_minute": 1200}
    (project / CONFIGURATION).write_text(json.dumps(configuration))


def make_further(undisturbed: Path, folder: Path, variables: Mapping[str, str], wheel: bytes) -> Further:
    """Copy a finished tiny project and have these rules run in it; the variables have to be set."""
    project = shutil.copytree(undisturbed, folder)
    configure(project, wheel)
    for asked in (OUTPUTS.keys() - {"collect_paper"}, ["collect_paper"]):
        done = run(project, *(f"results/{OUTPUTS[rule][0]}" for rule in asked))
        assert done.returncode == 0, done.stdout + done.stderr
    return Further(project, variables)


def undo(project: Path, rule: str) -> None:
    """Have a rule run again, with everything to do."""
    for place in REMOVED.get(rule, ()):
        path = project / place
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)
    if rule in CAUSES:
        (project / CAUSES[rule]).touch()
