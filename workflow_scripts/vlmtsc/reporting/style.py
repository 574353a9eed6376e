"""The one look of all figures: colour-blind safe, readable in print in grey."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import matplotlib as mpl
import seaborn as sns
from matplotlib.figure import Figure

from vlmtsc.files import atomic_path

# Light to dark with monotonic lightness: keeps its order in grey and with any colour blindness.
SEQUENTIAL = "YlGnBu"
LINE_STYLES = ["-", "--", "-.", ":"]
MARKERS = ["o", "s", "^", "D", "v", "P", "X", "*"]
DPI = 200
# Matplotlib refuses images of 65,536 pixels or more, and a browser shows none that large.
MAX_PIXELS = 30_000
# seaborn's colour-blind palette without its pink and yellow, which are too light for lines on white.
LINE_COLOURS = [0, 1, 2, 3, 4, 5, 7, 9]
SETTINGS: dict[str, Any] = {
    "font.family": "DejaVu Sans",
    "font.size": 9,
    "axes.titlesize": 10,
    "axes.labelsize": 9,
    "legend.fontsize": 9,
    "legend.frameon": False,
    "xtick.labelsize": 8,
    "ytick.labelsize": 8,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.linewidth": 0.8,
    "axes.edgecolor": "0.3",
    "grid.color": "0.88",
    "grid.linewidth": 0.6,
    "lines.linewidth": 1.4,
    "figure.facecolor": "white",
    "savefig.dpi": DPI,
    # Text stays text in a PDF: searchable, and journals refuse Type 3 fonts.
    "pdf.fonttype": 42,
}


@contextmanager
def figure_style() -> Iterator[None]:
    """Make the settings of this module apply to the figures drawn inside the block."""
    with mpl.rc_context():
        sns.set_theme(style="ticks", rc=SETTINGS)
        yield


def line_looks(names: Sequence[str]) -> dict[str, dict[str, Any]]:
    """Colour, line style and marker of each name; no two of the first 64 names share all three."""
    palette = sns.color_palette("colorblind", 10)
    looks = {}
    for index, name in enumerate(names):
        # After one round of colours the styles move on by one, so that a colour returns in another style.
        shifted = index + index // len(LINE_COLOURS)
        looks[name] = {
            "color": palette[LINE_COLOURS[index % len(LINE_COLOURS)]],
            "linestyle": LINE_STYLES[shifted % len(LINE_STYLES)],
            "marker": MARKERS[shifted % len(MARKERS)],
        }
    return looks


def wrapped(name: str, width: int = 14) -> str:
    """Break a long name at its underscores, hyphens and spaces into lines of at most `width` characters."""
    spaced = name.replace("_", "_ ").replace("-", "- ")
    lines = textwrap.wrap(spaced, width, break_long_words=False, break_on_hyphens=False)
    return "\n".join(line.replace("_ ", "_").replace("- ", "-") for line in lines)


def save_figure(figure: Figure, path: Path) -> None:
    """Save as the format of the path's suffix; the same figure gives the same bytes."""
    # A creation date would make two equal PDFs differ.
    metadata = {"CreationDate": None} if path.suffix == ".pdf" else {}
    dpi = min(DPI, MAX_PIXELS / max(figure.get_size_inches()))
    with figure_style():
        figure.savefig(path, dpi=dpi, bbox_inches="tight", pad_inches=0.08, metadata=metadata)


def save_png_and_pdf(figure: Figure, folder: Path, name: str) -> None:
    """Save ``name.png``, for the screen, and ``name.pdf``, for print; other files in the folder are left alone."""
    for suffix in (".png", ".pdf"):
        with atomic_path(folder / f"{name}{suffix}") as temporary:
            save_figure(figure, temporary)
