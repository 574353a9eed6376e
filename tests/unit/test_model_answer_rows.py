"""Skipping positions in the last layer changes neither loss, gradients nor scores."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from tiny_llava import recipe

from vlmtsc.model.adapter import add_adapter
from vlmtsc.model.answer_rows import last_positions, only_rows
from vlmtsc.model.checkpoint import inner_model, load_checkpoint


@pytest.fixture
def model(tiny_checkpoint: Path):
    base = load_checkpoint(tiny_checkpoint, precision="fp32", attention="eager", context_length=64)
    adapted = add_adapter(base, recipe())
    for name, parameter in adapted.named_parameters():
        if "lora_B" in name:  # zero at first, so that their matrices A would have no gradient
            torch.nn.init.normal_(parameter, std=0.1)
    return adapted.eval()


def gradients(model) -> dict[str, torch.Tensor]:
    found = {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}
    model.zero_grad()
    return found


def test_logits_and_gradients_are_those_of_the_whole_layer(model) -> None:
    torch.manual_seed(0)
    tokens = torch.randint(5, 50, (3, 9))
    kept = torch.rand((3, 9)) < 0.4
    whole = model(input_ids=tokens).logits[kept]
    whole.square().mean().backward()
    expected = gradients(model)
    with only_rows(model, kept):
        ours = model(input_ids=tokens, logits_to_keep=kept).logits.reshape(whole.shape)
    ours.square().mean().backward()
    torch.testing.assert_close(ours, whole)
    found = gradients(model)
    assert found.keys() == expected.keys()
    for name, gradient in expected.items():
        torch.testing.assert_close(found[name], gradient, msg=name)
    # The context is over: every position is computed again.
    torch.testing.assert_close(model(input_ids=tokens).logits[kept], whole)


def test_the_rows_really_are_skipped(model) -> None:
    layer = inner_model(model).model.language_model.layers[-1]
    seen = []
    layer.mlp.up_proj.register_forward_hook(lambda _, inputs, __: seen.append(inputs[0].shape))
    tokens = torch.full((2, 6), 7)
    with only_rows(model, last_positions(2, 6, 1, tokens.device)):
        model(input_ids=tokens, logits_to_keep=1)
    model(input_ids=tokens)
    assert [shape[:-1] for shape in seen] == [(2,), (2, 6)]


def test_no_row_is_skipped_where_activations_are_computed_again(model) -> None:
    inner_model(model).activation_checkpointing_enable()
    model.train()
    model.enable_input_require_grads()
    tokens = torch.randint(5, 50, (2, 6))
    kept = last_positions(2, 6, 2, tokens.device)
    with only_rows(model, kept):
        loss = model(input_ids=tokens, logits_to_keep=kept).logits.square().mean()
    loss.backward()
    assert gradients(model)
