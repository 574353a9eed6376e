"""The two forms of a dataset: labels, digest, files."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vlmtsc.data.series import NO_LABEL, CleanSeries, LabelledSeries, canonical_label
from vlmtsc.errors import InputError


def series_of(labels=("1", "2", "1", "2"), n_train=2, values=None):
    cases = [np.arange(6.0).reshape(2, 3) + i for i in range(len(labels))] if values is None else values
    return LabelledSeries.from_parts((cases[:n_train], labels[:n_train]), (cases[n_train:], labels[n_train:]))


@pytest.mark.parametrize(
    ("label", "expected"),
    [
        (1, "1"),
        (np.int64(-1), "-1"),
        (1.0, "1"),
        ("1.0", "1"),
        ("1.0000000e+00", "1"),
        ("-0", "0"),
        ("007", "7"),
        ("0.50", "0.5"),
        (" walk ", "walk"),
        ("Walk", "Walk"),
        ("1_0", "1_0"),
        ("none", "none"),
        ("inf", "inf"),
        ("1e999", "1e999"),
        ("123456789012345678901", "123456789012345678901"),
    ],
)
def test_canonical_label(label, expected):
    assert canonical_label(label) == expected


@given(st.one_of(st.integers(), st.floats(allow_nan=False, allow_infinity=False)))
def test_equal_numbers_have_one_label(number):
    label = canonical_label(number)
    assert canonical_label(label) == label
    assert (int if isinstance(number, int) else float)(label) == number  # a float has 53 bits, an integer any


@given(
    st.text(min_size=1).filter(lambda text: text.strip().lower() not in {"", *NO_LABEL} and "\0" not in text)
)
def test_canonical_label_is_idempotent(text):
    assert canonical_label(canonical_label(text)) == canonical_label(text)


def test_empty_label_is_refused():
    with pytest.raises(InputError, match="empty class label"):
        canonical_label("  ")


@pytest.mark.parametrize("label", ["?", "NaN", float("nan"), " n/a ", "<NA>"])
def test_a_missing_label_is_no_class(label):
    with pytest.raises(InputError, match=r"TEST, case 1: class label '.*' means that there is none"):
        LabelledSeries.from_parts(([np.ones((1, 2))], ["a"]), ([np.ones((1, 2))], [label]))


def test_label_with_a_zero_byte_is_refused():
    """An array of text would lose it at the end, and the digest could not tell two lists of labels apart."""
    with pytest.raises(InputError, match=r"TEST, case 1: class label 'a\\x00' holds a zero byte"):
        LabelledSeries.from_parts(([np.ones((1, 2))], ["a"]), ([np.ones((1, 2))], ["a\0"]))


def test_parts_are_joined_train_first_and_padded():
    short, long = np.ones((1, 2)), np.array([[1.0, np.nan, 3.0, np.nan]])
    series = LabelledSeries.from_parts(([short], ["a"]), ([long], ["b"]))
    assert series.values.shape == (2, 1, 3)
    assert series.lengths.tolist() == [2, 3]
    np.testing.assert_array_equal(series.values, [[[1, 1, np.nan]], [[1, np.nan, 3]]])
    assert series.n_train == 1
    assert not series.equal_length


def test_parts_of_equal_length_each_may_differ_from_each_other():
    def joined(n_timepoints: int) -> LabelledSeries:
        return LabelledSeries.from_parts(
            ([np.ones((1, 5))], ["a"], True), ([np.ones((1, n_timepoints))], ["b"], True)
        )

    assert joined(5).equal_length
    assert not joined(8).equal_length


@pytest.mark.parametrize(
    ("case", "message"),
    [
        (np.full((2, 3), np.nan), "TRAIN, case 2 has no value"),
        (np.full((2, 3), np.inf), "TRAIN, case 2 has an infinite value"),
        (np.full((2, 3), -1e61), r"TRAIN, case 2 has the value 1e\+61; allowed: 1e\+60"),
        (np.ones((1, 3)), "TRAIN, case 2 has 1 channels, the first case has 2"),
    ],
)
def test_bad_case_is_named(case, message):
    with pytest.raises(InputError, match=message):
        LabelledSeries.from_parts(([np.ones((2, 3)), case], ["1", "2"]), ([np.ones((2, 3))], ["1"]))


def test_empty_part_is_refused():
    with pytest.raises(InputError, match="TEST has 0 series"):
        LabelledSeries.from_parts(([np.ones((1, 3))], ["1"]), ([], []))


def test_digest_ignores_how_it_was_written():
    values = [np.array([[0.0, np.nan, 2.0]]), np.array([[1.0, 2.0, 3.0]])]
    other = [np.array([[-0.0, -np.nan, 2.0, np.nan]]), np.array([[1.0, 2.0, 3.0]], dtype=">f8")]
    assert series_of(("1", "2"), 1, values).digest() == series_of((1.0, np.int64(2)), 1, other).digest()


def test_digest_sees_every_array():
    digests = {
        series_of().digest(),
        series_of(labels=("1", "2", "2", "1")).digest(),
        series_of(n_train=3).digest(),
        series_of(values=[np.nextafter(np.ones((2, 3)), 2)] * 4).digest(),
        series_of(values=[np.ones((2, 3))] * 4).digest(),
        series_of(values=[np.ones((3, 2))] * 4).digest(),
    }
    assert len(digests) == 6


def test_digest_is_the_recorded_one():
    """The digests in the table of datasets hold only as long as this one does."""
    expected = "7b889b48d4f530cc71e63b6bd2b58722666ac2f338c9196a5894608b02d588a5"
    assert series_of().digest() == expected


def test_round_trip_without_pickle(tmp_path):
    series = series_of()
    series.save(tmp_path / "archive.npz")
    loaded = LabelledSeries.load(tmp_path / "archive.npz")
    assert loaded.digest() == series.digest()
    assert loaded.n_train == series.n_train
    clean = CleanSeries(
        series.values, np.array([0, 1, 0, 1]), np.array(["1", "2"]), np.array(list("abcd")), 2
    )
    clean.save(tmp_path / "series.npz")
    loaded = CleanSeries.load(tmp_path / "series.npz")
    assert loaded.classes.tolist() == ["1", "2"]
    assert loaded.class_balance() == {"1": 2, "2": 2}
    assert loaded.class_balance(np.array([1])) == {"1": 0, "2": 1}
    with np.load(tmp_path / "series.npz", allow_pickle=False) as file:
        assert {file[name].dtype.kind for name in file.files} <= {"f", "i", "U"}
    assert sorted(path.name for path in tmp_path.iterdir()) == ["archive.npz", "series.npz"]


def test_another_file_is_named(tmp_path):
    (tmp_path / "x.npz").write_text("no")
    with pytest.raises(InputError, match=r"x\.npz: not a file"):
        LabelledSeries.load(tmp_path / "x.npz")
