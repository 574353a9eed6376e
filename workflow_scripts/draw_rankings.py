"""Draw how methods rank over datasets: critical-difference diagram and multi-comparison matrix."""

from __future__ import annotations

import logging
from pathlib import Path

from vlmtsc.errors import InputError
from vlmtsc.script import run_script

logger = logging.getLogger("vlmtsc.draw_rankings")


def draw_rankings(methods: Path, output: Path, log: Path | None = None) -> None:
    """Draw how methods rank over datasets: critical-difference diagram and multi-comparison matrix.

    Parameters
    ----------
    methods : Path
        ``methods.csv`` of `write_comparisons`.
    output : Path
        Folder to write ``critical_difference.{png,pdf}`` and ``multi_comparison_matrix.{png,pdf}`` to.
    log : Path, optional
        File for messages.
    """
    from vlmtsc.evaluation.statistics import why_no_ranking
    from vlmtsc.reporting.comparisons import accuracies_by_dataset
    from vlmtsc.reporting.rankings import critical_difference, multi_comparison_matrix
    from vlmtsc.reporting.style import save_png_and_pdf
    from vlmtsc.reporting.tables import read_tables

    accuracies = accuracies_by_dataset(read_tables([methods], {"method": "str", "dataset": "str"}))
    lacking = why_no_ranking(accuracies)
    if lacking:
        raise InputError(f"{methods}: {lacking}")
    for name, draw in (
        ("critical_difference", critical_difference),
        ("multi_comparison_matrix", multi_comparison_matrix),
    ):
        save_png_and_pdf(draw(accuracies), output, name)
    logger.info("%d methods on %d datasets", accuracies.shape[1], accuracies.shape[0])


if __name__ == "__main__":
    run_script(draw_rankings)
