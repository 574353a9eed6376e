"""Write predictions in the format of tsml-eval and accuracies in aeon's."""

from __future__ import annotations

import json
import logging
from itertools import product
from pathlib import Path
from typing import Any

import pandas as pd

from vlmtsc.baselines.settings import PROBES, BaselineKey
from vlmtsc.files import atomic_path, read_json
from vlmtsc.reporting.export import accuracy_files, estimator_name, prediction_file
from vlmtsc.script import run_script

logger = logging.getLogger("vlmtsc.export_results")


def export_results(
    results: Path,
    models: list[str],
    datasets: list[str],
    scenarios: list[str],
    seeds: list[int],
    baselines: list[str],
    protocol: str,
    output: Path,
    log: Path | None = None,
) -> None:
    """Write predictions in the format of tsml-eval and accuracies in aeon's.

    Parameters
    ----------
    results : Path
        Folder of the workflow's results.
    models, datasets, scenarios : list of str
        Fine-tuned runs to export: all combinations.
    seeds : list of int
        The same.
    baselines : list of str
        Baselines to export, on the same datasets.
    protocol : str
        Split protocol: the first level of the output, since only ``official`` is comparable with published results.
    output : Path
        Folder to write ``PROTOCOL/ESTIMATOR/Predictions/DATASET/testResampleSEED.csv`` and
        ``PROTOCOL/classification/accuracy/ESTIMATOR_accuracy.csv`` to; its former content is replaced.
    log : Path, optional
        File for messages.
    """
    several = len(models) > 1
    entries: list[dict[str, Any]] = []
    for model, dataset, scenario, seed in product(models, datasets, scenarios, seeds):
        folder = results / f"runs/{model}/{dataset}/{protocol}/{scenario}/seed-{seed}"
        record = read_json(folder / "run_record.json")
        settings = {"model": model, "scenario": scenario, "seed": seed, "recipe": record.get("settings", {})}
        name = estimator_name(scenario, model, several)
        entries.append(
            {"folder": folder, "record": record, "settings": settings}
            | {"estimator": name, "dataset": dataset, "seed": seed}
        )
    for dataset, baseline in product(datasets, baselines):
        for model in models if baseline in PROBES else [""]:
            folder = results / BaselineKey(baseline, dataset, protocol, model).folder
            record = read_json(folder / "record.json")
            name = estimator_name(baseline, model, several)
            entries.append(
                {"folder": folder, "record": record, "settings": record["chosen"]}
                | {"estimator": name, "dataset": dataset, "seed": record["seed"]}
            )
    rows = []
    with atomic_path(output) as temporary:
        for entry in entries:
            metrics = read_json(entry["folder"] / "metrics.json")
            predictions = pd.read_csv(
                entry["folder"] / "predictions.csv",
                dtype={"id": str, "true": str, "predicted": str},
                keep_default_na=False,
            )
            text = prediction_file(
                predictions,
                metrics,
                dataset=entry["dataset"],
                estimator=entry["estimator"],
                seed=entry["seed"],
                description=f"protocol {protocol}; the number is a seed of training: the split is the same for all",
                parameters=json.dumps(entry["settings"], sort_keys=True),
                fit_seconds=entry["record"]["wall_seconds"],
                memory_mb=entry["record"].get("peak_memory_mb") or 0,
            )
            folder = temporary / protocol / entry["estimator"] / "Predictions" / entry["dataset"]
            folder.mkdir(parents=True, exist_ok=True)
            (folder / f"testResample{entry['seed']}.csv").write_text(text, encoding="utf-8")
            rows.append({key: entry[key] for key in ("estimator", "dataset", "seed")})
            rows[-1]["accuracy"] = metrics["accuracy"]
        summary = temporary / protocol / "classification" / "accuracy"
        summary.mkdir(parents=True)
        for estimator, table in accuracy_files(rows).items():
            table.to_csv(summary / f"{estimator}_accuracy.csv", index=False)
    logger.info("%d results of %d methods in %s", len(rows), len({r["estimator"] for r in rows}), output)


if __name__ == "__main__":
    run_script(export_results)
