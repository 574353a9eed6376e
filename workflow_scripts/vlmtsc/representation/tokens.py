"""What a checkpoint's tokenizer and processor say about the cost of texts and images."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from vlmtsc.errors import InputError
from vlmtsc.representation.breakdown import TokenLocator
from vlmtsc.representation.budget import TokenCounter
from vlmtsc.representation.prompts import IMAGE_TOKEN

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


def load_processor(checkpoint: Path) -> Any:
    """Load a checkpoint's processor with its tokenizer; Pillow resizes, so pixels are the same everywhere."""
    from transformers import AutoProcessor  # brings PyTorch

    return AutoProcessor.from_pretrained(checkpoint, backend="pil")


def count_image_tokens(processor: Any) -> int:
    """Return how many tokens the model gives one image.

    Parameters
    ----------
    processor : LlavaProcessor

    Returns
    -------
    int
        ``(height // patch) * (width // patch) + num_additional_image_tokens``, less one where the strategy
        "default" drops the class token; the size is that of the crop, or of the resized image without a crop.

    Raises
    ------
    InputError
        If the size of the image that the model sees depends on the picture.
    """
    images = processor.image_processor
    size = images.crop_size if images.do_center_crop else images.size
    height, width = getattr(size, "height", None), getattr(size, "width", None)
    if not height or not width:
        raise InputError(f"processor: image size {size}; allowed: a fixed height and width, or a centre crop")
    patches = (height // processor.patch_size) * (width // processor.patch_size)
    dropped = 1 if processor.vision_feature_select_strategy == "default" else 0
    return patches + processor.num_additional_image_tokens - dropped


def token_counter(tokenizer: PreTrainedTokenizerBase) -> TokenCounter:
    """Return a function that counts the tokens of whole texts, the tokenizer's begin token included.

    Raises
    ------
    InputError
        If the tokenizer has no end token, or does not take the image placeholder as one token.
    """
    if tokenizer.eos_token is None:
        raise InputError("tokenizer without an end token (eos_token); allowed: one that has it")
    pieces = tokenizer(IMAGE_TOKEN, add_special_tokens=False)["input_ids"]
    if len(pieces) != 1:
        raise InputError(f"tokenizer: {IMAGE_TOKEN} takes {len(pieces)} tokens; allowed: one special token")

    def count(texts: list[str]) -> np.ndarray:
        encoded = tokenizer(
            texts, add_special_tokens=True, return_attention_mask=False, return_token_type_ids=False
        )
        return np.array([len(ids) for ids in encoded["input_ids"]], dtype=np.int64)

    return count


def token_locator(tokenizer: PreTrainedTokenizerBase) -> TokenLocator:
    """Return a function that says where in its text each token begins.

    Raises
    ------
    InputError
        If the tokenizer keeps no positions.
    """
    if not tokenizer.is_fast:
        raise InputError("tokenizer without positions; allowed: a fast one (tokenizer.json)")

    def locate(texts: list[str]) -> list[np.ndarray]:
        encoded = tokenizer(texts, add_special_tokens=True, return_offsets_mapping=True)
        offsets = [np.array(pairs, dtype=np.int64).reshape(-1, 2) for pairs in encoded["offset_mapping"]]
        # A token that stands for no text, such as the begin token, begins nowhere.
        return [np.where(pairs[:, 0] < pairs[:, 1], pairs[:, 0], -1) for pairs in offsets]

    return locate
