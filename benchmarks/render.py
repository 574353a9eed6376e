"""Measure how fast plots are drawn and written, against a new matplotlib figure for each.

    python benchmarks/render.py [--cases 40] [--rounds 5]

Random walks of one and of six channels. The other side draws as the paper's code does: a new figure, ``savefig`` with a
tight box and no padding, ``close``. Pixels of both are compared one by one.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

import matplotlib
from measuring import Row, cpu_seconds, interleaved, load, number, parse, report

matplotlib.use("agg")

import matplotlib.pyplot as plt
import numpy as np
from PIL import Image

from vlmtsc.representation.plots import make_plotter, write_png
from vlmtsc.settings import PlotSettings

SETTINGS = PlotSettings(style="line")


def obvious_way(values: np.ndarray, path: Path) -> None:
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


def measure(channels: int, length: int, cases: int, rounds: int) -> Row:
    """Draw `cases` random walks by both sides in turns."""
    walks = np.random.default_rng(0).normal(size=(cases, channels, length)).cumsum(axis=2)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)

        plotter = make_plotter(SETTINGS, channels)  # once for all series of a dataset

        def ours() -> None:
            for case, walk in enumerate(walks):
                write_png(plotter.render(walk), folder / f"ours-{case}.png")

        def other() -> None:
            for case, walk in enumerate(walks):
                obvious_way(walk, folder / f"other-{case}.png")

        seconds = interleaved(
            {"ours": lambda: cpu_seconds(ours), "other": lambda: cpu_seconds(other)}, rounds
        )
        for case in range(cases):
            with (
                Image.open(folder / f"ours-{case}.png") as mine,
                Image.open(folder / f"other-{case}.png") as its,
            ):
                np.testing.assert_array_equal(np.asarray(mine), np.asarray(its.convert("RGB")))
        sizes = [
            sum(p.stat().st_size for p in folder.glob(f"{side}-*.png")) / cases for side in ("ours", "other")
        ]
    return Row(
        claim=f"rendering, {channels} channel{'s' * (channels > 1)} of {length}",
        unit="images/s",
        ours=cases / seconds["ours"],
        other=cases / seconds["other"],
        ratio=seconds["other"] / seconds["ours"],
        aim="10x",
        agreement="every pixel equal",
        notes=f"{number(sizes[0] / 1000)} kB a file, the other side's {number(sizes[1] / 1000)}",
        load=load(),
    )


def main() -> None:
    """Print the table."""
    options = parse(__doc__, {"cases": (int, 40, "series to draw"), "rounds": (int, 5, "turns of each side")})
    rows = [measure(channels, 150, options.cases, options.rounds) for channels in (1, 6)]
    report(rows, options.output)


if __name__ == "__main__":
    main()
