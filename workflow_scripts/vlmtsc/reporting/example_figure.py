"""The example figure of the README: a test case's plot, its prompt, the answer and the class probabilities."""

from __future__ import annotations

import textwrap
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.patches import FancyBboxPatch
from scipy.special import softmax

from vlmtsc.errors import InputError
from vlmtsc.files import atomic_path, read_json
from vlmtsc.paths import Paths, Run
from vlmtsc.reporting.style import figure_style, save_figure

#: Six channels, four classes with names, and a prompt that fits.
RUN = Run("embedded", "BasicMotions", "pooled", "plot_and_numbers", 0)
TEXT, GREY, PALE, BLUE, ORANGE = "#24292f", "#57606a", "#d0d7de", "#0173b2", "#c05000"
#: Characters of a line of the prompt, and lines that fit.
COLUMNS, LINES = 48, 14


def draw_example(results: Path, output: Path, run: Run = RUN) -> None:
    """Draw the first test case of a run that has a plot and numbers.

    Parameters
    ----------
    results : Path
        Results folder in which the run is finished.
    output : Path
        PNG file to write.
    run : Run, optional

    Raises
    ------
    InputError
        If the run is not finished.
    """
    paths = Paths(str(results))
    metrics = Path(paths.run(run), "metrics.json")
    if not metrics.is_file():
        raise InputError(f"{metrics}: no such file; the example figure needs this run of `make results`")
    case = read_json(Path(paths.conversations(run), "test.json"))[0]
    fitted = read_json(Path(paths.conversations(run), "representation.json"))
    predictions = pd.read_csv(Path(paths.run(run), "predictions.csv"), dtype={"id": str}).set_index("id")
    scores = predictions.loc[case["id"], [f"score_{name}" for name in fitted["classes"]]]
    image = plt.imread(Path(paths.plots(run, fitted["scenario"]["plot"]), case["image"]))
    answers, probabilities = fitted["label_texts"], softmax(scores.to_numpy(dtype=float))
    classes = [f"{answer}: {name}" for answer, name in zip(answers, fitted["classes"], strict=True)]
    with figure_style():
        figure = plt.figure(figsize=(11.5, 3.3))
        plot, prompt, bars = figure.subplots(
            1, 3, width_ratios=[1.09, 1.45, 1.05], gridspec_kw={"wspace": 0.1}
        )
        _draw_plot(plot, image, run.dataset)
        _draw_prompt(prompt, case["conversations"][0]["value"], answers[probabilities.argmax()])
        _draw_probabilities(bars, classes, probabilities, case["label_index"])
        with atomic_path(output) as path:
            save_figure(figure, path)
        plt.close(figure)


def _frame(axes: Axes, title: str, detail: str) -> None:
    axes.set(xlim=(0, 1), ylim=(0, 1), xticks=[], yticks=[])
    axes.spines[:].set_visible(False)
    axes.set_title(title, loc="left", color=TEXT, fontweight="bold", pad=8)
    axes.set_title(detail, loc="right", color=GREY, fontsize=8, pad=8)


def _draw_plot(axes: Axes, image: np.ndarray, dataset: str) -> None:
    _frame(axes, "Plot", dataset)
    axes.imshow(image, extent=(0, 1, 0, 1), aspect=image.shape[0] / image.shape[1])
    axes.spines[:].set(visible=True, color=PALE)


def _draw_prompt(axes: Axes, prompt: str, answer: str) -> None:
    _frame(axes, "Prompt and answer", "the series as integers")
    axes.add_patch(FancyBboxPatch((0.02, 0.02), 0.96, 0.96, boxstyle="round,pad=0.02", fc="#f6f8fa", ec=PALE))
    wrapped = [part for line in prompt.split("\n") for part in textwrap.wrap(line, COLUMNS) or [""]]
    for number, line in enumerate([*wrapped, "", "ASSISTANT:"]):
        y = 0.94 - number / LINES
        style: dict[str, Any] = {"family": "DejaVu Sans Mono", "fontsize": 8, "va": "top"}
        axes.text(0.04, y, line, color=BLUE if line in ("<image>", "ASSISTANT:") else TEXT, **style)
    axes.text(0.04 + 11.5 / COLUMNS * 0.94, y, answer, color=ORANGE, weight="bold", **style)


def _draw_probabilities(axes: Axes, classes: list[str], probabilities: np.ndarray, true: int) -> None:
    _frame(axes, "Class probabilities", "")
    for index, (name, probability) in enumerate(zip(classes, probabilities, strict=True)):
        y = len(classes) - index
        colour = ORANGE if index == probabilities.argmax() else "#9aa5b1"
        axes.barh(y, 1, height=0.3, color="#eef1f4")
        axes.barh(y, probability, height=0.3, color=colour)
        axes.text(0, y + 0.2, f"{name}{' (true class)' if index == true else ''}", va="bottom", color=TEXT)
        axes.text(1, y + 0.2, f"{100 * probability:.1f}%", va="bottom", ha="right", color=TEXT)
    axes.set_ylim(0.5, len(classes) + 0.75)
