"""Draw every case of a dataset once, as a PNG file or into an archive of them."""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack
from pathlib import Path

import numpy as np

from vlmtsc.data.series import CleanSeries
from vlmtsc.errors import InputError
from vlmtsc.files import atomic_path, digest_of_files, write_json
from vlmtsc.paths import plot_file_name
from vlmtsc.representation.limits import fit_limits
from vlmtsc.representation.plot_store import PlotStore, plots_in, write_plots
from vlmtsc.representation.representation import Representation
from vlmtsc.script import run_script
from vlmtsc.settings import PlotSettings

logger = logging.getLogger("vlmtsc.render_plots")

#: Cases that a process draws at a time: enough to make up for starting, few enough to report progress.
CHUNK = 500


def render_chunk(
    values: np.ndarray,
    first: int,
    settings: PlotSettings,
    limits: tuple[np.ndarray, np.ndarray] | None,
) -> list[tuple[int, bytes]]:
    """Draw cases `first`, `first` + 1, ... of shape (n_cases, n_channels, n_timepoints); return their PNG files."""
    from vlmtsc.representation.plots import encode_png, make_plotter

    plotter = make_plotter(settings, values.shape[1], limits)
    return [(first + offset, encode_png(plotter.render(series))) for offset, series in enumerate(values)]


def render_all(
    values: np.ndarray,
    settings: PlotSettings,
    limits: tuple[np.ndarray, np.ndarray] | None,
    threads: int,
) -> Iterator[tuple[int, bytes]]:
    """Draw all cases, in their order, by several processes where that pays."""
    starts = range(0, len(values), CHUNK)
    arguments = [(values[start : start + CHUNK], start, settings, limits) for start in starts]
    with ExitStack() as stack:
        if threads == 1 or len(arguments) == 1:
            drawn: Iterator[list[tuple[int, bytes]]] = (render_chunk(*argument) for argument in arguments)
        else:
            pool = stack.enter_context(ProcessPoolExecutor(min(threads, len(arguments))))
            jobs = deque(pool.submit(render_chunk, *argument) for argument in arguments)
            drawn = (jobs.popleft().result() for _ in starts)  # none is kept once it is written
        for start, chunk in zip(starts, drawn, strict=True):
            yield from chunk
            logger.info("%d of %d plots", start + len(chunk), len(values))


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
    store: PlotStore = "files",
    threads: int = 1,
    log: Path | None = None,
) -> None:
    """Draw every case of a dataset once, as a PNG file.

    Parameters
    ----------
    series : Path
        Clean series (.npz) of `preprocess_dataset`.
    output : Path
        Folder for case-00000.png, ... by position in `series`, or plots.zip that holds these, and manifest.json,
        which is written last.
    settings : PlotSettings, optional
        How to draw. Needed for plots that several scenarios share.
    representation : Path, optional
        Representation (.json) of `build_conversations`, in place of `settings`: needed for plots of downsampled
        series, since each scenario downsamples in its own way.
    store : {"files", "archive"}, default "files"
        A file for each plot, or one archive of all.
    threads : int, default 1
        Processes that draw.
    log : Path, optional
        File for messages.
    """
    values, settings, limits = what_to_draw(CleanSeries.load(series), settings, representation)
    n_cases = len(values)
    with atomic_path(output) as folder:
        folder.mkdir()
        write_plots(folder, store, render_all(values, settings, limits, threads))
        place = plots_in(folder)
        from PIL import Image

        with (place / plot_file_name(0)).open("rb") as content, Image.open(content) as image:
            width, height = image.size
        write_json(
            folder / "manifest.json",
            {
                "settings": settings.model_dump(),
                "width": width,
                "height": height,
                "count": n_cases,
                "digest": digest_of_files(place / plot_file_name(case) for case in range(n_cases)),
            },
        )


if __name__ == "__main__":
    run_script(render_plots)
