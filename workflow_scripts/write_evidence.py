"""Write what the runs are evidence of: the chosen scenario against simple methods, and which inputs are used."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from itertools import product
from pathlib import Path
from typing import Any

import pandas as pd

from collect_controls import control_rows
from compare_methods import read_method
from vlmtsc.files import read_json
from vlmtsc.paths import BaselineKey, Paths
from vlmtsc.reporting.comparisons import BASELINE, FINE_TUNED
from vlmtsc.reporting.controls import CONTROL_COLUMNS, CONTROL_TYPES
from vlmtsc.reporting.evidence import (
    INPUTS_NOTE,
    TEXT_COLUMNS,
    DatasetEvidence,
    Matrix,
    best_baseline,
    evidence_rows,
    evidence_table,
    input_rows,
    inputs_table,
    sentences,
)
from vlmtsc.reporting.pages import to_html
from vlmtsc.reporting.tables import (
    DONE,
    RUN_KEYS,
    choose_scenarios,
    run_name,
    run_row,
    runs_table,
    to_markdown,
)
from vlmtsc.script import run_script
from vlmtsc.settings import BASELINES, PROBES
from vlmtsc.table_files import write_files

logger = logging.getLogger("vlmtsc.write_evidence")


def write_evidence(
    results: Path,
    models: list[str],
    datasets: list[str],
    scenarios: list[str],
    seeds: list[int],
    protocol: str,
    output: Path,
    log: Path | None = None,
) -> None:
    """Write what the runs are evidence of: the chosen scenario against simple methods, and which inputs are used.

    Parameters
    ----------
    results : Path
        Folder of the workflow's results. What is there of runs, controls and simple methods counts.
    models, datasets, scenarios : list of str
        The whole matrix, run or not.
    seeds : list of int
        That each scenario is asked for with.
    protocol : str
    output : Path
        Folder to write ``evidence.{csv,md,html}`` and ``evidence_inputs.{csv,html}`` to; other files in it are left
        alone. Markdown holds both tables and the sentences.
    log : Path, optional
        File for messages.
    """
    keys = [
        dict(zip(RUN_KEYS, values, strict=True))
        for values in product(models, datasets, [protocol], scenarios, seeds)
    ]
    runs = runs_table([read_run(results, key) for key in keys])
    done = runs[runs["status"] == DONE]
    chosen = choose_scenarios(runs).to_dict()
    found = [
        read_dataset(results, done, chosen, {"model": model, "dataset": dataset, "protocol": protocol})
        for model, dataset in product(models, datasets)
    ]
    rows = evidence_rows(found)
    inputs = input_rows(done, read_controls(results, done), chosen)
    missing: dict[tuple[str, str, str], tuple[int, ...]] = {}
    for row in runs[runs["status"] != DONE].to_dict("records"):
        key = row["model"], row["dataset"], row["scenario"]
        missing[key] = (*missing.get(key, ()), int(row["seed"]))
    said = sentences(rows, inputs, Matrix(tuple(seeds), missing))
    write_evidence_files(output, rows, inputs, said)
    logger.info("%d datasets, %d scenarios in %s", len(rows), len(inputs), output / "evidence.md")


def write_evidence_files(output: Path, rows: pd.DataFrame, inputs: pd.DataFrame, said: list[str]) -> None:
    """Write tables and sentences."""
    table, used = evidence_table(rows), inputs_table(inputs)
    parts = ["\n".join(f"- {text}" for text in said), to_markdown(table, TEXT_COLUMNS)]
    parts += [to_markdown(used, TEXT_COLUMNS)] if len(inputs) else []
    write_files(
        output,
        {
            "evidence.csv": rows,
            "evidence_inputs.csv": inputs,
            "evidence.md": "\n\n".join(map(str.strip, parts)) + "\n",
            "evidence.html": to_html(
                table.cells,
                "The fine-tuned model and simple methods",
                "\n".join([*said, table.note]),
                TEXT_COLUMNS,
                table.chosen,
            ),
            "evidence_inputs.html": to_html(used.cells, "Inputs that are used", INPUTS_NOTE, TEXT_COLUMNS),
        },
    )


def read_run(results: Path, key: Mapping[str, Any]) -> dict[str, Any]:
    """Read the row of a run, which may not have been made."""
    folder = results / "runs" / run_name(key)
    files = [folder / name for name in ("metrics.json", "run_record.json")]
    if not all(path.is_file() for path in files):
        return run_row(key, None, None)
    return run_row(key, *(read_json(path) for path in files))


def read_controls(results: Path, done: pd.DataFrame) -> pd.DataFrame:
    """Read the controls of finished runs, of those that have any."""
    rows: list[dict[str, Any]] = []
    for key in done[RUN_KEYS].to_dict("records"):
        folder = results / "runs" / run_name(key)
        if (folder / "controls.csv").is_file():
            controls = pd.read_csv(folder / "controls.csv")
            rows += control_rows(key, controls, read_json(folder / "metrics.json"))
    return pd.DataFrame(rows, columns=CONTROL_COLUMNS).astype(CONTROL_TYPES)


def read_dataset(
    results: Path, done: pd.DataFrame, chosen: Mapping[Any, str], place: dict[str, str]
) -> DatasetEvidence:
    """Read the chosen scenario of a model on a dataset, and the simple methods that are there."""
    scenario = chosen.get((place["model"], place["protocol"], place["dataset"]))
    method = None
    if scenario is not None:
        of_scenario = done[done["scenario"] == scenario]
        for key in ("model", "dataset"):
            of_scenario = of_scenario[of_scenario[key] == place[key]]
        names = [run_name(key) for key in of_scenario[RUN_KEYS].to_dict("records")]
        method = read_method(scenario, FINE_TUNED, [results / "runs" / name for name in names])
    baselines, folders = {}, {}
    for name in BASELINES:
        model = place["model"] if name in PROBES else ""
        folders[name] = Path(
            Paths(str(results)).baseline(BaselineKey(name, place["dataset"], place["protocol"], model))
        )
        files = {file: folders[name] / f"{file}.json" for file in ("metrics", "record")}
        if all(path.is_file() for path in files.values()):
            baselines[name] = {file: read_json(path) for file, path in files.items()}
    best = best_baseline(baselines)
    return DatasetEvidence(
        place, method, baselines, None if best is None else read_method(best, BASELINE, [folders[best]])
    )


if __name__ == "__main__":
    run_script(write_evidence)
