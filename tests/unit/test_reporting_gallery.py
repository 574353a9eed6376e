"""Galleries: every plot pixel for pixel, of the right cases, and what is left out is said."""

from __future__ import annotations

import io
import zlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from draw_gallery import ShownPlots, draw_gallery, read_plots, same_plots
from render_plots import render_plots
from vlmtsc.data.series import CleanSeries
from vlmtsc.errors import InputError
from vlmtsc.paths import Run
from vlmtsc.reporting import gallery
from vlmtsc.reporting.cases import first_cases
from vlmtsc.reporting.gallery import CASES, MAX_CLASSES, MAX_KINDS, KindOfPlot, save_gallery
from vlmtsc.representation.plot_files import PlotStore
from vlmtsc.settings import PlotSettings

LABELS = np.array([1, 0, 1, 1, 0, 1, 1, 0, 1, 0, 2, 0])
#: Class 0 has fewer cases than are shown, class 1 more, class 2 none.
TRAIN = np.array([9, 3, 2, 0, 8, 1, 6, 5])


def places(figure: np.ndarray, image: np.ndarray) -> list[tuple[int, int]]:
    """Find where an image stands in a larger one, pixel for pixel: rows and columns of its corner."""
    height, width, _ = image.shape
    row = int(np.argmax([len(np.unique(line, axis=0)) for line in image]))  # the one that repeats least
    wanted = image[row].tobytes()
    found = []
    for top in range(len(figure) - height + 1):
        line, start = figure[top + row].tobytes(), -1
        while (start := line.find(wanted, start + 1)) >= 0:
            left = start // 3
            if start % 3 == 0 and np.array_equal(figure[top : top + height, left : left + width], image):
                found.append((top, left))
    return found


def pixels(path: Path) -> np.ndarray:
    with Image.open(path) as image:
        return np.asarray(image.convert("RGB"))


def texts(figure: object) -> str:
    return " ".join(text.get_text() for text in figure.texts).replace("\n", " ")  # type: ignore[attr-defined]


def noise(n_classes: int, size: tuple[int, int], cases: int = CASES) -> list[list[np.ndarray]]:
    generator = np.random.default_rng(n_classes)
    return [
        [generator.integers(0, 256, (*size, 3), dtype=np.uint8) for _ in range(cases)]
        for _ in range(n_classes)
    ]


def drawn(kinds: Sequence[KindOfPlot], n_classes: int, path: Path) -> tuple[np.ndarray, str]:
    """Draw a gallery; give its pixels and its text."""
    cases = [[f"case {case}" for case in range(len(images))] for images in kinds[0].images]
    figure = gallery.draw_gallery(
        "Title", ["A note."], [f"class {i}" for i in range(n_classes)], cases, kinds
    )
    save_gallery(figure, path)
    return pixels(path), texts(figure)


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give series, a split, and plots of two kinds in both stores."""
    folder = tmp_path_factory.mktemp("gallery")
    generator = np.random.default_rng(0)
    names = np.array(["$x_1", "running", "standing"])
    ids = np.array([f"Waves-{case:05d}" for case in range(12)])
    CleanSeries(generator.normal(size=(12, 2, 30)).cumsum(axis=2), LABELS, names, ids, 6).save(
        folder / "series.npz"
    )
    np.savez(folder / "split.npz", train=TRAIN, validation=np.array([4, 7]), test=np.array([10, 11]))
    stores: tuple[PlotStore, ...] = ("files", "archive")
    for store in stores:
        for name, settings in {"line": PlotSettings(), "gaf": PlotSettings(style="gaf", dpi=61)}.items():
            render_plots(folder / "series.npz", folder / store / name, settings, store=store)
    return folder


def draw(project: Path, store: str, output: Path) -> Path:
    plots = [
        ShownPlots(project / store / "line", "line", ("plot", "both")),
        ShownPlots(project / store / "gaf", "gaf", ("plot_gaf",)),
        ShownPlots(project / store / "line", "again", ("other",)),
    ]
    draw_gallery(
        project / "series.npz",
        project / "split.npz",
        "Waves",
        "pooled",
        plots,
        output / "gallery.png",
        output / "gallery.pdf",
    )
    return output


def test_every_plot_is_there_pixel_for_pixel_and_no_other(project: Path, tmp_path: Path) -> None:
    figure = pixels(draw(project, "files", tmp_path) / "gallery.png")
    chosen = {9, 1, 3, 2, 0, 8}  # in the order of the training part, at most four of a class
    for kind in ("line", "gaf"):
        for case in range(12):
            with Image.open(project / f"files/{kind}/case-{case:05d}.png") as image:
                found = places(figure, np.asarray(image.convert("RGB")))
            assert len(found) == (case in chosen), (kind, case)


def test_both_stores_give_the_same_bytes(project: Path, tmp_path: Path) -> None:
    files, archive = (draw(project, store, tmp_path / store) for store in ("files", "archive"))
    for name in ("gallery.png", "gallery.pdf"):
        assert (files / name).read_bytes() == (archive / name).read_bytes()


def test_the_pdf_holds_the_pixels_of_the_plots(tmp_path: Path) -> None:
    images = noise(1, (37, 53), cases=1)
    cases = [["case 0"]]
    figure = gallery.draw_gallery("Title", [], ["class"], cases, [KindOfPlot("line", images)])
    save_gallery(figure, tmp_path / "gallery.pdf")
    stream = (tmp_path / "gallery.pdf").read_bytes()
    assert b"/Width 53" in stream
    assert b"/Height 37" in stream
    # The image is stored as the rows of a PNG: put back into one.
    start = stream.index(b"stream\n", stream.index(b"/Subtype /Image")) + len(b"stream\n")
    body = zlib.decompressobj().decompress(stream[start:])
    # Upside down, as PDF counts upwards.
    assert np.array_equal(unfiltered(body, 37, 53)[::-1], images[0][0])


def unfiltered(body: bytes, height: int, width: int) -> np.ndarray:
    """Decode rows of a PNG file by Pillow."""
    header = (
        b"\x00\x00\x00\rIHDR" + width.to_bytes(4, "big") + height.to_bytes(4, "big") + b"\x08\x02\x00\x00\x00"
    )
    data = zlib.compress(body)
    chunks = [header[4:], b"IDAT" + data, b"IEND"]
    content = b"\x89PNG\r\n\x1a\n" + b"".join(
        (len(chunk) - 4).to_bytes(4, "big") + chunk + zlib.crc32(chunk).to_bytes(4, "big") for chunk in chunks
    )
    with Image.open(io.BytesIO(content)) as image:
        return np.asarray(image.convert("RGB"))


@pytest.mark.parametrize("n_classes", [1, 6, 7, MAX_CLASSES, MAX_CLASSES + 1])
def test_classes_beyond_the_limit_are_counted(n_classes: int, tmp_path: Path) -> None:
    images = noise(n_classes, (21, 33))
    images[0] = images[0][:1]
    figure, text = drawn([KindOfPlot("line", images)], n_classes, tmp_path / "gallery.png")
    for index, of_class in enumerate(images):
        for image in of_class:
            assert len(places(figure, image)) == (index < MAX_CLASSES)
    capped = n_classes > MAX_CLASSES
    assert (f"{MAX_CLASSES} of {n_classes} classes are shown" in text) == capped
    assert ("classes are shown" in text) == capped


def test_kinds_beyond_the_limit_are_counted(tmp_path: Path) -> None:
    kinds = [KindOfPlot(f"kind {number}", noise(2, (20 + number, 30))) for number in range(MAX_KINDS + 1)]
    _, text = drawn(kinds, 2, tmp_path / "gallery.png")
    assert f"{MAX_KINDS} of {MAX_KINDS + 1} kinds of plots are shown" in text
    assert [f"kind {number}" in text for number in range(MAX_KINDS + 1)] == [True] * MAX_KINDS + [False]


def test_large_plots_leave_fewer_classes(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    kind = KindOfPlot("line", noise(5, (21, 33)))
    monkeypatch.setattr(gallery, "MAX_PIXELS", gallery.MIN_WIDTH * gallery.kind_height(kind, 3))
    _, text = drawn([kind], 5, tmp_path / "gallery.png")
    assert "3 of 5 classes are shown" in text
    monkeypatch.setattr(gallery, "MAX_PIXELS", 1)
    assert gallery.classes_that_fit([kind], 5) == 1


def test_a_class_without_training_cases_is_named(project: Path, tmp_path: Path) -> None:
    kinds = [KindOfPlot("line", [noise(1, (21, 33))[0], []])]
    _, text = drawn(kinds, 2, tmp_path / "gallery.png")
    assert "no case in the training part" in text
    assert first_cases(LABELS, TRAIN, 3, 4) == [[9, 1], [3, 2, 0, 8], []]


def test_equal_plots_are_shown_once(project: Path) -> None:
    plots = [
        ShownPlots(project / store / name, name, ("a",))
        for name in ("line", "gaf")
        for store in ("files", "archive")
    ]
    assert [[shown.plot for shown in same] for same in same_plots(plots)] == [["line"] * 2, ["gaf"] * 2]


@pytest.mark.parametrize("content", [None, b"no image"])
def test_a_plot_that_cannot_be_read_is_named(content: bytes | None, tmp_path: Path) -> None:
    if content is not None:
        (tmp_path / "case-00003.png").write_bytes(content)
    with pytest.raises(InputError, match=r"case-00003.png is missing or no image"):
        read_plots(tmp_path, [3])


@pytest.mark.parametrize(("n_datasets", "reported"), [(10, True), (11, False)])
def test_the_report_holds_pictures_of_ten_datasets(n_datasets: int, reported: bool) -> None:
    # Functions for rules are Python as it is, but for the names that Snakemake and other files give them.
    names = [f"Waves{number}" for number in range(n_datasets)]
    runs = [Run("tiny", name, "pooled", "plot", seed) for name in names for seed in (0, 1)]
    given = {"RESULTS": "results", "RUNS": runs, "report": lambda path, **marks: (path, marks)}
    exec((Path(__file__).parents[2] / "rules/cases.smk").read_text(), given)
    marked = given["reported_case"]("gallery.png", "gallery", result="Plots")  # type: ignore[operator]
    labels = {"caption": "report/gallery.rst", "category": "4 Cases", "subcategory": "{dataset}"}
    assert marked == (
        ("gallery.png", labels | {"labels": {"result": "Plots"}}) if reported else "gallery.png"
    )
