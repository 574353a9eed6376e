"""Baselines and comparisons as Snakemake sees them: which jobs they need, and which they do not."""

from __future__ import annotations

from pathlib import Path

import pytest
from conftest import DRY, SnakemakeRunner, job_counts

from vlmtsc.settings import BASELINES, PROBES

TWO = ("datasets=[GunPoint,Coffee]", "scenarios=[plot,numbers]")


def planned(snakemake: SnakemakeRunner, project: Path, target: str, *config: str) -> dict[str, int]:
    done = snakemake(project, *DRY, "--config", *config, "--", target)
    assert done.returncode == 0, done.stdout + done.stderr
    return job_counts(done.stdout + done.stderr)


def test_the_target_makes_all_baselines_and_trains_nothing(project: Path, snakemake: SnakemakeRunner) -> None:
    counts = planned(snakemake, project, "baselines", *TWO)
    assert counts["fit_baseline"] == 2 * (len(BASELINES) - len(PROBES))
    assert counts["fit_probe"] == 2 * len(PROBES)
    assert counts["render_plots"] == 2
    assert counts["build_conversations"] == 2  # the questions of the scenario `numbers`
    assert counts["write_baselines_table"] == counts["assemble_model"] == 1
    assert "finetune_model" not in counts


def test_methods_of_series_alone_need_no_model(project: Path, snakemake: SnakemakeRunner) -> None:
    counts = planned(snakemake, project, "baselines", *TWO, "baselines=[euclidean_1nn,dtw_1nn]")
    assert counts.pop("total") == 2 * (3 + 2) + 2
    assert set(counts) == {
        "download_dataset",
        "preprocess_dataset",
        "split_dataset",
        "fit_baseline",
        "write_baselines_table",
        "baselines",
    }


def test_a_whole_run_has_the_configured_baselines(project: Path, snakemake: SnakemakeRunner) -> None:
    counts = planned(snakemake, project, "all", *TWO)
    assert not {"fit_baseline", "fit_probe"} & set(counts)
    assert (counts["summarise_dataset"], counts["write_tables"]) == (2, 1)
    counts = planned(snakemake, project, "all", *TWO, "baselines=[majority,logistic_tower]")
    assert (counts["fit_baseline"], counts["fit_probe"]) == (2, 2)


def test_a_hosted_model_is_asked_only_by_name(project: Path, snakemake: SnakemakeRunner) -> None:
    asked = ("baselines=[hosted_model]", "describe={scenario: plot_difference, shots: 2}")
    counts = planned(snakemake, project, "baselines", *TWO, *asked)
    assert counts["ask_hosted_model"] == counts["render_plots"] == counts["build_conversations"] == 2
    assert "finetune_model" not in counts


ONE_STAGE = "finetune={align_steps: 0, soft_answers: false, mixed_share: 0}"


@pytest.mark.parametrize(
    ("options", "figures"),
    [
        (("scenarios=[numbers]", "baselines=[majority]"), 0),
        (("scenarios=[plot,numbers]", "baselines=[]"), 1),  # the first stage of `plot` is the third method
        (("scenarios=[plot,numbers]", "baselines=[]", ONE_STAGE), 0),
        (("scenarios=[plot,numbers]", "baselines=[majority]", ONE_STAGE), 1),
    ],
)
def test_ranks_are_drawn_where_there_is_enough(
    project: Path, snakemake: SnakemakeRunner, options: tuple[str, ...], figures: int
) -> None:
    six = "datasets=[GunPoint,Coffee,ArrowHead,OSULeaf,BasicMotions,ItalyPowerDemand]"
    assert planned(snakemake, project, "comparisons", six, *options).get("draw_figures", 0) == figures


def test_an_unknown_baseline_is_refused(project: Path, snakemake: SnakemakeRunner) -> None:
    done = snakemake(project, *DRY, "--config", "baselines=[knn]")
    assert done.returncode != 0
    assert "baselines.0" in done.stdout + done.stderr
    assert "euclidean_1nn" in done.stdout + done.stderr
