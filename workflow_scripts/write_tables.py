"""Write tables: of all runs, of baselines, of corrections, of published results and ours."""

from __future__ import annotations

import logging
from pathlib import Path

from vlmtsc.files import read_json, write_files
from vlmtsc.paths import Paths
from vlmtsc.planning import correction_pairs
from vlmtsc.reporting.baselines import baseline_files, read_published
from vlmtsc.reporting.comparisons import comparison_files
from vlmtsc.reporting.controls import controls_table
from vlmtsc.reporting.corrections import correction_rows, corrections_table
from vlmtsc.reporting.costs import costs_table
from vlmtsc.reporting.evidence import evidence_files
from vlmtsc.reporting.paper import paper_files
from vlmtsc.reporting.runs import COLUMN_TYPES, accuracy_files, failures_text, list_runs, read_states
from vlmtsc.reporting.summary import read_summaries
from vlmtsc.reporting.tables import read_tables
from vlmtsc.script import run_script
from vlmtsc.settings import Correction

logger = logging.getLogger("vlmtsc.write_tables")


def write_tables(
    results: str,
    models: list[str],
    datasets: list[str],
    protocol: str,
    scenarios: list[str],
    seeds: list[int],
    selected: list[str],
    output: Path,
    controls: bool = False,
    states: Path | None = None,
) -> None:
    """Write the tables of all runs: accuracies, costs, comparisons, controls, evidence.

    Parameters
    ----------
    results : str
        Results folder.
    models, datasets, scenarios : list of str
        Runs of the configuration, with `seeds`: all combinations.
    protocol : str
        Split protocol.
    seeds : list of int
        Seeds.
    selected : list of str
        Datasets with a summary.
    output : Path
        Folder to write to.
    controls : bool
        Whether the runs have controls.
    states : Path, optional
        States of the runs after a failure (.json): only the table of accuracies is written, from existing results.
    """
    paths = Paths(results)
    if states is None:
        names = ["runs", "methods", "comparisons", *(["controls"] if controls else [])]
        tables = read_summaries(paths, models, selected, protocol, names)
        runs = tables["runs"]
        files = accuracy_files(runs) | costs_table(runs).files("costs", "Costs of runs")
        files |= comparison_files(tables["methods"], tables["comparisons"])
        if controls:
            table, rows = controls_table(tables["controls"]), tables["controls"]
            files |= table.files("controls", "Controls at test time", rows, latex=True)
        files |= evidence_files(paths, list_runs(models, datasets, protocol, scenarios, seeds))
    else:
        runs = read_states(paths, read_json(states))
        files = accuracy_files(runs, failures_text(runs))
    write_files(output, files)
    logger.info("%d runs in %s", len(runs), output / "accuracy.md")


def write_baselines_table(
    results: str,
    models: list[str],
    datasets: list[str],
    scenarios: list[str],
    seeds: list[int],
    baselines: list[str],
    protocol: str,
    published: Path,
    output: Path,
) -> None:
    """Write the table of baselines, with the best finished fine-tuned run of each dataset.

    Parameters
    ----------
    results : str
        Results folder.
    models, datasets, scenarios : list of str
        Fine-tuned runs, with `seeds`: all combinations, of which the finished ones count. Probes use these models.
    seeds : list of int
        Seeds.
    baselines : list of str
        The columns.
    protocol : str
        Split protocol.
    published : Path
        Accuracies published on the archive's own split (.tsv); shown for the protocol ``official`` only.
    output : Path
        Folder to write ``baselines.{csv,html,md,tex}`` to.
    """
    runs = list_runs(models, datasets, protocol, scenarios, seeds)
    files = baseline_files(Paths(results), runs, baselines, read_published(published, "method"))
    write_files(output, files)
    logger.info("%d baselines in %s", len(baselines), output / "baselines.md")


def write_corrections_table(
    results: str,
    corrections: list[Correction],
    models: list[str],
    protocol: str,
    seeds: list[int],
    output: Path,
) -> None:
    """Write the table of what each fault of the original changes in the accuracy.

    Parameters
    ----------
    results : str
        Results folder.
    corrections : list of Correction
        As in the configuration.
    models : list of str
        Models.
    protocol : str
        Split protocol.
    seeds : list of int
        Seeds.
    output : Path
        Folder to write ``corrections.{csv,html,md,tex}`` to.
    """
    rows = correction_rows(Paths(results), correction_pairs(corrections, models, protocol, seeds))
    table = corrections_table(rows)
    write_files(output, table.files("corrections", "Faults of the original", rows, latex=True))
    logger.info("%d of %d pairs of runs", (rows["status"] == "done").sum(), len(rows))


def write_paper_table(
    runs: Path,
    published: Path,
    models: list[str],
    datasets: list[str],
    scenarios: list[str],
    protocol: str,
    output: Path,
) -> None:
    """Write the table of published results and ours.

    Parameters
    ----------
    runs : Path
        Tidy table of runs (.csv).
    published : Path
        Published accuracies (.tsv).
    models, datasets, scenarios : list of str
        All combinations; those without a run are shown as not run.
    protocol : str
        Split protocol.
    output : Path
        Folder to write ``paper.{csv,md,tex,html}`` and ``paper_best.{csv,html}`` to.
    """
    keys = list_runs(models, datasets, protocol, scenarios, [0])
    files = paper_files(read_tables([runs], COLUMN_TYPES), read_published(published, "scenario"), keys)
    write_files(output, files)
    logger.info("%d rows in %s", len(keys), output / "paper.csv")


if __name__ == "__main__":
    run_script(write_tables, write_baselines_table, write_corrections_table, write_paper_table)
