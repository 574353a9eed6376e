"""Figures of finished runs: accuracy heatmap, training curves, confusion matrices."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.patheffects import withStroke
from matplotlib.ticker import EngFormatter, FormatStrFormatter, LogLocator, MaxNLocator, NullLocator
from seaborn.utils import relative_luminance

from vlmtsc.reporting import style
from vlmtsc.reporting.runs import choose_scenarios
from vlmtsc.reporting.tables import percent

PANELS_PER_ROW = 4
#: With more classes, counts are not written; with more than the second number, cells are pixels in a PDF too: as
#: shapes, those of 2,000 classes would take gigabytes.
MAX_ANNOTATED_CLASSES, MAX_VECTOR_CLASSES = 10, 100
#: Characters; longer class names are rotated below a confusion matrix.
MAX_UPRIGHT_LABEL = 3
#: Inches.
CELL_WIDTH, CELL_HEIGHT, BLOCK_GAP, MATRIX_SIZE = 1.05, 0.45, 0.35, 1.8


def draw_accuracy_heatmap(runs: pd.DataFrame) -> Figure:
    """Draw the test accuracy of every dataset and scenario, one block for each model and protocol.

    Each cell contains the accuracy in percent and its 95% interval (over several seeds: mean and standard deviation).
    The scenario chosen on validation data is framed and bold. A last column, set apart, shows the rate of the test
    set's majority class.
    """
    chosen = choose_scenarios(runs)
    scenarios = list(dict.fromkeys(runs["scenario"]))
    columns = [*map(style.wrapped, scenarios), "majority class"]
    blocks = list(runs.groupby(["model", "protocol"], sort=False))
    n_datasets = [block["dataset"].nunique() for _, block in blocks]
    lowest = min([0.5, *runs["accuracy"].dropna()])
    scale = Normalize(10 * math.floor(10 * lowest), 100)
    with style.figure_style():
        height = CELL_HEIGHT * sum(n_datasets) + BLOCK_GAP * (len(blocks) - 1)
        figure = Figure(figsize=(CELL_WIDTH * len(columns), height))
        ratios = {"height_ratios": n_datasets, "left": 0, "right": 1, "bottom": 0, "top": 1}
        ratios["hspace"] = BLOCK_GAP / (CELL_HEIGHT * sum(n_datasets) / len(blocks))
        all_axes = figure.subplots(len(blocks), 1, squeeze=False, gridspec_kw=ratios)[:, 0]
        for axes, ((model, protocol), block) in zip(all_axes, blocks, strict=True):
            datasets = list(dict.fromkeys(block["dataset"]))
            cells = block.groupby(["dataset", "scenario"])
            accuracy = 100 * cells["accuracy"].mean().unstack().loc[datasets, scenarios]
            texts = cells[["accuracy", "accuracy_low", "accuracy_high"]].apply(heatmap_text).unstack()
            majority = block.groupby("dataset")["majority_rate"].first()[datasets]
            draw_cells(
                axes,
                np.column_stack([accuracy, 100 * majority]),
                np.column_stack([texts.loc[datasets, scenarios], majority.map(percent)]),
                scale,
            )
            axes.set_xticks(np.arange(len(columns)) + 0.5, columns)
            axes.tick_params(labelbottom=axes is all_axes[-1])
            axes.set_yticks(np.arange(len(datasets)) + 0.5, datasets)
            # A white gap sets the reference column apart.
            axes.axvline(len(scenarios), color="white", linewidth=5, zorder=2)
            for row, dataset in enumerate(datasets):
                if (best := chosen.get((model, protocol, dataset))) is not None:
                    mark_cell(axes, row, scenarios.index(best))
            axes.set_title(f"{model}, {protocol} split", loc="left", fontweight="bold")
        style.add_colour_bar(figure, scale, "test accuracy (%)", max(height, 1.1))
    return figure


def heatmap_text(runs: pd.DataFrame) -> str:
    """Return the text of a cell of the heatmap, for the seeds of one dataset and scenario."""
    accuracy = percent(runs["accuracy"].mean())
    if len(runs) > 1:
        return f"{accuracy}\n± {percent(runs['accuracy'].std())}, n={len(runs)}"
    return f"{accuracy}\n[{percent(runs['accuracy_low'].iloc[0])}, {percent(runs['accuracy_high'].iloc[0])}]"


def draw_cells(
    axes: Axes, values: np.ndarray, texts: np.ndarray | None, scale: Normalize, font_size: float = 8
) -> None:
    """Draw a heatmap with the first row at the top."""
    n_rows, n_columns = values.shape
    look: dict[str, Any] = {"cmap": style.SEQUENTIAL, "norm": scale}
    if n_columns > MAX_VECTOR_CLASSES:
        axes.imshow(values, aspect="auto", extent=(0, n_columns, n_rows, 0), **look)
    else:
        rim = {"linewidths": 1, "linecolor": "white"} if texts is not None else {}
        # Without tick labels: for each of them seaborn lays out the whole figure.
        sns.heatmap(values, ax=axes, cbar=False, xticklabels=False, yticklabels=False, **look, **rim)
    axes.tick_params(length=0)
    sns.despine(ax=axes, left=True, bottom=True)
    if texts is None:
        return
    # Not seaborn's annotation: its white text is hard to read on the middle of the scale.
    colours = style.SEQUENTIAL(scale(values))
    for (row, column), text in np.ndenumerate(texts):
        axes.text(
            column + 0.5,
            row + 0.5,
            text,
            ha="center",
            va="center",
            fontsize=font_size,
            linespacing=1.25,
            color=text_colour(colours[row, column]),
        )


def text_colour(background: np.ndarray) -> str:
    """Return black or white, whichever has the higher contrast with an RGBA colour (WCAG 2.1 contrast ratio)."""
    return "black" if relative_luminance(background) > 0.179 else "white"


def mark_cell(axes: Axes, row: int, column: int) -> None:
    """Frame a cell of the heatmap and set its text in bold."""
    frame = Rectangle((column + 0.025, row + 0.055), 0.95, 0.89, fill=False, edgecolor="black", linewidth=1.4)
    # The white rim keeps the frame visible on the dark end of the scale.
    frame.set(zorder=3, path_effects=[withStroke(linewidth=3.4, foreground="white")])
    axes.add_patch(frame)
    for text in axes.texts:
        if text.get_position() == (column + 0.5, row + 0.5):
            text.set_fontweight("bold")


def draw_training_curves(training: pd.DataFrame) -> Figure:
    """Draw loss and validation accuracy against the tokens trained on, a pair of panels for each dataset.

    Training loss is a thin line, smoothed by an exponentially weighted mean over a twentieth of the steps; validation
    loss and accuracy, once an epoch, are marked. Each seed is a line of its own.
    """
    looks = style.line_looks(list(dict.fromkeys(training["scenario"])))
    datasets = list(training.groupby(style.PLACE, sort=False))
    with style.figure_style():
        panels = style.panel_grid(
            len(datasets), PANELS_PER_ROW, (2.5, 3.4), (0.5, 0.75), heights=(1, 1), inner_gap=0.12
        )
        panels.set_titles(training, [key for key, _ in datasets])
        for index, (_, logs) in enumerate(datasets):
            above, below = panels.axes[index]
            draw_curves(above, below, logs, looks)
            if panels.is_left(index):
                above.set_ylabel("loss on the answer (nats)")
                below.set_ylabel("validation accuracy (%)")
                panels.figure.align_ylabels([above, below])
        panels.add_legend(
            [
                *(style.legend_entry(name, **look) for name, look in looks.items()),
                style.legend_entry("training (smoothed)", color="0.3", linewidth=0.9, alpha=0.6),
                style.legend_entry("validation", color="0.3", marker="o"),
            ]
        )
    return panels.figure


def draw_curves(above: Axes, below: Axes, logs: pd.DataFrame, looks: Mapping[str, Mapping[str, Any]]) -> None:
    """Draw loss (above) and validation accuracy (below) of all runs on one dataset."""
    smooth = logs.dropna(subset="loss").groupby(["scenario", "seed"])["loss"]
    logs = logs.assign(
        smooth=smooth.transform(lambda loss: loss.ewm(span=max(1, len(loss) / 20)).mean()),
        accuracy=100 * logs["validation_accuracy"],
    )
    colours, dashes, markers = (
        {name: look[part] for name, look in looks.items()} for part in ("color", "dashes", "marker")
    )
    lines: dict[str, Any] = {
        "x": "tokens",
        "hue": "scenario",
        "style": "scenario",
        "palette": colours,
        "dashes": dashes,
    }
    lines |= {"units": "seed", "estimator": None, "legend": False, "markeredgecolor": None}
    sns.lineplot(logs, y="smooth", ax=above, linewidth=0.9, alpha=0.6, **lines)
    sns.lineplot(logs, y="validation_loss", ax=above, markers=markers, markersize=5, **lines)
    sns.lineplot(logs, y="accuracy", ax=below, markers=markers, markersize=5, **lines)
    # Losses fall by orders of magnitude; on a linear axis all late epochs lie on zero.
    above.set_yscale("log", nonpositive="clip")
    above.yaxis.set_major_locator(LogLocator(subs=(1, 3)))
    above.yaxis.set_major_formatter(FormatStrFormatter("%g"))
    above.yaxis.set_minor_locator(NullLocator())
    above.sharex(below)
    above.tick_params(axis="x", labelbottom=False)
    above.set(ylabel="")
    below.set(xlabel="training tokens", ylabel="")
    below.set_xlim(left=0)
    below.xaxis.set_major_locator(MaxNLocator(4))
    below.xaxis.set_major_formatter(EngFormatter(sep=""))
    for axes in (above, below):
        axes.grid(True)


def draw_confusion_matrices(confusion: pd.DataFrame) -> Figure:
    """Draw the confusion matrices of all runs: a row for each dataset, a column for each scenario.

    Colour is the share of the true class; up to ten classes the counts are written, summed over the seeds.
    """
    scenarios = list(dict.fromkeys(confusion["scenario"]))
    rows = list(confusion.groupby(style.PLACE, sort=False))
    longest = max(map(len, confusion["true"])) if len(rows) > 1 else 0
    # Rotated class names need room below a panel.
    gap = 0.35 + (0.08 * longest if longest > MAX_UPRIGHT_LABEL else 0)
    scale = Normalize(0, 100)
    with style.figure_style():
        panels = style.panel_grid(
            len(rows) * len(scenarios), len(scenarios), (MATRIX_SIZE, MATRIX_SIZE), (0.15, gap)
        )
        for row, (key, group) in enumerate(rows):
            classes = list(dict.fromkeys(group["true"]))
            for column, scenario in enumerate(scenarios):
                index = row * len(scenarios) + column
                [axes] = panels.axes[index]
                counts = group[group["scenario"] == scenario]
                draw_confusion_matrix(axes, counts, classes, scale)
                if row == 0:
                    axes.set_title(style.wrapped(scenario, 20))
                if panels.is_lowest(index):
                    axes.set_xlabel("predicted class")
                if panels.is_left(index):
                    name = style.panel_title(confusion, *key)
                    axes.set_ylabel(
                        f"{name}\ntrue class", fontsize=style.fitting_size(name, MATRIX_SIZE + gap - 0.1, 9)
                    )
                else:
                    axes.set_yticks([])
        panels.figure.align_ylabels([parts[0] for parts in panels.axes[:: len(scenarios)]])
        style.add_colour_bar(panels.figure, scale, "share of the true class (%)", MATRIX_SIZE)
    return panels.figure


def draw_confusion_matrix(axes: Axes, counts: pd.DataFrame, classes: Sequence[str], scale: Normalize) -> None:
    """Draw one confusion matrix; a class without a test case has no shares and stays at zero."""
    table = counts.groupby(["true", "predicted"])["count"].sum().unstack(fill_value=0)
    numbers = table.reindex(index=classes, columns=classes, fill_value=0).to_numpy(dtype=float)
    shares = 100 * numbers / np.maximum(numbers.sum(axis=1, keepdims=True), 1)
    few, small = len(classes) <= MAX_ANNOTATED_CLASSES, len(classes) > 6
    draw_cells(axes, shares, numbers.astype(int).astype(str) if few else None, scale, 5.5 if small else 8)
    shown = np.arange(0, len(classes), 1 if few else math.ceil(len(classes) / 10))
    names = [classes[index] for index in shown.tolist()]
    upright = max(map(len, classes)) <= MAX_UPRIGHT_LABEL
    axes.set_xticks(shown + 0.5, names, rotation=0 if upright else 90, parse_math=False)
    axes.set_yticks(shown + 0.5, names, rotation=0, parse_math=False)
    axes.tick_params(labelsize=6.5 if small else 8)
