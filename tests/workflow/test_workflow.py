"""The workflow as Snakemake sees it: what each configuration plans, what a change makes it do again, how it fails."""

from __future__ import annotations

import os
import re
import shutil
from pathlib import Path

import pytest
from conftest import DRY, ROOT, SnakemakeRunner, copy_project, job_counts

from vlmtsc.configuration import load_configuration_files

ONE = ("datasets=[GunPoint]", "scenarios=[plot,plot_and_numbers]")
#: But for the archive's, whose dry run takes a minute; below it is planned for two datasets.
CONFIGS = sorted({path.name for path in (ROOT / "config").glob("*.yaml")} - {"models.yaml", "archive.yaml"})


def expected_counts(path: Path) -> dict[str, int]:
    """Return how many jobs the steps before the tables have in a run from nothing, but for those of models."""
    configuration = load_configuration_files([path], ROOT)
    scenarios, datasets = len(configuration.scenarios), len(configuration.datasets)
    settings = [configuration.scenario_table[name] for name in configuration.scenarios]
    shown = [row.plot for row in settings if row.plot != "none"]
    # Plots of the full series are shared, those of downsampled series belong to a scenario.
    shared = {name for name in shown if configuration.plot_table[name].series == "full"}
    places = [
        place for name in configuration.scenarios for place in configuration.descriptions(name).values()
    ]
    models, runs = len(configuration.models), len(configuration.runs())
    return {
        **dict.fromkeys(("download_dataset", "preprocess_dataset", "split_dataset"), datasets),
        "render_plots": datasets * len(shared),
        "encode_plots": datasets
        * len(shared)
        * sum(configuration.model_table[name].store_features for name in configuration.models),
        "render_scenario_plots": models * datasets * sum(name not in shared for name in shown),
        "describe_series": datasets * len({*places} - {None}),
        "build_conversations": models * datasets * scenarios,
        **dict.fromkeys(("finetune_model", "evaluate_model"), runs),
        "draw_cases": datasets,
    }


@pytest.mark.parametrize("name", CONFIGS)
def test_dry_run_of_shipped_configuration(project: Path, snakemake: SnakemakeRunner, name: str) -> None:
    done = snakemake(project, *DRY, "--configfile", f"config/{name}")
    assert done.returncode == 0, done.stderr
    counts, expected = job_counts(done.stdout + done.stderr), expected_counts(project / "config" / name)
    assert {rule: counts.get(rule, 0) for rule in expected} == expected


def test_the_archive_shares_what_its_runs_have_in_common(project: Path, snakemake: SnakemakeRunner) -> None:
    options = ("--configfile", "config/archive.yaml", "--config", "datasets=[GunPoint,Wafer]")
    done = snakemake(project, *DRY, *options)
    assert done.returncode == 0, done.stderr
    counts = job_counts(done.stdout + done.stderr)
    archive = load_configuration_files([project / "config/archive.yaml"], ROOT)
    plots = {archive.scenario_table[name].plot for name in archive.scenarios} - {"none"}
    # Plots of downsampled series belong to a scenario.
    own = [name for name in archive.scenarios if archive.scenario_table[name].plot == "line_downsampled"]
    runs = 2 * len(archive.scenarios) * len(archive.seeds)
    assert counts["finetune_model"] == counts["evaluate_model"] == runs
    assert counts["build_conversations"] == 2 * len(archive.scenarios)
    assert counts["render_plots"] == 2 * len(plots - {"line_downsampled"})
    assert counts["render_scenario_plots"] == 2 * len(own)
    assert counts["download_dataset"] == counts["split_dataset"] == 2
    assert counts["assemble_model"] == 1
    assert counts["draw_cases"] == 2


def test_the_archive_has_all_scenarios_but_those_with_restored_faults() -> None:
    archive = load_configuration_files([ROOT / "config/archive.yaml"], ROOT)
    assert [name for name, row in archive.scenario_table.items() if not row.compat] == list(archive.scenarios)


def test_a_dry_run_finds_a_fault_in_a_command(project: Path, snakemake: SnakemakeRunner) -> None:
    rule = project / "rules/finetune.smk"
    rule.write_text(rule.read_text().replace("{params.launch}", "{params.lunch}"))
    done = snakemake(project, "all", "--dry-run", "--config", *ONE)
    assert done.returncode != 0
    assert "lunch" in done.stdout + done.stderr


def test_an_unknown_dataset_is_refused_with_a_close_match(project: Path, snakemake: SnakemakeRunner) -> None:
    done = snakemake(project, "results/datasets/GunPonit/series.npz", "--dry-run")
    assert done.returncode != 0
    assert "unknown dataset 'GunPonit'; did you mean 'GunPoint'?" in done.stdout + done.stderr


def test_selection_on_the_command_line(project: Path, snakemake: SnakemakeRunner) -> None:
    done = snakemake(project, *DRY, "--config", *ONE, "seeds=[0,1]", "protocol=pooled_2")
    counts = job_counts(done.stdout + done.stderr)
    assert counts["finetune_model"] == 4
    assert counts["download_dataset"] == counts["render_plots"] == 1


def test_trainings_come_before_tables_and_those_with_numbers_first(
    project: Path, snakemake: SnakemakeRunner
) -> None:
    done = snakemake(project, "--dry-run", "--config", *ONE)

    def jobs(rule: str) -> list[str]:
        pattern = re.compile(rf"^rule {rule}:.*?^    resources:", re.DOTALL | re.MULTILINE)
        return pattern.findall(done.stdout + done.stderr)

    assert {
        re.search(r"/(plot\w*)/seed-0/adapter", job)[1]: re.findall(r"priority: (\d+)", job)
        for job in jobs("finetune_model")
    } == {"plot": ["1"], "plot_and_numbers": ["2"]}
    (tables,) = jobs("write_tables")
    assert "priority" not in tables


def test_the_ledger_needs_no_training(project: Path, snakemake: SnakemakeRunner) -> None:
    done = snakemake(project, "ledger", *DRY, "--config", *ONE)
    assert done.returncode == 0, done.stderr
    counts = job_counts(done.stdout + done.stderr)
    assert counts["write_ledger"] == 1
    assert not {"finetune_model", "evaluate_model"} & set(counts)


@pytest.mark.parametrize("name", ["paper.yaml", "paper-embedded.yaml"])
def test_the_table_of_the_paper_takes_the_runs_that_are_selected(
    project: Path, snakemake: SnakemakeRunner, name: str
) -> None:
    selection = "only={datasets: [PenDigits, HandOutlines], scenarios: [BASELINE_2048]}"
    done = snakemake(project, "paper", *DRY, "--configfile", f"config/{name}", "--config", selection)
    assert done.returncode == 0, done.stderr
    counts = job_counts(done.stdout + done.stderr)
    # Tables have three seeds, a quick run one.
    assert (counts["write_paper_table"], counts["finetune_model"]) == (1, 2 * 3)
    assert load_configuration_files([], project).seeds == (0,)


def test_plots_of_downsampled_series_are_those_of_a_scenario(
    project: Path, snakemake: SnakemakeRunner
) -> None:
    table = project / "config/scenarios.tsv"
    rows = [line.split("\t") for line in table.read_text().splitlines()]
    plot = rows[0].index("plot")
    source = next(row for row in rows if row[0] == "plot_and_numbers")
    table.write_text(
        table.read_text() + "\t".join(["drawn", *source[1:plot], "line_downsampled", *source[plot + 1 :]])
    )
    done = snakemake(project, *DRY, "--config", "datasets=[GunPoint]", "scenarios=[drawn,plot]")
    assert done.returncode == 0, done.stderr
    counts = job_counts(done.stdout + done.stderr)
    assert counts["render_plots"] == counts["render_scenario_plots"] == 1


@pytest.mark.parametrize(
    ("scenarios", "missing"),
    [
        (["plot"], "downsampling"),
        (["numbers"], "gallery"),
        (["plot_downsampled"], None),
        (["as_published_BASELINE_2048"], "gallery"),  # its plots never reach the model
    ],
    ids=lambda value: "-".join(value) if isinstance(value, list) else str(value),
)
def test_figures_of_cases_are_those_that_the_scenarios_have(
    project: Path, snakemake: SnakemakeRunner, scenarios: list[str], missing: str | None
) -> None:
    chosen = ("datasets=[GunPoint,Coffee]", f"scenarios={scenarios}", "seeds=[0,1]")
    # Outputs of each job are listed.
    done = snakemake(project, "--dry-run", "--cores", "1", "--quiet", "reason", "--config", *chosen)
    assert done.returncode == 0, done.stderr
    output = done.stdout + done.stderr
    assert job_counts(output)["draw_cases"] == 2
    names = {"prototypes.png", "gallery.png", "downsampling.png", "wrong_cases.html", "explanations.html"}
    names -= {f"{missing}.png"}
    found = re.findall(r"figures/by_dataset/Coffee/pooled/(\w+\.(?:png|html))", output)
    assert {*found} == names


def test_own_dataset_in_one_command(project: Path, snakemake: SnakemakeRunner, tmp_path: Path) -> None:
    own = tmp_path / "archive" / "Mine"
    own.mkdir(parents=True)
    for part in ("TRAIN", "TEST"):
        (own / f"Mine_{part}.tsv").write_text("1\t0.5\t0.25\n2\t1\t2\n")
    done = snakemake(project, *DRY, "--config", "datasets=[Mine]", f"folder={own.parent}")
    assert done.returncode == 0, done.stderr
    assert job_counts(done.stdout + done.stderr)["finetune_model"] == 3


def test_series_are_described_once_for_all_that_need_it(project: Path, snakemake: SnakemakeRunner) -> None:
    scenarios = "scenarios=[plot,WITH_RATIONALE,rationale_after_answer,WITH_SIGNAL_ANALYSIS]"
    done = snakemake(project, *DRY, "--config", "datasets=[GunPoint]", scenarios)
    assert done.returncode == 0, done.stderr
    counts = job_counts(done.stdout + done.stderr)
    assert (counts["describe_series"], counts["build_conversations"]) == (2, 4)
    table = project / "config/scenarios.tsv"
    table.write_text(table.read_text().replace("\ttemplate\t", "\tendpoint\t"))
    done = snakemake(project, *DRY, "--config", "datasets=[GunPoint]", scenarios)
    counts = job_counts(done.stdout + done.stderr)
    assert counts["request_descriptions"] == 2
    assert "describe_series" not in counts


def test_a_raised_cap_asks_for_nothing_again(project: Path, snakemake: SnakemakeRunner) -> None:
    target = "results/descriptions/GunPoint/endpoint/rationale.json"
    dataset = [f"results/datasets/GunPoint/{name}" for name in ("archive.npz", "source.json", "series.npz")]
    for path in (*dataset, "results/datasets/GunPoint/facts.json", target):
        (project / path).parent.mkdir(parents=True, exist_ok=True)
        (project / path).touch()
    touched = snakemake(project, "--touch", "--forceall", "--no-hooks", "--cores", "1", target)
    assert touched.returncode == 0, touched.stderr

    def again(*assignments: str) -> bool:
        done = snakemake(project, *DRY, "--config", *assignments, "--", target)
        assert done.returncode == 0, done.stderr
        counts = job_counts(done.stdout + done.stderr)
        return bool({"request_descriptions", "download_dataset"} & set(counts))

    assert not again("describe={max_requests: 5, attempts: 2, cache: elsewhere}")
    assert not again("download={wheels: elsewhere}")
    assert again("describe={temperature: 0.5}")


def test_an_endpoint_without_an_address_is_one_line(project: Path, snakemake: SnakemakeRunner) -> None:
    target = "results/descriptions/GunPoint/endpoint/rationale.json"
    (project / "rules/preprocess.smk").write_text(
        'rule series:\n    output:\n        "results/datasets/GunPoint/series.npz",\n'
        '    shell:\n        "touch {output}"\n'
    )
    done = snakemake(project, "--cores", "1", target)
    assert done.returncode == 1
    assert (
        "ERROR no describer endpoint: the environment variable VLMTSC_DESCRIBER_URL is not set" in done.stderr
    )
    assert "Traceback" not in done.stdout + done.stderr


@pytest.mark.parametrize(
    ("assignment", "message"),
    [
        ("datasets=[GunPont]", "unknown dataset 'GunPont'; did you mean 'GunPoint'?"),
        ("finetune={lora_rr: 3}", "finetune: unknown key 'lora_rr'; did you mean 'lora_r'?"),
    ],
)
def test_a_fault_ends_the_run_before_it_starts(
    project: Path, snakemake: SnakemakeRunner, assignment: str, message: str
) -> None:
    done = snakemake(project, *DRY, "--config", assignment)
    assert done.returncode == 1
    assert message in done.stdout + done.stderr  # a dry run logs to stdout
    assert "Traceback" not in done.stdout + done.stderr


def test_a_terminal_without_a_sign_is_no_error(
    project: Path, snakemake: SnakemakeRunner, monkeypatch: pytest.MonkeyPatch
) -> None:
    rule = project / "rules/aggregate.smk"
    rule.write_text(rule.read_text() + "\nprint('97.3 ± 0.4')\n")
    for name, value in {"PYTHONIOENCODING": "ascii", "PYTHONUTF8": "0", "LC_ALL": "C"}.items():
        monkeypatch.setenv(name, value)
    done = snakemake(project, *DRY, "--config", *ONE)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "97.3 ? 0.4" in done.stdout


def test_lint_finds_nothing(project: Path, snakemake: SnakemakeRunner) -> None:
    done = snakemake(project, "--lint")
    assert done.returncode == 0, done.stdout + done.stderr


def test_rule_graph_needs_no_system_package(project: Path, snakemake: SnakemakeRunner) -> None:
    done = snakemake(project, "--forceall", "--rulegraph", "mermaid-js")
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("---") or "flowchart" in done.stdout
    assert "finetune_model" in done.stdout


@pytest.fixture(scope="module")
def finished_once(tmp_path_factory: pytest.TempPathFactory, snakemake: SnakemakeRunner) -> Path:
    """Return a project whose outputs all exist, empty, with Snakemake's record of how they were made."""
    project = copy_project(tmp_path_factory.mktemp("finished") / "project")
    listed = snakemake(project, "--summary", "--config", *ONE)
    for line in listed.stdout.splitlines()[1:]:
        output = project / line.split("\t")[0]
        if output.suffix:
            output.parent.mkdir(parents=True, exist_ok=True)
            output.touch()
        else:
            output.mkdir(parents=True)
    done = snakemake(project, "--touch", "--no-hooks", "--cores", "1", "--config", *ONE)
    assert done.returncode == 0, done.stderr
    return project


@pytest.fixture
def finished(finished_once: Path, tmp_path: Path) -> Path:
    """Return a copy of it that a test may change."""
    return Path(shutil.copytree(finished_once, tmp_path / "project"))


#: Steps before the tables.
STEPS = {
    *("download_dataset", "preprocess_dataset", "split_dataset", "render_plots", "assemble_model"),
    "encode_plots",
    *("download_model_parts", "build_conversations", "finetune_model", "evaluate_model"),
}


def rerun(project: Path, snakemake: SnakemakeRunner, *assignments: str) -> set[str]:
    """Name the steps before the tables that the next run would run again."""
    done = snakemake(project, *DRY, "--config", *ONE, *assignments)
    assert done.returncode == 0, done.stderr
    output = done.stdout + done.stderr
    return set() if "Nothing to be done" in output else STEPS & set(job_counts(output))


def test_a_changed_key_reruns_only_what_depends_on_it(finished: Path, snakemake: SnakemakeRunner) -> None:
    assert rerun(finished, snakemake) == set()
    of_model = {"finetune_model", "evaluate_model"}
    assert rerun(finished, snakemake, "finetune={lora_r: 3}") == of_model
    assert rerun(finished, snakemake, "evaluate={generate: false}") == of_model - {"finetune_model"}
    assert rerun(finished, snakemake, "split={validation_share: 0.5}") == set()
    plots = (finished / "config/plots.tsv").read_text()
    (finished / "config/plots.tsv").write_text(plots.replace("\t100", "\t90"))
    again = rerun(finished, snakemake)
    assert "render_plots" in again
    assert again <= {"render_plots", "encode_plots", "build_conversations", *of_model}


def test_changed_code_reruns_only_what_it_affects(finished: Path, snakemake: SnakemakeRunner) -> None:
    module = finished / "workflow_scripts/vlmtsc/representation/plots.py"
    text = module.read_text()
    module.write_text(f"# a comment\n{text}")
    os.utime(finished / "workflow_scripts/render_plots.py")  # as a checkout does
    settings = finished / "workflow_scripts/vlmtsc/settings.py"
    text_of_settings = settings.read_text()
    assert text_of_settings.count('"gpt-4o-mini"') == 1
    settings.write_text(
        text_of_settings.replace('"gpt-4o-mini"', '"another"')
    )  # no scenario asks an endpoint
    assert rerun(finished, snakemake) == set()
    module.write_text(f"{text}\nANYTHING = 1\n")
    again = rerun(finished, snakemake)
    assert "render_plots" in again
    assert not {"download_dataset", "preprocess_dataset", "split_dataset"} & again


@pytest.mark.parametrize(
    ("newer", "removed", "again"),
    [
        ([], [], False),
        ([], ["archive.npz", "series.npz", "facts.json", "pooled/split.npz"], False),
        (["archive.npz"], ["series.npz", "facts.json"], True),
        (["archive.npz"], ["series.npz", "facts.json", "pooled/split.npz", "pooled/facts.json"], True),
        (["series.npz"], ["pooled/split.npz", "pooled/facts.json"], True),
    ],
    ids=["unchanged", "removed to save space", "failed step", "two missing steps", "later step"],
)
def test_a_missing_intermediate_hides_nothing_stale_and_retrains_nothing(
    newer: list[str], removed: list[str], again: bool, finished: Path, snakemake: SnakemakeRunner
) -> None:
    folder = finished / "results/datasets/GunPoint"
    for name in removed:
        (folder / name).unlink()
    for name in newer:
        (folder / name).write_text("changed")
    assert ("finetune_model" in rerun(finished, snakemake)) == again


def test_removed_conversations_hide_nothing_stale_and_retrain_nothing(
    finished: Path, snakemake: SnakemakeRunner
) -> None:
    shutil.rmtree(finished / "results/conversations")
    assert rerun(finished, snakemake) == set()
    assert {"preprocess_dataset", "finetune_model"} <= rerun(
        finished, snakemake, "preprocess={missing: drop}"
    )


def test_a_results_folder_has_one_identity(finished: Path, snakemake: SnakemakeRunner) -> None:
    link = finished.parent / "link"
    link.symlink_to(finished / "results")
    again = rerun(finished, snakemake, f"results={link}/", "finetune={lora_r: 3}")
    assert again == {"finetune_model", "evaluate_model"}


@pytest.mark.parametrize("how", ["snakefile", "directory", "module"])
def test_the_workflow_is_used_from_elsewhere(
    project: Path, tmp_path: Path, snakemake: SnakemakeRunner, how: str
) -> None:
    elsewhere, own = tmp_path / "elsewhere", tmp_path / "own.yaml"
    (elsewhere / "config").mkdir(parents=True)
    (elsewhere / "config/config.yaml").write_text("of: another workflow\n")
    own.write_text("datasets: [GunPoint]\nscenarios: [plot]\n")
    arguments = [*DRY, "--configfile", str(own)]
    if how == "module":
        (elsewhere / "Snakefile").write_text(
            f'module vlmtsc:\n    snakefile: "{project}/Snakefile"\n    config: config\n    prefix: "sub"\n'
            "use rule * from vlmtsc as x_*\n"
        )
        done = snakemake(elsewhere, "x_all", *arguments)
    elif how == "directory":
        done = snakemake(project, *arguments, "--directory", str(elsewhere))
    else:
        done = snakemake(elsewhere, *arguments, "--snakefile", str(project / "Snakefile"))
    assert done.returncode == 0, done.stdout + done.stderr
    counts = {name.removeprefix("x_"): n for name, n in job_counts(done.stdout + done.stderr).items()}
    assert counts["finetune_model"] == counts["draw_cases"] == counts["all"] == 1


def test_a_moved_project_has_nothing_to_do(finished: Path, snakemake: SnakemakeRunner) -> None:
    moved = finished.with_name("elsewhere")
    shutil.move(finished, moved)
    assert rerun(moved, snakemake) == set()


def test_rules_take_the_python_that_runs_snakemake(project: Path, snakemake: SnakemakeRunner) -> None:
    (project / "rules/aggregate.smk").write_text(
        'rule python:\n    output:\n        "python.txt",\n'
        "    shell:\n        \"python -c 'import snakemake' && echo yes > {output}\"\n"
    )
    done = snakemake(project, "--cores", "1", "--quiet", "all", "--", "python.txt")
    assert done.returncode == 0, done.stderr


def test_a_failed_job_shows_the_end_of_its_log(project: Path, snakemake: SnakemakeRunner) -> None:
    (project / "rules/aggregate.smk").write_text(
        'rule broken:\n    output:\n        "broken.txt",\n    log:\n        "broken.log",\n'
        '    shell:\n        "echo the very reason > {log}; exit 1"\n'
    )
    done = snakemake(project, "--cores", "1", "--", "broken.txt")
    assert done.returncode == 1
    assert "the very reason" in done.stdout + done.stderr
    assert "The same command continues from here" in done.stdout + done.stderr
