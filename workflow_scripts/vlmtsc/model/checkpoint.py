"""Loading a LLaVA checkpoint folder, whoever made it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from torch import nn
from torch.nn.parallel import DistributedDataParallel
from transformers import LlavaForConditionalGeneration
from transformers.utils import logging as transformers_logging

import vlmtsc.model.vision_tower  # noqa: F401  registers the embedded default's tower
from vlmtsc.errors import InputError
from vlmtsc.model.files import check_files
from vlmtsc.model.projection import project_in_forward
from vlmtsc.model.quantization import prepare_quantised, quantization_config
from vlmtsc.model.requirements import check_kernels

#: Longest context for which eager attention beats the fused kernel's backward pass on a CPU.
EAGER_CONTEXT = 512


def compute_device() -> torch.device:
    """Return the GPU if there is one, otherwise the CPU."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def choose_attention(attention: str, device: torch.device, context_length: int) -> str:
    """Resolve the setting ``auto`` to a kernel of `transformers`."""
    if attention != "auto":
        return attention
    return "eager" if device.type == "cpu" and context_length <= EAGER_CONTEXT else "sdpa"


def load_checkpoint(
    folder: Path, *, precision: str, attention: str, context_length: int, quantization: str = "none"
) -> LlavaForConditionalGeneration:
    """Load a LLaVA model, frozen, on the device that computes.

    Its forward pass also takes features of images: `project_in_forward`.

    Parameters
    ----------
    folder : Path
        Checkpoint folder with safetensors weights.
    precision : {"bf16", "tf32", "fp32"}
        With bf16 the language model's matrices are stored in bfloat16: casting frozen weights anew in each
        step costs about a tenth of a step on a CPU.
    attention : {"auto", "eager", "sdpa", "flash_attention_2"}
    context_length : int
        Longest input, in tokens.
    quantization : {"none", "nf4"}

    Raises
    ------
    InputError
        If the folder holds no LLaVA model, weights are missing or left over, or the machine lacks what the kernels
        need.
    """
    transformers_logging.disable_progress_bar()
    device = compute_device()
    check_kernels(
        attention=attention,
        quantization=quantization,
        precision=precision,
        has_gpu=device.type == "cuda",
    )
    check_files(folder)
    allow_tf32(precision, device)
    quantised = quantization_config(quantization)
    try:
        model, info = LlavaForConditionalGeneration.from_pretrained(
            folder,
            dtype="auto",  # as stored: a checkpoint of 7 billion parameters takes 14 GB, not 28
            attn_implementation={"text_config": choose_attention(attention, device, context_length)},
            quantization_config=quantised,
            device_map=None if quantised is None else {"": device},
            use_safetensors=True,
            local_files_only=True,
            ignore_mismatched_sizes=True,  # reported below
            output_loading_info=True,
        )
    except (OSError, SafetensorError) as error:
        raise InputError(f"{folder}: not a readable checkpoint ({error})") from error
    kinds = ("missing_keys", "unexpected_keys", "mismatched_keys")
    problems = {key: sorted(info[key])[:3] for key in kinds if info[key]}
    if problems:
        raise InputError(f"{folder}: weights do not fit the model: {problems}")
    if quantised is not None:
        prepare_quantised(model)
    else:
        store(model, precision, device)
        model.requires_grad_(False)
        model.to(device)
    model.model.vision_tower.to(memory_format=torch.channels_last)
    project_in_forward(model)
    return model.eval()


def allow_tf32(precision: str, device: torch.device) -> None:
    """Let a GPU multiply float32 matrices with 10-bit fractions, unless `precision` is "fp32"."""
    if device.type == "cuda":
        allowed = precision != "fp32"
        torch.backends.cuda.matmul.allow_tf32 = allowed
        torch.backends.cudnn.allow_tf32 = allowed


def store(model: LlavaForConditionalGeneration, precision: str, device: torch.device) -> None:
    """Convert a model's weights, in place, to the types in which they are kept.

    Tower and projector are float32 everywhere. With bf16, a GPU keeps the whole language model in bfloat16. A CPU
    keeps its matrices so, the output layer's too, which is then no longer one with the embeddings: casting it anew
    costs a tenth of a step. Embeddings and norms stay float32, and the norms' outputs are cast once for all
    matrices that take them.
    """
    language_model = model.model.language_model
    if precision == "bf16" and device.type == "cuda":
        language_model.to(torch.bfloat16)
        model.lm_head.to(torch.bfloat16)
        model.model.vision_tower.float()
        model.model.multi_modal_projector.float()
        return
    model.float()
    if precision == "bf16":
        store_matrices_in_bfloat16(language_model)
        model.lm_head.weight = nn.Parameter(model.lm_head.weight.to(torch.bfloat16))
        for layer in language_model.layers:
            for norm in (layer.input_layernorm, layer.post_attention_layernorm):
                norm.register_forward_hook(lambda _, __, output: output.to(torch.bfloat16))


def store_matrices_in_bfloat16(module: nn.Module) -> None:
    """Convert the weights of all linear layers; embeddings and norms keep their type."""
    for layer in module.modules():
        if isinstance(layer, nn.Linear):
            layer.to(torch.bfloat16)


def autocast(precision: str, device: torch.device) -> torch.autocast:
    """Return the context in which matrix products use `precision`."""
    return torch.autocast(device.type, dtype=torch.bfloat16, enabled=precision == "bf16")


def count_parameters(model: Any) -> dict[str, int]:
    """Count all and trainable parameters of a LLaVA model or PeftModel.

    An output layer that is the embeddings, be it a copy in another type (`store`), counts once.
    """
    inner = inner_model(model)
    tied = inner.lm_head.weight if inner.config.tie_word_embeddings else None
    embeddings = inner.get_input_embeddings().weight
    counted = [p for p in model.parameters() if p is not tied or tied is embeddings]
    sizes = [(parameter.numel(), parameter.requires_grad) for parameter in counted]
    return {
        "total": sum(size for size, _ in sizes),
        "trainable": sum(size for size, trainable in sizes if trainable),
    }


def inner_model(model: Any) -> LlavaForConditionalGeneration:
    """Return the LLaVA model inside PEFT's wrapper and that for several processes, or the model itself."""
    model = model.module if isinstance(model, DistributedDataParallel) else model
    return model.get_base_model() if hasattr(model, "get_base_model") else model
