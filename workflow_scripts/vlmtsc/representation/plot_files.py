"""Plots of a dataset on disk: a PNG file per case, or all of them in one zip archive that is read in place."""

from __future__ import annotations

import zipfile
from collections.abc import Iterable
from pathlib import Path
from typing import Literal

import numpy as np

from vlmtsc.errors import InputError
from vlmtsc.paths import plot_file_name

PlotStore = Literal["files", "archive"]
#: A plot: its own file, or an entry of the archive.
PlotPath = Path | zipfile.Path

#: Name of the archive in the folder of plots.
ARCHIVE = "plots.zip"
# Zip entries have a time; a constant one makes equal plots equal archives.
_TIME = (1980, 1, 1, 0, 0, 0)


def plots_in(folder: Path) -> PlotPath:
    """Return the root of a dataset's plots: ``plots_in(folder) / plot_file_name(44)`` is a plot in either store.

    InputError if the archive cannot be read.
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


def write_plots(folder: Path, store: PlotStore, plots: Iterable[bytes]) -> None:
    """Write the PNG files of cases 0, 1, ... into an existing, empty folder.

    The archive is not compressed, as PNG already is, so that a plot is read with a seek.
    """
    if store == "files":
        for case, content in enumerate(plots):
            (folder / plot_file_name(case)).write_bytes(content)
        return
    with zipfile.ZipFile(folder / ARCHIVE, "w", zipfile.ZIP_STORED) as archive:
        for case, content in enumerate(plots):
            archive.writestr(zipfile.ZipInfo(plot_file_name(case), _TIME), content)


def fit_limits(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the axis limits that all plots of a dataset share: lowest and highest value of each channel.

    `values` are the cases of the archive's TRAIN file, shape (n_cases, n_channels, n_timepoints), which do not depend
    on the split, so that plots are drawn once. In the pooled split some of them are test cases, but they contribute
    no label and at most two numbers per channel. InputError if there is no case.
    """
    if len(values) == 0:
        raise InputError(
            "axis_limits='shared': no case of the archive's TRAIN file is left; allowed: per_series"
        )
    return values.min(axis=(0, 2)), values.max(axis=(0, 2))
