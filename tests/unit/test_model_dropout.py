"""Dropout by bytes: rate, scale, gradient, and where it does nothing."""

from __future__ import annotations

import pytest
import torch
from scipy.stats import binomtest

from vlmtsc.model.dropout import MaskedDropout


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32, torch.float64])
@pytest.mark.parametrize("p", [0.1, 0.5, 0.9])
def test_values_are_dropped_at_the_rate_and_the_rest_is_scaled(dtype: torch.dtype, p: float) -> None:
    torch.manual_seed(0)
    values = torch.ones((37, 1001), dtype=dtype)
    dropped = MaskedDropout(p).train()(values)
    rate = round(256 * p) / 256
    zeros = int((dropped == 0).sum())
    assert binomtest(zeros, values.numel(), rate).pvalue > 1e-4
    assert dropped.unique().tolist() == [0.0, pytest.approx(1 / (1 - rate), rel=0.01)]
    # No stripes: each column loses about its share.
    assert (dropped == 0).float().mean(0).std() < 3 * (rate * (1 - rate) / 37) ** 0.5


def test_the_gradient_passes_where_the_value_did() -> None:
    torch.manual_seed(0)
    values = torch.randn((5, 7, 3), requires_grad=True)
    dropped = MaskedDropout(0.3).train()(values)
    dropped.sum().backward()
    scale = 256 / (256 - round(256 * 0.3))
    torch.testing.assert_close(values.grad, (dropped != 0).float() * scale)
    torch.testing.assert_close(dropped, values * values.grad)


def test_one_seed_gives_one_mask_and_the_next_draw_another() -> None:
    values, dropout = torch.ones(1000), MaskedDropout(0.5).train()
    torch.manual_seed(3)
    first, second = dropout(values), dropout(values)
    torch.manual_seed(3)
    assert torch.equal(first, dropout(values))
    assert not torch.equal(first, second)


def test_nothing_is_dropped_in_evaluation_or_at_rate_zero() -> None:
    values = torch.randn(100)
    assert MaskedDropout(0.5).eval()(values) is values
    assert MaskedDropout(0.0).train()(values) is values
