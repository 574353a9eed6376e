"""A processor read from its files alone says the same as the one that transformers builds."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from conftest import ROOT

from vlmtsc.errors import InputError
from vlmtsc.files import read_json
from vlmtsc.model.files import load_checked_processor, read_checked_processor
from vlmtsc.model.stored_processor import StoredProcessor, read_stored_config, read_stored_processor
from vlmtsc.representation.tokens import TextTokens, count_image_tokens

TEXTS = [
    "USER: <image>\nWhich class?\n-10 7 0\nClass:  ASSISTANT: 1</s>",
    "  blanks  and\nlines ",
    "é 12,3 [0.5]",
]


def changed(checkpoint: Path, folder: Path, file: str, changes: dict[str, Any]) -> Path:
    """Copy a checkpoint and change keys of one of its JSON files; None removes a key."""
    copy = shutil.copytree(checkpoint, folder)
    content = {**read_json(copy / file), **changes}
    (copy / file).write_text(json.dumps({key: value for key, value in content.items() if value is not None}))
    return copy


@pytest.mark.parametrize("style", ["tiny_checkpoint", "llama_checkpoint"])
def test_same_as_the_built_processor(style: str, request: pytest.FixtureRequest) -> None:
    folder = request.getfixturevalue(style)
    stored, built = read_checked_processor(folder), load_checked_processor(folder)
    assert isinstance(stored, StoredProcessor)
    assert count_image_tokens(stored) == count_image_tokens(built)
    assert stored.tokenizer.eos_token == built.tokenizer.eos_token
    own, theirs = TextTokens(stored.tokenizer), TextTokens(built.tokenizer)
    assert own.count(TEXTS).tolist() == theirs.count(TEXTS).tolist()
    for found, expected in zip(own.locate(TEXTS), theirs.locate(TEXTS), strict=True):
        assert found.tolist() == expected.tolist()
    assert stored.tokenizer(TEXTS)["input_ids"] == built.tokenizer(TEXTS)["input_ids"]


@pytest.mark.parametrize(
    ("file", "changes"),
    [
        ("tokenizer_config.json", {"tokenizer_class": "LlamaTokenizer"}),
        ("tokenizer_config.json", {"image_token": "<image>"}),
        ("processor_config.json", {"patch_size": None}),
        ("processor_config.json", {"image_processor": {"image_processor_type": "CLIPImageProcessor"}}),
    ],
)
def test_what_is_not_stated_is_left_to_transformers(
    tiny_checkpoint: Path, tmp_path: Path, file: str, changes: dict[str, Any]
) -> None:
    assert read_stored_processor(changed(tiny_checkpoint, tmp_path / "copy", file, changes)) is None


@pytest.mark.parametrize(
    "changes", [{"image_token_index": None}, {"vision_config": {"model_type": "clip_vision_model"}}]
)
def test_configuration_with_defaults_is_left_to_transformers(
    tiny_checkpoint: Path, tmp_path: Path, changes: dict[str, Any]
) -> None:
    assert read_stored_config(changed(tiny_checkpoint, tmp_path / "copy", "config.json", changes)) is None


def test_a_mismatch_is_found_without_transformers(tiny_checkpoint: Path, tmp_path: Path) -> None:
    folder = changed(
        tiny_checkpoint, tmp_path / "copy", "processor_config.json", {"num_additional_image_tokens": 0}
    )
    with pytest.raises(InputError) as found:
        read_checked_processor(folder)
    with pytest.raises(InputError) as expected:
        load_checked_processor(folder)
    assert str(found.value) == str(expected.value)


@pytest.mark.parametrize(
    ("script", "absent"),
    [
        ("build_conversations", ["torch", "pandas", "scipy", "sklearn", "matplotlib"]),
        ("render_plots", ["torch", "transformers", "pandas", "scipy", "sklearn"]),
        ("preprocess_dataset", ["torch", "transformers", "pandas", "scipy", "sklearn", "matplotlib"]),
        ("collect_runs", ["torch", "transformers", "scipy", "sklearn", "matplotlib"]),
        ("write_tables", ["torch", "transformers", "scipy", "sklearn"]),
    ],
)
def test_scripts_import_only_what_they_need(script: str, absent: list[str]) -> None:
    drawing = "vlmtsc.representation.plots" if script == "render_plots" else "vlmtsc.script"
    code = f"import sys, {script}, {drawing}; print([name for name in {absent!r} if name in sys.modules])"
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT / "workflow_scripts",
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.strip() == "[]"
