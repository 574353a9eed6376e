"""Draw the accuracy heatmap, the training curves and the confusion matrices."""

from __future__ import annotations

import logging
from pathlib import Path

from vlmtsc.errors import InputError
from vlmtsc.reporting.figures import draw_accuracy_heatmap, draw_confusion_matrices, draw_training_curves
from vlmtsc.reporting.runs import COLUMN_TYPES, CONFUSION_TYPES
from vlmtsc.reporting.style import save_png_and_pdf
from vlmtsc.reporting.tables import read_tables
from vlmtsc.script import run_script

logger = logging.getLogger("vlmtsc.draw_figures")


def draw_figures(
    runs: Path, training: list[Path], confusion: list[Path], output: Path, log: Path | None = None
) -> None:
    """Draw the accuracy heatmap, the training curves and the confusion matrices, as PNG and PDF.

    Parameters
    ----------
    runs : Path
        Tidy table of all runs that `write_tables` wrote.
    training, confusion : list of Path
        Training logs and confusion matrices that `collect_runs` wrote, in the order of the panels.
    output : Path
        Folder to write to; other files in it are left alone.
    log : Path, optional
        File for messages.
    """
    logs = read_tables(training, {})
    counts = read_tables(confusion, CONFUSION_TYPES)
    if logs.empty or counts.empty:
        raise InputError(f"{runs}: no run is finished, so there is nothing to draw")
    figures = {
        "accuracy_heatmap": draw_accuracy_heatmap(read_tables([runs], COLUMN_TYPES)),
        "training_curves": draw_training_curves(logs),
        "confusion_matrices": draw_confusion_matrices(counts),
    }
    for name, figure in figures.items():
        save_png_and_pdf(figure, output, name)
        logger.info("drew %s", output / name)


if __name__ == "__main__":
    run_script(draw_figures)
