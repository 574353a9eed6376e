"""Compare the speed of drawing and writing plots with a new matplotlib figure for each.

    python benchmarks/render.py [--cases 40] [--rounds 5]

Random walks of one and of six channels. The reference draws as the paper's code does: a new figure, ``savefig`` with a
tight box and no padding, ``close``. Every pixel has to be equal.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

import matplotlib
from measuring import Row, cpu_seconds, interleaved, main, make_row, number

matplotlib.use("agg")

import matplotlib.pyplot as plt
import numpy as np
from PIL import Image

from vlmtsc.representation.plots import make_plotter, write_png
from vlmtsc.settings import PlotSettings

SETTINGS = PlotSettings(style="line")


def draw_reference(values: np.ndarray, path: Path) -> None:
    """Draw one series, shape (n_channels, n_timepoints), in a figure of its own."""
    figure, axes = plt.subplots(figsize=(SETTINGS.inches, SETTINGS.inches), dpi=SETTINGS.dpi)
    for channel in values:
        axes.plot(channel)
    axes.set_xticks([])
    axes.set_yticks([])
    for spine in axes.spines.values():
        spine.set_visible(False)
    figure.savefig(path, bbox_inches="tight", pad_inches=0)
    plt.close(figure)


def measure(cases: int, rounds: int, length: int = 150) -> list[Row]:
    """Draw `cases` random walks with both sides in turns, of one and of six channels."""
    return [measure_channels(channels, cases, rounds, length) for channels in (1, 6)]


def measure_channels(channels: int, cases: int, rounds: int, length: int) -> Row:
    """Draw random walks with this many channels."""
    walks = np.random.default_rng(0).normal(size=(cases, channels, length)).cumsum(axis=2)
    plotter = make_plotter(SETTINGS, channels)  # once for all series of a dataset
    with tempfile.TemporaryDirectory() as name:
        files = {
            side: [Path(name, f"{side}-{case}.png") for case in range(cases)]
            for side in ("ours", "reference")
        }

        def draw_ours() -> None:
            for walk, file in zip(walks, files["ours"], strict=True):
                write_png(plotter.render(walk), file)

        def draw_references() -> None:
            for walk, file in zip(walks, files["reference"], strict=True):
                draw_reference(walk, file)

        seconds = interleaved(
            rounds,
            ours=lambda: cpu_seconds(draw_ours) / cases,
            reference=lambda: cpu_seconds(draw_references) / cases,
        )
        for ours, reference in zip(files["ours"], files["reference"], strict=True):
            with Image.open(ours) as one, Image.open(reference) as other:
                np.testing.assert_array_equal(np.asarray(one), np.asarray(other.convert("RGB")))
        kb = {
            side: number(sum(p.stat().st_size for p in drawn) / cases / 1000) for side, drawn in files.items()
        }
    name = f"rendering, {channels} channel{'s' * (channels > 1)} of {length}"
    notes = f"{kb['ours']} kB a file, reference {kb['reference']}"
    return make_row(name, seconds, "images/s", "every pixel equal", notes)


if __name__ == "__main__":
    main(measure, __doc__, cases=40, rounds=5)
