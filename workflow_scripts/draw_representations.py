"""Draw the documentation's figures of all plots and all downsampling methods."""

from __future__ import annotations

from pathlib import Path
from typing import get_args

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from PIL import Image

from vlmtsc.files import atomic_path
from vlmtsc.reporting.gallery import downsampled_forms, draw_kept
from vlmtsc.reporting.style import figure_style
from vlmtsc.representation.downsampling import DOWNSAMPLERS
from vlmtsc.representation.plots import make_plotter
from vlmtsc.script import run_script
from vlmtsc.settings import PlotSettings

ROOT = Path(__file__).parents[1]
#: Factor of the downsampling figure: large enough to distinguish the methods.
FACTOR = 25
DPI = 110


def draw_representations(folder: Path = ROOT / "docs/figures") -> None:
    """Draw pictures.png and downsampling.png, of synthetic series.

    Parameters
    ----------
    folder : Path
        Folder of the two files.
    """
    with figure_style():
        save(draw_plots(), folder / "pictures.png")
        save(draw_downsampling(), folder / "downsampling.png")


def synthetic_series(n_channels: int, n_timepoints: int = 500) -> np.ndarray:
    """Return waves that get faster, with a quiet part and a spike: float64, shape (n_channels, n_timepoints)."""
    generator = np.random.default_rng(0)
    time = np.linspace(0, 1, n_timepoints)
    channels = []
    for channel in range(n_channels):
        wave = np.sin(2 * np.pi * (2 + channel) * time * (1 + 1.5 * time))
        wave *= np.where(time < 0.3, 0.1, 1 - 0.1 * channel)
        wave += 0.05 * generator.normal(size=n_timepoints)
        wave[int(n_timepoints * (0.15 + 0.02 * channel))] += 2
        channels.append(wave)
    return np.stack(channels)


def draw_plots() -> Figure:
    """Return a figure with a column for each style, and rows for series of one and six channels."""
    styles = get_args(PlotSettings.model_fields["style"].annotation)
    figure = Figure(figsize=(9, 2.9), layout="constrained")
    axes = figure.subplots(2, len(styles))
    for row, n_channels in zip(axes, (1, 6), strict=True):
        series = synthetic_series(n_channels)
        for panel, style in zip(row, styles, strict=True):
            panel.imshow(make_plotter(PlotSettings(style=style), n_channels).render(series))
            panel.set(xticks=[], yticks=[])
        row[0].set_ylabel("one channel" if n_channels == 1 else f"{n_channels} channels")
    for panel, style in zip(axes[0], styles, strict=True):
        panel.set_title(style)
    return figure


def draw_downsampling() -> Figure:
    """Return a figure with a panel for each method: the values kept, beside the series."""
    figure = Figure(figsize=(9, 4.2), layout="constrained")
    forms = downsampled_forms(synthetic_series(1), tuple(DOWNSAMPLERS), FACTOR)
    for panel, (name, values) in zip(figure.subplots(2, 3, sharey=True).flat, forms, strict=True):
        draw_kept(panel, name, values[0], marked=name in DOWNSAMPLERS)
        panel.set(xticks=[], yticks=[])
    return figure


def save(figure: Figure, path: Path) -> None:
    """Write a figure with a palette of 96 colours: a third of the size."""
    figure.set_dpi(DPI)
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    picture = Image.fromarray(np.asarray(canvas.buffer_rgba())[..., :3].copy())
    with atomic_path(path) as temporary:
        picture.quantize(96, dither=Image.Dither.NONE).save(temporary, format="PNG", optimize=True)


if __name__ == "__main__":
    run_script(draw_representations)
