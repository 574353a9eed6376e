"""Loading a frozen LLaVA model, and its forward pass: precision, kernels, quantisation, projector, skipped rows."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from peft import prepare_model_for_kbit_training
from safetensors import SafetensorError
from torch import nn
from torch.nn.parallel import DistributedDataParallel
from transformers import BitsAndBytesConfig, LlavaForConditionalGeneration
from transformers.modeling_outputs import BaseModelOutputWithPooling
from transformers.utils import logging as transformers_logging

import vlmtsc.model.vision_tower  # noqa: F401  registers the embedded model's tower
from vlmtsc.errors import InputError
from vlmtsc.model.files import check_files

#: Longest context for which eager attention beats the fused kernel's backward pass on a CPU.
EAGER_CONTEXT = 512
#: By kernel: the setting that requests it, its package, and the command that installs the package.
KERNEL_PACKAGES = {
    "nf4": ("quantization", "bitsandbytes", "pip install 'bitsandbytes>=0.46.1'"),
    "flash_attention_2": ("attention", "flash_attn", "pip install flash-attn --no-build-isolation"),
}
#: Modules that keep their precision: all but the language model's layers.
UNQUANTISED = ("model.vision_tower", "model.multi_modal_projector", "lm_head")


def check_kernels(*, attention: str, quantization: str, precision: str, has_gpu: bool) -> None:
    """Raise InputError if the machine does not support a recipe's kernels: GPU, precision bf16, package."""
    for kernel in (quantization, attention):
        if kernel not in KERNEL_PACKAGES:
            continue
        key, package, command = KERNEL_PACKAGES[kernel]
        allowed = "none" if key == "quantization" else "auto, eager or sdpa"
        if precision != "bf16":
            raise InputError(f"{key}={kernel} with precision={precision}; allowed: precision=bf16")
        if not has_gpu:
            raise InputError(f"{key}={kernel}, and no NVIDIA GPU is here; allowed on a CPU: {key}={allowed}")
        if importlib.util.find_spec(package) is None:
            raise InputError(f"{key}={kernel} needs the package {package}: {command}; or {key}={allowed}")


def compute_device() -> torch.device:
    """Return the GPU if there is one, otherwise the CPU."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def choose_attention(attention: str, device: torch.device, context_length: int) -> str:
    """Resolve the setting ``auto`` to an attention implementation of transformers."""
    if attention != "auto":
        return attention
    return "eager" if device.type == "cpu" and context_length <= EAGER_CONTEXT else "sdpa"


def quantization_config(quantization: str) -> BitsAndBytesConfig | None:
    """Return transformers' configuration of 4-bit weights: NF4 with double quantisation; None for "none".

    T. Dettmers et al., QLoRA: Efficient Finetuning of Quantized LLMs, NeurIPS 2023.
    """
    if quantization == "none":
        return None
    return BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type=quantization,
        bnb_4bit_compute_dtype=torch.bfloat16,
        bnb_4bit_use_double_quant=True,
        llm_int8_skip_modules=list(UNQUANTISED),  # applies to 4 bits too, despite its name
    )


def load_checkpoint(
    folder: Path, *, precision: str, attention: str, context_length: int, quantization: str = "none"
) -> LlavaForConditionalGeneration:
    """Load a LLaVA model from a folder, frozen, on the device that computes.

    Its forward pass also accepts vision features: `project_in_forward`. `context_length` is the longest input in
    tokens. InputError if the folder is no LLaVA checkpoint with safetensors weights, weights are missing or
    unexpected, or the machine does not support the kernels.
    """
    transformers_logging.disable_progress_bar()
    device = compute_device()
    has_gpu = device.type == "cuda"
    check_kernels(attention=attention, quantization=quantization, precision=precision, has_gpu=has_gpu)
    check_files(folder)
    allow_tf32(precision, device)
    quantised = quantization_config(quantization)
    try:
        model, info = LlavaForConditionalGeneration.from_pretrained(
            folder,
            dtype="auto",  # as stored: 14 GB for 7 billion parameters, not 28
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
        # Freezes the model, and converts what is not quantised to float32 for stable training.
        prepare_model_for_kbit_training(model, use_gradient_checkpointing=False)
    else:
        convert_weights(model, precision, device)
        model.requires_grad_(False)
        model.to(device)
    model.model.vision_tower.to(memory_format=torch.channels_last)
    project_in_forward(model)
    return model.eval()


def allow_tf32(precision: str, device: torch.device) -> None:
    """Let a GPU multiply float32 matrices with 10-bit fractions, unless `precision` is "fp32"."""
    if device.type == "cuda":
        torch.backends.cuda.matmul.allow_tf32 = precision != "fp32"
        torch.backends.cudnn.allow_tf32 = precision != "fp32"


def convert_weights(model: LlavaForConditionalGeneration, precision: str, device: torch.device) -> None:
    """Convert a model's weights, in place, to the types in which they are stored.

    Tower and projector are float32 always. With bf16, the language model is bfloat16 on a GPU. On a CPU only its
    matrices are, which saves a tenth of a step in casts; the output layer's are then no longer tied to the embeddings.
    Embeddings and norms stay float32, and the outputs of norms are cast once for all matrices that use them.
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
        for module in language_model.modules():
            if isinstance(module, nn.Linear):
                module.to(torch.bfloat16)
        model.lm_head.weight = nn.Parameter(model.lm_head.weight.to(torch.bfloat16))
        for layer in language_model.layers:
            for norm in (layer.input_layernorm, layer.post_attention_layernorm):
                norm.register_forward_hook(lambda _, __, output: output.to(torch.bfloat16))


def autocast(precision: str, device: torch.device) -> torch.autocast:
    """Return the context in which matrix products use `precision`."""
    return torch.autocast(device.type, dtype=torch.bfloat16, enabled=precision == "bf16")


def inner_model(model: Any) -> LlavaForConditionalGeneration:
    """Return the LLaVA model inside the wrappers of DDP and PEFT, or the model itself."""
    model = model.module if isinstance(model, DistributedDataParallel) else model
    return model.get_base_model() if hasattr(model, "get_base_model") else model


def count_parameters(model: Any) -> dict[str, int]:
    """Count ``total`` and ``trainable`` parameters of a LLaVA model or PeftModel.

    A tied output layer counts once, even where it is a copy in another type (`convert_weights`).
    """
    inner = inner_model(model)
    tied = inner.lm_head.weight if inner.config.tie_word_embeddings else None
    embeddings = inner.get_input_embeddings().weight
    counted = [p for p in model.parameters() if p is not tied or tied is embeddings]
    return {
        "total": sum(parameter.numel() for parameter in counted),
        "trainable": sum(parameter.numel() for parameter in counted if parameter.requires_grad),
    }


def project(model: LlavaForConditionalGeneration, features: torch.Tensor) -> dict[str, Any]:
    """Return projected vision features in the form that LLaVA's forward pass accepts."""
    projected = model.model.multi_modal_projector(features)
    return {"image": BaseModelOutputWithPooling(pooler_output=list(projected))}


def project_in_forward(model: LlavaForConditionalGeneration) -> None:
    """Let a model's forward pass accept vision features, as a keyword argument `vision_features`.

    Their shape is (n_images, image_tokens, vision_hidden_size). The trained projector must run inside the forward pass:
    DDP and FSDP gather parameters before it, and exchange gradients after it.
    """
    model.register_forward_pre_hook(_project, with_kwargs=True)


def _project(
    model: LlavaForConditionalGeneration, arguments: tuple[Any, ...], keywords: Mapping[str, Any]
) -> tuple[tuple[Any, ...], dict[str, Any]]:
    others = {name: value for name, value in keywords.items() if name != "vision_features"}
    features = keywords.get("vision_features")
    images = {} if features is None else {"mm_encoder_outputs": project(model, features)}
    return arguments, others | images


@contextmanager
def only_rows(model: Any, kept: torch.Tensor) -> Iterator[None]:
    """Restrict the last decoder layer, after its attention, to some positions.

    No layer follows, and the output layer is applied to these positions only, so logits and gradients stay the
    same. This saves a seventh of a step with six layers. It has no effect where the layer's activations are recomputed
    (`gradient_checkpointing`), which would happen after this context. `kept` is a mask of shape (batch, length).
    """
    layer = inner_model(model).model.language_model.layers[-1]
    if layer.gradient_checkpointing:
        yield
        return
    hooks = []
    for module in (layer.self_attn.o_proj, layer.mlp):
        hooks += [
            module.register_forward_pre_hook(lambda _, inputs: (inputs[0][kept], *inputs[1:])),
            module.register_forward_hook(lambda _, __, output: _scatter(output, kept)),
        ]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


def _scatter(rows: torch.Tensor, kept: torch.Tensor) -> torch.Tensor:
    """Put rows back to their positions, with zeros elsewhere, which the residual connection ignores."""
    whole = rows.new_zeros((*kept.shape, rows.shape[-1]))
    whole[kept] = rows
    return whole


def last_positions(batch: int, length: int, count: int, device: torch.device) -> torch.Tensor:
    """Return a mask, shape (batch, length), of the last `count` positions."""
    kept = torch.zeros((batch, length), dtype=torch.bool, device=device)
    kept[:, length - count :] = True
    return kept
