"""Figures of finished runs. Each function returns a figure that `style.save_figure` writes."""

from __future__ import annotations

import math
from collections.abc import Sequence

import matplotlib as mpl
import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Rectangle
from matplotlib.patheffects import withStroke
from matplotlib.ticker import EngFormatter, FormatStrFormatter, LogLocator, MaxNLocator, NullLocator
from seaborn.utils import relative_luminance

from vlmtsc.reporting.runs import DONE, choose_scenarios
from vlmtsc.reporting.style import SEQUENTIAL, figure_style, line_looks, wrapped
from vlmtsc.reporting.tables import percent

MAJORITY = "majority class"
PANELS_PER_ROW = 4
MAX_ANNOTATED_CLASSES = 10
# with more, cells are pixels in a PDF too: as shapes, those of 2,000 classes would take gigabytes
MAX_VECTOR_CLASSES = 100
# characters; longer class names are written upwards below a confusion matrix
MAX_UPRIGHT_LABEL = 3
# inches
CELL_WIDTH, CELL_HEIGHT, BLOCK_GAP = 1.05, 0.45, 0.35
MATRIX_SIZE, MATRIX_GAP = 1.8, 0.15


def draw_accuracy_heatmap(runs: pd.DataFrame) -> Figure:
    """Test accuracy of every dataset and scenario, one block for each model and protocol.

    Each cell holds the accuracy in percent and its 95% interval (over several seeds: mean and standard
    deviation). The scenario chosen on validation data is framed and bold. A last column, set apart, shows the
    rate of the test part's majority class.

    Parameters
    ----------
    runs : DataFrame
        Tidy table of runs (`vlmtsc.reporting.tables`).
    """
    chosen = choose_scenarios(runs)
    scenarios = list(dict.fromkeys(runs["scenario"]))
    columns = [*scenarios, MAJORITY]
    blocks = [(key, block) for key, block in runs.groupby(["model", "protocol"], sort=False)]
    n_datasets = [block["dataset"].nunique() for _, block in blocks]
    observed = runs["accuracy"].dropna()
    lowest = min([0.5, *observed]) * 100
    scale = Normalize(math.floor(lowest / 10) * 10, 100)
    with figure_style():
        width = CELL_WIDTH * len(columns)
        height = CELL_HEIGHT * sum(n_datasets) + BLOCK_GAP * (len(blocks) - 1)
        figure = Figure(figsize=(width, height))
        axes = figure.subplots(
            len(blocks),
            1,
            squeeze=False,
            # No margins: labels and the colour bar lie outside, and saving fits the page to them.
            gridspec_kw={
                "height_ratios": n_datasets,
                "hspace": BLOCK_GAP / (CELL_HEIGHT * sum(n_datasets) / len(blocks)),
                "left": 0,
                "right": 1,
                "bottom": 0,
                "top": 1,
            },
        )[:, 0]
        for index, ((model, protocol), block) in enumerate(blocks):
            axis = axes[index]
            datasets = list(dict.fromkeys(block["dataset"]))
            values = np.full((len(datasets), len(columns)), np.nan)
            texts = np.full(values.shape, "", dtype=object)
            for row, dataset in enumerate(datasets):
                of_dataset = block[block["dataset"] == dataset]
                for column, scenario in enumerate(scenarios):
                    cell = of_dataset[of_dataset["scenario"] == scenario]
                    values[row, column] = cell["accuracy"].mean() * 100
                    texts[row, column] = heatmap_text(cell)
                majority = of_dataset["majority_rate"].mean()
                values[row, -1] = majority * 100
                texts[row, -1] = "" if np.isnan(majority) else percent(majority)
            draw_cells(axis, values, texts, scale, datasets, [wrapped(name) for name in columns])
            # The reference column stands apart: a white gap, and no frame in it.
            axis.axvline(len(scenarios), color="white", linewidth=5, zorder=2)
            for row, dataset in enumerate(datasets):
                best = chosen.get((model, protocol, dataset))
                if best is not None:
                    mark_chosen(axis, row, scenarios.index(best))
            axis.set_title(block_title(model, protocol), loc="left", fontweight="bold")
            if index < len(blocks) - 1:
                axis.set_xticklabels([])
        tall = max(height, 1.1)
        bar_axis = figure.add_axes((1 + 0.15 / width, 0.5 - tall / height / 2, 0.12 / width, tall / height))
        bar = figure.colorbar(ScalarMappable(scale, SEQUENTIAL), cax=bar_axis)
        bar.outline.set_visible(False)
        bar.set_label("test accuracy (%)")
    return figure


def heatmap_text(runs: pd.DataFrame) -> str:
    """Write the two lines in one cell of the heatmap, for the seeds of one dataset and scenario."""
    done = runs[runs["status"] == DONE]
    if runs.empty:
        return ""
    if done.empty:
        return "\n".join(dict.fromkeys(runs["status"]))
    accuracy = percent(done["accuracy"].mean())
    if len(done) > 1:
        return f"{accuracy}\n± {percent(done['accuracy'].std())}, n={len(done)}"
    return f"{accuracy}\n[{percent(done['accuracy_low'].iloc[0])}, {percent(done['accuracy_high'].iloc[0])}]"


def draw_cells(
    axis: Axes,
    values: np.ndarray,
    texts: np.ndarray,
    scale: Normalize,
    row_names: Sequence[str],
    column_names: Sequence[str],
    font_size: float = 8,
) -> None:
    """Draw an annotated heatmap, first row at the top; a cell without a value is left grey, with its text.

    Not seaborn's: that draws the whole figure at each call, which takes minutes for a hundred panels, and its
    white text is hard to read on the middle of the scale.

    Parameters
    ----------
    values : ndarray of float, shape (n_rows, n_columns)
        Values on `scale`; NaN where there is none.
    texts : ndarray of str, shape (n_rows, n_columns)
        Annotation of each cell.
    """
    n_rows, n_columns = values.shape
    axis.set_facecolor("0.93")
    axis.pcolormesh(
        np.ma.masked_invalid(values),
        cmap=SEQUENTIAL,
        norm=scale,
        edgecolors="white",
        linewidth=1 if n_columns <= MAX_ANNOTATED_CLASSES else 0,
        rasterized=n_columns > MAX_VECTOR_CLASSES,
    )
    colours = mpl.colormaps[SEQUENTIAL](scale(values))
    for row, column in np.argwhere(texts != ""):
        missing = np.isnan(values[row, column])
        axis.text(
            column + 0.5,
            row + 0.5,
            texts[row, column],
            ha="center",
            va="center",
            fontsize=font_size,
            linespacing=1.25,
            color="0.35" if missing else text_colour(colours[row, column]),
        )
    axis.set(xlim=(0, n_columns), ylim=(n_rows, 0))
    axis.set_xticks(np.arange(n_columns) + 0.5, column_names)
    axis.set_yticks(np.arange(n_rows) + 0.5, row_names)
    axis.tick_params(length=0)
    sns.despine(ax=axis, left=True, bottom=True)


def text_colour(background: np.ndarray) -> str:
    """Black or white, whichever has the higher contrast with an RGBA colour (WCAG 2.1 contrast ratio)."""
    return "black" if relative_luminance(background) > 0.179 else "white"


def mark_chosen(axis: Axes, row: int, column: int) -> None:
    """Frame a cell of the heatmap and set its text in bold."""
    frame = Rectangle(
        (column + 0.025, row + 0.055), 0.95, 0.89, fill=False, edgecolor="black", linewidth=1.4, zorder=3
    )
    # The white rim keeps the frame visible on the dark end of the scale.
    frame.set_path_effects([withStroke(linewidth=3.4, foreground="white")])
    axis.add_patch(frame)
    for text in axis.texts:
        x, y = text.get_position()
        if int(x) == column and int(y) == row:
            text.set_fontweight("bold")


def block_title(model: str, protocol: str) -> str:
    """Heading of what belongs to one model and protocol."""
    return f"{model}, {protocol} split"


def draw_training_curves(training: pd.DataFrame) -> Figure:
    """Loss and validation accuracy against the tokens trained on, a pair of panels for each dataset.

    Training loss is a thin line, smoothed by an exponentially weighted mean over a twentieth of the
    steps; validation loss and accuracy, once an epoch, are marked. Each seed is a line of its own.

    Parameters
    ----------
    training : DataFrame
        Training logs of all runs: the keys of a run, and ``step``, ``tokens``, ``loss``,
        ``validation_loss``, ``validation_accuracy``.
    """
    looks = line_looks(list(dict.fromkeys(training["scenario"])))
    panels = list(training.groupby(["model", "protocol", "dataset"], sort=False))
    n_columns = min(PANELS_PER_ROW, len(panels))
    n_rows = math.ceil(len(panels) / n_columns)
    with figure_style():
        figure = Figure(figsize=(max(3.0 * n_columns, 3.6) + 0.3, 4.3 * n_rows + 0.5), layout="constrained")
        axes = figure.subplots(2 * n_rows, n_columns, squeeze=False)
        for index, (key, logs) in enumerate(panels):
            row, column = divmod(index, n_columns)
            above, below = axes[2 * row, column], axes[2 * row + 1, column]
            above.sharex(below)
            draw_curve_pair(above, below, logs, looks)
            above.set_title(panel_title(training, *key))
            if column == 0:
                above.set_ylabel("loss on the answer (nats)")
                below.set_ylabel("validation accuracy (%)")
        for index in range(len(panels), n_rows * n_columns):
            row, column = divmod(index, n_columns)
            axes[2 * row, column].remove()
            axes[2 * row + 1, column].remove()
        kinds = [
            Line2D([], [], color="0.3", linewidth=0.9, alpha=0.6, label="training (smoothed)"),
            Line2D([], [], color="0.3", marker="o", markersize=4, label="validation"),
        ]
        names = [Line2D([], [], markersize=4, label=name, **look) for name, look in looks.items()]
        figure.legend(handles=names + kinds, loc="outside upper center", ncols=min(2 * n_columns, 6))
    return figure


def draw_curve_pair(above: Axes, below: Axes, logs: pd.DataFrame, looks: dict) -> None:
    """Loss (above) and validation accuracy (below) of all runs on one dataset."""
    for (scenario, _), log in logs.groupby(["scenario", "seed"], sort=False):
        look = looks[scenario]
        steps = log.dropna(subset="loss")
        smooth = steps["loss"].ewm(span=max(1, len(steps) / 20)).mean()
        above.plot(
            steps["tokens"],
            smooth,
            color=look["color"],
            linestyle=look["linestyle"],
            linewidth=0.9,
            alpha=0.6,
        )
        epochs = log.dropna(subset="validation_loss")
        above.plot(epochs["tokens"], epochs["validation_loss"], markersize=4, **look)
        epochs = log.dropna(subset="validation_accuracy")
        below.plot(epochs["tokens"], 100 * epochs["validation_accuracy"], markersize=4, **look)
    # Losses fall by orders of magnitude; on a linear axis all late epochs lie on zero.
    above.set_yscale("log", nonpositive="clip")
    above.yaxis.set_major_locator(LogLocator(subs=(1, 3)))
    above.yaxis.set_major_formatter(FormatStrFormatter("%g"))
    above.yaxis.set_minor_locator(NullLocator())
    below.set_xlabel("training tokens")
    below.xaxis.set_major_locator(MaxNLocator(4))
    below.xaxis.set_major_formatter(EngFormatter(sep=""))
    above.tick_params(axis="x", labelbottom=False)
    for axis in (above, below):
        axis.grid(True)
        axis.set_xlim(left=0)


def panel_title(table: pd.DataFrame, model: str, protocol: str, dataset: str) -> str:
    """Name the dataset, and the model and protocol where the table holds several."""
    details = [
        value for name, value in [("model", model), ("protocol", protocol)] if table[name].nunique() > 1
    ]
    return "\n".join([dataset, ", ".join(details)]) if details else dataset


def draw_confusion_matrices(confusion: pd.DataFrame) -> Figure:
    """Confusion matrices of all runs: a row for each dataset, a column for each scenario.

    Colour is the share of the true class; up to ten classes the counts are written, summed over the seeds.

    Parameters
    ----------
    confusion : DataFrame
        Tidy counts (`vlmtsc.reporting.tables.confusion_rows`).
    """
    scenarios = list(dict.fromkeys(confusion["scenario"]))
    rows = list(confusion.groupby(["model", "protocol", "dataset"], sort=False))
    # Placed by hand: a layout engine takes a minute for a hundred panels.
    gaps = [0.35 + rotated_length(group["true"]) for _, group in rows[:-1]]
    width = (MATRIX_SIZE + MATRIX_GAP) * len(scenarios) - MATRIX_GAP
    height = MATRIX_SIZE * len(rows) + sum(gaps)
    with figure_style():
        figure = Figure(figsize=(width, height))
        first_column = []
        for row, (key, group) in enumerate(rows):
            top = height - MATRIX_SIZE * row - sum(gaps[:row])
            classes = list(dict.fromkeys(group["true"]))
            for column, scenario in enumerate(scenarios):
                left = (MATRIX_SIZE + MATRIX_GAP) * column
                axis = figure.add_axes(
                    (
                        left / width,
                        (top - MATRIX_SIZE) / height,
                        MATRIX_SIZE / width,
                        MATRIX_SIZE / height,
                    )
                )
                of_scenario = group[group["scenario"] == scenario]
                if of_scenario.empty:
                    axis.text(0.5, 0.5, "not run", ha="center", color="0.35", fontsize=8)
                    axis.set(xticks=[], yticks=[], facecolor="0.93")
                    sns.despine(ax=axis, left=True, bottom=True)
                else:
                    counts = of_scenario.groupby(["true", "predicted"])["count"].sum().unstack(fill_value=0)
                    counts = counts.reindex(index=classes, columns=classes, fill_value=0)
                    draw_confusion_matrix(axis, counts)
                if row == 0:
                    axis.set_title(wrapped(scenario, 20))
                if row == len(rows) - 1:
                    axis.set_xlabel("predicted class")
                if column == 0:
                    axis.set_ylabel(f"{panel_title(confusion, *key)}\ntrue class")
                    first_column.append(axis)
                else:
                    axis.set_yticks([])
        figure.align_ylabels(first_column)
        bar_axis = figure.add_axes(
            (1 + 0.2 / width, 1 - MATRIX_SIZE / height, 0.12 / width, MATRIX_SIZE / height)
        )
        bar = figure.colorbar(ScalarMappable(Normalize(0, 100), SEQUENTIAL), cax=bar_axis)
        bar.outline.set_visible(False)
        bar.set_label("share of the true class (%)")
    return figure


def rotated_length(classes: pd.Series) -> float:
    """Inches that the class names need below a panel beyond one line, zero where they are not rotated."""
    longest = max(map(len, classes))
    return 0.08 * longest if longest > MAX_UPRIGHT_LABEL else 0.0


def draw_confusion_matrix(axis: Axes, counts: pd.DataFrame) -> None:
    """One confusion matrix; a class without a test case has no shares and stays at zero."""
    numbers = counts.to_numpy(dtype=float)
    shares = 100 * numbers / np.maximum(numbers.sum(axis=1, keepdims=True), 1)
    few = len(counts) <= MAX_ANNOTATED_CLASSES
    small = len(counts) > 6
    names = [str(name) for name in counts.index]
    texts = numbers.astype(int).astype(str) if few else np.full(numbers.shape, "")
    draw_cells(axis, shares, texts.astype(object), Normalize(0, 100), names, names, 5.5 if small else 8)
    if not few:
        shown = np.arange(0, len(names), math.ceil(len(names) / 10))
        axis.set_xticks(shown + 0.5, [names[index] for index in shown])
        axis.set_yticks(shown + 0.5, [names[index] for index in shown])
    axis.tick_params(labelsize=6.5 if small else 8)
    axis.tick_params(axis="x", rotation=90 if max(map(len, names)) > MAX_UPRIGHT_LABEL else 0)
