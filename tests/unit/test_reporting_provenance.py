"""Provenance: what is kept of the records, what is left out, and how it is shown."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest
import yaml
from provenance_parts import provenance_of, run_of, write

from vlmtsc.errors import InputError
from vlmtsc.reporting.provenance import VERSION, digest_checkpoint, provenance_page

ROOT = Path(__file__).parents[2]


def test_the_version_is_that_of_the_citation() -> None:
    assert yaml.safe_load((ROOT / "CITATION.cff").read_text())["version"] == VERSION


def test_records_of_a_results_folder_are_read() -> None:
    runs = [run_of("plot", finished="1970-01-02T00:00Z"), run_of("numbers")]
    found = provenance_of(runs, baselines=["fcn"])
    [dataset] = found["datasets"]
    assert found["runs"][0]["finished"] == "1970-01-02T00:00Z"
    assert list(dataset["scenarios"]) == ["plot", "numbers"]
    assert dataset["scenarios"]["plot"]["mean_tokens"] == 72.5
    assert dataset["baselines"][0]["chosen"] == {"epoch": 3}
    assert dataset["facts"]["n_classes"] == 2
    assert found["recipes"][0]["lora_r"] == 7
    assert "seed" not in found["recipes"][0]


def test_runs_of_one_revision_and_machine_are_summarised() -> None:
    provenance = provenance_of([run_of("plot"), run_of("numbers", finished="2026-01-03T07:00Z")])
    summary = " ".join(provenance["summary"])
    assert "2 runs, finished between 2026-01-02T03:04Z and 2026-01-03T07:00Z (UTC)" in summary
    assert f"All have the revision {'a' * 40}." in summary
    assert "same versions and hardware" in summary
    assert [run["recipe"] for run in provenance["runs"]] == [1, 1]
    assert provenance["workflow"]["version"] == VERSION


def test_different_revisions_machines_and_recipes_are_distinguished() -> None:
    other = {"git_revision": "b" * 40 + "-dirty", "versions": {"torch": "2.0"}, "shared_with": "other"}
    runs = [
        run_of("plot"),
        run_of("numbers", seed=1, **other),
        run_of("numbers", git_revision="unknown", settings={"lora_r": 3, "seed": 0}),
    ]
    provenance = provenance_of(runs)
    summary = " ".join(provenance["summary"])
    assert f"revisions differ ({'a' * 40}: 1; {'b' * 40}-dirty: 1; unknown: 1)" in summary
    assert "uncommitted" in summary
    assert "not in a Git repository" in summary
    assert "2 different sets of versions and hardware" in summary
    assert "1 reused the adapter" in summary
    assert [(run["recipe"], run["environment"]) for run in provenance["runs"]] == [(1, 1), (1, 2), (2, 1)]
    page = provenance_page(provenance)
    assert "bbbbbbbbbbbb-dirty" in page
    assert page.count("<tr>") > 10


def test_the_page_shows_digests_files_and_configuration_escaped() -> None:
    files = [{"path": "model.safetensors", "bytes": 1234567, "sha256": "c" * 64}]
    page = provenance_page(provenance_of([run_of("<script>alert(1)<script>")], files=files))
    digests = ("d" * 64, "e" * 64, "c" * 64)
    for text in (*digests, "1,234,567 bytes", "wheel:package==1", "lora_r", "protocol: pooled"):
        assert text in page
    assert "<script>alert" not in page
    assert "&lt;script&gt;alert" in page
    assert "removed before" in provenance_page(provenance_of([run_of("plot")], files=[]))


def test_credentials_and_environment_variables_are_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HF_TOKEN", "WANDB_API_KEY", "VLMTSC_DESCRIBER_KEY", "PIP_INDEX_URL"):
        monkeypatch.setenv(name, f"planted-{name}")
    address = "https://someone:the-key@mirror.example/path?a=b@c"
    source = {"source": address, "tried": [{"source": address, "outcome": f"failed: {address}"}]}
    provenance = provenance_of(
        [run_of("plot")],
        options={"download": {"folder": address}},
        model={"folder": {"path": address}},
        source=source,
    )
    text = json.dumps(provenance) + provenance_page(provenance)
    assert "the-key" not in text
    assert "planted" not in text
    assert "https://mirror.example/path?a=b@c" in text


def test_a_record_without_a_key_is_named() -> None:
    run = run_of("plot")
    del run["record"]["git_revision"]
    with pytest.raises(InputError, match=r"tiny/Toy/pooled/plot/seed-0: the run record lacks git_revision"):
        provenance_of([run])


def test_files_of_a_model_have_digests(tmp_path: Path) -> None:
    model = tmp_path / "model"
    write(
        str(model),
        "config.json",
        {
            "model_type": "llava",
            "text_config": {"hidden_size": 16, "secret": 1},
            "vision_config": {"patch_size": 8},
        },
    )
    (model / ".hidden").write_text("x")
    found = digest_checkpoint(model)
    assert [file["path"] for file in found["files"]] == ["config.json"]
    assert found["files"][0]["sha256"] == hashlib.sha256((model / "config.json").read_bytes()).hexdigest()
    assert found["architecture"] == {
        "whole": {"model_type": "llava"},
        "language": {"hidden_size": 16},
        "vision": {"patch_size": 8},
    }
    assert digest_checkpoint(tmp_path / "removed") == {"files": [], "architecture": {}}
