"""Pictures that are not plots: the formulas are pyts', and every series has a picture of the same size."""

import os
import subprocess
import sys

import numpy as np
import pytest

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

RANDOM = np.random.default_rng(0)
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


def test_formulas_are_those_of_pyts() -> None:
    """In a process of its own, where numba compiles nothing: importing pyts takes half a minute otherwise."""
    code = (
        "import numpy as np; from pyts.image import GramianAngularField, RecurrencePlot;"
        "x = np.linspace(0, 1, 12)[None] ** 2;"
        "print(GramianAngularField(sample_range=None).transform(2 * x - 1)[0].tolist());"
        "print(RecurrencePlot(threshold=None).transform(x)[0].tolist())"
    )
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code],
        env={**os.environ, "NUMBA_DISABLE_JIT": "1"},
        capture_output=True,
        text=True,
        check=True,
    )
    field, distances = (np.array(eval(line)) for line in done.stdout.splitlines())
    x = np.linspace(0, 1, 12) ** 2
    np.testing.assert_allclose(2 * gramian_field(x, 99, False) - 1, field, atol=1e-12)
    np.testing.assert_allclose(1 - recurrence(x, 99, False), distances, atol=1e-12)


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
