"""Plots in one archive: the same images and digests as a file each, read in place."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from tiny_llava import TinyTask, make_task, recipe

import render_plots
from vlmtsc.errors import InputError
from vlmtsc.examples import image_paths
from vlmtsc.model.vision_features import load_pixels
from vlmtsc.representation import plots
from vlmtsc.representation.plot_files import ARCHIVE, plots_in
from vlmtsc.representation.tokens import load_processor
from vlmtsc.settings import PlotSettings
from vlmtsc.training.sharing import training_digest


@pytest.fixture(scope="module")
def task(tiny_checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> TinyTask:
    return make_task(tiny_checkpoint, tmp_path_factory.mktemp("plots"), modality="plot")


@pytest.fixture(scope="module")
def stores(task: TinyTask, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Give the plots of one dataset in either store; the archive is drawn by two processes."""
    folder = tmp_path_factory.mktemp("stores")
    task.series.save(folder / "series.npz")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(plots, "CHUNK", 6)
        for store, threads in (("files", 1), ("archive", 2), ("again", 1)):
            render_plots.render_plots(
                folder / "series.npz",
                folder / store,
                PlotSettings(inches=1.0, dpi=40),
                store="files" if store == "files" else "archive",
                threads=threads,
            )
    return {store: folder / store for store in ("files", "archive", "again")}


def test_an_archive_is_two_files_whatever_the_number_of_cases(stores: dict[str, Path]) -> None:
    assert sorted(path.name for path in stores["archive"].iterdir()) == ["manifest.json", ARCHIVE]
    assert len(list(stores["files"].glob("*.png"))) == 20
    manifests = [json.loads((folder / "manifest.json").read_text()) for folder in stores.values()]
    assert manifests[0] == manifests[1] == manifests[2]
    # However many processes drew it.
    assert (stores["archive"] / ARCHIVE).read_bytes() == (stores["again"] / ARCHIVE).read_bytes()


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
