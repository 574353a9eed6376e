"""LoRA on the language model, a trainable projector and vision tower: adding, saving and loading an adapter."""

from __future__ import annotations

import re
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import torch
from peft import LoraConfig, PeftModel, get_peft_model, get_peft_model_state_dict
from peft.tuners.lora import LoraLayer
from peft.utils import set_peft_model_state_dict
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import nn
from torch.nn import functional
from transformers import AutoModelForImageTextToText, PreTrainedModel

from vlmtsc.errors import InputError
from vlmtsc.files import atomic_path, fault_of_sums, write_sums
from vlmtsc.model.architecture import Architecture
from vlmtsc.settings import FinetuneSettings

#: The linear layers of a decoder layer by `lora_targets`, among all.
LINEARS = {
    "all": r".*",
    "attention": r".*attn.*",
    "mlp": r"(?!.*attn).*",
    "query_value": r".*attn.*\.(q|v)_proj",
}
#: Integer types for masks, by bytes of the masked floats.
_INTEGERS = {2: torch.int16, 4: torch.int32, 8: torch.int64}


class _MaskedDropoutFunction(torch.autograd.Function):
    """Zeroes values by a bit mask and scales the others; likewise their gradients."""

    @staticmethod
    def forward(ctx: Any, values: torch.Tensor, dropped: int) -> torch.Tensor:
        mask = _keep_mask(values.shape, dropped, _INTEGERS[values.element_size()])
        ctx.save_for_backward(mask)
        ctx.scale = 256 / (256 - dropped)
        return (values.view(mask.dtype) & mask).view(values.dtype).mul_(ctx.scale)

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> tuple[torch.Tensor, None]:
        (mask,) = ctx.saved_tensors
        gradient = gradients[0].contiguous()
        return (gradient.view(mask.dtype) & mask).view(gradient.dtype).mul_(ctx.scale), None


def _keep_mask(shape: torch.Size, dropped: int, dtype: torch.dtype) -> torch.Tensor:
    """Draw a mask with no bits set in `dropped` of 256 values on average, and all bits set in the others.

    Drawn from PyTorch's generator, eight values at a time, so that a resumed run draws the same.
    """
    size = shape.numel()
    draws = torch.empty((size + 7) // 8, dtype=torch.int64).random_(-(2**63), None)
    levels = draws.view(torch.int8)[:size].view(shape).to(dtype)
    # Negative exactly for the levels from `dropped` on; shifting the sign sets all bits.
    return levels.neg_().add_(dropped - 129).bitwise_right_shift_(8 * levels.element_size() - 1)


class MaskedDropout(nn.Module):
    """Dropout that draws a byte instead of a float for each value on a CPU; PyTorch's dropout on a GPU.

    Drawing floats takes a CPU about six times as long as the rest of dropout: a fifth of a training step with seven
    adapted matrices in each layer. On a CPU the rate `p` is rounded to a multiple of 1/256.
    """

    def __init__(self, p: float) -> None:
        super().__init__()
        self.p = p

    def forward(self, values: torch.Tensor) -> torch.Tensor:
        """Drop values in training mode; otherwise return them unchanged."""
        dropped = round(256 * self.p)
        if not self.training or not dropped:
            return values
        if values.device.type != "cpu":
            return functional.dropout(values, self.p, training=True)
        return _MaskedDropoutFunction.apply(values.contiguous(), dropped)


def lora_config(settings: FinetuneSettings, model: PreTrainedModel) -> LoraConfig:
    """Return peft's configuration of a recipe: adapted layers, and modules that are trained in full."""
    targets, whole = linear_layers(model, settings.lora_targets), [*model.architecture.projector]
    if settings.vision_tuning == "lora":
        targets = f"{targets}|{vision_layers(model)}"
    elif settings.vision_tuning == "last_blocks":
        whole += vision_blocks(model)[-settings.vision_blocks :]
    return LoraConfig(
        r=settings.lora_r,
        lora_alpha=settings.lora_alpha,
        lora_dropout=settings.lora_dropout,
        use_rslora=settings.use_rslora,
        use_dora=settings.use_dora,
        target_modules=targets,
        modules_to_save=whole,
    )


def linear_layers(model: PreTrainedModel, targets: str) -> str:
    """Return the pattern of the names of linear layers in the language model's layers.

    With the full path: a list of suffixes would match the vision tower too. InputError if there are none.
    """
    layers = f"{model.architecture.decoder}.layers"
    inside = dict.fromkeys(
        name.partition(".")[2]
        for name, module in model.get_submodule(layers).named_modules()
        if isinstance(module, nn.Linear)
    )
    chosen = [re.escape(name) for name in inside if re.fullmatch(LINEARS[targets], name)]
    if not chosen:
        raise InputError(
            f"lora_targets={targets}: no such layer among {', '.join(inside)}; allowed: another of "
            f"{', '.join(LINEARS)}"
        )
    return rf"{re.escape(layers)}\.\d+\.({'|'.join(chosen)})"


def vision_layers(model: PreTrainedModel) -> str:
    """Return the pattern of the names of the vision tower's linear layers; InputError if there are none."""
    architecture = model.architecture
    tower = model.get_submodule(architecture.tower)
    found = [
        name
        for name, module in tower.named_modules()
        if isinstance(module, nn.Linear) and part_of(f"{architecture.tower}.{name}", architecture) == "vision"
    ]
    if not found:
        raise InputError(
            f"vision_tuning=lora: {architecture.tower} has no linear layers; allowed: frozen or last_blocks"
        )
    return rf"{re.escape(architecture.tower)}\.({'|'.join(map(re.escape, found))})"


def vision_blocks(model: PreTrainedModel) -> list[str]:
    """Return the names of the vision tower's blocks, those of its longest list of modules."""
    tower = model.architecture.tower
    lists = [
        (len(module), name)
        for name, module in model.get_submodule(tower).named_modules()
        if isinstance(module, nn.ModuleList)
    ]
    if not lists:
        raise InputError(f"vision_tuning=last_blocks: {tower} has no list of blocks; allowed: frozen or lora")
    length, longest = max(lists, key=lambda entry: entry[0])
    return [f"{tower}.{longest}.{block}" for block in range(length)]


def add_adapter(model: PreTrainedModel, settings: FinetuneSettings) -> PeftModel:
    """Wrap a frozen model with LoRA on the language model and a copy of its projector.

    The copy is trained if it has a learning rate, and saved in either case. Without images it has no gradient and does
    not change.
    """
    adapted = _with_layers(model, lora_config(settings, model))
    freeze_projector(adapted, settings)
    return adapted


def freeze_projector(model: PeftModel, settings: FinetuneSettings) -> None:
    """Freeze the projector of an adapted model if it has no learning rate.

    Otherwise its gradient would be computed, and would count where gradients are clipped.
    """
    if settings.projector_learning_rate:
        return
    architecture = model.get_base_model().architecture
    for name, parameter in model.named_parameters():
        if part_of(name, architecture) == "projector":
            parameter.requires_grad_(False)


def part_of(name: str, architecture: Architecture) -> Literal["projector", "vision", "language"]:
    """Return the part of a model, adapted or not, to which a module or parameter belongs."""
    path = f"{name.removeprefix('base_model.model.')}."
    if any(path.startswith(f"{module}.") for module in architecture.projector):
        return "projector"
    return "vision" if path.startswith(f"{architecture.tower}.") else "language"


def is_saved_whole(name: str) -> bool:
    """Whether a parameter of an adapted model belongs to a module that is saved in full, trained or not."""
    return ".modules_to_save." in name


def _with_layers(model: PreTrainedModel, config: LoraConfig) -> PeftModel:
    """Add peft's layers, with `MaskedDropout` and without casts of inputs to float32, which autocast reverts."""
    # peft asks transformers for an attribute by a deprecated name.
    with warnings.catch_warnings(action="ignore", category=FutureWarning):
        adapted = get_peft_model(model, config)
    for layer in adapted.modules():
        if isinstance(layer, LoraLayer):
            layer.cast_input_dtype_enabled = False
            for name, dropout in layer.lora_dropout.items():
                if isinstance(dropout, nn.Dropout):
                    layer.lora_dropout[name] = MaskedDropout(dropout.p)
    return adapted


def parameter_groups(
    model: PeftModel, settings: FinetuneSettings, with_images: bool = True
) -> list[dict[str, object]]:
    """Return optimizer groups of the trainable parameters, with or without those that only images use.

    Language model, projector and vision tower have separate learning rates; vectors (biases, DoRA's magnitudes) have no
    weight decay.
    """
    rates = {
        "language": settings.learning_rate,
        "projector": settings.projector_learning_rate,
        "vision": settings.vision_learning_rate,
    }
    groups: dict[tuple[float, float], list[nn.Parameter]] = {}
    for name, parameter in model.named_parameters():
        part = part_of(name, model.get_base_model().architecture)
        if not parameter.requires_grad or (part != "language" and not with_images):
            continue
        decay = 0.0 if parameter.ndim == 1 else settings.weight_decay
        groups.setdefault((rates[part], decay), []).append(parameter)
    return [{"params": params, "lr": rate, "weight_decay": decay} for (rate, decay), params in groups.items()]


def save_adapter(
    model: PeftModel, folder: Path, base: str, state: Mapping[str, torch.Tensor] | None = None
) -> None:
    """Write an adapter: safetensors, configuration, and checksums of both.

    The name of the base model is stored instead of its path, which would be wrong on other machines. `state` has the
    trained tensors by name, where the model has only shards of them (`trained_state`).
    """
    with atomic_path(folder) as temporary:
        for config in model.peft_config.values():
            config.base_model_name_or_path = base
        # The embeddings are frozen; with "auto" peft would look up the base model by its name.
        model.save_pretrained(
            temporary, safe_serialization=True, save_embedding_layers=False, state_dict=state
        )
        (temporary / "README.md").unlink(missing_ok=True)  # peft's template of a model card
        write_sums(temporary)


def load_adapter(model: PreTrainedModel, folder: Path) -> PeftModel:
    """Add a saved adapter to a model, for inference.

    InputError if a file is damaged, or the tensors are not exactly those that the model expects.
    """
    fault = fault_of_sums(folder)
    if fault is not None:
        raise InputError(f"{folder}: {fault}; remove the folder to have it rebuilt")
    weights = folder / "adapter_model.safetensors"
    try:
        config = LoraConfig.from_pretrained(str(folder))
        state = load_file(weights)
    except (OSError, SafetensorError, ValueError) as error:
        raise InputError(
            f"{folder}: not an adapter ({weights.name} and adapter_config.json: {error})"
        ) from error
    config.inference_mode = True
    config.base_model_name_or_path = None  # peft would warn that it is not this model's path
    adapted = _with_layers(model, config)
    expected = get_peft_model_state_dict(adapted)
    shapes = {name: tuple(tensor.shape) for name, tensor in expected.items()}
    found = {name: tuple(tensor.shape) for name, tensor in state.items()}
    if shapes != found:
        wrong = sorted(set(shapes.items()) ^ set(found.items()))[:4]
        raise InputError(f"{weights}: tensors do not fit the model: {wrong}")
    set_peft_model_state_dict(adapted, state)
    return adapted.eval()


def merge_in_place(model: PeftModel) -> None:
    """Add LoRA's matrices to the weights that they adapt, for inference, if all of these are float32.

    A forward pass then takes about a quarter less time. Weights of fewer bits would round the sums, and stay as they
    are.
    """
    layers = [layer for layer in model.modules() if isinstance(layer, LoraLayer)]
    if all(layer.get_base_layer().weight.dtype == torch.float32 for layer in layers):
        model.merge_adapter()


def write_merged_checkpoint(checkpoint: Path, adapter: Path, output: Path) -> None:
    """Write a checkpoint folder in whose weights an adapter is merged, in the types of the base model's."""
    base = AutoModelForImageTextToText.from_pretrained(checkpoint, dtype="auto", local_files_only=True)
    merged = PeftModel.from_pretrained(base, str(adapter)).merge_and_unload()
    merged.save_pretrained(output)
