"""The plotter's pixels are those of the obvious way, and the script writes each once."""

import io
import json

import matplotlib
import numpy as np
import pytest
from PIL import Image

from vlmtsc.data.series import CleanSeries
from vlmtsc.errors import InputError
from vlmtsc.files import digest_of_files
from vlmtsc.representation import plots
from vlmtsc.representation.plot_files import fit_limits
from vlmtsc.representation.plots import LinePlotter, encode_png, make_plotter
from vlmtsc.settings import PlotSettings

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


def test_a_users_own_style_changes_nothing() -> None:
    values = RANDOM.normal(size=(1, 40))
    expected = LinePlotter(PlotSettings(), 1).render(values)
    with matplotlib.rc_context({"lines.linewidth": 9, "axes.xmargin": 0.3, "figure.facecolor": "black"}):
        np.testing.assert_array_equal(LinePlotter(PlotSettings(), 1).render(values), expected)


@pytest.mark.parametrize("threads", [1, 2])
def test_script_draws_every_case_once(tmp_path, monkeypatch, threads: int) -> None:
    import render_plots

    monkeypatch.setattr(plots, "CHUNK", 3)
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
    render_plots.render_plots(tmp_path / "series.npz", output, PlotSettings(), threads=threads)
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


STYLES = ["line", "area", "panels", "gaf", "recurrence", "spectrogram"]


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
    assert style == "line" or (pixels != 255).any()
    plotter.render(np.linspace(-7, 900, values.size).reshape(values.shape))  # leaves no trace in the next
    np.testing.assert_array_equal(plotter.render(values), pixels)
    np.testing.assert_array_equal(make_plotter(settings, len(values), limits).render(values), pixels)


@pytest.mark.parametrize("style", ["line", "area", "panels"])
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
