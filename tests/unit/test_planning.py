"""Estimates of the plan: set sizes, epochs, throughput of earlier runs, and statements where nothing is known."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from plan_runs import main
from vlmtsc.configuration import load_configuration_files
from vlmtsc.planning import Budget, read_budget, set_sizes, step_seconds, throughputs

ROOT = Path(__file__).parents[2]
MODEL = load_configuration_files([], ROOT).models[0]


def write_conversations(results: Path, dataset: str, scenario: str, cases: int, mean: int) -> None:
    """Write the budget of built conversations: `cases` for training, a third of it for validation and test."""
    sizes = {"train": cases, "validation": cases // 3, "test": cases // 3}
    sets = {name: {"cases": count, "total": mean * count} for name, count in sizes.items()}
    path = results / f"conversations/{MODEL}/{dataset}/pooled/{scenario}/budget.json"
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps({"tokens": sets}))


def write_run(
    results: Path,
    dataset: str,
    scenario: str,
    seconds: float,
    shared: str | None = None,
    **recipe: float,
) -> Path:
    """Write a finished run of two epochs that took `seconds` to train, and a tenth of that to evaluate."""
    place = f"{MODEL}/{dataset}/pooled/{scenario}/seed-0"
    folder = results / "runs" / place
    folder.mkdir(parents=True)
    record = {"wall_seconds": seconds, "epochs_done": 2.0, "seed": 0, "shared_with": shared}
    record["settings"] = (
        load_configuration_files([], ROOT, {"finetune": recipe}).finetune_settings(MODEL, 0).model_dump()
    )
    (folder / "run_record.json").write_text(json.dumps(record))
    (folder / "metrics.json").write_text("{}")
    (folder / "controls.csv").write_text("control\n")
    path = results / "benchmarks/evaluate_model" / f"{place}.tsv"
    path.parent.mkdir(parents=True)
    path.write_text(f"s\th:m:s\n{seconds / 10}\t0:00:01\n")
    return folder


def test_set_sizes_are_those_of_the_splits() -> None:
    # ItalyPowerDemand.
    assert set_sizes(67, 1029, "pooled", 0.3) == {"train": 657, "validation": 219, "test": 220}
    assert set_sizes(67, 1029, "official", 0.25) == {"train": 50, "validation": 17, "test": 1029}


def test_work_counts_every_pass() -> None:
    budget = Budget({"train": 10, "validation": 5, "test": 4}, {"train": 100, "validation": 50, "test": 40})
    # Two and a half epochs, three validations.
    assert budget.work(2.5, temperature=True) == {
        "finetune_model": 400,
        "evaluate_model": 90,
    }
    assert budget.work(1, temperature=False)["evaluate_model"] == 40


def test_throughput_is_work_over_seconds_of_finished_runs(tmp_path: Path) -> None:
    assert throughputs(str(tmp_path)) == {}
    write_conversations(tmp_path, "Coffee", "numbers", 60, 100)
    write_conversations(tmp_path, "Beef", "numbers", 30, 100)
    write_run(tmp_path, "Coffee", "numbers", 20.0)  # 2 x (6000 + 2000) tokens
    write_run(tmp_path, "Beef", "numbers", 30.0)  # 2 x (3000 + 1000) tokens
    write_run(tmp_path, "Beef", "shared", 1.0, shared="another run")
    write_run(tmp_path, "Ham", "numbers", 1.0)  # no conversations
    assert throughputs(str(tmp_path)) == {
        (MODEL, "finetune_model"): 24_000 / 50,
        (MODEL, "evaluate_model"): 3_000 / 5,
    }
    unmeasured = next((tmp_path / "benchmarks/evaluate_model").rglob("*.tsv"))
    for content in ("s\nNA\n", "s\n", ""):
        unmeasured.write_text(content)
        assert step_seconds(unmeasured) is None
    assert step_seconds(tmp_path / "missing.tsv") is None
    assert read_budget(tmp_path / "missing.json") is None


def plan(
    capsys: pytest.CaptureFixture[str], results: Path, *options: str
) -> tuple[dict[str, list[str]], str]:
    """Run the command; return its table's cells after the scenario, by scenario, and the whole output."""
    main(["--cores", "2", "--config", f"results={results}", "evaluate={controls: true}", *options])
    output = capsys.readouterr().out
    rows = [line.split() for line in output.splitlines()]
    return {row[2]: row[3:] for row in rows if row[0] == MODEL}, output


def test_the_plan_of_a_new_folder(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    options = ("datasets=[GunPoint]", "scenarios=[numbers]", "finetune={epochs: 3, token_budget: 0}")
    rows, output = plan(capsys, tmp_path, *options)
    context = load_configuration_files([], ROOT).scenario_table["numbers"].context_length
    # 120 of 200 cases are for training; a prompt fills the context at most.
    tokens = 3 * 120 * min(context, 700 + 8 * 150)
    assert rows["numbers"] == ["0", "not", "run", "2", "360", str(tokens), "?"]
    assert output.count("?") == 2
    assert "Tokens of 1 runs: upper estimate" in output
    assert f"Time unknown, since the results folder has no finished run of the model: {MODEL}." in output


def test_the_plan_uses_budgets_and_finished_runs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_conversations(tmp_path, "GunPoint", "plot", 120, 50)
    write_conversations(tmp_path, "GunPoint", "numbers", 120, 100)
    recipe = {"epochs": 3, "token_budget": 24000}
    finished = write_run(
        tmp_path, "GunPoint", "plot", 160.0, **recipe
    )  # 2 x (6000 + 2000) tokens: 100 tokens/s
    options = ("datasets=[GunPoint]", "scenarios=[plot,numbers]", "finetune={epochs: 3, token_budget: 24000}")
    options += ("evaluate={temperature: false, controls: true}",)
    rows, output = plan(capsys, tmp_path, *options)
    assert rows["plot"] == ["0", "done"]
    # Two epochs of 12,000 tokens and two validations of 4,000 at 100/s, 4,000 test tokens at 125/s.
    assert rows["numbers"] == ["0", "not", "run", "2", "240", "24000", f"{352 / 60:.1f}"]
    assert output.splitlines()[3].split() == ["total", "1", "to", "run", "2", "240", "24000", "5.9"]
    assert "upper estimate" not in output
    # Downstream steps rerun too, training does not.
    (finished / "metrics.json").unlink()
    rows, _ = plan(capsys, tmp_path, *options)
    assert rows["plot"] == ["0", "not", "run", "1", "0", "0", f"{16 / 60:.1f}"]


def test_a_run_of_other_settings_is_out_of_date(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_run(tmp_path, "GunPoint", "plot", 160.0, epochs=3)
    options = ("datasets=[GunPoint]", "scenarios=[plot]")
    rows, output = plan(capsys, tmp_path, *options, "finetune={epochs: 3}")
    assert rows["plot"] == ["0", "done"]
    assert "only snakemake -n lists" in output
    rows, output = plan(capsys, tmp_path, *options, "finetune={epochs: 2}")
    assert rows["plot"][:5] == ["0", "out", "of", "date", "2"]
    assert "1 to run" in output


def test_a_dataset_without_sizes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "own"
    (folder / "Mine").mkdir(parents=True)
    for name in ("Mine_TRAIN.tsv", "Mine_TEST.tsv"):
        (folder / "Mine" / name).write_text("1\t0.5\t0.6\n")
    rows, output = plan(
        capsys, tmp_path / "results", "datasets=[Mine]", "scenarios=[plot]", f"folder={folder}"
    )
    assert rows["plot"][3:] == ["2", "?", "?", "?"]
    assert "the dataset table has no sizes: Mine." in output


def test_options_are_those_of_snakemake(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("mine.yaml").write_text("datasets: [GunPoint]\nscenarios: [plot]\n")
    Path("inner").mkdir()
    monkeypatch.chdir("inner")
    # The last `--config` replaces the first; paths of files are relative to the folder of the call.
    rows, _ = plan(
        capsys,
        tmp_path,
        *("--config", "seeds=[3]", "--config", "results=here"),
        *("--configfiles", "../mine.yaml", "--directory", ".."),
    )
    assert rows == {"plot": ["0", "not", "run", "2", *rows["plot"][4:]]}
    assert Path.cwd() == tmp_path


def test_one_class_is_refused(tmp_path: Path) -> None:
    (tmp_path / "mine.csv").write_text("label,t0,t1\nu,1,2\nu,2,1\n")
    with pytest.raises(SystemExit, match=r"mine\.csv: all cases have the label 'u'; needed are two classes"):
        main(["--config", f"data={tmp_path}/mine.csv", f"results={tmp_path}/results"])


def test_a_wrong_option_is_named() -> None:
    with pytest.raises(SystemExit, match=r"--config datasets: .*have to be defined as name=value pairs"):
        main(["--config", "datasets"])


def test_the_plan_of_a_given_split_reads_options_as_snakemake(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = [f"{case},{case * 7 % 5},{'uv'[case % 2]},{case % 3}" for case in range(1, 41)]
    (tmp_path / "mine.csv").write_text("\n".join(rows) + "\n")
    # Snakemake reads numbers as numbers, and quoted ones in lists as text.
    options = (f"data={tmp_path}/mine.csv", "columns={label: 3}", "scenarios=[plot]")
    assert "2 classes: u (20), v (20)" in plan(capsys, tmp_path, *options)[1]
    parts = ["set", *["train"] * 30, *["dev"] * 4, *["test"] * 6]
    rows = [f"{row},{part}" for row, part in zip(["a,b,label,c", *rows], parts, strict=True)]
    (tmp_path / "mine.csv").write_text("\n".join(rows) + "\n")
    options = (f"data={tmp_path}/mine.csv", "scenarios=[plot]", "finetune={epochs: 1, token_budget: 0}")
    assert plan(capsys, tmp_path, *options)[0]["plot"][4] == "30"
