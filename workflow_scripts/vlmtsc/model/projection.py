"""The projector between vision tower and language model, as a part of the model's forward pass."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from transformers import LlavaForConditionalGeneration
from transformers.modeling_outputs import BaseModelOutputWithPooling


def project(model: LlavaForConditionalGeneration, features: torch.Tensor) -> dict[str, Any]:
    """Return features, projected, in the form in which LLaVA's forward pass takes them."""
    projected = model.model.multi_modal_projector(features)
    return {"image": BaseModelOutputWithPooling(pooler_output=list(projected))}


def project_in_forward(model: LlavaForConditionalGeneration) -> None:
    """Let the forward pass of a model take the tower's features: a keyword argument `vision_features`.

    The projector is trained. What wraps a model for several processes gathers parameters before a forward pass
    and exchanges gradients after it, so a trained layer must not be called from outside.

    Parameters
    ----------
    model : LlavaForConditionalGeneration
        Changed in place. Features have the shape (n_images, image_tokens, vision_hidden_size).
    """
    model.register_forward_pre_hook(_project, with_kwargs=True)


def _project(
    model: LlavaForConditionalGeneration, arguments: tuple[Any, ...], keywords: Mapping[str, Any]
) -> tuple[tuple[Any, ...], dict[str, Any]]:
    others = {name: value for name, value in keywords.items() if name != "vision_features"}
    features = keywords.get("vision_features")
    images = {} if features is None else {"mm_encoder_outputs": project(model, features)}
    return arguments, others | images
