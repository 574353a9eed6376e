"""LoRA on the language model and a trainable projector: adding, saving, and loading without silent losses."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch
from peft import LoraConfig, PeftModel, get_peft_model, get_peft_model_state_dict
from peft.tuners.lora import LoraLayer
from peft.utils import set_peft_model_state_dict
from safetensors import SafetensorError
from safetensors.torch import load_file
from transformers import LlavaForConditionalGeneration

from vlmtsc.errors import InputError
from vlmtsc.files import atomic_path, fault_of_sums, write_sums
from vlmtsc.model.dropout import MaskedDropout
from vlmtsc.settings import FinetuneSettings

#: The linear layers of a decoder layer by `lora_targets`.
LINEARS = {
    "all": r"self_attn\.(q|k|v|o)_proj|mlp\.(gate|up|down)_proj",
    "attention": r"self_attn\.(q|k|v|o)_proj",
    "mlp": r"mlp\.(gate|up|down)_proj",
    "query_value": r"self_attn\.(q|v)_proj",
}
PROJECTOR = "multi_modal_projector"


def lora_config(settings: FinetuneSettings) -> LoraConfig:
    """Return peft's configuration of a recipe: which layers get LoRA matrices, and the trained projector."""
    return LoraConfig(
        r=settings.lora_r,
        lora_alpha=settings.lora_alpha,
        lora_dropout=settings.lora_dropout,
        use_rslora=settings.use_rslora,
        use_dora=settings.use_dora,
        # The whole path: a list of suffixes would match the vision tower too.
        target_modules=rf"model\.language_model\.layers\.\d+\.({LINEARS[settings.lora_targets]})",
        modules_to_save=[PROJECTOR],
    )


def add_adapter(model: LlavaForConditionalGeneration, settings: FinetuneSettings) -> PeftModel:
    """Wrap a frozen model with LoRA on the language model, and make a copy of its projector trainable.

    In a run without images the projector has no gradient and stays as it was.
    """
    config = lora_config(settings)
    return _without_detours(get_peft_model(model, config))


def _without_detours(model: PeftModel) -> PeftModel:
    """Take two detours out of peft's layers, in place, that cost time and change nothing.

    Inputs are not cast to the LoRA matrices' float32, since the products cast them back to the precision of the run
    (`autocast`); and dropout draws cheap random numbers (`MaskedDropout`).
    """
    for layer in model.modules():
        if isinstance(layer, LoraLayer):
            layer.cast_input_dtype_enabled = False
            for name, dropout in layer.lora_dropout.items():
                if isinstance(dropout, torch.nn.Dropout):
                    layer.lora_dropout[name] = MaskedDropout(dropout.p)
    return model


def parameter_groups(
    model: PeftModel, settings: FinetuneSettings, with_projector: bool = True
) -> list[dict[str, object]]:
    """Divide the trainable parameters into two groups, each with its learning rate; the projector's may be left out.

    Returns
    -------
    list of dict
        Optimizer groups: the LoRA matrices, and the projector. Vectors (biases, lengths of DoRA) are not decayed.
    """
    groups: dict[tuple[float, float], list[torch.nn.Parameter]] = {}
    for name, parameter in model.named_parameters():
        if not parameter.requires_grad or (PROJECTOR in name and not with_projector):
            continue
        rate = settings.projector_learning_rate if PROJECTOR in name else settings.learning_rate
        decay = 0.0 if parameter.ndim == 1 else settings.weight_decay
        groups.setdefault((rate, decay), []).append(parameter)
    return [{"params": params, "lr": rate, "weight_decay": decay} for (rate, decay), params in groups.items()]


def save_adapter(
    model: PeftModel, folder: Path, base: str, state: Mapping[str, torch.Tensor] | None = None
) -> None:
    """Write the adapter: safetensors, its configuration, and the digests of both.

    Parameters
    ----------
    model : PeftModel
    folder : Path
        Folder to write.
    base : str
        Name of the base model, stored instead of its path, which means nothing on another machine.
    state : mapping of str to torch.Tensor, optional
        Trained tensors by name, where the model itself has only a part of each (`trained_state`).
    """
    with atomic_path(folder) as temporary:
        for config in model.peft_config.values():
            config.base_model_name_or_path = base
        # The base model's embeddings are frozen; peft would look them up by the path to be sure.
        model.save_pretrained(
            temporary, safe_serialization=True, save_embedding_layers=False, state_dict=state
        )
        (temporary / "README.md").unlink(missing_ok=True)  # a model card template for the hub
        write_sums(temporary)


def load_adapter(model: LlavaForConditionalGeneration, folder: Path) -> PeftModel:
    """Put a saved adapter on a model.

    Raises
    ------
    InputError
        If a file cannot be read or is not what was saved, or holds other tensors than exactly those the model takes.
    """
    fault = fault_of_sums(folder)
    if fault is not None:
        raise InputError(f"{folder}: {fault}; remove the folder to have it made anew")
    weights = folder / "adapter_model.safetensors"
    try:
        config = LoraConfig.from_pretrained(str(folder))
        state = load_file(weights)
    except (OSError, SafetensorError, ValueError) as error:
        raise InputError(
            f"{folder}: not an adapter ({weights.name} and adapter_config.json: {error})"
        ) from error
    config.inference_mode = True
    config.base_model_name_or_path = None  # peft would warn that a name is not this model's path
    adapted = _without_detours(get_peft_model(model, config))
    expected = get_peft_model_state_dict(adapted)
    shapes = {name: tuple(tensor.shape) for name, tensor in expected.items()}
    found = {name: tuple(tensor.shape) for name, tensor in state.items()}
    if shapes != found:
        wrong = sorted(set(shapes.items()) ^ set(found.items()))[:4]
        raise InputError(f"{weights}: tensors do not fit the model: {wrong}")
    set_peft_model_state_dict(adapted, state)
    return adapted.eval()
