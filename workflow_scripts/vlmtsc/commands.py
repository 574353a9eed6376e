"""The commands of ``vlmtsc``, the console command of the installed package."""

from __future__ import annotations

import logging
from pathlib import Path

from vlmtsc.errors import InputError
from vlmtsc.files import atomic_path, check_output, write_csv
from vlmtsc.script import paused_collection, run_script
from vlmtsc.settings import ColumnOptions, RequestLimits

logger = logging.getLogger("vlmtsc.commands")

FIGURES = (".png", ".pdf", ".svg")


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
    columns: ColumnOptions | None = None,
) -> None:
    """Classify unlabelled series with a model that the workflow has fine-tuned.

    Parameters
    ----------
    run : Path
        Folder of a finished run: results/runs/MODEL/DATASET/PROTOCOL/SCENARIO/seed-SEED.
    series : Path
        A table, arrays, or a folder, as `data` of the configuration; labels are left out.
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
    columns : ColumnOptions, optional
        Meaning of columns, as `columns` of the configuration. Default: as in the training data.
    """
    check_output(output, run, series, *filter(None, (facts, descriptions)))
    with paused_collection():
        from vlmtsc.evaluation.unlabelled import DescriberFiles, classify_series

    describer = DescriberFiles(descriptions, describer_cache, limits)
    table = classify_series(run, series, model, facts, describer, threads, columns)
    write_csv(output, table)
    logger.info("%s: %d series classified with %s", output, len(table), run)


def explain(
    run: Path,
    series: Path,
    output: Path,
    model: Path | None = None,
    passes: int = 18,
    threads: int = 1,
    columns: ColumnOptions | None = None,
) -> None:
    """Explain the answers of a finished run for unlabelled series, by occlusion over time.

    Parameters
    ----------
    run : Path
        Folder of a finished run: results/runs/MODEL/DATASET/PROTOCOL/SCENARIO/seed-SEED.
    series : Path
        Series as for `predict`.
    output : Path
        Figure (.png, .pdf, .svg) to write: the series coloured by attribution. Beside it a table
        (.attributions.csv): id, predicted class, probability, attribution of each timepoint in nats.
    model : Path, optional
        Checkpoint folder of the base model. Default: in the run's results folder.
    passes : int, default 18
        Maximum forward passes of each series, beside the one of the series as it is, at least 12.
    threads : int, default 1
        Threads of each tensor operation.
    columns : ColumnOptions, optional
        As for `predict`.
    """
    if output.suffix not in FIGURES:
        raise InputError(f"{output}: a figure ends in {', '.join(FIGURES)}")
    attributed = output.with_suffix(".attributions.csv")
    for file in (output, attributed):
        check_output(file, run, series)
    with paused_collection():
        import pandas as pd

        from vlmtsc.classifier import VLMClassifier
        from vlmtsc.evaluation.unlabelled import FinishedRun
        from vlmtsc.reporting.explanations import answer_title, draw_explanations
        from vlmtsc.reporting.style import save_figure

    own = FinishedRun.open(run, model).read(series, columns)
    classifier = VLMClassifier.from_run(run, model, threads)
    explanations = classifier.explain(own.series, passes)
    attributions = [explanation.by_timepoint() for explanation in explanations]
    answers = [classifier.classes_[explanation.predicted] for explanation in explanations]
    probabilities = [explanation.probability for explanation in explanations]
    titles = [answer_title(*case) for case in zip(own.ids, answers, probabilities, strict=True)]
    figure = draw_explanations(list(classifier.prepare(own.series)[0]), attributions, titles)
    with atomic_path(output) as temporary:
        save_figure(figure, temporary)
    table = pd.DataFrame({"id": own.ids, "predicted": answers, "probability": probabilities})
    names = [f"attribution_{number + 1}" for number in range(len(attributions[0]))]
    table = table.join(pd.DataFrame(attributions, columns=names)).round(4)
    write_csv(attributed, table)
    logger.info("%s: %d series explained", output, len(table))


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
    with paused_collection():
        from vlmtsc.hub import export_run, hub_token, upload_folder

    if upload is not None:
        hub_token()
    export_run(run, output, model, merge=merge)
    logger.info("%s: exported to %s", run, output)
    if upload is not None:
        logger.info("uploaded to %s", upload_folder(output, upload))


def demo(
    runs: Path, model: Path | None = None, host: str = "127.0.0.1", port: int = 7860, threads: int = 1
) -> None:
    """Serve a local page on which finished runs classify and explain series.

    Parameters
    ----------
    runs : Path
        Folder of a finished run, or of several, such as results/runs.
    model : Path, optional
        Checkpoint folder of the base model. Default: in the runs' results folder.
    host : str, default 127.0.0.1
        Address to serve; the default is this machine alone.
    port : int, default 7860
        Port to serve.
    threads : int, default 1
        Threads of each tensor operation.
    """
    with paused_collection():
        from vlmtsc.demo import show_page

    show_page(runs, model, host, port, threads)


def main() -> None:
    """Run the command that the first argument names."""
    run_script(predict, explain, export, demo, positional=True)


if __name__ == "__main__":
    main()
