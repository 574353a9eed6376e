"""Draw the gallery of a dataset: a few plots of each class, as they are given to a model."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from vlmtsc.data.series import load_arrays
from vlmtsc.errors import InputError
from vlmtsc.files import atomic_path, read_json
from vlmtsc.paths import plot_file_name
from vlmtsc.reporting.cases import first_cases
from vlmtsc.representation.plot_files import plots_in
from vlmtsc.script import heavy_imports, run_script

logger = logging.getLogger("vlmtsc.draw_gallery")


@dataclass(frozen=True)
class ShownPlots:
    """A folder of plots, and who shows them.

    Attributes
    ----------
    folder : Path
        Folder of `render_plots`, of either store.
    plot : str
        The plot's name.
    scenarios : tuple of str
        Scenarios that show it.
    """

    folder: Path
    plot: str
    scenarios: tuple[str, ...]


def draw_gallery(
    series: Path,
    split: Path,
    dataset: str,
    protocol: str,
    plots: list[ShownPlots],
    figure: Path,
    figure_print: Path,
    log: Path | None = None,
) -> None:
    """Draw the gallery of a dataset: the first plots of each class of the training part.

    Parameters
    ----------
    series : Path
        Clean series (.npz) of `preprocess_dataset`.
    split : Path
        Split (.npz) of `split_dataset`.
    dataset, protocol : str
        Their names, for the title.
    plots : list of ShownPlots
        Folders of the same plots, pixel for pixel, are shown once.
    figure, figure_print : Path
        PNG and PDF to write.
    log : Path, optional
        File for messages.
    """
    with heavy_imports():
        from vlmtsc.reporting.gallery import CASES, KindOfPlot, classes_that_fit, save_gallery
        from vlmtsc.reporting.gallery import draw_gallery as draw
    arrays = load_arrays(series, ["label_index", "classes"])
    train = load_arrays(split, ["train"])["train"]
    classes, labels = arrays["classes"].tolist(), arrays["label_index"]
    cases = first_cases(labels, train, len(classes), CASES)
    kinds = [
        KindOfPlot(kind_title(same), [read_plots(same[0].folder, chosen) for chosen in cases])
        for same in same_plots(plots)
    ]
    counts = np.bincount(labels[train], minlength=len(classes)).tolist()
    drawn = draw(
        f"{dataset}: plots as they are given to a model",
        [
            f"Of each class the first {CASES} cases of the training part (protocol {protocol}), every pixel as in the "
            "files; a number is a case's position in the dataset."
        ],
        [f"class {name} ({count} training cases)" for name, count in zip(classes, counts, strict=True)],
        [[f"case {case}" for case in chosen] for chosen in cases],
        kinds,
    )
    for path in (figure, figure_print):
        with atomic_path(path) as temporary:
            save_gallery(drawn, temporary)
    logger.info(
        "%s: %d of %d classes, %d kinds of plots",
        dataset,
        classes_that_fit(kinds, len(classes)),
        len(classes),
        len(kinds),
    )


def same_plots(plots: Sequence[ShownPlots]) -> list[list[ShownPlots]]:
    """Put folders together whose manifests tell of the same plots, in the order of the first of each."""
    groups: dict[str, list[ShownPlots]] = {}
    for shown in plots:
        digest = read_json(shown.folder / "manifest.json")["digest"]
        groups.setdefault(digest, []).append(shown)
    return list(groups.values())


def kind_title(same: Sequence[ShownPlots]) -> str:
    """Name a kind of plot, and the scenarios that show it."""
    names = ", ".join(dict.fromkeys(shown.plot for shown in same))
    scenarios = ", ".join(dict.fromkeys(name for shown in same for name in shown.scenarios))
    return f"{names} (shown by {scenarios})"


def read_plots(folder: Path, cases: Sequence[int]) -> list[np.ndarray]:
    """Read the plots of cases as pixels.

    Parameters
    ----------
    folder : Path
    cases : sequence of int
        Positions in the series file.

    Returns
    -------
    list of ndarray of uint8, shape (height, width, 3)

    Raises
    ------
    InputError
        If a plot is missing or cannot be read.
    """
    from PIL import Image

    place = plots_in(folder)
    images = []
    for case in cases:
        name = plot_file_name(case)
        try:
            with (place / name).open("rb") as content, Image.open(content) as image:
                images.append(np.asarray(image.convert("RGB")))
        except (OSError, KeyError) as error:
            raise InputError(
                f"{folder}: {name} is missing or no image ({error}); remove the folder to have it drawn again"
            ) from error
    return images


if __name__ == "__main__":
    run_script(draw_gallery)
