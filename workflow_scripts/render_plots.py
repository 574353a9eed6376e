"""Draw every case of a dataset once, as a PNG file."""

from __future__ import annotations

import logging
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import asdict
from pathlib import Path

import numpy as np

from vlmtsc.data.series import CleanSeries
from vlmtsc.files import atomic_path, write_json
from vlmtsc.representation.settings import PlotSettings, plot_file_name
from vlmtsc.script import run_script

logger = logging.getLogger("vlmtsc.render_plots")

#: Cases that a process draws at a time: enough to make up for starting, few enough to report progress.
CHUNK = 500


def render_chunk(values: np.ndarray, first: int, settings: PlotSettings, folder: Path) -> int:
    """Draw cases `first`, `first` + 1, ... of shape (n_cases, n_channels, n_timepoints); return how many."""
    from vlmtsc.representation.plots import LinePlotter, write_png

    plotter = LinePlotter(settings, n_channels=values.shape[1])
    for offset, series in enumerate(values):
        write_png(plotter.render(series), folder / plot_file_name(first + offset))
    return len(values)


def render_plots(
    series: Path, settings: PlotSettings, output: Path, threads: int = 1, log: Path | None = None
) -> None:
    """Draw every case of a dataset once, as a PNG file.

    Parameters
    ----------
    series : Path
        Clean series (.npz) of `preprocess_dataset`.
    settings : PlotSettings
        How to draw.
    output : Path
        Folder for case-00000.png, ... by position in `series`, and manifest.json, which is written last.
    threads : int, default 1
        Processes that draw.
    log : Path, optional
        File for messages.
    """
    values = CleanSeries.load(series).values
    n_cases = len(values)
    with atomic_path(output) as folder:
        folder.mkdir()
        chunks = [(values[start : start + CHUNK], start) for start in range(0, n_cases, CHUNK)]
        done = 0
        if threads == 1 or len(chunks) == 1:
            for chunk, start in chunks:
                done += render_chunk(chunk, start, settings, folder)
                logger.info("%d of %d plots", done, n_cases)
        else:
            with ProcessPoolExecutor(min(threads, len(chunks))) as pool:
                jobs = [pool.submit(render_chunk, chunk, start, settings, folder) for chunk, start in chunks]
                for job in as_completed(jobs):
                    done += job.result()
                    logger.info("%d of %d plots", done, n_cases)
        from PIL import Image

        with Image.open(folder / plot_file_name(0)) as image:
            width, height = image.size
        write_json(
            folder / "manifest.json",
            {"settings": asdict(settings), "width": width, "height": height, "count": n_cases},
        )


if __name__ == "__main__":
    run_script(render_plots)
