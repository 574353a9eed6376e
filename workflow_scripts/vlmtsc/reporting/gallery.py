"""The gallery of a dataset: plots of each class, pixel for pixel as they are given to a model.

A plot is never scaled. Everything is laid out in the pixels of the PNG: a pixel of a plot is a pixel of the figure. The
PDF holds the same pixels as images of their own.
"""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from vlmtsc.reporting.style import DPI, figure_style

#: Cases of each class.
CASES = 4
#: Classes and kinds of plots that a figure shows at most, the first ones.
MAX_CLASSES, MAX_KINDS = 12, 6
#: With more classes than this, two of them stand side by side.
MAX_STACKED = 6
#: Pixels of a figure at most, whatever the size of the plots: fewer classes are shown then.
MAX_PIXELS = 50_000_000

# All in pixels.
MARGIN, GAP, BLOCK_GAP = 24, 10, 60
CLASS_LINE, CASE_LINE, KIND_LINE, NOTE_LINE, TITLE_LINE = 40, 30, 52, 34, 46
#: Narrowest figure, so that its text fits beside small plots; width of a character of a text of 9 points.
MIN_WIDTH, CHARACTER = 1000, 15
# A box that is smaller than its pixels by this covers the same ones, whichever way its floats are rounded.
INSET = 0.01


@dataclass(frozen=True)
class KindOfPlot:
    """What one kind of plot shows of the chosen cases.

    Attributes
    ----------
    title : str
        The plot's name and the scenarios that show it.
    images : sequence of sequence of ndarray of uint8, shape (height, width, 3)
        By class and case, as in the files; all of one size.
    """

    title: str
    images: Sequence[Sequence[np.ndarray]]


def draw_gallery(
    title: str,
    notes: Sequence[str],
    class_titles: Sequence[str],
    cases: Sequence[Sequence[str]],
    kinds: Sequence[KindOfPlot],
) -> Figure:
    """Draw plots of each class, a row of them for each class, one kind of plot below the other.

    Parameters
    ----------
    title : str
    notes : sequence of str
        Sentences below it. What is left out of the figure is added to them.
    class_titles : sequence of str
        By class index.
    cases : sequence of sequence of str
        By class index, what stands below each plot.
    kinds : sequence of KindOfPlot

    Returns
    -------
    Figure
        For `save_gallery`. At the resolution of `style.DPI`, each plot covers exactly its own pixels.
    """
    n_classes, shown = classes_that_fit(kinds, len(class_titles)), kinds[:MAX_KINDS]
    notes = list(notes)
    if n_classes < len(class_titles):
        notes.append(f"{n_classes} of {len(class_titles)} classes are shown, the first ones.")
    if len(shown) < len(kinds):
        notes.append(f"{len(shown)} of {len(kinds)} kinds of plots are shown, the first ones.")
    width = figure_width(shown, n_classes)
    lines = textwrap.wrap(" ".join(notes), (width - 2 * MARGIN) // CHARACTER)
    head = MARGIN + TITLE_LINE + NOTE_LINE * len(lines)
    height = head + sum(kind_height(kind, n_classes) for kind in shown) + MARGIN
    with figure_style():
        page = Page(width, height)
        page.write(MARGIN, MARGIN, title, size=11, weight="bold")
        for number, line in enumerate(lines):
            page.write(MARGIN, MARGIN + TITLE_LINE + NOTE_LINE * number, line, color="0.3")
        top = head
        for kind in shown:
            page.write(MARGIN, top + 12, fitting(kind.title, width - 2 * MARGIN), weight="bold", color="0.3")
            draw_kind(page, top + KIND_LINE, kind, class_titles[:n_classes], cases)
            top += kind_height(kind, n_classes)
    return page.figure


def draw_kind(
    page: Page, top: int, kind: KindOfPlot, class_titles: Sequence[str], cases: Sequence[Sequence[str]]
) -> None:
    """Draw one kind of plot: a block of plots for each class, in one column of blocks or two."""
    height, width = image_size(kind)
    for index, class_title in enumerate(class_titles):
        row, column = divmod(index, n_columns(len(class_titles)))
        left = MARGIN + column * (block_width(kind) + BLOCK_GAP)
        above = top + row * block_height(kind)
        page.write(left, above + 4, fitting(class_title, block_width(kind)))
        if not kind.images[index]:
            page.write(left, above + CLASS_LINE, "no case in the training part", color="0.4")
        for place, (image, case) in enumerate(zip(kind.images[index], cases[index], strict=True)):
            page.show(left + place * (width + GAP), above + CLASS_LINE, image)
            page.write(
                left + place * (width + GAP), above + CLASS_LINE + height + 5, case, size=7, color="0.4"
            )


class Page:
    """A figure that is laid out in pixels, from its upper left corner."""

    def __init__(self, width: int, height: int) -> None:
        # A little more, since a canvas of 999.9999 pixels would be one of 999.
        self._width, self._height = width + INSET, height + INSET
        self.figure = Figure(figsize=(self._width / DPI, self._height / DPI), dpi=DPI)

    def write(self, left: int, top: int, text: str, size: float = 9, **look: Any) -> None:
        """Write a line of text, size in points, below and right of a place."""
        place = (left / self._width, 1 - (top + INSET) / self._height)
        # No mathematics in names of classes.
        self.figure.text(*place, text, fontsize=size, va="top", parse_math=False, **look)

    def show(self, left: int, top: int, image: np.ndarray) -> None:
        """Show an image, uint8 of shape (height, width, 3), pixel for pixel, with a thin frame around it."""
        height, width = image.shape[:2]
        # Pixels are counted from the lower edge, which is a whole number of pixels away.
        bottom = round(self._height - INSET) - top - height
        axes = self.figure.add_axes(
            (
                (left + INSET) / self._width,
                (bottom + INSET) / self._height,
                (width - 2 * INSET) / self._width,
                (height - 2 * INSET) / self._height,
            ),
            zorder=2,
        )
        axes.set_axis_off()
        axes.imshow(image, interpolation="none", aspect="auto")
        frame = Rectangle(
            ((left - 1) / self._width, (bottom - 1) / self._height),
            (width + 2) / self._width,
            (height + 2) / self._height,
            transform=self.figure.transFigure,
            zorder=1,
            fill=False,
            edgecolor="0.7",
            linewidth=72 / DPI,
        )
        self.figure.add_artist(frame)


def classes_that_fit(kinds: Sequence[KindOfPlot], n_classes: int) -> int:
    """Return how many classes are shown: at most `MAX_CLASSES`, and no more than `MAX_PIXELS` have room for."""
    shown = kinds[:MAX_KINDS]
    for number in range(min(n_classes, MAX_CLASSES), 1, -1):
        height = sum(kind_height(kind, number) for kind in shown)
        if height * figure_width(shown, number) <= MAX_PIXELS:
            return number
    return 1


def n_columns(n_classes: int) -> int:
    """Return how many classes stand side by side."""
    return 1 if n_classes <= MAX_STACKED else 2


def figure_width(kinds: Sequence[KindOfPlot], n_classes: int) -> int:
    """Return the width of the figure in pixels."""
    columns = n_columns(n_classes)
    widest = max(block_width(kind) for kind in kinds)
    return max(MIN_WIDTH, 2 * MARGIN + columns * widest + (columns - 1) * BLOCK_GAP)


def image_size(kind: KindOfPlot) -> tuple[int, int]:
    """Return height and width of a kind's images."""
    height, width, _ = next(image.shape for images in kind.images for image in images)
    return height, width


def block_width(kind: KindOfPlot) -> int:
    """Return the width of the plots of one class."""
    return max(CASES * (image_size(kind)[1] + GAP) - GAP, MIN_WIDTH // 2 - MARGIN - BLOCK_GAP // 2)


def block_height(kind: KindOfPlot) -> int:
    """Return the height of the plots of one class, with what is written above and below them."""
    return CLASS_LINE + image_size(kind)[0] + CASE_LINE + GAP


def kind_height(kind: KindOfPlot, n_classes: int) -> int:
    """Return the height of a kind of plots."""
    return KIND_LINE + block_height(kind) * -(-n_classes // n_columns(n_classes))


def fitting(text: str, width: int) -> str:
    """Cut a line of text that is wider than so many pixels."""
    limit = width // CHARACTER
    return text if len(text) <= limit else f"{text[: limit - 3].rstrip()}..."


def save_gallery(figure: Figure, path: Path) -> None:
    """Save as the format of the path's suffix; unlike `style.save_figure` it moves nothing by parts of a pixel."""
    metadata = {"CreationDate": None} if path.suffix == ".pdf" else {}
    with figure_style():
        figure.savefig(path, dpi=DPI, metadata=metadata)
