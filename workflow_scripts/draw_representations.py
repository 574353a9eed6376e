"""Draw the figures of docs/representation.md: every kind of picture, and every way to downsample."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from vlmtsc.files import atomic_path
from vlmtsc.script import run_script

if TYPE_CHECKING:
    from matplotlib.figure import Figure

ROOT = Path(__file__).parents[1]
STYLES = ("line", "area", "panels", "gaf", "recurrence", "spectrogram")
METHODS = ("uniform", "adaptive", "paa", "lttb", "minmax")
#: Factor of the downsampling figure: coarse enough to tell the methods apart.
FACTOR = 25
DPI = 110


def draw_representations(folder: Path = ROOT / "docs/figures", log: Path | None = None) -> None:
    """Draw pictures.png and downsampling.png, of made-up series.

    Parameters
    ----------
    folder : Path
        Folder of the two files.
    log : Path, optional
        File for messages.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for name, draw in (("pictures.png", draw_pictures), ("downsampling.png", draw_downsampling)):
        with atomic_path(folder / name) as path:
            draw(path)


def example_series(n_channels: int, n_timepoints: int = 500) -> np.ndarray:
    """Return a wave that gets faster, a quiet part and a spike: float64, shape (n_channels, n_timepoints)."""
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


def draw_pictures(path: Path) -> None:
    """Write a figure with a row for series of one and six channels, and a column for each style."""
    from matplotlib.figure import Figure

    from vlmtsc.reporting.style import figure_style
    from vlmtsc.representation.plots import make_plotter
    from vlmtsc.settings import PlotSettings

    with figure_style():
        figure = Figure(figsize=(9, 3.3), layout="constrained")
        axes = figure.subplots(2, len(STYLES))
        for row, n_channels in zip(axes, (1, 6), strict=True):
            series = example_series(n_channels)
            for panel, style in zip(row, STYLES, strict=True):
                plotter = make_plotter(PlotSettings(style=style), n_channels)  # type: ignore[arg-type]
                panel.imshow(plotter.render(series))
                panel.set(xticks=[], yticks=[])
            row[0].set_ylabel("one channel" if n_channels == 1 else f"{n_channels} channels")
        for panel, style in zip(axes[0], STYLES, strict=True):
            panel.set_title(style)
        _save(figure, path)


def draw_downsampling(path: Path) -> None:
    """Write a figure with a panel for each method: the values kept, beside the series."""
    from matplotlib.figure import Figure

    from vlmtsc.reporting.downsampling_figures import downsampled_forms, draw_kept
    from vlmtsc.reporting.style import figure_style

    with figure_style():
        figure = Figure(figsize=(9, 4.2), layout="constrained")
        axes = figure.subplots(2, 3, sharey=True).flat
        forms = downsampled_forms(example_series(1), METHODS, FACTOR)
        for panel, (name, values) in zip(axes, forms, strict=True):
            draw_kept(panel, name, values[0], marked=name in METHODS)
            panel.set(xticks=[], yticks=[])
        _save(figure, path)


def _save(figure: Figure, path: Path) -> None:
    """Write a figure with a palette of 96 colours: a third of the size."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from PIL import Image

    figure.set_dpi(DPI)
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    picture = Image.fromarray(np.asarray(canvas.buffer_rgba())[..., :3].copy())
    picture.quantize(96, dither=Image.Dither.NONE).save(path, format="PNG", optimize=True)


if __name__ == "__main__":
    run_script(draw_representations)
