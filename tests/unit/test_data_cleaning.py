"""Labels, missing values, unequal lengths, normalisation."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vlmtsc.data.cleaning import clean_series, fill_missing, index_labels, resample_case, z_normalize
from vlmtsc.data.series import LabelledSeries, canonical_label
from vlmtsc.errors import InputError
from vlmtsc.settings import CleaningSettings

NAN = np.nan


def labelled(cases, labels, n_train=2):
    cases = [np.atleast_2d(np.array(case, dtype=float)) for case in cases]
    return LabelledSeries.from_parts((cases[:n_train], labels[:n_train]), (cases[n_train:], labels[n_train:]))


@given(
    st.lists(
        st.one_of(
            st.sampled_from(["-1", "0", "1.0", "1", "walk", "+1", "1e0", "10", "9"]),
            st.integers(-20, 20).map(str),
            st.text(min_size=1, max_size=5).filter(lambda text: text.strip() and "\0" not in text),
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
    assert (report.interpolated, report.resampled, report.dropped) == (1, ("Tiny-00002",), ())


def test_drop_policies_keep_the_archive_index():
    settings = CleaningSettings(missing="drop", unequal_length="drop")
    clean, report = clean_series(labelled(CASES, LABELS), "Tiny", settings)
    assert report.dropped == ("Tiny-00001", "Tiny-00002")
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
    assert report.dropped == ()


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
