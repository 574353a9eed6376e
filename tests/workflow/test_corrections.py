"""Faults of the original as Snakemake sees them: which jobs they need, and which they do not."""

from __future__ import annotations

from pathlib import Path

from conftest import DRY, ROOT, SnakemakeRunner, job_counts

from vlmtsc.configuration import load_configuration_files
from vlmtsc.planning import MAY_CHANGE_NOTHING, correction_pairs


def test_corrections_run_the_configured_pairs_and_nothing_else(
    project: Path, snakemake: SnakemakeRunner
) -> None:
    done = snakemake(project, *DRY, "--configfile", "config/corrections.yaml", "--", "corrections")
    assert done.returncode == 0, done.stdout + done.stderr
    counts = job_counts(done.stdout + done.stderr)
    found = load_configuration_files([ROOT / "config/corrections.yaml"], ROOT)
    pairs = correction_pairs(found.corrections, found.models, found.protocol, found.seeds)
    runs = {run for pair in pairs if pair.run for run in pair.runs}
    assert counts["finetune_model"] == counts["evaluate_model"] == len(runs)
    # Where a fault may change nothing, conversations of all datasets are compared.
    compared = {run for pair in pairs if pair.switch in MAY_CHANGE_NOTHING for run in pair.runs}
    assert counts["build_conversations"] == len(runs | compared)
    assert counts["describe_series"] == 2  # with the leak and without
    assert "write_tables" not in counts


def test_no_plot_is_drawn_as_published(project: Path, snakemake: SnakemakeRunner) -> None:
    scenarios = "scenarios=[as_published_BASELINE_2048_adaptive_ds_plot_ds,as_published_WITH_RATIONALE]"
    done = snakemake(project, *DRY[:3], "--config", "datasets=[GunPoint]", scenarios)
    assert done.returncode == 0, done.stdout + done.stderr
    output = done.stdout + done.stderr
    counts = job_counts(output)
    assert counts["finetune_model"] == 2
    assert counts["describe_series"] == 1
    assert "results/descriptions/GunPoint/template/leaked_rationale_merged_labels.json" in output
    assert not {"render_plots", "render_scenario_plots"} & set(counts)
