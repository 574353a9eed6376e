"""How the plots of a dataset lie on the disk: a file each, or all in one archive that is read in place."""

from __future__ import annotations

import zipfile
from collections.abc import Iterable
from pathlib import Path
from typing import Literal

from vlmtsc.errors import InputError
from vlmtsc.paths import plot_file_name

PlotStore = Literal["files", "archive"]
#: A plot's place: its own file, or an entry of the archive.
PlotPath = Path | zipfile.Path

#: Name of the archive in the folder of plots.
ARCHIVE = "plots.zip"
# Zip entries hold a time; a constant keeps equal plots equal archives.
_TIME = (1980, 1, 1, 0, 0, 0)


def plots_in(folder: Path) -> PlotPath:
    """Return the place that plots are found in by their names (``plots_in(folder) / "case-00044.png"``).

    Parameters
    ----------
    folder : Path
        Folder of `render_plots`, of either store.

    Returns
    -------
    Path or zipfile.Path
        The folder itself, or the root of its archive, whose list of entries is read once.

    Raises
    ------
    InputError
        If the archive cannot be read.
    """
    path = folder / ARCHIVE
    if not path.is_file():
        return folder
    try:
        return zipfile.Path(path)
    except (OSError, zipfile.BadZipFile) as error:
        raise InputError(
            f"{path}: not a readable archive of plots ({error}); remove its folder to have it drawn again"
        ) from error


def write_plots(folder: Path, store: PlotStore, plots: Iterable[tuple[int, bytes]]) -> None:
    """Write plots into an existing, empty folder.

    Parameters
    ----------
    folder : Path
    store : {"files", "archive"}
        ``archive``: one zip file, not compressed (PNG is already), so that a plot is read with a seek.
    plots : iterable of (int, bytes)
        Position of each case, and its PNG file.
    """
    if store == "files":
        for case, content in plots:
            (folder / plot_file_name(case)).write_bytes(content)
        return
    with zipfile.ZipFile(folder / ARCHIVE, "w", zipfile.ZIP_STORED) as archive:
        for case, content in plots:
            archive.writestr(zipfile.ZipInfo(plot_file_name(case), _TIME), content)
