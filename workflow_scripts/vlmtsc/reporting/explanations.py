"""Explanations by occlusion: the series coloured by attribution, and how faithful the attributions are."""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.collections import LineCollection
from matplotlib.colors import TwoSlopeNorm
from matplotlib.figure import Figure
from scipy.stats import t

from vlmtsc.data.series import CleanSeries
from vlmtsc.evaluation.constants import ALPHA
from vlmtsc.files import read_json
from vlmtsc.paths import Paths, Run
from vlmtsc.planning import CaseScenario, scenario_titles
from vlmtsc.reporting.style import add_colour_bar, figure_style, fitting_size, panel_grid
from vlmtsc.reporting.tables import NONE, PAGES

#: Channels of a case that are drawn.
CHANNELS = 3
#: Colours from "less likely with it" over neutral to "less likely without it".
COLOURS = "coolwarm"
PAGE = """\
{% extends "frame.html" %}
{% from "tables.html" import table %}
{% block looks %}
body { max-width: none; }
table { white-space: normal; }
img { max-width: 100%; }
{% endblock %}
{% block content %}
<p>{{ note }}</p>
{{ table(faithfulness, ("scenario", "finding")) }}
{% for title, picture in pictures %}
<h2>{{ title }}</h2>
<img src="data:image/png;base64,{{ picture }}" alt="explanations of {{ title }}">
{% endfor %}
{% endblock %}
"""
NOTE = """\
Occlusion over time of test cases: each window is replaced in all channels, by a straight line and by the mean of all
training series, and the series drawn and written again; the attribution is the mean drop, in nats, of the answer's
log-odds: its log-likelihood against those of all other answers. Red: less likely without this part; blue: more likely.
Faithfulness: by how much the log-odds fall further when the windows of the highest attribution are replaced instead of
random ones (deletion), and by how much higher they are when only these are shown (insertion); means over the cases with
a 95% interval (Student's t). An interval that reaches 0 is no better than chance."""


def draw_explanations(
    values: Sequence[np.ndarray], attributions: Sequence[np.ndarray], titles: Sequence[str]
) -> Figure:
    """Draw series, each of shape (n_channels, n_timepoints), coloured by their attributions (n_timepoints,)."""
    n_channels = min(CHANNELS, len(values[0]))
    largest = max((float(np.abs(attribution).max()) for attribution in attributions), default=0.0) or 1.0
    scale = TwoSlopeNorm(0, -largest, largest)
    with figure_style():
        size, heights = (2.8, 1.3 + 0.7 * (n_channels - 1)), (1,) * n_channels
        panels = panel_grid(len(values), 3, size, (0.35, 0.6), heights=heights, inner_gap=0.1)
        for parts, case, attribution, title in zip(panels.axes, values, attributions, titles, strict=True):
            parts[0].set_title(title, fontsize=fitting_size(title, 2.9, 9), parse_math=False)
            times = np.arange(1, case.shape[1] + 1)
            for axes, channel in zip(parts, case, strict=False):
                points = np.column_stack([times, channel])
                middle = (points[1:] + points[:-1]) / 2
                # From midpoint to midpoint, so that each timepoint has its own colour.
                starts = np.concatenate([points[:1], middle])
                ends = np.concatenate([middle, points[-1:]])
                lines = LineCollection(
                    list(np.stack([starts, points, ends], axis=1)), cmap=COLOURS, norm=scale, linewidths=2
                )
                lines.set_array(attribution)
                axes.plot(times, channel, color="0.8", linewidth=3)
                axes.add_collection(lines)
        for channels in zip(*panels.axes, strict=True):
            # One scale, since the ticks of the left panels alone are labelled.
            bounds = [axes.get_ylim() for axes in channels]
            for axes in channels:
                axes.set_ylim(min(low for low, _ in bounds), max(high for _, high in bounds))
        panels.label(
            "timepoint", ["value"] if n_channels == 1 else [f"channel {n + 1}" for n in range(n_channels)]
        )
        add_colour_bar(panels.figure, scale, "attribution (nats)", size[1], COLOURS)
    return panels.figure


def explanations_page(
    paths: Paths, dataset: str, protocol: str, series: CleanSeries, scenarios: Sequence[CaseScenario]
) -> str:
    """Return the HTML page of one dataset: faithfulness of all runs, and figures of each scenario's first seed."""
    position = {identity: row for row, identity in enumerate(series.case_ids.tolist())}
    rows, pictures = [], []
    for scenario, title in zip(scenarios, scenario_titles(scenarios), strict=True):
        for seed in scenario.seeds:
            run = Run(scenario.model, dataset, protocol, scenario.scenario, seed)
            folder = Path(paths.run(run))
            content = read_json(folder / "explanations.json")
            rows.append({"scenario": title, "seed": seed, **faithfulness(content)})
            if seed == scenario.seeds[0] and content["cases"]:
                classes = read_json(folder / "parameters.json")["representation"]["classes"]
                values = [series.values[position[case["id"]]] for case in content["cases"]]
                attributions = [
                    np.repeat(case["attribution"], np.diff(case["edges"])) for case in content["cases"]
                ]
                titles = [case_title(case, classes) for case in content["cases"]]
                picture = as_png(draw_explanations(values, attributions, titles))
                pictures.append((title, base64.b64encode(picture).decode("ascii")))
    return PAGES.from_string(PAGE).render(
        title=f"{dataset}: explanations", note=NOTE, faithfulness=pd.DataFrame(rows), pictures=pictures
    )


def case_title(case: Mapping[str, Any], classes: Sequence[str]) -> str:
    """Return the title of an explained test case."""
    title = answer_title(case["id"], classes[case["predicted"]], case["probability"])
    return title if case["true"] == case["predicted"] else f"{title}, wrong: {classes[case['true']]}"


def answer_title(identity: str, answer: str, probability: float) -> str:
    """Return the title of an explained series."""
    return f"{identity}: class {answer} ({100 * probability:.1f}%)"


def faithfulness(content: Mapping[str, Any]) -> dict[str, Any]:
    """Return the cells of a run's explanations (`explain_test_set`): gains with their intervals, cost, finding."""
    cells: dict[str, Any] = {"cases": len(content["cases"])}
    chance = []
    for name in ("deletion", "insertion"):
        gains = [case[f"{name}_gain"] for case in content["cases"]]
        if not gains:
            cells[f"{name} gain"] = NONE
            continue
        mean, low, high = mean_interval(gains)
        cells[f"{name} gain"] = f"{mean:.3f} [{low:.3f}, {high:.3f}]"
        if not low > 0:
            chance.append(name)
    finding = content["reason"] or (
        f"no better than chance: {', '.join(chance)}" if chance else "better than chance"
    )
    return cells | {"passes": content["passes"], "seconds": content["seconds"], "finding": finding}


def as_png(figure: Figure) -> bytes:
    """Return a figure as a PNG file."""
    content = io.BytesIO()
    with figure_style():
        figure.savefig(content, format="png", dpi=110, bbox_inches="tight")
    return content.getvalue()


def mean_interval(values: Sequence[float]) -> tuple[float, float, float]:
    """Return the mean and its 95% interval by Student's t distribution; the interval is NaN for a single value."""
    mean = float(np.mean(values))
    if len(values) < 2:
        return mean, float("nan"), float("nan")
    half = float(t.ppf(1 - ALPHA / 2, len(values) - 1) * np.std(values, ddof=1) / np.sqrt(len(values)))
    return mean, mean - half, mean + half
