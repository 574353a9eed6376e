"""Draw every case of a dataset once, as a PNG file."""

from __future__ import annotations

import logging
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import asdict
from pathlib import Path

import numpy as np

from vlmtsc.data.series import CleanSeries
from vlmtsc.errors import InputError
from vlmtsc.files import atomic_path, digest_of_files, write_json
from vlmtsc.representation.limits import fit_limits
from vlmtsc.representation.representation import Representation
from vlmtsc.representation.settings import PlotSettings, plot_file_name
from vlmtsc.script import run_script

logger = logging.getLogger("vlmtsc.render_plots")

#: Cases that a process draws at a time: enough to make up for starting, few enough to report progress.
CHUNK = 500


def render_chunk(
    values: np.ndarray,
    first: int,
    settings: PlotSettings,
    limits: tuple[np.ndarray, np.ndarray] | None,
    folder: Path,
) -> int:
    """Draw cases `first`, `first` + 1, ... of shape (n_cases, n_channels, n_timepoints); return how many."""
    from vlmtsc.representation.plots import make_plotter, write_png

    plotter = make_plotter(settings, values.shape[1], limits)
    for offset, series in enumerate(values):
        write_png(plotter.render(series), folder / plot_file_name(first + offset))
    return len(values)


def what_to_draw(
    series: CleanSeries, settings: PlotSettings | None, representation: Path | None
) -> tuple[np.ndarray, PlotSettings, tuple[np.ndarray, np.ndarray] | None]:
    """Return the values to draw, how, and the axis limits that all plots share, if they do."""
    if representation is not None:
        fitted = Representation.load(representation)
        if settings is not None or fitted.plot is None:
            raise InputError(
                f"{representation}: allowed: the representation of a scenario with a plot, and no other settings"
            )
        return fitted.values_to_draw(series.values), fitted.plot, fitted.plot_limits
    if settings is None or settings.series == "downsampled":
        found = (
            "no settings" if settings is None else "series='downsampled' without a scenario's representation"
        )
        raise InputError(f"{found}; allowed: settings with series='full', or a representation")
    shared = settings.axis_limits == "shared"
    return series.values, settings, fit_limits(series.values[: series.n_train]) if shared else None


def render_plots(
    series: Path,
    output: Path,
    settings: PlotSettings | None = None,
    representation: Path | None = None,
    threads: int = 1,
    log: Path | None = None,
) -> None:
    """Draw every case of a dataset once, as a PNG file.

    Parameters
    ----------
    series : Path
        Clean series (.npz) of `preprocess_dataset`.
    output : Path
        Folder for case-00000.png, ... by position in `series`, and manifest.json, which is written last.
    settings : PlotSettings, optional
        How to draw. Needed for plots that several scenarios share.
    representation : Path, optional
        Representation (.json) of `build_conversations`, in place of `settings`: needed for plots of downsampled
        series, since each scenario downsamples in its own way.
    threads : int, default 1
        Processes that draw.
    log : Path, optional
        File for messages.
    """
    values, settings, limits = what_to_draw(CleanSeries.load(series), settings, representation)
    n_cases = len(values)
    with atomic_path(output) as folder:
        folder.mkdir()
        chunks = [(values[start : start + CHUNK], start) for start in range(0, n_cases, CHUNK)]
        done = 0
        if threads == 1 or len(chunks) == 1:
            for chunk, start in chunks:
                done += render_chunk(chunk, start, settings, limits, folder)
                logger.info("%d of %d plots", done, n_cases)
        else:
            with ProcessPoolExecutor(min(threads, len(chunks))) as pool:
                jobs = [
                    pool.submit(render_chunk, chunk, start, settings, limits, folder)
                    for chunk, start in chunks
                ]
                for job in as_completed(jobs):
                    done += job.result()
                    logger.info("%d of %d plots", done, n_cases)
        from PIL import Image

        with Image.open(folder / plot_file_name(0)) as image:
            width, height = image.size
        write_json(
            folder / "manifest.json",
            {
                "settings": asdict(settings),
                "width": width,
                "height": height,
                "count": n_cases,
                "digest": digest_of_files(folder / plot_file_name(case) for case in range(n_cases)),
            },
        )


if __name__ == "__main__":
    run_script(render_plots)
