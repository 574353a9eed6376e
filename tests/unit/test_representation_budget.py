"""The factor is the smallest with which every case fits, and no case is cut."""

from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vlmtsc.errors import InputError
from vlmtsc.representation import tokens as module
from vlmtsc.representation.tokens import count_all, find_smallest_factor, original_factor


def counter(texts: list[str]) -> np.ndarray:
    return np.array([len(text) for text in texts])


@given(
    st.lists(st.lists(st.integers(1, 40), min_size=12, max_size=12), min_size=1, max_size=9),
    st.integers(1, 45),
)
@settings(max_examples=200, deadline=None)
def test_factor_is_the_smallest_that_fits_all(lengths: list[list[int]], context: int) -> None:
    """Lengths are arbitrary at each factor: they need not shrink."""
    table = np.array(lengths)  # (n_cases, n_factors)

    def texts_at(factor: int, cases: Sequence[int]) -> list[str]:
        return ["x" * table[case, factor - 1] for case in cases]

    fitting = np.flatnonzero((table <= context).all(axis=0))
    arguments = {"n_cases": len(table), "n_timepoints": 12, "context_length": context}
    if fitting.size == 0:
        with pytest.raises(InputError, match=f"context_length={context}"):
            find_smallest_factor(texts_at, counter, **arguments)
        return
    factor, tokens = find_smallest_factor(texts_at, counter, **arguments)
    assert factor == fitting[0] + 1
    assert tokens.tolist() == table[:, factor - 1].tolist()


def test_chunks_do_not_matter(monkeypatch) -> None:
    monkeypatch.setattr(module, "CHUNK", 3)
    sizes = np.array([5, 1, 1, 1, 9, 1, 1, 1])

    def texts_at(factor: int, cases: Sequence[int]) -> list[str]:
        return ["x" * -(-sizes[case] // factor) for case in cases]

    factor, tokens = find_smallest_factor(texts_at, counter, n_cases=8, n_timepoints=9, context_length=3)
    assert factor == 3
    assert tokens.tolist() == [2, 1, 1, 1, 3, 1, 1, 1]
    assert count_all(texts_at, counter, 1, 8).tolist() == sizes.tolist()


def test_few_cases_are_tokenised_to_rule_a_factor_out() -> None:
    asked: list[int] = []

    def texts_at(factor: int, cases: Sequence[int]) -> list[str]:
        asked.append(len(cases))
        return ["x" * (1000 // factor) for _ in cases]

    find_smallest_factor(texts_at, counter, n_cases=400, n_timepoints=1000, context_length=20)
    assert sum(asked) <= 400 + 50


@pytest.mark.parametrize(
    ("tokens", "beside", "factor"), [(90, 20, 1), (100, 20, 2), (500, 20, 7), (500, 96, None)]
)
def test_original_factor(tokens: int, beside: int, factor: int | None) -> None:
    assert original_factor(tokens, beside, 100) == factor
