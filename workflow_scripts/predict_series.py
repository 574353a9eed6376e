"""Classify unlabelled series with a model that the workflow has fine-tuned."""

from __future__ import annotations

import logging
from pathlib import Path

from vlmtsc.files import write_csv
from vlmtsc.script import heavy_imports, run_script
from vlmtsc.settings import RequestLimits

logger = logging.getLogger("vlmtsc.predict_series")


def predict_series(
    run: Path,
    series: Path,
    output: Path,
    model: Path | None = None,
    facts: Path | None = None,
    descriptions: Path | None = None,
    describer_cache: Path = Path("describer_cache"),
    limits: RequestLimits = RequestLimits(),  # noqa: B008 (frozen)
    threads: int = 1,
) -> None:
    """Classify unlabelled series with a model that the workflow has fine-tuned.

    Parameters
    ----------
    run : Path
        Folder of a finished run: results/runs/MODEL/DATASET/PROTOCOL/SCENARIO/seed-SEED.
    series : Path
        A CSV file of univariate series, one a row; or a folder of CSV files, one series a file, one timepoint
        a row, one channel a column.
    output : Path
        Predictions (.csv) to write: id, predicted class, probability, log-likelihood of each class.
    model : Path, optional
        Checkpoint folder of the base model. Default: in the run's results folder.
    facts : Path, optional
        Facts (.json) of the training dataset, with its preprocessing. Default: in the run's results folder.
    descriptions : Path, optional
        Descriptions (.json) of the training dataset by a hosted model, with the settings of the requests; read if
        the scenario has them. Default: in the run's results folder.
    describer_cache : Path, default describer_cache
        Folder of cached answers of hosted models.
    limits : RequestLimits
        Cap, rate, timeout and attempts of requests to a hosted model.
    threads : int, default 1
        Threads of each tensor operation.
    """
    with heavy_imports():
        from vlmtsc.evaluation.unlabelled import DescriberFiles, classify_series

    describer = DescriberFiles(descriptions, describer_cache, limits)
    table = classify_series(run, series, model, facts, describer, threads)
    write_csv(output, table)
    logger.info("%s: %d series classified with %s", output, len(table), run)


if __name__ == "__main__":
    run_script(predict_series)
