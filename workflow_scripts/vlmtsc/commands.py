"""The commands of ``vlmtsc``, the console command of the installed package."""

from __future__ import annotations

import logging
from pathlib import Path

from vlmtsc.files import write_csv
from vlmtsc.script import heavy_imports, run_script
from vlmtsc.settings import RequestLimits

logger = logging.getLogger("vlmtsc.commands")


def predict(
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


def export(
    run: Path, output: Path, merge: bool = True, model: Path | None = None, upload: str | None = None
) -> None:
    """Export the fine-tuned model of a finished run: adapter, merged checkpoint, model card.

    Parameters
    ----------
    run : Path
        Folder of a finished run: results/runs/MODEL/DATASET/PROTOCOL/SCENARIO/seed-SEED.
    output : Path
        Folder to write.
    merge : bool, default True
        Whether the base model with the adapter merged into it is written too.
    model : Path, optional
        Checkpoint folder of the base model. Default: in the run's results folder.
    upload : str, optional
        Repository of the hub, OWNER/NAME, to upload the folder to, with the token of HF_TOKEN; private if it is new.
    """
    with heavy_imports():
        from vlmtsc.hub import export_run, upload_folder

    export_run(run, output, model, merge=merge)
    logger.info("%s: exported to %s", run, output)
    if upload is not None:
        logger.info("uploaded to %s", upload_folder(output, upload))


def main() -> None:
    """Run the command that the first argument names."""
    run_script(predict, export, positional=True)
