"""The whole workflow, for real: cases of GunPoint, a random LLaVA of two layers, one epoch."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
from conftest import SnakemakeRunner
from tiny_project import DATASET
from tiny_run import REPORT, RUN, SCENARIOS

pytestmark = pytest.mark.end_to_end

#: Steps of which each run has one.
OF_MODEL = ("finetune_model", "evaluate_model")
DRY = ("--dry-run", "--quiet", "host", "--configfile", "config/tiny.yaml")


@pytest.fixture(scope="module")
def finished(tiny_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a project in which the workflow has run; only its report may be written again."""
    return shutil.copytree(tiny_run, tmp_path_factory.mktemp("finished") / "project")


@pytest.fixture
def copy(finished: Path, tmp_path: Path) -> Path:
    """Give a copy of the finished project that a test may change."""
    return shutil.copytree(finished, tmp_path / "project")


def expected_outputs() -> set[str]:
    """List every file that one run of three scenarios leaves under results, logs and benchmarks apart."""
    names = {
        f"datasets/{DATASET}/{name}" for name in ("archive.npz", "source.json", "series.npz", "facts.json")
    }
    names |= {f"datasets/{DATASET}/pooled/{name}" for name in ("split.npz", "facts.json")}
    names |= {f"plots/{DATASET}/line/case-{case:05d}.png" for case in range(24)}
    names |= {f"plots/{DATASET}/line/manifest.json", f"features/tiny/{DATASET}/line.npy"}
    tables = (
        "runs",
        "training",
        "confusion",
        "controls",
        "methods",
        "comparisons",
        "reliability",
    )
    names |= {f"tables/by_dataset/tiny/{DATASET}/pooled/{name}.csv" for name in tables}
    names |= {"provenance/models/tiny.json", "provenance/provenance.json", "provenance/provenance.html"}
    names |= {f"methods/{name}" for name in ("methods.md", "methods.html", "references.bib", "headline.html")}
    for scenario in SCENARIOS:
        place = f"tiny/{DATASET}/pooled/{scenario}"
        for name in ("train", "validation", "test", "representation", "budget", "dataset_info"):
            names.add(f"conversations/{place}/{name}.json")
        for name in (
            "adapter/adapter_config.json",
            "adapter/adapter_model.safetensors",
            "adapter/SHA256SUMS",
            "parameters.json",
            "training_log.csv",
            "run_record.json",
            "predictions.csv",
            "metrics.json",
            "controls.csv",
            "explanations.json",
        ):
            names.add(f"runs/{place}/seed-0/{name}")
    names |= {f"tables/{name}" for name in ("runs.csv", "runs.html", "costs.md", "costs.html")}
    names |= {f"tables/accuracy.{kind}" for kind in ("csv", "md", "tex", "html")}
    names |= {
        f"tables/{table}.{kind}"
        for table in ("ledger", "controls", "comparisons", "evidence")
        for kind in ("csv", "md", "html")
    }
    names |= {f"tables/{name}.{kind}" for name in ("methods", "rankings") for kind in ("csv", "tex")}
    names |= {"tables/controls.tex", "tables/comparisons.tex"}
    names |= {f"tables/evidence_inputs.{kind}" for kind in ("csv", "html")}
    evidence = ("modality_ablation", "accuracy_by_context", "calibration", "accuracy_by_cost")
    for figure in (
        "accuracy_heatmap",
        "training_curves",
        "confusion_matrices",
        "controls",
        *evidence,
    ):
        names |= {f"figures/{figure}.png", f"figures/{figure}.pdf"}
    cases = f"figures/by_dataset/{DATASET}/pooled"
    names |= {
        f"{cases}/{figure}.{kind}"
        for figure in ("prototypes", "gallery", "downsampling")
        for kind in ("png", "pdf")
    }
    names |= {f"{cases}/wrong_cases.html", f"{cases}/explanations.html"}
    return names | {"report.html"}


def relative_files(folder: Path) -> set[str]:
    """List the files of a folder, without Snakemake's own in the folders that rules make."""
    files = [path for path in folder.rglob("*") if path.is_file() and path.name != ".snakemake_timestamp"]
    return {path.relative_to(folder).as_posix() for path in files}


def test_exactly_these_outputs(finished: Path) -> None:
    found = relative_files(finished / "results")
    logs = {name for name in found if name.startswith("logs/")}
    benchmarks = {name for name in found if name.startswith("benchmarks/")}
    shared = {name for name in found if name.startswith("shared_runs/")}
    assert len({name.split("/")[1] for name in shared} - {"runs", "alignments"}) == len(SCENARIOS)
    # Both scenarios with a plot show the same images.
    assert len({name.split("/")[2] for name in shared if name.startswith("shared_runs/alignments/")}) == 1
    assert found - logs - benchmarks - shared == expected_outputs()
    jobs = {re.sub(r"^logs/(.*)\.log$", r"\1", name) for name in logs}
    assert jobs == {re.sub(r"^benchmarks/(.*)\.tsv$", r"\1", name) for name in benchmarks}
    run = f"tiny/{DATASET}/pooled"
    assert jobs == {
        *(f"{rule}/{DATASET}" for rule in ("download_dataset", "preprocess_dataset")),
        f"split_dataset/{DATASET}/pooled",
        f"render_plots/{DATASET}/line",
        f"encode_plots/tiny/{DATASET}/line",
        *(f"build_conversations/{run}/{scenario}" for scenario in SCENARIOS),
        *(f"{rule}/{run}/{scenario}/seed-0" for rule in OF_MODEL for scenario in SCENARIOS),
        f"summarise_dataset/{run}",
        "digest_model/tiny",
        "write_provenance/all",
        "write_ledger/all",
        "write_tables/all",
        "draw_figures/all",
        f"draw_cases/{DATASET}/pooled",
    }


def test_the_numbers_belong_together(finished: Path) -> None:
    results = finished / "results"
    runs = pd.read_csv(results / "tables/runs.csv")
    assert runs["scenario"].tolist() == list(SCENARIOS)
    assert set(runs["status"]) == {"done"}
    # The pooled split: of 24 cases a fifth for the test part, a quarter of the rest for validation.
    assert set(runs["n_cases"]) == {5}
    assert set(runs["train_samples"]) == {14}
    for scenario in SCENARIOS:
        folder = results / f"runs/tiny/{DATASET}/pooled/{scenario}/seed-0"
        predictions = pd.read_csv(folder / "predictions.csv", dtype={"true": str, "predicted": str})
        metrics = json.loads((folder / "metrics.json").read_text())
        assert metrics["accuracy"] == pytest.approx((predictions["true"] == predictions["predicted"]).mean())
        conversations = results / f"conversations/tiny/{DATASET}/pooled/{scenario}"
        test = json.loads((conversations / "test.json").read_text())
        assert predictions["id"].tolist() == [record["id"] for record in test]
        budget = json.loads((conversations / "budget.json").read_text())
        assert all(record["tokens"] <= budget["context_length"] for record in test)
        image = "<image>" in test[0]["conversations"][0]["value"]
        assert image == ("image" in test[0]) == (scenario != "numbers")
        training = json.loads((conversations / "train.json").read_text())
        record = json.loads((folder / "run_record.json").read_text())
        assert record["train_tokens"] == sum(case["tokens"] for case in training)
        assert ("aligned_projector" in predictions) == ("aligned_projector" in metrics) == image
        assert (record["alignment"] is not None) == image
        log = finished / f"results/logs/finetune_model/tiny/{DATASET}/pooled/{scenario}/seed-0.log"
        assert "validation accuracy" in log.read_text()


def test_the_readouts_of_a_run_belong_together(finished: Path) -> None:
    results = finished / "results"
    runs = pd.read_csv(results / "tables/runs.csv").set_index("scenario")
    tidy = pd.read_csv(results / "tables/controls.csv")
    for scenario in SCENARIOS:
        folder = results / f"runs/tiny/{DATASET}/pooled/{scenario}/seed-0"
        metrics = json.loads((folder / "metrics.json").read_text())
        for name in ("brier_score", "temperature", "log_loss_at_temperature", "generated_valid_rate"):
            assert runs.loc[scenario, name] == pytest.approx(metrics[name])
        assert sum(point["cases"] for point in metrics["reliability_curve"]) == metrics["n_cases"]
        predictions = pd.read_csv(folder / "predictions.csv", dtype=str, keep_default_na=False)
        assert metrics["generated_valid_rate"] == pytest.approx((predictions["generated_class"] != "").mean())
        controls = tidy[tidy["scenario"] == scenario].set_index("control")
        spoilt = {"plot": "image", "numbers": "numbers", "plot_and_numbers": "image|numbers"}[scenario]
        assert len(controls) == 3 + 2 * (scenario == "plot_and_numbers")
        assert all(re.match(spoilt, name) for name in controls.index.drop("intact"))
        assert controls.loc["intact", "accuracy"] == pytest.approx(metrics["accuracy"])
    report = (results / "report.html").read_text()
    assert "controls.html" in report
    assert "controls.png" in report


def test_what_is_asked_of_a_trained_model_trains_nothing(finished: Path, snakemake: SnakemakeRunner) -> None:
    done = snakemake(finished, *DRY, "--config", "evaluate={generate: false, temperature: false}")
    assert done.returncode == 0, done.stderr
    rules = set(re.findall(r"^(?:local)?rule (\w+):", done.stdout + done.stderr, re.MULTILINE))
    assert "evaluate_model" in rules
    assert not {"finetune_model", "build_conversations"} & rules
    done = snakemake(finished, *DRY, "--config", "evaluate={controls: false}")
    assert done.returncode == 0, done.stderr
    rules = set(re.findall(r"^(?:local)?rule (\w+):", done.stdout + done.stderr, re.MULTILINE))
    assert "write_tables" in rules
    assert not {*OF_MODEL, "build_conversations"} & rules


def test_rebuilt_conversations_train_nothing(copy: Path, snakemake: SnakemakeRunner) -> None:
    folder = f"tiny/{DATASET}/pooled/numbers"
    adapter = copy / f"results/runs/{folder}/seed-0/adapter/adapter_model.safetensors"
    before = adapter.read_bytes()
    shutil.rmtree(copy / "results/conversations")
    # Evaluation needs them, and then Snakemake runs what else they are an input of.
    changes = ("scenarios=[numbers]", "evaluate={generate: false}")
    done = snakemake(copy, *RUN, "--config", *changes, "--until", "evaluate_model", timeout=600)
    assert done.returncode == 0, done.stdout + done.stderr
    assert (copy / f"results/conversations/{folder}/train.json").is_file()
    log = (copy / f"results/logs/finetune_model/{folder}/seed-0.log").read_text()
    assert f"reuses the identical training of {folder}/seed-0" in log
    assert adapter.read_bytes() == before


def test_the_summary_and_the_report_show_the_table(finished: Path) -> None:
    table = (finished / "results/tables/accuracy.md").read_text()
    row = next(line for line in table.splitlines() if DATASET in line)
    output = (finished / "stdout.txt").read_text()
    assert row in output
    for name in ("report.html", "accuracy.md", "accuracy_heatmap.png"):
        assert name in output
    report = (finished / "results/report.html").read_text()
    assert "Accuracy, datasets by scenarios" in report
    assert "accuracy.html" in report
    assert "accuracy_heatmap.png" in report
    # What the report embeds is the page with that table.
    page = (finished / "results/tables/accuracy.html").read_text()
    assert DATASET in page
    assert all(scenario in page for scenario in SCENARIOS)


def test_a_second_run_has_nothing_to_do(finished: Path, snakemake: SnakemakeRunner) -> None:
    before = {path: path.stat().st_mtime_ns for path in (finished / "results").rglob("*")}
    done = snakemake(finished, *RUN, *REPORT)
    assert done.returncode == 0, done.stderr
    assert "Nothing to be done" in done.stdout + done.stderr
    changed = {
        path.name
        for path in (finished / "results").rglob("*")
        if path.is_file() and path.stat().st_mtime_ns != before.get(path)
    }
    assert changed == {"report.html"}


def test_another_rank_trains_again_and_nothing_before_that(
    finished: Path, snakemake: SnakemakeRunner
) -> None:
    done = snakemake(finished, *DRY, "--config", "finetune={lora_r: 3}")
    assert done.returncode == 0, done.stderr
    output = done.stdout + done.stderr
    rules = set(re.findall(r"^(?:local)?rule (\w+):", output, re.MULTILINE))
    assert rules == {
        "finetune_model",
        "evaluate_model",
        "summarise_dataset",
        "digest_model",
        "write_provenance",
        "write_tables",
        "draw_figures",
        "draw_cases",
        "all",
    }
    reasons = re.findall(r"rule finetune_model:.*?reason: ([^\n]+)", output, re.DOTALL)
    assert len(reasons) == 3
    assert all(re.search("[Pp]arams have changed", reason) for reason in reasons)


def test_memory_and_trackers_run_nothing_again(finished: Path, snakemake: SnakemakeRunner) -> None:
    memory = ("activation_checkpointing=True", "evaluation_batch_size=3", "vision_cache_mb=7")
    changes = ("--set-resources", *(f"finetune_model:{change}" for change in memory))
    done = snakemake(finished, *DRY, "--config", "tracking=[tensorboard]", *changes)
    assert done.returncode == 0, done.stderr
    assert "Nothing to be done" in done.stdout + done.stderr


def test_unlabelled_series_are_classified_in_one_command(finished: Path, tmp_path: Path) -> None:
    # The test file of GunPoint without its labels, one value missing.
    rows = [
        line.split("\t")[1:]
        for line in (finished / "own" / DATASET / f"{DATASET}_TEST.tsv").read_text().splitlines()
    ]
    rows[2][5] = ""
    (tmp_path / "new.csv").write_text("".join(",".join(row) + "\n" for row in rows))
    run = finished / f"results/runs/tiny/{DATASET}/pooled/plot_and_numbers/seed-0"
    model = json.loads((finished / "config/tiny_models.yaml").read_text())["tiny"]["source"]["folder"]["path"]
    arguments = [
        "--run",
        run,
        "--series",
        tmp_path / "new.csv",
        "--output",
        tmp_path / "out.csv",
        "--model",
        model,
    ]
    script = finished / "workflow_scripts/predict_series.py"
    done = subprocess.run(
        [sys.executable, str(script), *map(str, arguments)],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    table = pd.read_csv(tmp_path / "out.csv", dtype={"id": str, "predicted": str})
    assert list(table) == ["id", "predicted", "probability", "score_1", "score_2"]
    assert table["id"].tolist() == [str(number) for number in range(1, 9)]
    assert table["probability"].between(0.5, 1).all()
    # A case that the run itself has scored gets the same scores: archive cases 16 to 23 are the test file's.
    known = pd.read_csv(run / "predictions.csv")
    shared = 0
    for _, case in known.iterrows():
        position = int(case["id"].rpartition("-")[2]) - 16
        if position >= 0 and position != 2:
            shared += 1
            for name in ("score_1", "score_2"):
                assert table[name][position] == pytest.approx(case[name], abs=1e-4)
    assert shared


def test_a_job_that_fails_says_why_and_the_rest_stays(copy: Path, snakemake: SnakemakeRunner) -> None:
    changes = ("scenarios=[numbers]", "finetune={muon_learning_rate: 1e30, max_grad_norm: 1e30, epochs: 5}")
    done = snakemake(copy, *RUN, "--config", *changes)
    assert done.returncode == 1
    output = done.stdout + done.stderr
    assert re.search(
        rf"ERROR tiny/{DATASET}/pooled/numbers/seed-0: the loss is (nan|inf) at step \d+", output
    )
    assert "The same command continues from here" in output
    assert "Traceback" not in output
    run = copy / f"results/runs/tiny/{DATASET}/pooled"
    assert not (run / "numbers/seed-0/adapter").exists()
    assert (run / "plot/seed-0/adapter").is_dir()
    # The record of the failure lies outside what rules declare, and the tables show the run as failed.
    declared = ("parameters.json", "training_log.csv", "run_record.json")
    assert not any((run / "numbers/seed-0" / name).exists() for name in declared)
    failed = pd.read_csv(copy / "results/incomplete/runs.csv")
    assert failed[["scenario", "status", "step"]].to_numpy().tolist() == [
        ["numbers", "failed", "finetune_model"]
    ]
    assert re.search(r"the loss is (nan|inf) at step \d+; last finite loss: [\d.e+]+ at", failed["reason"][0])
    assert "failed" in (copy / "results/incomplete/accuracy.md").read_text()
    # With settings that work, the state of the failed run is not gone on from.
    done = snakemake(copy, *RUN, "--config", "scenarios=[numbers]", "--until", "finetune_model")
    assert done.returncode == 0, done.stderr
    assert json.loads((run / "numbers/seed-0/run_record.json").read_text())["epochs_done"] == 1
    log = copy / f"results/logs/finetune_model/tiny/{DATASET}/pooled/numbers/seed-0.log"
    assert "resumes from" not in log.read_text()
