"""Splits: those of the paper's code, and the archive's own."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.model_selection import train_test_split

from vlmtsc.data.splits import split_cases
from vlmtsc.errors import InputError
from vlmtsc.settings import SplitSettings

POOLED, OFFICIAL = SplitSettings(protocol="pooled"), SplitSettings(protocol="official")


@pytest.mark.parametrize("n_cases", [3, 10, 200, 1096])
def test_pooled_split_is_that_of_the_paper(n_cases):
    rest, test = train_test_split(range(n_cases), test_size=0.2, random_state=42)
    train, validation = train_test_split(rest, test_size=0.25, random_state=21)
    parts = split_cases(np.arange(n_cases) % 2, n_cases // 2, POOLED)
    assert [parts[name].tolist() for name in ("train", "validation", "test")] == [train, validation, test]


def test_pooled_split_of_italy_power_demand():
    parts = split_cases(np.zeros(1096, dtype=int), 67, POOLED)
    assert {name: len(part) for name, part in parts.items()} == {"train": 657, "validation": 219, "test": 220}


@given(st.integers(1, 5), st.integers(4, 30), st.integers(1, 30))
def test_official_split_is_stratified_and_keeps_test(n_classes, per_class, n_test):
    n_train = n_classes * per_class
    label_index = np.concatenate([np.arange(n_train) % n_classes, np.zeros(n_test, dtype=int)])
    parts = split_cases(label_index, n_train, OFFICIAL)
    assert parts["test"].tolist() == list(range(n_train, n_train + n_test))
    assert sorted(np.concatenate([parts["train"], parts["validation"]]).tolist()) == list(range(n_train))
    for name in ("train", "validation"):
        counts = np.bincount(label_index[parts[name]], minlength=n_classes)
        assert counts.min() >= 1
        assert counts.max() - counts.min() <= 1
    assert all(part.dtype == np.int64 for part in parts.values())


def test_official_split_is_the_same_every_time():
    label_index = np.arange(60) % 3
    one, two = (
        split_cases(label_index, 40, SplitSettings(protocol="official", validation_share=0.2))
        for _ in range(2)
    )
    assert one["validation"].tolist() == two["validation"].tolist()
    assert len(one["validation"]) == 8


@pytest.mark.parametrize(
    ("label_index", "n_train", "settings", "message"),
    [
        ([0, 1], 1, POOLED, "2 cases; needed are at least 3"),
        ([0, 0, 0, 1, 0, 1], 4, OFFICIAL, "the class with index 1 has one TRAIN case"),
        ([0, 0, 1, 1], 4, OFFICIAL, "no TEST cases"),
        ([0, 0, 1, 1, 0], 4, OFFICIAL, "leaves 3 and takes 1; needed is a case of each of the 2 classes"),
    ],
)
def test_impossible_splits_say_why(label_index, n_train, settings, message):
    with pytest.raises(InputError, match=message):
        split_cases(np.array(label_index), n_train, settings)
