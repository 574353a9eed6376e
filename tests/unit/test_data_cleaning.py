"""Cleaning and splits, and what their scripts write."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.model_selection import train_test_split

from preprocess_dataset import preprocess_dataset
from split_dataset import split_dataset
from vlmtsc.data.cleaning import (
    clean_series,
    fill_missing,
    index_labels,
    prepare_case,
    resample_case,
    z_normalize,
)
from vlmtsc.data.series import NO_LABEL, CleanSeries, LabelledSeries, canonical_label
from vlmtsc.data.splits import split_cases
from vlmtsc.errors import InputError
from vlmtsc.files import read_json
from vlmtsc.settings import CleaningSettings, SplitSettings

NAN = np.nan


def labelled(cases, labels, n_train=2):
    cases = [np.atleast_2d(np.array(case, dtype=float)) for case in cases]
    return LabelledSeries.from_parts((cases[:n_train], labels[:n_train]), (cases[n_train:], labels[n_train:]))


@given(
    st.lists(
        st.one_of(
            st.sampled_from(["-1", "0", "1.0", "1", "walk", "+1", "1e0", "10", "9"]),
            st.integers(-20, 20).map(str),
            st.text(min_size=1, max_size=5).filter(
                lambda text: text.strip().lower() not in NO_LABEL | {""} and "\0" not in text
            ),
        ),
        min_size=1,
        max_size=40,
    )
)
def test_labels_and_indices_are_a_bijection(raw):
    labels = np.array([canonical_label(label) for label in raw])
    label_index, classes = index_labels(labels)
    assert classes[label_index].tolist() == labels.tolist()
    assert len(set(classes.tolist())) == len(classes)
    assert sorted(set(label_index.tolist())) == list(range(len(classes)))


@pytest.mark.parametrize(
    ("labels", "classes"),
    [
        (["1", "-1", "0"], ["-1", "0", "1"]),
        ([str(i) for i in range(12)], [str(i) for i in range(12)]),
        (["10", "9", "2.5"], ["2.5", "9", "10"]),
        (["walk", "10", "9"], ["10", "9", "walk"]),
        (["9007199254740993", "9007199254740992"], ["9007199254740992", "9007199254740993"]),
    ],
)
def test_order_of_classes(labels, classes):
    assert index_labels(np.array(labels))[1].tolist() == classes


def test_ten_classes_stay_ten():
    """The original renames 0 and -1 to 2, so that PenDigits loses a class."""
    labels = np.array([canonical_label(label) for label in [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, -1]])
    assert len(index_labels(labels)[1]) == 11


def test_missing_values_are_interpolated_by_channel():
    case = np.array([[NAN, 1, NAN, 3, NAN], [0, 0, 4, 0, 0]], dtype=float)
    np.testing.assert_array_equal(fill_missing(case), [[1, 1, 2, 3, 3], [0, 0, 4, 0, 0]])


@given(st.integers(1, 30), st.integers(2, 60))
def test_resampling_keeps_lines_and_ends(before, after):
    case = np.stack([np.linspace(-1, 2, before), np.full(before, 5.0)])
    resampled = resample_case(case, after)
    assert resampled.shape == (2, after)
    if before > 1:
        np.testing.assert_allclose(resampled[0], np.linspace(-1, 2, after), atol=1e-12)
    np.testing.assert_array_equal(resampled[1], 5.0)


def test_normalisation_leaves_constant_series_at_zero():
    values = np.array([[[1.0, 2, 3, 4], [0.1, 0.1, 0.1, 0.1]], [[1e9, 1e9, 1e9, 1e9], [0, 0, 0, 1]]])
    normal = z_normalize(values)
    np.testing.assert_allclose(normal[0, 0].mean(), 0, atol=1e-12)
    np.testing.assert_allclose(normal[0, 0].std(), 1)
    assert not normal[0, 1].any()
    assert not normal[1, 0].any()
    np.testing.assert_allclose(normal[1, 1].std(), 1)


CASES = [[1, 2, 3, 4], [1, NAN, 3, 4], [5, 6, 7], [8, 8, 8, 8]]
LABELS = ["a", "b", "a", "b"]


def test_default_policies():
    clean, report = clean_series(labelled(CASES, LABELS), "Tiny", CleaningSettings())
    assert clean.values.shape == (4, 1, 4)
    assert not np.isnan(clean.values).any()
    assert clean.values[1, 0].tolist() == [1, 2, 3, 4]
    np.testing.assert_allclose(clean.values[2, 0], np.linspace(5, 7, 4))
    assert clean.case_ids.tolist() == ["Tiny-00000", "Tiny-00001", "Tiny-00002", "Tiny-00003"]
    assert (report.interpolated, report.resampled, report.dropped) == (1, 1, [])


def test_drop_policies_keep_the_archive_index():
    settings = CleaningSettings(missing="drop", unequal_length="drop")
    clean, report = clean_series(labelled(CASES, LABELS), "Tiny", settings)
    assert report.dropped == ["Tiny-00001", "Tiny-00002"]
    assert clean.case_ids.tolist() == ["Tiny-00000", "Tiny-00003"]
    assert clean.n_train == 1
    assert clean.label_index.tolist() == [0, 1]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (
            CleaningSettings(missing="refuse"),
            "missing values in 1 cases, the first is Tiny-00001; missing=refuse",
        ),
        (
            CleaningSettings(unequal_length="refuse"),
            "lengths from 3 to 4 timepoints.*Tiny-00002; unequal_length=refuse",
        ),
    ],
)
def test_refuse_policies(settings, message):
    with pytest.raises(InputError, match=message):
        clean_series(labelled(CASES, LABELS), "Tiny", settings)


def test_refuse_passes_what_needs_nothing():
    settings = CleaningSettings(missing="refuse", unequal_length="refuse", normalize=True)
    clean, report = clean_series(labelled([[1, 2], [2, 1], [1, 1]], ["a", "b", "a"]), "Tiny", settings)
    assert clean.values[:, 0].tolist() == [[-1, 1], [1, -1], [0, 0]]
    assert report.dropped == []


def test_duplicates_are_kept():
    clean, _ = clean_series(labelled([[1, 2]] * 4, LABELS), "Tiny", CleaningSettings())
    assert len(clean.values) == 4


def test_channel_without_a_value():
    cases = [[[1, 2], [NAN, NAN]], [[1, 2], [3, 4]], [[1, 2], [3, 4]]]
    with pytest.raises(InputError, match="channel 1 of Tiny-00000 has no value"):
        clean_series(labelled(cases, ["a", "b", "a"]), "Tiny", CleaningSettings())


def test_single_class_is_refused():
    with pytest.raises(InputError, match=r"1 classes \(a\) are left"):
        clean_series(labelled([[1, 2]] * 3, ["a"] * 3), "Tiny", CleaningSettings())


def test_nothing_left_is_refused():
    with pytest.raises(InputError, match="0 TRAIN cases"):
        clean_series(labelled([[1, NAN, 2]] * 3, ["a", "b", "a"]), "Tiny", CleaningSettings(missing="drop"))


POOLED, OFFICIAL = SplitSettings(protocol="pooled"), SplitSettings(protocol="official")


@pytest.mark.parametrize("n_cases", [3, 10, 200, 1096])
@pytest.mark.parametrize(
    ("protocol", "seeds"), [("pooled", (42, 21)), ("pooled_2", (43, 22)), ("pooled_3", (44, 23))]
)
def test_pooled_split_is_that_of_the_paper_or_has_other_seeds(protocol, seeds, n_cases):
    rest, test = train_test_split(range(n_cases), test_size=0.2, random_state=seeds[0])
    train, validation = train_test_split(rest, test_size=0.25, random_state=seeds[1])
    parts = split_cases(np.arange(n_cases) % 2, n_cases // 2, SplitSettings(protocol=protocol))
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


def test_a_class_with_one_training_case_is_in_the_train_set_only():
    label_index = np.array([2] + [0, 1] * 10 + [2] * 5)
    parts = split_cases(label_index, 21, OFFICIAL)
    assert 0 in parts["train"]
    assert sorted(np.concatenate([parts["train"], parts["validation"]])) == list(range(21))
    assert sorted(np.bincount(label_index[parts["validation"]])) == [2, 3]


@pytest.mark.parametrize(
    ("label_index", "n_train", "settings", "message"),
    [
        ([0, 1], 1, POOLED, "2 cases; needed are at least 3"),
        ([0, 1, 2, 0], 3, OFFICIAL, "every class has one TRAIN case"),
        ([0, 0, 1, 1], 4, OFFICIAL, "no TEST cases"),
        ([0, 0, 1, 1, 0], 4, OFFICIAL, "leaves 3 and takes 1; needed is a case of each of the 2 classes"),
    ],
)
def test_impossible_splits_say_why(label_index, n_train, settings, message):
    with pytest.raises(InputError, match=message):
        split_cases(np.array(label_index), n_train, settings)


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
    preprocess_dataset(archive, "Tiny", CleaningSettings(), tmp_path)
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
    preprocess_dataset(archive, "Tiny", CleaningSettings(), tmp_path)
    split_dataset(tmp_path / "series.npz", SplitSettings(protocol=protocol), tmp_path / "split")
    with np.load(tmp_path / "split/split.npz", allow_pickle=False) as split:
        assert tuple(len(split[name]) for name in ("train", "validation", "test")) == counts
        assert sorted(np.concatenate([split[name] for name in split.files]).tolist()) == list(range(12))
    facts = read_json(tmp_path / "split/facts.json")
    assert tuple(facts["n_cases"].values()) == counts
    assert sum(facts["class_balance"]["test"].values()) == counts[2]


def test_an_impossible_split_names_the_file(archive, tmp_path):
    preprocess_dataset(archive, "Tiny", CleaningSettings(), tmp_path)
    settings = SplitSettings(protocol="official", validation_share=0.99)
    with pytest.raises(InputError, match=r"series\.npz: official split: validation_share"):
        split_dataset(tmp_path / "series.npz", settings, tmp_path / "split")
    assert not (tmp_path / "split").exists()


def test_missing_values_end_a_new_series_unless_training_series_have_one_length() -> None:
    case = np.array([[0.0, 1, 2, 3, *[np.nan] * 4]])
    place = ("x, case 1",)
    cut = prepare_case(case, 8, CleaningSettings(missing="refuse"), *place)
    np.testing.assert_allclose(cut, [np.linspace(0, 3, 8)])
    filled = prepare_case(case, 8, CleaningSettings(unequal_length="refuse"), *place, equal_length=True)
    assert filled.tolist() == [[0, 1, 2, 3, 3, 3, 3, 3]]
    with pytest.raises(InputError, match="4 timepoints, unequal_length=refuse; allowed: 8"):
        prepare_case(case, 8, CleaningSettings(unequal_length="refuse"), *place)
    # In a source of equal lengths no training series has values behind `n_timepoints`.
    assert prepare_case(case, 5, CleaningSettings(), *place, equal_length=True).tolist() == [[0, 1, 2, 3, 3]]


@pytest.mark.parametrize("value", [1e300, -1e61, np.inf])
def test_a_new_series_is_refused_where_a_training_series_is(value: float) -> None:
    case = np.array([[0.0, value, 1.0]])
    with pytest.raises(InputError, match="x, case 1 has") as of_training:
        LabelledSeries.from_parts(([case], ["a"]), ([case], ["b"]), ("x", "y"))
    with pytest.raises(InputError) as of_prediction:
        prepare_case(case, 3, CleaningSettings(), "x, case 1")
    assert str(of_prediction.value) == str(of_training.value)
