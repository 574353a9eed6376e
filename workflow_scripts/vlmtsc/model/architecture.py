"""The parts of a vision-language model, found from the model itself."""

from __future__ import annotations

import inspect
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import nn

from vlmtsc.errors import InputError
from vlmtsc.model.files import SEPARATE_TOWER

#: Arguments of the forward pass without which answers cannot be scored.
NEEDED = ("input_ids", "attention_mask", "position_ids", "past_key_values", "logits_to_keep")
#: Kinds of decoder layers whose state is a cache of keys and values.
ATTENTION = ("full_attention", "sliding_attention", "chunked_attention")
#: Parts of a vision tower that project its features into the space of token embeddings.
_MERGER = re.compile(r"merger|projector|connector|aligner")
#: Children of a decoder layer that adds attention and feed-forward network to its input, one after the other.
_PLAIN_LAYER = {"self_attn", "mlp", "input_layernorm", "post_attention_layernorm"}

TokenTypes = Literal["none", "image", "answer"]


@dataclass(frozen=True)
class Architecture:
    """Where the parts of a model are, and what its forward pass takes.

    Attributes
    ----------
    decoder, tower : str
        Names of the language model and of the vision tower.
    projector : tuple of str
        Names of the modules between them.
    separate : bool
        Whether the tower's features can be computed ahead of the projector (`SEPARATE_TOWER`).
    plain_layers : bool
        Whether decoder layers are those of Llama, with a norm each before attention and feed-forward network.
    sliding : bool
        Whether attention is limited to a window.
    token_types : {"none", "image", "answer"}
        What the argument `type_name` tells apart: nothing, image tokens, or the answer.
    type_name : str
    image_token_ids : tuple of int
    """

    decoder: str
    tower: str
    projector: tuple[str, ...]
    separate: bool
    plain_layers: bool
    sliding: bool
    token_types: TokenTypes
    type_name: str
    image_token_ids: tuple[int, ...]

    def type_ids(
        self, input_ids: torch.Tensor, answer: torch.Tensor | None = None
    ) -> dict[str, torch.Tensor]:
        """Return the argument that tells tokens apart, if the model takes one; int64, shape (batch, length).

        `answer` is a mask of the answers' tokens; by default there are none.
        """
        if self.token_types == "none":
            return {}
        if self.token_types == "answer":
            types = torch.zeros_like(input_ids) if answer is None else answer.long()
        else:
            known = torch.tensor(self.image_token_ids, device=input_ids.device)
            types = torch.isin(input_ids, known).long()
        return {self.type_name: types}


def type_argument(model: Any) -> str:
    """Return the argument of a model's forward pass that tells tokens apart; empty if it takes none."""
    arguments = inspect.signature(type(model).forward).parameters
    return next((name for name in ("mm_token_type_ids", "token_type_ids") if name in arguments), "")


def find_architecture(model: Any, processor: Any = None) -> Architecture:
    """Describe a model of `AutoModelForImageTextToText`; InputError in one line for what is unsupported.

    The processor is needed for a model with a `type_argument`.
    """
    kind = model.config.model_type
    arguments = inspect.signature(type(model).forward).parameters
    if missing := [name for name in NEEDED if name not in arguments]:
        raise InputError(
            f"model_type {kind!r}: its forward pass takes no {missing[0]}; allowed: one that does"
        )
    names = {id(module): name for name, module in model.named_modules()}
    decoder, tower = model.get_decoder(), model.get_encoder(modality="image")
    layers = getattr(decoder, "layers", None)
    if not isinstance(layers, nn.ModuleList):
        raise InputError(f"model_type {kind!r}: no language model with layers; allowed: a decoder of such")
    if tower is model or not isinstance(tower, nn.Module):
        raise InputError(f"model_type {kind!r}: no vision tower was found; allowed: a model with one")
    text = model.config.get_text_config()
    types = getattr(text, "layer_types", None) or ()
    if other := [layer for layer in types if layer not in ATTENTION]:
        raise InputError(f"model_type {kind!r}: layers of the kind {other[0]}; allowed: attention")
    type_name = type_argument(model)
    token_types: TokenTypes = "none"
    if type_name and processor is not None:
        token_types = "image" if processor.return_mm_token_type_ids else "answer"
    return Architecture(
        decoder=names[id(decoder)],
        tower=names[id(tower)],
        projector=_projector(model, decoder, tower, names),
        separate=kind in SEPARATE_TOWER,
        plain_layers=all({name for name, _ in layer.named_children()} == _PLAIN_LAYER for layer in layers),
        sliding="sliding_attention" in types if types else getattr(text, "sliding_window", None) is not None,
        token_types=token_types,
        type_name=type_name,
        image_token_ids=_image_tokens(model.config, processor) if token_types == "image" else (),
    )


def _image_tokens(config: Any, processor: Any) -> tuple[int, ...]:
    """Return the tokens that a processor marks as image."""
    known = {*processor.image_token_ids, config.image_token_id}
    [marked] = processor.create_mm_token_type_ids([sorted(known)])
    return tuple(token for token, mark in zip(sorted(known), marked, strict=True) if mark)


def _projector(model: Any, decoder: nn.Module, tower: nn.Module, names: Mapping[int, str]) -> tuple[str, ...]:
    """Return the modules between tower and decoder: beside them, or at the end of the tower."""
    parent = model.get_submodule(names[id(decoder)].rpartition(".")[0])
    inside = [child for child in tower.modules() if _MERGER.search(names[id(child)].rpartition(".")[2])]
    beside = [
        child
        for child in parent.children()
        if child is not decoder and tower not in child.modules() and any(True for _ in child.parameters())
    ]
    beside = [child for child in beside if child is not model.get_output_embeddings()]
    found: list[str] = []
    for module in beside or inside:
        # A list of modules is called by its items.
        for item in module if isinstance(module, nn.ModuleList) else (module,):
            name = names[id(item)]
            if not any(name.startswith(f"{known}.") for known in found):
                found.append(name)
    if not found:
        raise InputError(
            f"model_type {model.config.model_type!r}: no projector between {names[id(tower)]} and "
            f"{names[id(decoder)]} was found; allowed: a model with one"
        )
    return tuple(dict.fromkeys(found))
