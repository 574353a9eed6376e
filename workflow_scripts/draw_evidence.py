"""Draw accuracy against context length and cost, the modality ablation, and calibration."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

from vlmtsc.errors import InputError
from vlmtsc.reporting.ablation_figures import draw_accuracy_by_context, draw_modality_ablation
from vlmtsc.reporting.calibration import RELIABILITY_TYPES
from vlmtsc.reporting.calibration_figures import draw_calibration
from vlmtsc.reporting.cost_figures import draw_accuracy_by_cost
from vlmtsc.reporting.ledger import COLUMN_TYPES as LEDGER_TYPES
from vlmtsc.reporting.runs import COLUMN_TYPES
from vlmtsc.reporting.style import save_png_and_pdf
from vlmtsc.reporting.tables import read_tables
from vlmtsc.script import run_script

logger = logging.getLogger("vlmtsc.draw_evidence")


def draw_evidence(
    runs: Path,
    ledger: Path,
    methods: Path,
    reliability: list[Path],
    scenarios: dict[str, dict[str, Any]],
    output: Path,
    log: Path | None = None,
) -> None:
    """Draw accuracy against context length and cost, the modality ablation, and calibration, as PNG and PDF.

    Parameters
    ----------
    runs : Path
        Tidy table of all runs that `write_tables` wrote.
    ledger : Path
        Token-budget ledger that `write_ledger` wrote.
    methods : Path
        Table of methods that `write_comparisons` wrote: the baselines among them are drawn.
    reliability : list of Path
        Reliability curves that `collect_runs` wrote.
    scenarios : dict of str to dict
        Settings of each scenario.
    output : Path
        Folder to write to; other files in it are left alone.
    log : Path, optional
        File for messages.
    """
    table, curves = read_tables([runs], COLUMN_TYPES), read_tables(reliability, RELIABILITY_TYPES)
    if curves.empty:
        raise InputError(f"{runs}: no run is finished, so there is nothing to draw")
    tokens = read_tables([ledger], LEDGER_TYPES)
    figures = {
        "accuracy_by_context": draw_accuracy_by_context(table, tokens, scenarios),
        "modality_ablation": draw_modality_ablation(table, scenarios),
        "calibration": draw_calibration(table, curves),
        "accuracy_by_cost": draw_accuracy_by_cost(table, read_tables([methods], {})),
    }
    for name, figure in figures.items():
        save_png_and_pdf(figure, output, name)
        logger.info("drew %s", output / name)


if __name__ == "__main__":
    run_script(draw_evidence)
