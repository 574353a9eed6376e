"""The scripts of the data steps, called as functions: what they write."""

import numpy as np
import pytest

from preprocess_dataset import preprocess_dataset
from split_dataset import split_dataset
from vlmtsc.data.series import CleanSeries, LabelledSeries
from vlmtsc.errors import InputError
from vlmtsc.files import read_json
from vlmtsc.settings import CleaningSettings, SplitSettings


@pytest.fixture
def archive(tmp_path):
    generator = np.random.default_rng(0)
    train, test = (
        [generator.normal(size=(2, 5)) for _ in range(8)],
        [generator.normal(size=(2, 4)) for _ in range(4)],
    )
    train[0][0, 1] = np.nan
    labels = ["walk", "-1"] * 6
    series = LabelledSeries.from_parts((train, labels[:8]), (test, labels[8:]))
    series.save(tmp_path / "archive.npz")
    return tmp_path / "archive.npz"


def test_facts_and_series(archive, tmp_path):
    preprocess_dataset(archive, "Tiny", CleaningSettings(), tmp_path / "series.npz", tmp_path / "facts.json")
    clean = CleanSeries.load(tmp_path / "series.npz")
    assert clean.values.shape == (12, 2, 5)
    assert clean.classes.tolist() == ["-1", "walk"]
    facts = read_json(tmp_path / "facts.json")
    assert facts["digest"] == LabelledSeries.load(archive).digest()
    assert facts["archive"] == {
        "train_size": 8,
        "test_size": 4,
        "channels": 2,
        "length_min": 4,
        "length_max": 5,
        "missing_values": 1,
    }
    assert facts["label_map"] == {"-1": 0, "walk": 1}
    assert facts["class_balance"] == {"-1": 6, "walk": 6}
    assert (facts["n_cases"], facts["n_train"], facts["n_test"]) == (12, 8, 4)
    assert (facts["values_interpolated"], facts["cases_resampled"]) == (1, 4)


@pytest.mark.parametrize(("protocol", "counts"), [("pooled", (6, 3, 3)), ("official", (6, 2, 4))])
def test_split_and_its_facts(archive, tmp_path, protocol, counts):
    preprocess_dataset(archive, "Tiny", CleaningSettings(), tmp_path / "series.npz", tmp_path / "facts.json")
    split_dataset(
        tmp_path / "series.npz",
        SplitSettings(protocol=protocol),
        tmp_path / "split.npz",
        tmp_path / "split.json",
    )
    with np.load(tmp_path / "split.npz", allow_pickle=False) as split:
        assert tuple(len(split[name]) for name in ("train", "validation", "test")) == counts
        assert sorted(np.concatenate([split[name] for name in split.files]).tolist()) == list(range(12))
    facts = read_json(tmp_path / "split.json")
    assert tuple(facts["n_cases"].values()) == counts
    assert sum(facts["class_balance"]["test"].values()) == counts[2]


def test_an_impossible_split_names_the_file(archive, tmp_path):
    preprocess_dataset(archive, "Tiny", CleaningSettings(), tmp_path / "series.npz", tmp_path / "facts.json")
    with pytest.raises(InputError, match=r"series\.npz: official split: validation_share"):
        split_dataset(
            tmp_path / "series.npz",
            SplitSettings(protocol="official", validation_share=0.99),
            tmp_path / "split.npz",
            tmp_path / "split.json",
        )
    assert not (tmp_path / "split.npz").exists()
