"""Checks of a checkpoint folder, before anything expensive."""

from __future__ import annotations

import importlib.util
import re
from functools import cache
from pathlib import Path
from typing import Any

from vlmtsc.errors import InputError
from vlmtsc.files import read_json
from vlmtsc.settings import ModelSettings

#: The embedded model's kind, which this package adds to those of transformers.
POOLED = "pooled_llava"
#: Kinds whose projector is applied to the features that `vision_feature_layer` and `vision_feature_select_strategy`
#: select from their tower, and to nothing else. Features of a frozen tower are computed once for each image; other
#: models compute an image in each forward pass.
SEPARATE_TOWER = ("llava", POOLED)
#: Class tokens that a vision tower puts before its patches; other towers are not checked.
CLASS_TOKENS = {"clip_vision_model": 1, "siglip_vision_model": 0, "efficientnet_lite": 0}


@cache
def known_kinds() -> frozenset[str]:
    """Return the kinds (`model_type`) of models that transformers' `AutoModelForImageTextToText` loads.

    Read from its source: the workflow checks this at each start, and importing it takes seconds.
    """
    spec = importlib.util.find_spec("transformers")
    if spec is None or spec.origin is None:
        raise InputError("transformers is not installed; allowed: the environment of envs/requirements.lock")
    source = (Path(spec.origin).parent / "models/auto/modeling_auto.py").read_text(encoding="utf-8")
    table = source.partition("MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING_NAMES = OrderedDict(")[2].partition("\n)")[
        0
    ]
    return frozenset(re.findall(r'\("([^"]+)", "', table))


def check_kind(folder: Path) -> str:
    """Return the kind of a checkpoint; InputError unless it is a known kind of vision-language model."""
    if not (folder / "config.json").is_file():
        raise InputError(f"{folder}: no config.json; allowed: a checkpoint folder of a vision-language model")
    kind = read_json(folder / "config.json").get("model_type")
    if kind not in (*known_kinds(), POOLED):
        raise InputError(
            f"{folder}/config.json: model_type {kind!r}; allowed: a kind of image-text-to-text model of transformers, "
            "such as llava, qwen2_5_vl, smolvlm, internvl or gemma3"
        )
    return kind


def check_model(folder: Path, model: ModelSettings) -> None:
    """Raise InputError if a checkpoint folder is incomplete or unsupported, or does not fit its row of the table.

    Without heavy imports, so that the workflow can check this before its first job.
    """
    check_files(folder)
    check_processor_files(folder)
    kind, recipe = check_kind(folder), model.recipe
    if kind in SEPARATE_TOWER:
        return
    needs = {
        "store_features": model.store_features,
        "recipe.align_steps": recipe.align_steps > 0,
    }
    for key, needed in needs.items():
        if needed:
            raise InputError(
                f"{folder}/config.json: model_type {kind!r} does not have {key}, which needs features of the vision "
                f"tower ahead of the projector; allowed: the default of {key}, or llava"
            )


def check_files(folder: Path) -> None:
    """Raise InputError unless a folder has the files of a vision-language model with safetensors weights."""
    check_kind(folder)
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
    text = config.get_text_config()
    pairs = _separate_tower_pairs(processor, config) if config.model_type in SEPARATE_TOWER else {}
    # Some checkpoints have it in one of the two configurations only.
    padding = [c.pad_token_id for c in (config, text) if getattr(c, "pad_token_id", None) is not None]
    if processor.tokenizer.pad_token_id is None:
        raise InputError(f"{folder}: a tokenizer without a padding token; allowed: one that has it")
    if padding and pairs:
        pairs["pad_token_id"] = (processor.tokenizer.pad_token_id, padding[0])
    wrong = [
        f"{name} is {found} in the processor and {expected} in the model"
        for name, (found, expected) in pairs.items()
        if found != expected
    ]
    if len(processor.tokenizer) > text.vocab_size and config.model_type in SEPARATE_TOWER:
        wrong.append(f"{len(processor.tokenizer)} tokens in the tokenizer and {text.vocab_size} in the model")
    if wrong:
        raise InputError(
            f"{folder}: {'; '.join(wrong)}. Correct processor_config.json, or take the model's own processor"
        )


def _separate_tower_pairs(processor: Any, config: Any) -> dict[str, tuple[Any, Any]]:
    """Return by name what a LLaVA's processor and its model have to have alike."""
    vision, images = config.vision_config, processor.image_processor
    size = images.crop_size if images.do_center_crop else images.size
    pairs = {
        "vision_feature_select_strategy": (
            processor.vision_feature_select_strategy,
            config.vision_feature_select_strategy,
        ),
        "image height": (getattr(size, "height", None), vision.image_size),
        "image width": (getattr(size, "width", None), vision.image_size),
        "index of the image token": (processor.image_token_id, config.image_token_id),
    }
    if config.model_type == POOLED:  # whose image tokens are no patches
        shown = (vision.image_size // processor.patch_size) ** 2
        pairs["number of image tokens"] = (shown, config.image_seq_length)
    else:
        pairs["patch_size"] = (processor.patch_size, vision.patch_size)
    if vision.model_type in CLASS_TOKENS:
        expected = CLASS_TOKENS[vision.model_type]
        pairs["num_additional_image_tokens"] = (processor.num_additional_image_tokens, expected)
    return pairs


def load_checked_processor(folder: Path) -> Any:
    """Load a checkpoint's processor; InputError as in `check_processor_files` and `check_processor`."""
    # Imported here because they import PyTorch.
    from transformers import AutoConfig

    import vlmtsc.model.pooled_llava  # noqa: F401  registers the embedded model's classes
    from vlmtsc.representation.processor import load_processor

    check_kind(folder)
    check_processor_files(folder)
    try:
        processor = load_processor(folder)
    except (OSError, ValueError, ImportError) as error:
        reason = " ".join(str(error).split())
        raise InputError(f"{folder}: its processor or tokenizer cannot be read ({reason})") from error
    check_processor(folder, processor, AutoConfig.from_pretrained(folder, local_files_only=True))
    return processor
