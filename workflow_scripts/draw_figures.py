"""Draw the figures of all runs."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from vlmtsc.paths import Paths
from vlmtsc.reporting.ablation import draw_accuracy_by_context, draw_modality_ablation
from vlmtsc.reporting.calibration import draw_calibration
from vlmtsc.reporting.comparisons import draw_critical_difference, draw_multi_comparison_matrix
from vlmtsc.reporting.controls import draw_controls
from vlmtsc.reporting.costs import draw_accuracy_by_cost
from vlmtsc.reporting.figures import draw_accuracy_heatmap, draw_confusion_matrices, draw_training_curves
from vlmtsc.reporting.ledger import COLUMN_TYPES
from vlmtsc.reporting.style import save_png_and_pdf
from vlmtsc.reporting.summary import read_summaries
from vlmtsc.reporting.tables import read_tables
from vlmtsc.script import run_script

logger = logging.getLogger("vlmtsc.draw_figures")


def draw_figures(
    results: str,
    models: list[str],
    datasets: list[str],
    protocol: str,
    scenarios: dict[str, dict[str, Any]],
    figures: list[str],
    output: Path,
) -> None:
    """Draw the figures of all runs, as PNG and PDF.

    Parameters
    ----------
    results : str
        Results folder.
    models, datasets : list of str
        All combinations.
    protocol : str
        Split protocol.
    scenarios : dict of str to dict
        Settings of each scenario.
    figures : list of str
        Names of the figures to draw.
    output : Path
        Folder to write to; other files in it are left alone.
    """
    paths = Paths(results)
    names = ["runs", "training", "confusion", "reliability", "methods", "controls"]
    if "controls" not in figures:
        names.remove("controls")
    tables = read_summaries(paths, models, datasets, protocol, names)
    ledger = read_tables([Path(paths.table("ledger.csv"))], COLUMN_TYPES)
    runs, methods = tables["runs"], tables["methods"]
    drawings: dict[str, Callable[[], Figure]] = {
        "accuracy_heatmap": lambda: draw_accuracy_heatmap(runs),
        "training_curves": lambda: draw_training_curves(tables["training"]),
        "confusion_matrices": lambda: draw_confusion_matrices(tables["confusion"]),
        "modality_ablation": lambda: draw_modality_ablation(runs, scenarios),
        "accuracy_by_context": lambda: draw_accuracy_by_context(runs, ledger, scenarios),
        "calibration": lambda: draw_calibration(runs, tables["reliability"]),
        "accuracy_by_cost": lambda: draw_accuracy_by_cost(runs, methods),
        "controls": lambda: draw_controls(tables["controls"]),
        "critical_difference": lambda: draw_critical_difference(methods),
        "multi_comparison_matrix": lambda: draw_multi_comparison_matrix(methods),
    }
    for name in figures:
        save_png_and_pdf(drawings[name](), output, name)
        logger.info("drew %s", output / name)


if __name__ == "__main__":
    run_script(draw_figures)
