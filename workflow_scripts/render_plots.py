"""Draw every case of a dataset once, as a PNG file or into an archive of them."""

from __future__ import annotations

from pathlib import Path

from vlmtsc.data.series import CleanSeries
from vlmtsc.errors import InputError
from vlmtsc.representation.plot_files import PlotStore
from vlmtsc.representation.plots import draw_dataset
from vlmtsc.representation.representation import Representation
from vlmtsc.script import run_script
from vlmtsc.settings import PlotSettings


def render_plots(
    series: Path,
    output: Path,
    settings: PlotSettings | None = None,
    representation: Path | None = None,
    store: PlotStore = "files",
) -> None:
    """Draw every case of a dataset once, as a PNG file.

    Parameters
    ----------
    series : Path
        Clean series of `preprocess_dataset` (.npz).
    output : Path
        Folder for case-00000.png, ... by position in `series`, or plots.zip with these, and manifest.json.
    settings : PlotSettings, optional
        Settings of plots that several scenarios share.
    representation : Path, optional
        Representation of `build_conversations` (.json) in place of `settings`, for plots of downsampled series.
    store : {"files", "archive"}, default "files"
        A file per plot, or one archive of all.
    """
    if representation is not None and settings is None:
        drawn_as: PlotSettings | Representation = Representation.load(representation)
    elif settings is not None and representation is None:
        drawn_as = settings
    else:
        raise InputError(f"settings {settings} and representation {representation}; allowed: one of both")
    clean = CleanSeries.load(series)
    try:
        draw_dataset(clean, output, drawn_as, store=store)
    except InputError as error:
        raise InputError(f"{representation or series}: {error}") from error


if __name__ == "__main__":
    run_script(render_plots)
