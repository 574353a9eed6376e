"""Checks of a LLaVA checkpoint folder, before anything expensive."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from vlmtsc.errors import InputError
from vlmtsc.files import read_json

#: Class tokens that a vision tower puts before its patches; other towers are not checked.
CLASS_TOKENS = {"clip_vision_model": 1, "siglip_vision_model": 0, "efficientnet_lite": 0}


def check_files(folder: Path) -> None:
    """Raise InputError unless a folder has the files of a LLaVA checkpoint with safetensors weights."""
    if not (folder / "config.json").is_file():
        raise InputError(f"{folder}: no config.json; allowed: a checkpoint folder of a LLaVA model")
    kind = read_json(folder / "config.json").get("model_type")
    if kind != "llava":  # transformers would build a default LLaVA of 7 billion parameters
        raise InputError(f"{folder}/config.json: model_type {kind!r}; allowed: 'llava'")
    index = folder / "model.safetensors.index.json"
    if index.is_file():
        shards = set(read_json(index)["weight_map"].values())
        missing = sorted(name for name in shards if not (folder / name).is_file())
        if missing:
            raise InputError(
                f"{folder}: {len(missing)} of {len(shards)} files of weights are missing ({missing[0]}, ...); "
                "download them again, all that model.safetensors.index.json lists"
            )
    elif not (folder / "model.safetensors").is_file():
        pickles = sorted(path.name for path in folder.glob("*.bin"))
        found = f"only {pickles[0]}, which is never unpickled" if pickles else "no weights"
        raise InputError(
            f"{folder}: {found}; allowed: model.safetensors, in one file or in shards with an index "
            "(transformers' save_pretrained writes it)"
        )


def check_processor_files(folder: Path) -> None:
    """Raise InputError unless a checkpoint folder has the files of its processor and tokenizer."""
    if not any((folder / name).is_file() for name in ("processor_config.json", "preprocessor_config.json")):
        raise InputError(
            f"{folder}: no processor_config.json and no preprocessor_config.json; allowed: a checkpoint with its "
            "processor, as in the repositories llava-hf/* (LLaVA's own repositories have none)"
        )
    if not any((folder / name).is_file() for name in ("tokenizer.json", "tokenizer.model")):
        raise InputError(
            f"{folder}: no tokenizer.json and no tokenizer.model; allowed: a checkpoint with its tokenizer"
        )


def check_processor(folder: Path, processor: Any, config: Any) -> None:
    """Raise InputError with each setting in which a processor differs from its model; `folder` is for messages.

    A mismatch would crash the first step at best, and shift the image at worst. The tokenizer's padding side does not
    matter: `vlmtsc.scoring` pads batches itself.
    """
    vision, text = config.vision_config, config.text_config
    images = processor.image_processor
    size = images.crop_size if images.do_center_crop else images.size
    pairs = {
        "patch_size": (processor.patch_size, vision.patch_size),
        "vision_feature_select_strategy": (
            processor.vision_feature_select_strategy,
            config.vision_feature_select_strategy,
        ),
        "image height": (getattr(size, "height", None), vision.image_size),
        "image width": (getattr(size, "width", None), vision.image_size),
        "index of the image token": (processor.image_token_id, config.image_token_id),
    }
    if vision.model_type in CLASS_TOKENS:
        expected = CLASS_TOKENS[vision.model_type]
        pairs["num_additional_image_tokens"] = (processor.num_additional_image_tokens, expected)
    # Some checkpoints have it in one of the two configurations only.
    padding = [c.pad_token_id for c in (config, text) if getattr(c, "pad_token_id", None) is not None]
    if padding:
        pairs["pad_token_id"] = (processor.tokenizer.pad_token_id, padding[0])
    elif processor.tokenizer.pad_token_id is None:
        raise InputError(f"{folder}: a tokenizer without a padding token; allowed: one that has it")
    wrong = [
        f"{name} is {found} in the processor and {expected} in the model"
        for name, (found, expected) in pairs.items()
        if found != expected
    ]
    if len(processor.tokenizer) > text.vocab_size:
        wrong.append(f"{len(processor.tokenizer)} tokens in the tokenizer and {text.vocab_size} in the model")
    if wrong:
        raise InputError(
            f"{folder}: {'; '.join(wrong)}. Correct processor_config.json, or take the model's own processor"
        )


def load_checked_processor(folder: Path) -> Any:
    """Load a checkpoint's processor; InputError as in `check_processor_files` and `check_processor`."""
    # Imported here because they import PyTorch.
    from transformers import LlavaConfig

    import vlmtsc.model.vision_tower  # noqa: F401  registers the embedded model's tower
    from vlmtsc.representation.tokens import load_processor

    check_processor_files(folder)
    try:
        processor = load_processor(folder)
    except (OSError, ValueError) as error:
        raise InputError(f"{folder}: its processor or tokenizer cannot be read ({error})") from error
    check_processor(folder, processor, LlavaConfig.from_pretrained(folder, local_files_only=True))
    return processor
