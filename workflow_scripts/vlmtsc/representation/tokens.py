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

#: Texts whose tokens are remembered: about 20 kB each with 2,048 tokens.
REMEMBERED = 20_000


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
        # Not by calling `tokenizer`, which makes lists of all that it knows of a token: that takes as long again.
        backend = tokenizer.backend_tokenizer
        backend.no_truncation()
        backend.no_padding()
        # A token that stands for no text, such as the begin token, begins nowhere.
        return [
            np.array([begin if begin < end else -1 for begin, end in encoded.offsets], dtype=np.int32)
            for encoded in backend.encode_batch(texts, add_special_tokens=True)
        ]

    return locate


def counter_and_locator(tokenizer: PreTrainedTokenizerBase) -> tuple[TokenCounter, TokenLocator]:
    """Return `token_counter` and `token_locator`, of which the second remembers what the first has tokenised.

    The cases of the factor that is chosen are counted once and located once; tokenising is what that costs.

    Raises
    ------
    InputError
        As `token_counter` and `token_locator`.
    """
    count_one_by_one, locate_anew = token_counter(tokenizer), token_locator(tokenizer)
    known: dict[str, np.ndarray] = {}

    def count(texts: list[str]) -> np.ndarray:
        if len(texts) == 1:  # a trial of a factor, most often in vain
            return count_one_by_one(texts)
        if len(known) + len(texts) > REMEMBERED:
            known.clear()
        begins = locate_anew(texts)
        known.update(zip(texts, begins, strict=True))
        return np.array([len(starts) for starts in begins], dtype=np.int64)

    def locate(texts: list[str]) -> list[np.ndarray]:
        if all(text in known for text in texts):
            return [known[text] for text in texts]
        return locate_anew(texts)

    return count, locate
