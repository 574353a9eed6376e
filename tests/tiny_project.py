"""A copy of the project, configured for a tiny model and for nothing that needs a network."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from conftest import ROOT, copy_project

from vlmtsc.configuration import load_yaml

DATASET = "GunPointSmall"
CONFIGURATION = "config/tiny.yaml"


def tiny_project(
    folder: Path,
    checkpoint: Path,
    scenarios: Sequence[str],
    recipe: Mapping[str, Any] | None = None,
    resources: Mapping[str, int] | None = None,
    options: Mapping[str, Any] | None = None,
) -> Path:
    """Make the copy; `recipe` and `resources` replace keys of the model `tiny`, `options` of the configuration."""
    project = copy_project(folder)
    shutil.copytree(ROOT / "tests/data" / DATASET, project / "own" / DATASET)
    default = next(iter(load_yaml(ROOT / "config/models.yaml").values()))
    small = {"lora_r": 2, "epochs": 1, "token_budget": 0, "precision": "fp32"}
    small |= {"align_steps": 50, "aligned_cases": 0}
    model = {
        "source": {"folder": {"path": str(checkpoint)}},
        "system_prompt": "",
        "store_features": True,
        "resources": {"threads": 1, "mem_mb": 1000, "runtime": 10, "gpu": 0, **(resources or {})},
        "recipe": {**default["recipe"], **small, **(recipe or {})},
    }
    # JSON is YAML.
    (project / "config/tiny_models.yaml").write_text(json.dumps({"tiny": model}))
    changes = {
        "datasets": [DATASET],
        "scenarios": list(scenarios),
        "models": ["tiny"],
        "download": {"sources": ["folder"], "folder": "own"},
        "tables": {"models": "config/tiny_models.yaml"},
        **(options or {}),
    }
    (project / CONFIGURATION).write_text(json.dumps(changes))
    return project
