"""What a LLaVA checkpoint folder has to hold, checked before anything is loaded from it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from vlmtsc.errors import InputError
from vlmtsc.files import read_json
from vlmtsc.model.stored_processor import read_stored_config, read_stored_processor

#: Tokens that a tower puts before its patches. Towers that are not listed are not checked for it.
CLASS_TOKENS = {"clip_vision_model": 1, "siglip_vision_model": 0, "efficientnet_lite": 0}


def check_files(folder: Path) -> None:
    """Check that a folder is a complete LLaVA checkpoint with safetensors weights.

    Raises
    ------
    InputError
        If the model is of another kind, or a file is missing; with what to do about it.
    """
    if not (folder / "config.json").is_file():
        raise InputError(f"{folder}: no config.json; allowed: a checkpoint folder of a LLaVA model")
    kind = read_json(folder / "config.json").get("model_type")
    if kind != "llava":  # transformers would build LLaVA's default of 7 billion parameters
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
    """Check that a checkpoint folder holds its processor, tokenizer included.

    Raises
    ------
    InputError
        If it does not, with what to do about it.
    """
    if not any((folder / name).is_file() for name in ("processor_config.json", "preprocessor_config.json")):
        raise InputError(
            f"{folder}: no processor_config.json and no preprocessor_config.json; allowed: a checkpoint with its "
            "processor, as the repositories llava-hf/* hold it (LLaVA's own repositories have none)"
        )
    if not any((folder / name).is_file() for name in ("tokenizer.json", "tokenizer.model")):
        raise InputError(
            f"{folder}: no tokenizer.json and no tokenizer.model; allowed: a checkpoint with its tokenizer"
        )


def check_processor(folder: Path, processor: Any, config: Any) -> None:
    """Check that a processor prepares what its model takes.

    A mismatch would end in a crash in the first step at best, and in a shifted image at worst. On which side a
    tokenizer pads does not matter: batches are padded here, and positions are counted from each text's start.

    Parameters
    ----------
    folder : Path
        The checkpoint folder, for messages.
    processor : LlavaProcessor or StoredProcessor
    config : LlavaConfig or SimpleNamespace
        The model's configuration.

    Raises
    ------
    InputError
        With the setting, and what the processor and the model each say.
    """
    vision, text = config.vision_config, config.text_config
    images = processor.image_processor
    size = images.crop_size if images.do_center_crop else images.size
    # Some checkpoints name it in one of the two configurations only.
    padding = next(
        (c.pad_token_id for c in (config, text) if getattr(c, "pad_token_id", None) is not None), None
    )
    pairs = [
        ("patch_size", processor.patch_size, vision.patch_size),
        (
            "vision_feature_select_strategy",
            processor.vision_feature_select_strategy,
            config.vision_feature_select_strategy,
        ),
        ("image height", getattr(size, "height", None), vision.image_size),
        ("image width", getattr(size, "width", None), vision.image_size),
        ("index of the image token", processor.image_token_id, config.image_token_id),
    ]
    if vision.model_type in CLASS_TOKENS:
        pairs.append(
            (
                "num_additional_image_tokens",
                processor.num_additional_image_tokens,
                CLASS_TOKENS[vision.model_type],
            )
        )
    if padding is not None:
        pairs.append(("pad_token_id", processor.tokenizer.pad_token_id, padding))
    elif processor.tokenizer.pad_token_id is None:
        raise InputError(f"{folder}: a tokenizer without a padding token; allowed: one that has it")
    wrong = [
        f"{name} is {found} in the processor and {expected} in the model"
        for name, found, expected in pairs
        if found != expected
    ]
    if len(processor.tokenizer) > text.vocab_size:
        wrong.append(f"{len(processor.tokenizer)} tokens in the tokenizer and {text.vocab_size} in the model")
    if wrong:
        raise InputError(
            f"{folder}: {'; '.join(wrong)}. Correct processor_config.json, or take the model's own processor"
        )


def load_checked_processor(folder: Path) -> Any:
    """Load a checkpoint's processor, and check that it fits its model.

    Raises
    ------
    InputError
        See `check_processor_files` and `check_processor`.
    """
    # Here, since PyTorch comes with them.
    from transformers import LlavaConfig

    import vlmtsc.model.vision_tower  # noqa: F401  registers the embedded default's tower
    from vlmtsc.representation.tokens import load_processor

    check_processor_files(folder)
    try:
        processor = load_processor(folder)
    except (OSError, ValueError) as error:
        raise InputError(f"{folder}: its processor or tokenizer cannot be read ({error})") from error
    check_processor(folder, processor, LlavaConfig.from_pretrained(folder, local_files_only=True))
    return processor


def read_checked_processor(folder: Path) -> Any:
    """Return what conversations need of a checkpoint's processor, checked: without PyTorch where possible.

    Raises
    ------
    InputError
        As `load_checked_processor`.
    """
    check_processor_files(folder)
    processor, config = read_stored_processor(folder), read_stored_config(folder)
    if processor is None or config is None:
        return load_checked_processor(folder)
    check_processor(folder, processor, config)
    return processor
