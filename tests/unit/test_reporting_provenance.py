"""Where results come from: what is kept of the records, what is left out, and how it reads."""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path
from typing import Any

import pytest
import yaml
from provenance_parts import PART, merged, run_of

from collect_provenance import collect_provenance
from digest_model import digest_model
from vlmtsc.errors import InputError
from vlmtsc.reporting.provenance import dataset_provenance, merge_provenance, without_secrets
from vlmtsc.reporting.provenance_page import to_page
from vlmtsc.reporting.version import VERSION

ROOT = Path(__file__).parents[2]


def test_the_version_is_that_of_the_citation() -> None:
    assert yaml.safe_load((ROOT / "CITATION.cff").read_text())["version"] == VERSION


def test_runs_of_one_revision_and_machine_are_told_in_a_sentence() -> None:
    provenance = merged([run_of("plot"), run_of("numbers", finished="2026-01-03T07:00Z")])
    told = " ".join(provenance["summary"])
    assert "2 runs, finished between 2026-01-02T03:04Z and 2026-01-03T07:00Z (UTC)" in told
    assert f"All have the revision {'a' * 40}." in told
    assert "same versions and hardware" in told
    assert [run["recipe"] for run in provenance["runs"]] == [1, 1]
    assert "seed" not in provenance["recipes"][0]
    assert provenance["workflow"]["version"] == VERSION


def test_different_revisions_machines_and_recipes_are_told_apart() -> None:
    runs = [
        run_of("plot"),
        run_of(
            "numbers",
            seed=1,
            git_revision="b" * 40 + "-dirty",
            versions={"torch": "2.0"},
            shared_with="other",
        ),
        run_of("numbers", git_revision="unknown", settings={"lora_r": 3, "seed": 0}),
    ]
    provenance = merged(runs)
    told = " ".join(provenance["summary"])
    assert f"revisions differ ({'a' * 40}: 1; {'b' * 40}-dirty: 1; unknown: 1)" in told
    assert "no commit holds" in told
    assert "in no repository" in told
    assert "2 different sets of versions and hardware" in told
    assert "1 took the adapter of a run with the same inputs" in told
    assert [(run["recipe"], run["environment"]) for run in provenance["runs"]] == [(1, 1), (1, 2), (2, 1)]
    page = to_page(provenance)
    assert "bbbbbbbbbbbb-dirty" in page
    assert page.count("<tr>") > 10


def test_the_page_holds_digests_files_and_configuration_and_escapes_them() -> None:
    files = [{"path": "model.safetensors", "bytes": 1234567, "sha256": "c" * 64}]
    page = to_page(merged([run_of("<script>alert(1)</script>")], files=files))
    for text in (
        "d" * 64,
        "e" * 64,
        "c" * 64,
        "1,234,567 bytes",
        "wheel:package==1",
        "lora_r",
        "protocol: pooled",
    ):
        assert text in page
    assert "<script>alert" not in page
    assert "&lt;script&gt;alert" in page
    gone = to_page(merged([run_of("plot")], files=[]))
    assert "not there any more" in gone


def test_names_and_passwords_in_addresses_are_left_out() -> None:
    address = "https://someone:the-key@mirror.example/path?a=b@c"
    assert without_secrets({"a": [address, 3]}) == {"a": ["https://mirror.example/path?a=b@c", 3]}
    source = PART["source"] | {
        "source": address,
        "tried": [{"source": address, "outcome": f"failed: {address}"}],
    }
    provenance = merged([run_of("plot")], source=source, options={"download": {"folder": address}})
    assert "the-key" not in json.dumps(provenance) + to_page(provenance)
    assert "mirror.example" in to_page(provenance)


def test_nothing_of_the_environment_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HF_TOKEN", "WANDB_API_KEY", "VLMTSC_DESCRIBER_KEY", "PIP_INDEX_URL"):
        monkeypatch.setenv(name, f"planted-{name}")
    provenance = merged([run_of("plot")])
    assert "planted" not in json.dumps(provenance) + to_page(provenance)


def test_a_record_without_a_key_is_named() -> None:
    run = run_of("plot")
    del run["record"]["git_revision"]
    with pytest.raises(InputError, match=r"tiny/Toy/pooled/plot/seed-0: the run record lacks git_revision"):
        merged([run])


def test_what_earlier_runs_have_not_recorded_is_left_open() -> None:
    run = run_of("plot")
    del run["record"]["processes"], run["record"]["shared_with"]
    assert merged([run])["runs"][0]["processes"] is None


def test_no_run_is_said_so() -> None:
    assert merge_provenance([], {}, {"options": {}}, "r")["summary"] == ["No run."]


def test_what_a_results_folder_holds_is_collected(tmp_path: Path) -> None:
    run = run_of("plot")
    folder = tmp_path / "runs/tiny/Toy/pooled/plot/seed-0"
    write(folder / "run_record.json", run["record"])
    write(folder / "parameters.json", {"representation": run["representation"]})
    os.utime(folder / "run_record.json", (0, 86400))
    for name, content in (
        ("source", PART["source"]),
        ("facts", PART["facts"]),
        ("pooled/facts", PART["split"]),
    ):
        write(tmp_path / f"datasets/Toy/{name}.json", content)
    baseline = {"baseline": "fcn", "dataset": "Toy", "protocol": "pooled"}
    write(tmp_path / "baselines/Toy/pooled/fcn/record.json", {**baseline, "seed": 0, "chosen": {"epoch": 3}})
    (tmp_path / "ledger.csv").write_text("scenario,mean tokens,values kept\nplot,72.5,0\n")
    output = tmp_path / "provenance.json"
    collect_provenance(
        tmp_path,
        *("tiny", "Toy", "pooled"),
        runs=["plot/seed-0"],
        baselines=[baseline],
        ledger=tmp_path / "ledger.csv",
        output=output,
    )
    found = json.loads(output.read_text())
    assert found["runs"][0]["finished"] == "1970-01-02T00:00Z"
    assert found["scenarios"]["plot"]["mean_tokens"] == 72.5
    assert found["baselines"][0]["chosen"] == {"epoch": 3}
    assert found["facts"]["n_classes"] == 2


def write(path: Path, content: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content))


def test_files_of_a_model_have_digests(tmp_path: Path) -> None:
    model = tmp_path / "model"
    write(
        model / "config.json",
        {"text_config": {"hidden_size": 16, "secret": 1}, "vision_config": {"patch_size": 8}},
    )
    (model / ".hidden").write_text("x")
    digest_model(model, tmp_path / "out.json")
    found = json.loads((tmp_path / "out.json").read_text())
    assert [file["path"] for file in found["files"]] == ["config.json"]
    assert found["files"][0]["sha256"] == hashlib.sha256((model / "config.json").read_bytes()).hexdigest()
    assert found["architecture"] == {"language": {"hidden_size": 16}, "vision": {"patch_size": 8}}
    digest_model(tmp_path / "gone", tmp_path / "out.json")
    assert json.loads((tmp_path / "out.json").read_text()) == {"files": [], "architecture": {}}


def test_the_parts_of_a_dataset_are_kept_in_their_order() -> None:
    part = dataset_provenance(
        PART["key"], PART["source"], PART["facts"], PART["split"], [run_of("b"), run_of("a")], [], []
    )
    assert list(part["scenarios"]) == ["b", "a"]
