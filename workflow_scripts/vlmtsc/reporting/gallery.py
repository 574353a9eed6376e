"""Figures of a dataset's cases: the plots that models are shown, class prototypes, and a downsampled series."""

from __future__ import annotations

import io
import math
import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from PIL import Image

from vlmtsc.data.series import CleanSeries
from vlmtsc.errors import InputError
from vlmtsc.files import read_json
from vlmtsc.paths import plot_file_name
from vlmtsc.planning import CaseScenario
from vlmtsc.reporting.style import DPI, figure_style, fitting_size, legend_entry, panel_grid
from vlmtsc.representation.downsampling import downsample
from vlmtsc.representation.plot_files import PlotPath, plots_in
from vlmtsc.representation.representation import Representation

#: Most plots of a class in the gallery, most classes of a figure, most kinds of plots.
CASES, MAX_CLASSES, MAX_KINDS = 4, 12, 6
#: With more classes than this, two of them stand side by side in the gallery.
MAX_STACKED = 6
#: Most pixels of a gallery, whatever the size of the plots: fewer classes are shown then.
MAX_PIXELS = 50_000_000
#: Pixels.
MARGIN, GAP, BLOCK_GAP = 24, 10, 60
CLASS_LINE, CASE_LINE, KIND_LINE, NOTE_LINE, TITLE_LINE = 40, 30, 52, 34, 46
#: Width of the narrowest gallery, so that its text fits beside small plots; width of a character of 9 points.
MIN_WIDTH, CHARACTER = 1000, 15
FRAME_GREY = 178
#: Most training cases, timepoints and channels that a class prototype is computed from, and iterations.
PROTOTYPE_CASES, PROTOTYPE_TIMEPOINTS, PROTOTYPE_CHANNELS, PROTOTYPE_ITERATIONS = 20, 128, 3, 30


@dataclass(frozen=True)
class KindOfPlot:
    """Plots of one kind: a title, and images (uint8 RGB) by class and case, all of one size."""

    title: str
    images: list[list[np.ndarray]]

    @property
    def size(self) -> tuple[int, int]:
        """Height and width of the plots."""
        shapes = (image.shape for images in self.images for image in images)
        height, width, _ = next(shapes, (1, 1, 3))
        return height, width

    @property
    def block(self) -> tuple[int, int]:
        """Height and width of the plots of one class, with the text above and below them."""
        height, width = self.size
        widest = max(CASES * (width + GAP) - GAP, MIN_WIDTH // 2 - MARGIN - BLOCK_GAP // 2)
        return CLASS_LINE + height + CASE_LINE + GAP, widest


def draw_gallery(
    dataset: str, protocol: str, series: CleanSeries, train: np.ndarray, scenarios: Sequence[CaseScenario]
) -> Figure:
    """Draw the first training plots of each class, one kind of plot below the other; folders with equal plots once.

    To be saved without fitting the page: at the resolution `style.DPI` each plot covers exactly its own pixels.
    """
    cases = first_cases(series.label_index, train, len(series.classes), CASES)
    counts = np.bincount(series.label_index[train], minlength=len(series.classes))
    titles = [
        f"class {name} ({count} training cases)" for name, count in zip(series.classes, counts, strict=True)
    ]
    note = (
        f"Of each class the first {CASES} cases of the training set (protocol {protocol}), every pixel as in the "
        "files; a number is a case's position in the dataset."
    )
    names = [[f"case {case}" for case in chosen] for chosen in cases]
    title = f"{dataset}: plots as they are shown to a model"
    return draw_plots(title, note, titles, names, kinds_of_plots(scenarios, cases[:MAX_CLASSES]))


def first_cases(label_index: np.ndarray, train: np.ndarray, n_classes: int, limit: int) -> list[list[int]]:
    """Return the positions of the first training cases of each class, in the order that the split has drawn."""
    classes = label_index[train]
    return [train[classes == index][:limit].tolist() for index in range(n_classes)]


def read_plot(folder: PlotPath, name: str) -> tuple[bytes, np.ndarray]:
    """Read a plot's file and its pixels, uint8 of shape (height, width, 3); InputError if it is missing or no image."""
    try:
        content = (folder / name).read_bytes()
        with Image.open(io.BytesIO(content)) as image:
            return content, np.asarray(image.convert("RGB"))
    except (OSError, KeyError, BadZipFile) as error:
        raise InputError(
            f"{folder}: {name} is missing or no image ({error}); remove the folder to have it rebuilt"
        ) from error


def kinds_of_plots(scenarios: Sequence[CaseScenario], cases: Sequence[Sequence[int]]) -> list[KindOfPlot]:
    """Read the plots of cases; folders whose manifests have the same digest are one kind."""
    groups: dict[str, list[CaseScenario]] = {}
    for shown in scenarios:
        if shown.plots:
            digest = read_json(Path(shown.plots) / "manifest.json")["digest"]
            groups.setdefault(digest, []).append(shown)
    kinds = []
    for same in groups.values():
        folder = plots_in(Path(same[0].plots))
        images = [[read_plot(folder, plot_file_name(case))[1] for case in chosen] for chosen in cases]
        plots = ", ".join(dict.fromkeys(shown.plot for shown in same))
        shown_by = ", ".join(dict.fromkeys(shown.scenario for shown in same))
        kinds.append(KindOfPlot(f"{plots} (shown by {shown_by})", images))
    return kinds


def draw_plots(
    title: str,
    note: str,
    class_titles: Sequence[str],
    case_names: Sequence[Sequence[str]],
    kinds: Sequence[KindOfPlot],
) -> Figure:
    """Draw plots of each class, laid out in pixels from the upper left corner; the note says what is left out."""
    shown = kinds[:MAX_KINDS]
    n_classes = classes_that_fit(shown, len(class_titles))
    if n_classes < len(class_titles):
        note += f" {n_classes} of {len(class_titles)} classes are shown, the first ones."
    if len(shown) < len(kinds):
        note += f" {len(shown)} of {len(kinds)} kinds of plots are shown, the first ones."
    columns, width, heights = layout(shown, n_classes)
    lines = textwrap.wrap(note, (width - 2 * MARGIN) // CHARACTER)
    top = MARGIN + TITLE_LINE + NOTE_LINE * len(lines)
    height = top + sum(heights) + MARGIN
    with figure_style():
        # A little more, since a canvas of 999.9999 pixels would be one of 999.
        figure = Figure(figsize=((width + 0.01) / DPI, (height + 0.01) / DPI), dpi=DPI)
        # Otherwise a PDF has one large image.
        figure.suppressComposite = True

        def write(left: int, above: int, text: str, room: int = 0, size: float = 9, **look: Any) -> None:
            if room and len(text) > (limit := room // CHARACTER):
                text = f"{text[: limit - 3].rstrip()}..."
            place = (left / DPI, (height - above) / DPI)
            # Names of classes may contain dollar signs.
            look |= {"fontsize": size, "va": "top", "parse_math": False}
            figure.text(*place, text, transform=figure.dpi_scale_trans, **look)

        write(MARGIN, MARGIN, title, size=11, weight="bold")
        for number, line in enumerate(lines):
            write(MARGIN, MARGIN + TITLE_LINE + NOTE_LINE * number, line, color="0.3")
        for kind, kind_height in zip(shown, heights, strict=True):
            (block_height, block_width), (plot_height, plot_width) = kind.block, kind.size
            write(MARGIN, top + 12, kind.title, room=width - 2 * MARGIN, weight="bold", color="0.3")
            for index in range(n_classes):
                row, column = divmod(index, columns)
                left = MARGIN + column * (block_width + BLOCK_GAP)
                above = top + KIND_LINE + row * block_height
                write(left, above + 4, class_titles[index], room=block_width)
                if not kind.images[index]:
                    write(left, above + CLASS_LINE, "no case in the training set", color="0.4")
                for image, name in zip(kind.images[index], case_names[index], strict=True):
                    bottom = height - above - CLASS_LINE - plot_height
                    framed = np.pad(image, ((1, 1), (1, 1), (0, 0)), constant_values=FRAME_GREY)
                    figure.figimage(framed, left - 1, bottom - 1)
                    write(left, height - bottom + 5, name, size=7, color="0.4")
                    left += plot_width + GAP
            top += kind_height
    return figure


def layout(kinds: Sequence[KindOfPlot], n_classes: int) -> tuple[int, int, list[int]]:
    """Return classes side by side, width in pixels, and height of each kind of plots in pixels."""
    columns = 1 if n_classes <= MAX_STACKED else 2
    widest = max(kind.block[1] for kind in kinds)
    width = max(MIN_WIDTH, 2 * MARGIN + columns * widest + (columns - 1) * BLOCK_GAP)
    return columns, width, [KIND_LINE + kind.block[0] * math.ceil(n_classes / columns) for kind in kinds]


def classes_that_fit(kinds: Sequence[KindOfPlot], n_classes: int) -> int:
    """Return how many classes are shown: at most `MAX_CLASSES`, and no more than fit into `MAX_PIXELS`."""
    for number in range(min(n_classes, MAX_CLASSES), 1, -1):
        _, width, heights = layout(kinds, number)
        if width * sum(heights) <= MAX_PIXELS:
            return number
    return 1


def class_prototype(series: np.ndarray) -> np.ndarray:
    """Average series under time warping: their soft-DTW barycentre [1]_, begun at their mean.

    Barycentres of plain DTW show spikes where many timepoints are warped onto one. The smoothing parameter is the
    variance of the series. The series are scaled for the optimizer, whose tolerance is absolute.

    Parameters
    ----------
    series : ndarray of float64, shape (n_cases, n_timepoints, n_channels)

    Returns
    -------
    ndarray of float64, shape (n_timepoints, n_channels)

    References
    ----------
    .. [1] M. Cuturi, M. Blondel, Soft-DTW: a differentiable loss function for time-series, ICML 2017.
    """
    from tslearn.barycenters import softdtw_barycenter

    average: np.ndarray = series.mean(axis=0)
    if (scale := float(series.std())) > 0:
        options = {"init": average / scale, "max_iter": PROTOTYPE_ITERATIONS}
        average = scale * softdtw_barycenter(series / scale, gamma=1.0, **options)
    return average


def draw_prototypes(dataset: str, protocol: str, series: CleanSeries, train: np.ndarray) -> Figure:
    """Draw the prototype of each class over training series of the class, a panel for each class.

    The first `PROTOTYPE_CASES` training cases of a class and the first `PROTOTYPE_CHANNELS` channels are used, longer
    series resampled to `PROTOTYPE_TIMEPOINTS` timepoints: so that a dataset takes seconds.
    """
    from tslearn.preprocessing import TimeSeriesResampler

    n_classes = min(len(series.classes), MAX_CLASSES)
    _, n_channels, n_timepoints = series.values.shape
    channels, timepoints = min(n_channels, PROTOTYPE_CHANNELS), min(n_timepoints, PROTOTYPE_TIMEPOINTS)
    chosen = first_cases(series.label_index, train, len(series.classes), PROTOTYPE_CASES)
    note = [f"{dataset}: training series and prototypes ({protocol} split)"]
    if n_classes < len(series.classes):
        note.append(f"the first {n_classes} of {len(series.classes)} classes")
    if channels < n_channels:
        note.append(f"the first {channels} of {n_channels} channels")
    times, marker = np.linspace(1, n_timepoints, timepoints), "." if timepoints == 1 else ""
    grey: dict[str, Any] = {"color": "0.75", "linewidth": 0.6}
    bold: dict[str, Any] = {"color": sns.color_palette("colorblind")[0], "linewidth": 1.8}
    with figure_style():
        size, heights = (2.4, 1.4 + 0.9 * (channels - 1)), (1,) * channels
        panels = panel_grid(n_classes, 4, size, (0.3, 0.6), heights=heights, inner_gap=0.1)
        for parts, cases, name in zip(panels.axes, chosen, series.classes, strict=False):
            title = f"class {name} ({len(cases)} series)" if cases else f"class {name}: no training case"
            parts[0].set_title(title, fontsize=fitting_size(title, 2.6, 9), parse_math=False)
            if cases:
                values = series.values[cases, :channels].transpose(0, 2, 1)
                values = TimeSeriesResampler(sz=timepoints).fit_transform(values)
                for channel, (axes, prototype) in enumerate(
                    zip(parts, class_prototype(values).T, strict=True)
                ):
                    axes.plot(times, values[..., channel].T, marker, **grey)
                    axes.plot(times, prototype, marker, **bold)
        for of_channel in zip(*panels.axes, strict=True):
            lows, highs = zip(*(axes.get_ylim() for axes in of_channel if axes.lines), strict=True)
            for axes in of_channel:
                axes.set(xlim=(0.5, n_timepoints + 0.5), ylim=(min(lows), max(highs)))
        names = ["value"] if n_channels == 1 else [f"channel {number + 1}" for number in range(channels)]
        panels.label("timepoint", names)
        handles = [legend_entry("training series", **grey)]
        handles.append(legend_entry("prototype (soft-DTW barycentre)", **bold))
        panels.add_legend(handles, title="; ".join(note))
    return panels.figure


#: The paper's methods, always shown.
METHODS = ("uniform", "adaptive")
#: Most channels of a figure, the first ones; most values of a channel that are marked one by one.
MAX_CHANNELS, MAX_MARKED = 3, 150
#: Inches; letters of a title to an inch.
PANEL_WIDTH, PANEL_HEIGHT, LINE_HEIGHT, LETTERS = 2.9, 1.6, 0.17, 12
TICK_STEPS = [1, 2, 5, 10]


def downsampled_forms(
    series: np.ndarray, methods: Sequence[str], factor: int
) -> list[tuple[str, np.ndarray]]:
    """Return a series and the values that each method keeps of it, with their names."""
    kept = [(method, downsample(series, method, factor)) for method in methods] if factor > 1 else []
    return [("series", series), *kept]


def draw_kept(axes: Axes, name: str, values: np.ndarray, *, marked: bool) -> None:
    """Draw the values of one channel at equal distances, as a prompt lists them."""
    axes.plot(np.arange(1, len(values) + 1), values, marker="." if marked else None, linewidth=1, color="C0")
    axes.set_title(f"{name}, {len(values)} values")


def draw_downsampling(
    dataset: str, series: CleanSeries, case: int, representations: Mapping[str, Representation]
) -> Figure:
    """Draw one series, whole and downsampled by the factor of the scenario that leaves out most."""
    name, representation = max(representations.items(), key=lambda item: item[1].factor)
    methods = list(dict.fromkeys([*METHODS, representation.scenario.downsampling]))
    forms = downsampled_forms(series.values[case], methods, representation.factor)
    n_channels = series.values.shape[1]
    shown = min(n_channels, MAX_CHANNELS)
    width = PANEL_WIDTH * max(len(forms), 2)
    texts = [f"{dataset}, case {case} (class {series.classes[series.label_index[case]]})"]
    texts.append(explain_factor(name, representation))
    if shown < n_channels:
        texts.append(f"{shown} of {n_channels} channels, the first ones")
    lines = [line for text in texts for line in textwrap.wrap(text, int(width * LETTERS))]
    with figure_style():
        size = width, PANEL_HEIGHT * shown + 0.4 + LINE_HEIGHT * len(lines)
        figure = Figure(figsize=size, layout="constrained")
        grid = figure.subplots(shown, len(forms), squeeze=False, sharey="row")
        for channel, row in enumerate(grid):
            for axes, (form, values) in zip(row, forms, strict=True):
                is_list = form != "series"
                few = values.shape[1] <= MAX_MARKED
                draw_kept(axes, form, values[channel], marked=few and (is_list or len(forms) == 1))
                axes.xaxis.set_major_locator(MaxNLocator(5, integer=True, steps=TICK_STEPS))
                axes.yaxis.set_major_locator(MaxNLocator(4, steps=TICK_STEPS))
                if channel:
                    axes.set_title("")
                if channel == shown - 1:
                    axes.set_xlabel("value of the list" if is_list else "timepoint")
            row[0].set_ylabel("value" if n_channels == 1 else f"channel {channel + 1}")
        figure.suptitle("\n".join(lines), x=0.01, ha="left", fontsize=10, parse_math=False)
    return figure


def explain_factor(name: str, representation: Representation) -> str:
    """Return a sentence on the origin of a scenario's downsampling factor."""
    scenario, factor = representation.scenario, representation.factor
    where = f"scenario {name}, method {scenario.downsampling}"
    if scenario.restores("first_case_factor"):
        return f"factor {factor}: the original's, from its first case ({where})"
    if scenario.factor != "auto":
        return f"factor {factor}: fixed by the scenario ({where})"
    if factor == 1:
        return f"every case fits {scenario.context_length} tokens as it is (scenario {name}): nothing is left out"
    return (
        f"factor {factor}: the smallest with which every case fits {scenario.context_length} tokens ({where})"
    )
