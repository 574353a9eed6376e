"""A processor as its files state it, without the classes that would build it, which import PyTorch for seconds.

Only where nothing is left to a class's defaults; otherwise the functions here return None, and transformers has to
say what the files mean.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from vlmtsc.files import read_json

#: The class that reads a tokenizer.json as it is. Others build their tokenizer anew, in ways of their own.
TOKENIZER_CLASS = "TokenizersBackend"
#: Image processors of which `_image_settings` are all that decides on an image's size.
IMAGE_PROCESSORS = ("CLIPImageProcessor", "CLIPImageProcessorFast", "CLIPImageProcessorPil")


@dataclass(frozen=True)
class StoredProcessor:
    """What conversations need of a `LlavaProcessor`, under the same names.

    Attributes
    ----------
    tokenizer : PreTrainedTokenizerFast
    image_processor : SimpleNamespace
        ``do_center_crop``, ``crop_size`` and ``size``.
    patch_size, num_additional_image_tokens : int
    vision_feature_select_strategy : str
    image_token_id : int
    """

    tokenizer: Any
    image_processor: SimpleNamespace
    patch_size: int
    vision_feature_select_strategy: str
    num_additional_image_tokens: int
    image_token_id: int


def read_stored_processor(folder: Path) -> StoredProcessor | None:
    """Read a processor's files; None where they leave something to a class's defaults, or cannot be read.

    Parameters
    ----------
    folder : Path
        Checkpoint folder.
    """
    names = ("processor_config.json", "tokenizer_config.json", "tokenizer.json")
    if not all((folder / name).is_file() for name in names):
        return None
    content = read_json(folder / names[0])
    images = _image_settings(content.get("image_processor", {}))
    settings = ("patch_size", "vision_feature_select_strategy", "num_additional_image_tokens", "image_token")
    tokens = read_json(folder / names[1])
    kinds = (content.get("processor_class"), tokens.get("tokenizer_class"))
    if kinds != ("LlavaProcessor", TOKENIZER_CLASS) or images is None:
        return None
    if any(content.get(name) is None for name in settings) or "image_token" in tokens:
        return None
    from transformers import PreTrainedTokenizerFast

    try:
        tokenizer = PreTrainedTokenizerFast.from_pretrained(folder, local_files_only=True)
    except (OSError, ValueError):
        return None  # transformers' own loading tells what is wrong
    return StoredProcessor(
        tokenizer,
        images,
        content["patch_size"],
        content["vision_feature_select_strategy"],
        content["num_additional_image_tokens"],
        tokenizer.convert_tokens_to_ids(content["image_token"]),
    )


def _image_settings(content: Mapping[str, Any]) -> SimpleNamespace | None:
    """Return what decides on the size of the image that a model sees; None where it is not all stated."""
    names = ("do_center_crop", "crop_size", "size")
    if content.get("image_processor_type") not in IMAGE_PROCESSORS or any(n not in content for n in names):
        return None
    sizes = [content[name] for name in names[1:]]
    if not all(isinstance(size, Mapping) for size in sizes):
        return None
    return SimpleNamespace(
        do_center_crop=content["do_center_crop"],
        crop_size=SimpleNamespace(**sizes[0]),
        size=SimpleNamespace(**sizes[1]),
    )


def read_stored_config(folder: Path) -> SimpleNamespace | None:
    """Read what a model's configuration says of its inputs; None where it leaves something to defaults.

    Returns
    -------
    SimpleNamespace or None
        ``vision_config`` (model_type, patch_size, image_size), ``text_config`` (vocab_size, pad_token_id),
        ``vision_feature_select_strategy``, ``image_token_id``, ``pad_token_id``.
    """
    if not (folder / "config.json").is_file():
        return None
    content = read_json(folder / "config.json")
    vision, text = content.get("vision_config") or {}, content.get("text_config") or {}
    token = content.get("image_token_index", content.get("image_token_id"))
    stated = [vision.get(name) for name in ("model_type", "patch_size", "image_size")]
    stated += [text.get("vocab_size"), content.get("vision_feature_select_strategy"), token]
    # A Llama's configuration has no padding token by default.
    if (content.get("model_type"), text.get("model_type")) != ("llava", "llama") or None in stated:
        return None
    return SimpleNamespace(
        vision_config=SimpleNamespace(**vision),
        text_config=SimpleNamespace(**text),
        vision_feature_select_strategy=content["vision_feature_select_strategy"],
        image_token_id=token,
        pad_token_id=content.get("pad_token_id"),
    )
