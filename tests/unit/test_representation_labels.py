"""Answers: one for each class, all different, and only what can be an answer."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vlmtsc.errors import InputError
from vlmtsc.representation.prompts import label_texts


@pytest.mark.parametrize("kind", ["numbers", "letters", "names"])
@given(st.sets(st.integers(-9, 2000).map(str), min_size=1, max_size=800).map(sorted))
def test_answers_are_a_bijection(kind: str, classes: list[str]) -> None:
    answers = label_texts(kind, classes)
    assert len(answers) == len(set(answers)) == len(classes)


def test_answers() -> None:
    classes = ["-1", "1", "10", "Standing still"]
    assert label_texts("numbers", classes) == ("1", "2", "3", "4")
    assert label_texts("letters", classes) == ("A", "B", "C", "D")
    assert label_texts("names", classes) == tuple(classes)


@pytest.mark.parametrize(
    ("index", "text"), [(0, "A"), (25, "Z"), (26, "AA"), (51, "AZ"), (52, "BA"), (702, "AAA")]
)
def test_letters_go_on(index: int, text: str) -> None:
    assert label_texts("letters", ["x"] * (index + 1))[index] == text


@pytest.mark.parametrize(
    "name", [" walk", "walk ", "", "walk\nrun", "walk\trun", "a</s>", "<image>", "a\u200bb"]
)
def test_names_that_cannot_be_answers_are_refused(name: str) -> None:
    with pytest.raises(
        InputError, match=r"class label .* cannot be an answer; allowed with labels=names: "
    ) as caught:
        label_texts("names", ["run", name], reserved=("<image>", "</s>"))
    assert repr(name) in str(caught.value)
    assert "\n" not in str(caught.value)
    assert label_texts("numbers", ["run", name]) == ("1", "2")
