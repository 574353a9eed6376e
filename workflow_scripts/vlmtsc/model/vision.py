"""Features of plots from the frozen vision tower, each computed once."""

from __future__ import annotations

from collections.abc import Container, Sequence
from typing import Any
from zipfile import BadZipFile

import torch
from PIL import Image
from transformers import LlavaForConditionalGeneration

from vlmtsc.errors import InputError
from vlmtsc.model.checkpoint import autocast
from vlmtsc.representation.plot_files import PlotPath


def load_pixels(paths: Sequence[PlotPath], processor: Any, padded: Container[int] = ()) -> torch.Tensor:
    """Read plots as the model's input: float32, shape (n_images, 3, height, width).

    Plots at the positions `padded` are padded to squares first. A missing or damaged plot is an InputError.
    """
    images = []
    for position, path in enumerate(paths):
        try:
            with path.open("rb") as content, Image.open(content) as file:
                image = file.convert("RGB")
        except (OSError, BadZipFile) as error:
            raise InputError(f"{path}: not a readable image ({error})") from error
        if position in padded:
            image = pad_to_square(image, processor.image_processor.image_mean)
        images.append(image)
    return processor.image_processor(images, return_tensors="pt")["pixel_values"]


def pad_to_square(image: Image.Image, mean: Sequence[float]) -> Image.Image:
    """Centre an RGB image in a square of the processor's mean colour (0 to 1), as the original does in training."""
    side = max(image.size)
    red, green, blue = (int(255 * share) for share in mean)
    square = Image.new("RGB", (side, side), (red, green, blue))
    square.paste(image, ((side - image.width) // 2, (side - image.height) // 2))
    return square


def encode_pixels(model: LlavaForConditionalGeneration, pixels: torch.Tensor) -> torch.Tensor:
    """Return the tower's features as the projector expects them.

    The same selection as in `LlavaModel.get_image_features`, which includes the projector. The shape is (n_images,
    image_tokens, vision_hidden_size * feature layers).
    """
    layers = model.config.vision_feature_layer
    layers = [layers] if isinstance(layers, int) else layers
    pixels = pixels.to(model.device).contiguous(memory_format=torch.channels_last)
    hidden = model.model.vision_tower(pixels, output_hidden_states=True, return_dict=True).hidden_states
    features = torch.cat([hidden[layer] for layer in layers], dim=-1)
    return features[:, 1:] if model.config.vision_feature_select_strategy == "default" else features


class VisionFeatures:
    """Features of a list of plots, computed on first use and cached within a limit of memory.

    Parameters
    ----------
    model : LlavaForConditionalGeneration
        Its tower is frozen, so features of an image never change.
    processor : LlavaProcessor
    paths : sequence of Path or zipfile.Path
        Plots, referred to by their positions.
    precision : {"bf16", "fp32"}
    cache_mb : int
        Limit of the cache, in MiB.
    padded : container of int
        Positions of plots that are padded to squares.
    batch_size : int
        Images in one forward pass of the tower.
    """

    def __init__(
        self,
        model: LlavaForConditionalGeneration,
        processor: Any,
        paths: Sequence[PlotPath],
        *,
        precision: str,
        cache_mb: int,
        padded: Container[int] = (),
        batch_size: int = 16,
    ) -> None:
        self._model = model
        self._processor = processor
        self._paths = list(paths)
        self._precision = precision
        self._room = cache_mb * 2**20
        self._padded = padded
        self._batch_size = batch_size
        self._cache: dict[int, torch.Tensor] = {}

    def __call__(self, indices: Sequence[int]) -> torch.Tensor:
        """Return the features of the plots at `indices`, in bfloat16 or float32, without gradient.

        The shape is (n, image_tokens, vision_hidden_size).
        """
        computed: dict[int, torch.Tensor] = {}
        missing = [index for index in dict.fromkeys(indices) if index not in self._cache]
        for start in range(0, len(missing), self._batch_size):
            chunk = missing[start : start + self._batch_size]
            padded = [place for place, index in enumerate(chunk) if index in self._padded]
            pixels = load_pixels([self._paths[index] for index in chunk], self._processor, padded)
            with torch.no_grad(), autocast(self._precision, self._model.device):
                features = encode_pixels(self._model, pixels)
            dtype = torch.bfloat16 if self._precision == "bf16" else torch.float32
            computed.update(zip(chunk, features.to(dtype), strict=True))
        for index, features in computed.items():
            size = features.numel() * features.element_size()
            if size <= self._room:
                self._room -= size
                self._cache[index] = features.clone()
        return torch.stack([self._cache[i] if i in self._cache else computed[i] for i in indices])
