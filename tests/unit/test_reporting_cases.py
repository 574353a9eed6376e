"""Figures of the classes and cases of a dataset: plots pixel for pixel, prototypes, downsampled series."""

from __future__ import annotations

import zipfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from matplotlib.figure import Figure
from PIL import Image

from render_plots import render_plots
from vlmtsc.data.series import CleanSeries
from vlmtsc.errors import InputError
from vlmtsc.paths import Run
from vlmtsc.planning import CaseScenario, case_scenarios, scenario_titles
from vlmtsc.reporting import gallery
from vlmtsc.reporting.gallery import (
    CASES,
    MAX_CHANNELS,
    MAX_CLASSES,
    MAX_KINDS,
    KindOfPlot,
    draw_downsampling,
    explain_factor,
)
from vlmtsc.reporting.style import save_figure
from vlmtsc.representation.downsampling import downsample
from vlmtsc.representation.plot_files import PlotStore
from vlmtsc.representation.representation import Representation, fit_representation
from vlmtsc.settings import PlotSettings, ScenarioSettings

LABELS = np.array([1, 0, 1, 1, 0, 1, 1, 0, 1, 0, 2, 0])
#: Class 0 has fewer cases than are shown, class 1 more, class 2 none.
TRAIN = np.array([9, 3, 2, 0, 8, 1, 6, 5])


def places(figure: np.ndarray, image: np.ndarray) -> list[tuple[int, int]]:
    """Find an image in a larger one, pixel for pixel: rows and columns of its corner."""
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


def texts(figure: Figure) -> str:
    return " ".join(text.get_text() for text in figure.texts).replace("\n", " ")


def noise(n_classes: int, size: tuple[int, int], cases: int = CASES) -> list[list[np.ndarray]]:
    generator = np.random.default_rng(n_classes)
    return [
        [generator.integers(0, 256, (*size, 3), dtype=np.uint8) for _ in range(cases)]
        for _ in range(n_classes)
    ]


def drawn(kinds: Sequence[KindOfPlot], n_classes: int, path: Path) -> tuple[np.ndarray, str]:
    """Draw a gallery; return its pixels and its text."""
    cases = [[f"case {case}" for case in range(len(images))] for images in kinds[0].images]
    figure = gallery.draw_plots("Title", "A note.", [f"class {i}" for i in range(n_classes)], cases, kinds)
    save_figure(figure, path, tight=False)
    return pixels(path), texts(figure)


@pytest.fixture(scope="module")
def series() -> CleanSeries:
    """Twelve series of two channels."""
    values = np.random.default_rng(0).normal(size=(12, 2, 30)).cumsum(axis=2)
    ids = np.array([f"Waves-{case:05d}" for case in range(12)])
    return CleanSeries(values, LABELS, np.array(["$x_1", "running", "standing"]), ids, 6)


@pytest.fixture(scope="module")
def plots(series: CleanSeries, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Plots of two kinds in both stores."""
    folder = tmp_path_factory.mktemp("gallery")
    series.save(folder / "series.npz")
    stores: tuple[PlotStore, ...] = ("files", "archive")
    for store in stores:
        for name, settings in {"line": PlotSettings(), "gaf": PlotSettings(style="gaf", dpi=61)}.items():
            render_plots(folder / "series.npz", folder / store / name, settings, store=store)
    return folder


def shown(plots: Path, store: str) -> list[CaseScenario]:
    kinds = {"plot": "line", "plot_gaf": "gaf", "numbers": "", "other": "line"}
    return [
        CaseScenario("tiny", name, (0,), kind, str(plots / store / kind) if kind else "")
        for name, kind in kinds.items()
    ]


def test_every_plot_is_there_pixel_for_pixel_and_no_other(
    series: CleanSeries, plots: Path, tmp_path: Path
) -> None:
    for store in ("files", "archive"):
        figure = gallery.draw_gallery("Waves", "pooled", series, TRAIN, shown(plots, store))
        for form in ("png", "pdf"):
            save_figure(figure, tmp_path / f"{store}.{form}", tight=False)
    image = pixels(tmp_path / "files.png")
    chosen = {9, 1, 3, 2, 0, 8}  # in the order of the training set, at most four of a class
    for kind in ("line", "gaf"):
        for case in range(12):
            plot = pixels(plots / f"files/{kind}/case-{case:05d}.png")
            assert len(places(image, plot)) == (case in chosen), (kind, case)
    text = texts(figure)
    assert "line (shown by plot, other)" in text  # equal plots are shown once
    assert "class standing (0 training cases)" in text
    assert "no case in the training set" in text
    for form in ("png", "pdf"):
        same = [(tmp_path / f"{store}.{form}").read_bytes() for store in ("files", "archive")]
        assert same[0] == same[1], form
    # Images of the PDF have the plots' pixels and a frame: they are not resampled.
    height, width, _ = plot.shape
    assert f"/Height {height + 2}".encode() in same[0]
    assert f"/Width {width + 2}".encode() in same[0]


@pytest.mark.parametrize("n_classes", [1, 6, 7, MAX_CLASSES, MAX_CLASSES + 1])
def test_classes_beyond_the_limit_are_counted(n_classes: int, tmp_path: Path) -> None:
    images = noise(n_classes, (21, 33))
    images[0] = images[0][:1]
    figure, text = drawn([KindOfPlot("line", images)], n_classes, tmp_path / "gallery.png")
    for index, of_class in enumerate(images):
        for image in of_class:
            assert len(places(figure, image)) == (index < MAX_CLASSES)
    assert (f"{MAX_CLASSES} of {n_classes} classes are shown" in text) == (n_classes > MAX_CLASSES)


def test_kinds_beyond_the_limit_are_counted(tmp_path: Path) -> None:
    kinds = [KindOfPlot(f"kind {number}", noise(2, (20 + number, 30))) for number in range(MAX_KINDS + 1)]
    _, text = drawn(kinds, 2, tmp_path / "gallery.png")
    assert f"{MAX_KINDS} of {MAX_KINDS + 1} kinds of plots are shown" in text
    assert [f"kind {number}" in text for number in range(MAX_KINDS + 1)] == [True] * MAX_KINDS + [False]


def test_large_plots_leave_fewer_classes(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    kind = KindOfPlot("line", noise(5, (600, 33)))
    monkeypatch.setattr(gallery, "MAX_PIXELS", 3_000_000)
    figure, text = drawn([kind], 5, tmp_path / "gallery.png")
    assert "4 of 5 classes are shown" in text
    assert len(figure) < 3_000
    monkeypatch.setattr(gallery, "MAX_PIXELS", 1)
    assert "1 of 5 classes are shown" in drawn([kind], 5, tmp_path / "gallery.png")[1]


@pytest.mark.parametrize("content", [None, b"no image"])
def test_a_plot_that_cannot_be_read_is_named(content: bytes | None, tmp_path: Path) -> None:
    if content is not None:
        (tmp_path / "case-00003.png").write_bytes(content)
    with pytest.raises(InputError, match=r"case-00003.png is missing or no image"):
        gallery.read_plot(tmp_path, "case-00003.png")


def test_a_plot_in_a_damaged_archive_is_named(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "plots.zip", "w") as archive:
        archive.writestr("case-00003.png", b"content" * 99)
    content = (tmp_path / "plots.zip").read_bytes()
    (tmp_path / "plots.zip").write_bytes(content.replace(b"content", b"another", 1))
    with pytest.raises(InputError, match=r"case-00003.png is missing or no image \(Bad CRC"):
        gallery.read_plot(zipfile.Path(tmp_path / "plots.zip"), "case-00003.png")


def bumps(shifts: Sequence[int], n_timepoints: int = 60) -> np.ndarray:
    """Series with one bump of height 1 each, float64 of shape (n_cases, n_timepoints, 1)."""
    times = np.arange(n_timepoints)
    return np.stack([np.exp(-(((times - 30 - shift) / 4) ** 2)) for shift in shifts])[..., None]


def test_a_prototype_has_the_shape_of_its_series_and_their_mean_has_not() -> None:
    cases = bumps([-12, -6, 0, 6, 12])
    prototype = gallery.class_prototype(cases)
    assert prototype.shape == (60, 1)
    assert cases.mean(axis=0).max() < 0.5
    assert 0.8 < prototype.max() < 1.1
    assert gallery.class_prototype(cases[:1]) == pytest.approx(cases[0], abs=0.1)
    assert gallery.class_prototype(np.ones((3, 5, 2))).tolist() == [[1.0] * 2] * 5
    for unit in (1e-6, 1e6):
        assert gallery.class_prototype(unit * cases) / unit == pytest.approx(prototype, abs=1e-3)


def test_prototypes_are_drawn_over_series_and_say_what_is_left_out() -> None:
    generator = np.random.default_rng(0)
    n_classes, limit = MAX_CLASSES + 2, gallery.PROTOTYPE_CASES
    labels = np.arange(300) % n_classes
    labels[labels == 1] = 0  # a class without a case
    values = generator.normal(size=(300, 5, 200)).cumsum(axis=2)
    names = np.array([f"${number}" for number in range(n_classes)])
    many = CleanSeries(values, labels, names, np.array([f"Waves-{case}" for case in range(300)]), 200)
    figure = gallery.draw_prototypes("Waves", "pooled", many, np.arange(250))
    axes = np.array(figure.axes).reshape(MAX_CLASSES, gallery.PROTOTYPE_CHANNELS)
    series = [len(parts[0].lines) - 1 for parts in axes]
    assert series == [
        limit,
        -1,
        *[250 // n_classes + (index < 250 % n_classes) for index in range(2, MAX_CLASSES)],
    ]
    for channel in axes.T:
        assert len({panel.get_ylim() for panel in channel}) == 1
    title = figure.legends[0].get_title().get_text().replace("\n", " ")
    assert f"the first {MAX_CLASSES} of {n_classes} classes" in title
    assert "the first 3 of 5 channels" in title
    assert axes[1][0].get_title() == "class $1: no training case"


SERIES = np.random.default_rng(0).normal(size=(5, 300)).cumsum(axis=1)


def fitted(used: int, **changes: object) -> Representation:
    scenario = ScenarioSettings(
        name="s", modality="numbers", numbers="decimals", plot="none", context_length=512
    )
    return fit_representation(
        scenario.changed(**changes),  # type: ignore[arg-type]
        None,
        SERIES[None],
        used,
        classes=["1", "2"],
        image_tokens=0,
        system_prompt="",
        eos_token="</s>",
    )


def one_case(values: np.ndarray) -> CleanSeries:
    return CleanSeries(values[None], np.array([1]), np.array(["left", "right"]), np.array(["Waves-00000"]), 1)


def test_panels_hold_the_values_of_each_method() -> None:
    known = {"a": fitted(3), "b": fitted(7, downsampling="minmax"), "c": fitted(7)}
    figure = draw_downsampling("Waves", one_case(SERIES), 0, known)
    panels = np.array(figure.axes).reshape(MAX_CHANNELS, 4)
    for channel, row in enumerate(panels):
        wanted = [SERIES, *(downsample(SERIES, method, 7) for method in ("uniform", "adaptive", "minmax"))]
        for panel, values in zip(row, wanted, strict=True):
            assert panel.lines[0].get_ydata().tolist() == values[channel].tolist()
        assert {panel.get_ylim() for panel in row} == {row[0].get_ylim()}
    titles = [panel.get_title() for panel in panels[0]]
    assert titles[:3] == ["series, 300 values", "uniform, 43 values", "adaptive, 43 values"]
    assert figure.get_suptitle().split("\n") == [
        "Waves, case 0 (class right)",
        "factor 7: the smallest with which every case fits 512 tokens (scenario b, method minmax)",
        f"{MAX_CHANNELS} of 5 channels, the first ones",
    ]


def test_without_downsampling_only_the_series_is_drawn() -> None:
    figure = draw_downsampling("Waves", one_case(SERIES[:1, :20]), 0, {"a": fitted(1)})
    (panel,) = figure.axes
    assert panel.lines[0].get_marker() == "."
    assert "nothing is left out" in figure.get_suptitle()
    assert "channels" not in figure.get_suptitle()


def test_a_fixed_factor_is_explained() -> None:
    assert explain_factor("x", fitted(4, factor=4)) == (
        "factor 4: fixed by the scenario (scenario x, method uniform)"
    )


def test_seeds_of_a_scenario_are_one_entry() -> None:
    class Settings:
        """The part of a configuration that is asked for."""

        shown_plot = staticmethod({"plot": "line", "numbers": None}.get)
        downsamples = staticmethod("numbers".__eq__)

    runs = [
        Run(model, "Waves", "pooled", scenario, seed)
        for model in ("a", "b")
        for scenario in ("plot", "numbers")
        for seed in (0, 3)
    ]
    folders = {"plot": "plots/line", "numbers": []}
    found = case_scenarios(runs, Settings(), lambda run: folders[run.scenario])  # type: ignore[arg-type]
    assert found[:2] == [
        CaseScenario("a", "plot", (0, 3), "line", "plots/line", False),
        CaseScenario("a", "numbers", (0, 3), "", "", True),
    ]
    assert scenario_titles(found) == ["plot (a)", "numbers (a)", "plot (b)", "numbers (b)"]
    assert scenario_titles(found[:2]) == ["plot", "numbers"]
