"""Plots as arguments of a model's forward pass: features of the frozen vision tower, or the processor's tensors."""

from __future__ import annotations

import inspect
import logging
import os
from collections.abc import Container, Mapping, Sequence
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np
import torch
from PIL import Image
from transformers import PreTrainedModel

from vlmtsc.errors import InputError
from vlmtsc.model.checkpoint import autocast, load_checkpoint, uses_bfloat16
from vlmtsc.model.files import load_checked_processor
from vlmtsc.paths import plot_file_name
from vlmtsc.representation.plot_files import PlotPath, plots_in
from vlmtsc.representation.processor import image_layout, process_image
from vlmtsc.representation.representation import Representation
from vlmtsc.script import Progress

logger = logging.getLogger(__name__)

#: NumPy's type in a file of features by PyTorch's type; NumPy has no bfloat16.
STORED_TYPES = {torch.bfloat16: np.int16, torch.float32: np.float32}


def load_image(path: PlotPath, square: Sequence[float] | None = None) -> Image.Image:
    """Read a plot, padded to a square of the mean colour `square` if that is given.

    A missing or damaged plot is an InputError.
    """
    try:
        with path.open("rb") as content, Image.open(content) as file:
            image = file.convert("RGB")
    except (OSError, BadZipFile) as error:
        raise InputError(f"{path}: not a readable image ({error})") from error
    return image if square is None else pad_to_square(image, square)


def load_pixels(paths: Sequence[PlotPath], processor: Any, padded: Container[int] = ()) -> torch.Tensor:
    """Read plots as the input of a vision tower: float32, shape (n_images, 3, height, width).

    Plots at the positions `padded` are padded to squares first.
    """
    mean = processor.image_processor.image_mean
    images = [load_image(path, mean if place in padded else None) for place, path in enumerate(paths)]
    return processor.image_processor(images, return_tensors="pt")["pixel_values"]


def pad_to_square(image: Image.Image, mean: Sequence[float]) -> Image.Image:
    """Centre an RGB image in a square of the processor's mean colour (0 to 1), as the original does in training."""
    side = max(image.size)
    red, green, blue = (int(255 * share) for share in mean)
    square = Image.new("RGB", (side, side), (red, green, blue))
    square.paste(image, ((side - image.width) // 2, (side - image.height) // 2))
    return square


def encode_pixels(model: PreTrainedModel, pixels: torch.Tensor) -> torch.Tensor:
    """Return the tower's features as the projector expects them.

    The same selection as in `LlavaModel.get_image_features`, which includes the projector. The shape is (n_images,
    tower_tokens, vision_hidden_size * feature layers).
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
    model : PreTrainedModel
        Its tower is frozen, so features of an image never change.
    processor : LlavaProcessor
    precision : {"bf16", "tf32", "fp32"}
    cache_mb : int
        Limit of the cache, in MiB.
    padded : container of int
        Positions of plots that are padded to squares.
    stored : Path, optional
        File of `write_features`, from which the features of its plots are read.
    before : sequence of int
        Positions of plots that precede every other one in the forward pass.
    """

    def __init__(
        self,
        model: PreTrainedModel,
        processor: Any,
        paths: Sequence[PlotPath],
        *,
        precision: str,
        cache_mb: int,
        padded: Container[int] = (),
        batch_size: int = 16,
        stored: Path | None = None,
        before: Sequence[int] = (),
    ) -> None:
        self._before = before
        self._model = model
        self._processor = processor
        self._paths = list(paths)
        self._precision = precision
        self._product_type = torch.bfloat16 if uses_bfloat16(precision, model.device) else torch.float32
        self._room = cache_mb * 2**20
        self._padded = padded
        self._batch_size = batch_size
        self._cache: dict[int, torch.Tensor] = {}
        self._stored = None if stored is None else read_features(stored)
        self._rows: dict[int, int] = {}
        if self._stored is not None:
            rows = {plot_file_name(case): case for case in range(len(self._stored))}
            self._rows = {
                index: rows[path.name]
                for index, path in enumerate(self._paths)
                if path.name in rows and index not in padded
            }

    def inputs(self, indices: Sequence[int]) -> dict[str, torch.Tensor]:
        """Return the features as arguments of the forward pass."""
        return {"vision_features": self([i for index in indices for i in (*self._before, index)])}

    def __call__(self, indices: Sequence[int]) -> torch.Tensor:
        """Return the features of the plots at `indices`, in the type of matrix products, without gradient.

        The shape is (n, tower_tokens, vision_hidden_size).
        """
        return self.rounded(indices).to(self._product_type)

    def rounded(self, indices: Sequence[int]) -> torch.Tensor:
        """Return features in the type in which they are stored: bfloat16 with bf16, whatever the processor."""
        if self._stored is not None and all(index in self._rows for index in indices):
            rows = [self._rows[index] for index in indices]
            return feature_tensor(self._stored, rows).to(self._model.device)
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


class PlotTensors:
    """A processor's tensors of a list of plots, for models that compute images within the forward pass.

    Cached within a limit of memory, in MiB; parameters as for `VisionFeatures`. `options` are arguments of the image
    processor, and `layout` the tokens that take the place of each image (`vlmtsc.representation.processor`).
    """

    def __init__(
        self,
        model: PreTrainedModel,
        processor: Any,
        paths: Sequence[PlotPath],
        *,
        cache_mb: int,
        padded: Container[int] = (),
        options: Mapping[str, Any],
        layout: Sequence[tuple[str, int]] | None = None,
        before: Sequence[int] = (),
    ) -> None:
        accepted = {*inspect.signature(type(model).forward).parameters}
        self._accepted = accepted - {
            "input_ids",
            "attention_mask",
            "labels",
            "token_type_ids",
            "mm_token_type_ids",
        }
        self._model = model
        self._processor = processor
        self._paths = list(paths)
        self._room = cache_mb * 2**20
        self._padded = padded
        self._options = options
        self._layout = layout
        self._before = before
        self._checked: set[tuple[int, int]] = set()  # sizes of images
        self._cache: dict[int, dict[str, torch.Tensor]] = {}

    def inputs(self, indices: Sequence[int]) -> dict[str, torch.Tensor]:
        """Return the arguments of the forward pass that show the plots at `indices`.

        InputError if a plot does not take the tokens of the layout.
        """
        shown = [i for index in indices for i in (*self._before, index)]
        images = [self._cache[index] if index in self._cache else self._compute(index) for index in shown]
        return {
            name: torch.cat([image[name] for image in images]).to(self._model.device) for name in images[0]
        }

    def _compute(self, index: int) -> dict[str, torch.Tensor]:
        path = self._paths[index]
        image = load_image(
            path, self._processor.image_processor.image_mean if index in self._padded else None
        )
        if self._layout is not None and image.size not in self._checked:
            self._checked.add(image.size)
            found = image_layout(self._processor, image.size, self._options)
            if list(found.tokens) != list(self._layout):
                raise InputError(
                    f"{path}: {found.count} image tokens; allowed: the {sum(n for _, n in self._layout)} of the "
                    "conversations, that is, plots of one size"
                )
        output = process_image(self._processor, image, self._options)
        tensors = {name: value for name, value in output.items() if name in self._accepted}
        size = sum(value.numel() * value.element_size() for value in tensors.values())
        if size <= self._room:
            self._room -= size
            self._cache[index] = tensors
        return tensors


Images = VisionFeatures | PlotTensors


def plot_images(
    model: PreTrainedModel,
    processor: Any,
    paths: Sequence[PlotPath],
    representation: Representation,
    *,
    precision: str,
    cache_mb: int,
    padded: Container[int] = (),
    stored: Path | None = None,
    frozen: bool = True,
    shots: Sequence[PlotPath] = (),
) -> Images:
    """Return the plots of a scenario as its model takes them; parameters as for `VisionFeatures`.

    `frozen`: whether the vision tower is. `shots`: plots that precede each of `paths` in the forward pass.
    """
    shown = [*paths, *shots]
    before = range(len(paths), len(shown))
    if model.architecture.separate and frozen:
        return VisionFeatures(
            *(model, processor, shown),
            precision=precision,
            cache_mb=cache_mb,
            padded=padded,
            stored=stored,
            before=before,
        )
    return PlotTensors(
        *(model, processor, shown),
        before=before,
        cache_mb=cache_mb,
        padded=padded,
        options=representation.image_options,
        layout=representation.image_layout,
    )


def write_features(checkpoint: Path, plots: Path, precision: str, output: Path) -> None:
    """Encode all plots of a folder into a NumPy file.

    Its shape is (n_plots, tower_tokens, vision_hidden_size), rows in the order of the cases; its type float32, or int16
    with the bits of bfloat16.
    """
    model = load_checkpoint(checkpoint, precision=precision, attention="auto", context_length=0)
    processor = load_checked_processor(checkpoint)
    store = plots_in(plots)
    count = sum(path.name.endswith(".png") for path in store.iterdir())
    paths = [store / plot_file_name(case) for case in range(count)]
    features = VisionFeatures(model, processor, paths, precision=precision, cache_mb=0)
    progress = Progress(logger, "vision tower", count, "plots")
    stored = None
    for start in range(0, count, 16):
        batch = features.rounded(range(start, min(start + 16, count))).cpu()
        if stored is None:
            kind = STORED_TYPES[batch.dtype]
            stored = np.lib.format.open_memmap(output, "w+", kind, (count, *batch.shape[1:]))
            with output.open("r+b") as file:  # on a full disk, writing to the map would end the process
                os.posix_fallocate(file.fileno(), 0, output.stat().st_size)
        stored[start : start + len(batch)] = batch.view(torch.from_numpy(stored[:0]).dtype).numpy()
        progress.update(start + len(batch))
    if stored is None:
        raise InputError(f"{plots}: no plots; allowed: a folder with at least one")
    stored.flush()


def read_features(file: Path) -> np.ndarray:
    """Map a file of `write_features` into memory."""
    try:
        return np.load(file, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError) as error:
        raise InputError(
            f"{file}: not a file of features ({error}); remove it to have it written again"
        ) from error


def feature_tensor(stored: np.ndarray, rows: Sequence[int]) -> torch.Tensor:
    """Return rows of `read_features` in bfloat16 or float32."""
    found = torch.from_numpy(stored[rows])
    return found.view(torch.bfloat16) if found.dtype == torch.int16 else found
