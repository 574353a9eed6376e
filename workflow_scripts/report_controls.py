"""Draw the figure of controls at test time."""

from __future__ import annotations

from pathlib import Path

from vlmtsc.reporting.control_figures import draw_controls
from vlmtsc.reporting.controls import CONTROL_TYPES
from vlmtsc.reporting.style import save_png_and_pdf
from vlmtsc.reporting.tables import read_tables
from vlmtsc.script import run_script


def report_controls(table: Path, figures: Path, log: Path | None = None) -> None:
    """Draw the figure of controls at test time.

    Parameters
    ----------
    table : Path
        Tidy table of controls (.csv).
    figures : Path
        Folder to write ``controls.{png,pdf}`` to.
    log : Path, optional
        File for messages.
    """
    save_png_and_pdf(draw_controls(read_tables([table], CONTROL_TYPES)), figures, "controls")


if __name__ == "__main__":
    run_script(report_controls)
