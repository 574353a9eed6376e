"""Compare the speed of drawing and writing plots with a new matplotlib figure for each.

    python benchmarks/render.py [--cases 40] [--rounds 5]

Random walks of one and of six channels. The reference draws as the paper's code does: a new figure, ``savefig`` with a
tight box and no padding, ``close``. Every pixel has to be equal.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable
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
    """Draw `cases` random walks with both sides in turns."""
    rows = []
    for channels in (1, 6):
        walks = np.random.default_rng(0).normal(size=(cases, channels, length)).cumsum(axis=2)
        plotter = make_plotter(SETTINGS, channels)  # once for all series of a dataset
        draw: dict[str, Callable[[np.ndarray, Path], None]] = {
            "ours": lambda walk, path, plotter=plotter: write_png(plotter.render(walk), path),
            "reference": draw_reference,
        }
        with tempfile.TemporaryDirectory() as name:
            files = {side: [Path(name, f"{side}-{case}.png") for case in range(cases)] for side in draw}

            def seconds_of_a_plot(side: str, walks=walks, files=files, draw=draw) -> float:
                def draw_all() -> None:
                    for walk, file in zip(walks, files[side], strict=True):
                        draw[side](walk, file)

                return cpu_seconds(draw_all) / cases

            seconds = interleaved(
                rounds, **{side: lambda side=side: seconds_of_a_plot(side) for side in draw}
            )
            for ours, reference in zip(files["ours"], files["reference"], strict=True):
                with Image.open(ours) as one, Image.open(reference) as other:
                    np.testing.assert_array_equal(np.asarray(one), np.asarray(other.convert("RGB")))
            kb = {side: number(sum(p.stat().st_size for p in files[side]) / cases / 1000) for side in draw}
        name = f"rendering, {channels} channel{'s' * (channels > 1)} of {length}"
        notes = f"{kb['ours']} kB a file, reference {kb['reference']}"
        rows.append(make_row(name, seconds, "images/s", "every pixel equal", notes))
    return rows


if __name__ == "__main__":
    main(measure, __doc__, cases=40, rounds=5)
