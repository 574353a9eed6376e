"""Write the tables of all runs: accuracies, costs, comparisons, controls, evidence."""

from __future__ import annotations

import logging
from pathlib import Path

from vlmtsc.files import read_json, write_files
from vlmtsc.paths import Paths
from vlmtsc.reporting.comparisons import comparison_files
from vlmtsc.reporting.controls import controls_table
from vlmtsc.reporting.costs import costs_table
from vlmtsc.reporting.evidence import evidence_files
from vlmtsc.reporting.runs import accuracy_files, failures_text, list_runs, read_states
from vlmtsc.reporting.summary import read_summaries
from vlmtsc.script import run_script

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
    models, datasets : list of str
        Runs of the configuration, with `protocol`, `scenarios` and `seeds`: all combinations.
    protocol : str
        Split protocol.
    scenarios : list of str
        Scenarios.
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


if __name__ == "__main__":
    run_script(write_tables)
