"""Plots and images: pixels, limits, PNG files, and their storage."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import get_args

import matplotlib
import numpy as np
import pytest
import torch
from PIL import Image
from tiny_llava import TinyTask, make_task, recipe

import render_plots
from vlmtsc.data.series import CleanSeries
from vlmtsc.errors import InputError
from vlmtsc.examples import image_paths
from vlmtsc.files import digest_of_files
from vlmtsc.model.vision import load_pixels
from vlmtsc.representation.images import (
    TILE_IMAGES,
    TilePlotter,
    gramian_field,
    grid,
    power,
    recurrence,
    scale,
    shorten,
)
from vlmtsc.representation.plot_files import ARCHIVE, fit_limits, plots_in
from vlmtsc.representation.plots import VIEWS, LinePlotter, encode_png, make_plotter, plot_size
from vlmtsc.representation.processor import load_processor
from vlmtsc.settings import PlotSettings
from vlmtsc.training.sharing import training_digest

matplotlib.use("agg")


def obvious_way(values: np.ndarray, inches: float = 4.0, dpi: int = 100) -> np.ndarray:
    """Draw as the paper's code does: a new figure, and a tight bounding box without padding."""
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(figsize=(inches, inches), dpi=dpi)
    for channel in values:
        axes.plot(channel)
    axes.set_xticks([])
    axes.set_yticks([])
    for spine in axes.spines.values():
        spine.set_visible(False)
    file = io.BytesIO()
    figure.savefig(file, format="png", bbox_inches="tight", pad_inches=0)
    plt.close(figure)
    return np.asarray(Image.open(file).convert("RGB"))


RANDOM = np.random.default_rng(0)


@pytest.mark.parametrize(
    "values",
    [
        RANDOM.normal(size=(1, 150)).cumsum(axis=1),
        RANDOM.normal(size=(12, 100)),
        RANDOM.normal(size=(1, 3000)),
        np.full((1, 20), 5.0),
        np.zeros((2, 20)),
        np.array([[3.0]]),
        np.array([[1e9, 1e9 + 1e-7] * 5]),
        np.array([[1e300, -1e300, 0.0]]),
    ],
    ids=["walk", "twelve channels", "long", "constant", "zeros", "one point", "nearly constant", "huge"],
)
def test_pixels_equal_the_obvious_way(values: np.ndarray) -> None:
    plotter = LinePlotter(PlotSettings(), n_channels=len(values))
    plotter.render(np.linspace(-7, 900, values.size).reshape(values.shape))  # leaves no trace in the next
    pixels = plotter.render(values)
    assert pixels.shape == (308, 310, 3)
    assert pixels.dtype == np.uint8
    np.testing.assert_array_equal(pixels, obvious_way(values))


def test_other_sizes_equal_the_obvious_way() -> None:
    values = RANDOM.normal(size=(2, 40))
    pixels = LinePlotter(PlotSettings(inches=3.3, dpi=73), n_channels=2).render(values)
    np.testing.assert_array_equal(pixels, obvious_way(values, inches=3.3, dpi=73))


@pytest.mark.parametrize("n_channels", [1, 3])
def test_difference_shows_the_change_since_the_timepoint_before(n_channels: int) -> None:
    values = RANDOM.normal(size=(n_channels, 60)).cumsum(axis=1)
    change = np.diff(values, axis=1)
    plotter = make_plotter(PlotSettings(style="difference"), n_channels)
    drawn, line = plotter.render(values), LinePlotter(PlotSettings(), n_channels).render(values)
    lower, expected = drawn[154:], plotter.render(np.column_stack((change[:, :1], change)))[:154]
    np.testing.assert_array_equal(lower[:, 25:], expected[:, 25:])  # the second timepoint is at column 19
    assert (lower[:, :15] == 255).all()
    # Above it the plot `line`, half as high.
    upper, whole = ((pixels != 255).any(axis=2).any(axis=0) for pixels in (drawn[:154], line))
    np.testing.assert_array_equal(upper, whole)


@pytest.mark.parametrize("style", get_args(PlotSettings.model_fields["style"].annotation))
def test_a_users_own_style_changes_nothing(style: str, matplotlibrc: dict[str, str]) -> None:
    values = RANDOM.normal(size=(2, 400))  # long enough to be simplified
    settings = PlotSettings(style=style)
    before = make_plotter(settings, 2)
    expected = before.render(values)
    with matplotlib.rc_context(matplotlibrc):
        np.testing.assert_array_equal(before.render(values), expected)
        np.testing.assert_array_equal(make_plotter(settings, 2).render(values), expected)
        assert plot_size(settings) == expected.shape[1::-1]


def test_script_draws_every_case_once(tmp_path: Path) -> None:
    import render_plots

    values = RANDOM.normal(size=(7, 2, 12))
    series = CleanSeries(
        values,
        np.zeros(7, dtype=np.int64),
        np.array(["a"]),
        np.array([f"Toy-{case:05d}" for case in range(7)]),
        4,
    )
    series.save(tmp_path / "series.npz")
    output = tmp_path / "plots"
    render_plots.render_plots(tmp_path / "series.npz", output, PlotSettings())
    assert sorted(path.name for path in output.iterdir()) == [
        *(f"case-{case:05d}.png" for case in range(7)),
        "manifest.json",
    ]
    assert json.loads((output / "manifest.json").read_text()) == {
        "settings": {
            "style": "line",
            "axis_limits": "per_series",
            "series": "full",
            "inches": 4.0,
            "dpi": 100,
        },
        "width": 310,
        "height": 308,
        "count": 7,
        "digest": digest_of_files(output / f"case-{case:05d}.png" for case in range(7)),
    }
    plotter = LinePlotter(PlotSettings(), 2)
    for case in range(7):
        np.testing.assert_array_equal(
            np.asarray(Image.open(output / f"case-{case:05d}.png")), plotter.render(values[case])
        )


STYLES = ["line", "difference", "area", "panels", "gaf", "recurrence", "spectrogram"]


@pytest.mark.parametrize("style", STYLES)
@pytest.mark.parametrize("axis_limits", ["per_series", "shared"])
@pytest.mark.parametrize(
    "values",
    [
        RANDOM.normal(size=(1, 150)).cumsum(axis=1),
        RANDOM.normal(size=(6, 100)),
        np.full((1, 20), 5.0),
        np.array([[3.0]]),
        RANDOM.normal(size=(2, 8)),
    ],
    ids=["walk", "six channels", "constant", "one point", "eight points"],
)
def test_all_styles_draw_any_series_in_the_same_size(
    style: str, axis_limits: str, values: np.ndarray
) -> None:
    settings = PlotSettings(style=style, axis_limits=axis_limits)  # type: ignore[arg-type]
    limits = fit_limits(np.stack([values, 2 * values])) if axis_limits == "shared" else None
    plotter = make_plotter(settings, len(values), limits)
    pixels = plotter.render(values)
    assert pixels.shape == (308, 310, 3)
    assert style in VIEWS or (pixels != 255).any()
    plotter.render(np.linspace(-7, 900, values.size).reshape(values.shape))  # leaves no trace in the next
    np.testing.assert_array_equal(plotter.render(values), pixels)
    np.testing.assert_array_equal(make_plotter(settings, len(values), limits).render(values), pixels)


@pytest.mark.parametrize("style", ["line", "difference", "area", "panels"])
def test_shared_limits_are_those_that_the_widest_series_has_alone(style: str) -> None:
    widest = RANDOM.normal(size=(2, 50)) * [[1], [1]]
    limits = fit_limits(np.stack([widest / 2, widest, widest / 3]))
    shared = make_plotter(PlotSettings(style=style, axis_limits="shared"), 2, limits)  # type: ignore[arg-type]
    alone = make_plotter(PlotSettings(style=style), 2)  # type: ignore[arg-type]
    np.testing.assert_array_equal(shared.render(widest), alone.render(widest))
    assert (shared.render(widest / 2) != shared.render(widest)).any()
    np.testing.assert_array_equal(alone.render(widest / 2), alone.render(widest))


def test_what_lies_outside_shared_limits_is_clipped() -> None:
    limits = (np.array([0.0]), np.array([1.0]))
    plotter = make_plotter(PlotSettings(axis_limits="shared"), 1, limits)
    assert (plotter.render(np.array([[5.0, 6.0, 5.0]])) == 255).all()


def test_limits_need_cases_of_the_train_file() -> None:
    with pytest.raises(InputError, match="allowed: per_series"):
        fit_limits(np.zeros((0, 1, 5)))
    low, high = fit_limits(np.array([[[1.0, 2], [5, 5]], [[0, 1], [5, 9]]]))
    assert (low.tolist(), high.tolist()) == ([0, 5], [2, 9])


def test_limits_and_settings_go_together() -> None:
    with pytest.raises(ValueError, match="axis_limits='shared'"):
        make_plotter(PlotSettings(axis_limits="shared"), 1)


def test_downsampled_plots_need_a_representation(tmp_path) -> None:
    import render_plots

    series = CleanSeries(
        np.zeros((1, 1, 4)), np.zeros(1, dtype=np.int64), np.array(["a"]), np.array(["T-0"]), 1
    )
    series.save(tmp_path / "series.npz")
    with pytest.raises(InputError, match="series='downsampled' without a scenario's representation"):
        render_plots.render_plots(
            tmp_path / "series.npz", tmp_path / "out", PlotSettings(series="downsampled")
        )


@pytest.mark.parametrize("shape", [(308, 310), (1, 1), (3, 700)])
def test_png_holds_the_pixels(shape: tuple[int, int]) -> None:
    pixels = RANDOM.integers(0, 256, size=(*shape, 3), dtype=np.uint8)
    with Image.open(io.BytesIO(encode_png(pixels))) as image:
        image.verify()
    with Image.open(io.BytesIO(encode_png(pixels))) as image:
        assert (image.format, image.mode) == ("PNG", "RGB")
        np.testing.assert_array_equal(np.asarray(image), pixels)


SERIES = {
    "univariate": RANDOM.normal(size=(1, 150)).cumsum(axis=1),
    "six channels": RANDOM.normal(size=(6, 100)),
    "long": RANDOM.normal(size=(1, 3000)).cumsum(axis=1),
    "constant": np.full((2, 40), 0.1),
    "one point": np.array([[3.0]]),
    "two points": np.array([[3.0, 4.0]]),
    "eight points": np.array([[0.0, 1, 3, 2, -1, 0, 1, 5]]),
    "huge": np.array([[1e308, -1e308, 0.0, 1.0]]),
    "tiny": np.array([[5e-324, 0.0, 5e-324]]),
}


@pytest.mark.parametrize("style", sorted(TILE_IMAGES))
@pytest.mark.parametrize("shared", [False, True])
@pytest.mark.parametrize("name", SERIES)
@pytest.mark.filterwarnings("error")
def test_every_series_has_a_picture(style: str, shared: bool, name: str) -> None:
    values = SERIES[name]
    limits = (values.min(axis=1), values.max(axis=1)) if shared else None
    plotter = TilePlotter(style, 308, 310, len(values), limits)
    pixels = plotter.render(values)
    assert pixels.shape == (308, 310, 3)
    assert pixels.dtype == np.uint8
    plotter.render(3 - values / 2)
    np.testing.assert_array_equal(plotter.render(values), pixels)
    if values.shape[1] == 1 or name == "constant":
        first = pixels[:100, :100].reshape(-1, 3)
        assert (first == first[0]).all()


def test_images_are_those_of_their_definitions() -> None:
    x = np.linspace(0, 1, 12) ** 2
    angles = np.arccos(2 * x - 1)
    field = np.cos(angles[:, None] + angles[None, :])
    np.testing.assert_allclose(2 * gramian_field(x, 99, False) - 1, field, atol=1e-12)
    np.testing.assert_allclose(1 - recurrence(x, 99, False), np.abs(x[:, None] - x[None, :]), atol=1e-12)


def test_spectrogram_shows_a_frequency_where_it_is() -> None:
    time = np.arange(1024)
    wave = np.where(time < 512, np.sin(2 * np.pi * time / 32), np.sin(2 * np.pi * time / 4)) / 2 + 0.5
    image = power(wave, 310, False)
    n_frequencies, n_windows = image.shape
    early, late = image[:, n_windows // 4].argmax(), image[:, 3 * n_windows // 4].argmax()
    assert early / (n_frequencies - 1) == pytest.approx(2 / 32, abs=0.02)
    assert late / (n_frequencies - 1) == pytest.approx(2 / 4, abs=0.02)
    assert image.max() == 1


def test_shared_scale_shows_amplitude() -> None:
    wave = np.sin(np.arange(200) / 3)
    for style in TILE_IMAGES:
        one = TilePlotter(style, 60, 60, 1).render(wave[None])
        np.testing.assert_array_equal(one, TilePlotter(style, 60, 60, 1).render(8 * wave[None]))
        shared = TilePlotter(style, 60, 60, 1, (np.array([-8.0]), np.array([8.0])))
        assert (shared.render(wave[None]) != shared.render(8 * wave[None])).any()


def test_channels_have_tiles_of_their_own() -> None:
    values = np.random.default_rng(1).normal(size=(6, 50))
    plotter = TilePlotter("recurrence", 308, 310, 6)
    before = plotter.render(values)
    values[4] = np.linspace(0, 1, 50)
    changed = (before != plotter.render(values)).any(axis=2)
    rows, columns = np.flatnonzero(changed.any(axis=1)), np.flatnonzero(changed.any(axis=0))
    assert (rows[0] >= 154) & (columns[0] >= 103) & (columns[-1] < 207)


@pytest.mark.parametrize(
    ("n_channels", "tiles", "panels"),
    [
        (1, (1, 1), (1, 1)),
        (2, (1, 2), (2, 1)),
        (6, (2, 3), (3, 2)),
        (12, (3, 4), (6, 2)),
        (100, (10, 10), (20, 5)),
    ],
)
def test_grid(n_channels: int, tiles: tuple[int, int], panels: tuple[int, int]) -> None:
    assert grid(n_channels, 1) == tiles
    assert grid(n_channels, 4) == panels


def test_many_channels_fit() -> None:
    values = np.random.default_rng(1).normal(size=(963, 20))
    assert TilePlotter("gaf", 308, 310, 963).render(values).shape == (308, 310, 3)


def test_values_are_scaled_clipped_and_shortened() -> None:
    assert scale(np.array([-1.0, 0, 1, 9]), 0, 2).tolist() == [0, 0, 0.5, 1]
    assert scale(np.array([3.0]), 3, 3).tolist() == [0.5]
    assert len(shorten(np.zeros(1000), 310)) == 250
    assert len(shorten(np.zeros(310), 310)) == 310


def test_figures_of_the_documentation_are_drawn_small(tmp_path) -> None:
    from draw_representations import draw_representations

    draw_representations(tmp_path)
    sizes = {path.name: path.stat().st_size for path in tmp_path.iterdir()}
    assert sorted(sizes) == ["downsampling.png", "pictures.png"]
    assert sum(sizes.values()) < 200_000


@pytest.fixture(scope="module")
def task(tiny_checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> TinyTask:
    return make_task(tiny_checkpoint, tmp_path_factory.mktemp("plots"), modality="plot")


@pytest.fixture(scope="module")
def stores(task: TinyTask, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Give the plots of one dataset in either store."""
    folder = tmp_path_factory.mktemp("stores")
    task.series.save(folder / "series.npz")
    for store in ("files", "archive"):
        render_plots.render_plots(
            folder / "series.npz", folder / store, PlotSettings(inches=1.0, dpi=40), store=store
        )
    return {store: folder / store for store in ("files", "archive")}


def test_an_archive_is_two_files_whatever_the_number_of_cases(stores: dict[str, Path]) -> None:
    assert sorted(path.name for path in stores["archive"].iterdir()) == ["manifest.json", ARCHIVE]
    assert len(list(stores["files"].glob("*.png"))) == 20
    manifests = [json.loads((folder / "manifest.json").read_text()) for folder in stores.values()]
    assert manifests[0] == manifests[1]


def test_plots_are_read_in_place(stores: dict[str, Path], tiny_checkpoint: Path) -> None:
    processor = load_processor(tiny_checkpoint)
    names = [f"case-{case:05d}.png" for case in (19, 0, 7, 7)]
    pixels = {
        store: load_pixels([plots_in(folder) / name for name in names], processor)
        for store, folder in stores.items()
    }
    assert pixels["files"].shape[0] == 4
    assert not torch.equal(pixels["files"][0], pixels["files"][1])
    assert torch.equal(pixels["files"], pixels["archive"])
    assert [path.name for path in stores["archive"].iterdir() if path.suffix == ".png"] == []


def test_a_training_is_the_same_with_either_store(
    stores: dict[str, Path], task: TinyTask, tiny_checkpoint: Path
) -> None:
    parts = {part: task.records[part] for part in ("train", "validation")}
    digests = {
        training_digest(
            tiny_checkpoint, parts, task.representation, recipe(), plots=folder, threads=1, code="x"
        )
        for folder in stores.values()
    }
    assert len(digests) == 1
    assert image_paths([[]], stores["archive"]) == []


def test_a_damaged_archive_is_named(stores: dict[str, Path], tiny_checkpoint: Path, tmp_path: Path) -> None:
    processor = load_processor(tiny_checkpoint)
    with pytest.raises(InputError, match=r"plots\.zip/case-00099\.png: not a readable image"):
        load_pixels([plots_in(stores["archive"]) / "case-00099.png"], processor)
    content = (stores["archive"] / ARCHIVE).read_bytes()
    place = content.index(b"IDAT") + 20
    (tmp_path / ARCHIVE).write_bytes(content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :])
    with pytest.raises(InputError, match=r"case-00000\.png: not a readable image \(.*CRC"):
        load_pixels([plots_in(tmp_path) / "case-00000.png"], processor)
    (tmp_path / ARCHIVE).write_bytes(content[: len(content) // 2])
    with pytest.raises(InputError, match=r"plots\.zip: not a readable archive .*remove its folder"):
        plots_in(tmp_path)
