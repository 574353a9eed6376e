"""Loading a frozen model, and its forward pass: precision, kernels, quantisation, projector, skipped rows."""

from __future__ import annotations

import importlib.util
import inspect
import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from peft import prepare_model_for_kbit_training
from safetensors import SafetensorError
from torch import nn
from torch.nn.functional import linear
from torch.nn.parallel import DistributedDataParallel
from transformers import AutoConfig, AutoModelForImageTextToText, BitsAndBytesConfig, PreTrainedModel
from transformers.modeling_outputs import BaseModelOutputWithPooling
from transformers.utils import logging as transformers_logging

import vlmtsc.model.pooled_llava  # noqa: F401  registers the embedded model's classes
from vlmtsc.errors import InputError
from vlmtsc.model.architecture import Architecture, find_architecture, type_argument
from vlmtsc.model.files import check_files, load_checked_processor

logger = logging.getLogger(__name__)

#: Longest context for which eager attention beats the fused kernel's backward pass on a CPU.
EAGER_CONTEXT = 512
#: Tokens of the output layer whose weights are float32 at once.
ROWS = 2048
#: By kernel: the setting that requests it, its package, and the command that installs the package.
KERNEL_PACKAGES = {
    "nf4": ("quantization", "bitsandbytes", "pip install 'bitsandbytes>=0.46.1'"),
    "flash_attention_2": ("attention", "flash_attn", "pip install flash-attn --no-build-isolation"),
}


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


def quantization_config(quantization: str, architecture: Architecture) -> BitsAndBytesConfig | None:
    """Return transformers' configuration of 4-bit weights: NF4 with double quantisation; None for "none".

    All but the language model's layers keep their precision (`unquantised`). T. Dettmers et al., QLoRA: Efficient
    Finetuning of Quantized LLMs, NeurIPS 2023.
    """
    if quantization == "none":
        return None
    return BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type=quantization,
        bnb_4bit_compute_dtype=torch.bfloat16,
        bnb_4bit_use_double_quant=True,
        llm_int8_skip_modules=unquantised(architecture),  # applies to 4 bits too, despite its name
    )


def unquantised(architecture: Architecture) -> list[str]:
    """Return the modules that keep their precision: all but the language model's layers."""
    return [architecture.tower, *architecture.projector, "lm_head"]


def load_checkpoint(
    folder: Path, *, precision: str, attention: str, context_length: int, quantization: str = "none"
) -> PreTrainedModel:
    """Load a model of `AutoModelForImageTextToText` from a folder, frozen, on the device that computes.

    Its attribute `architecture` tells where its parts are. Its forward pass takes more arguments: `complete_inputs`.
    `context_length` is the longest input in tokens. InputError if the folder is no checkpoint with safetensors weights,
    its kind is unsupported, weights are missing or unexpected, or the machine does not support the kernels.
    """
    transformers_logging.disable_progress_bar()
    device = compute_device()
    has_gpu = device.type == "cuda"
    check_kernels(attention=attention, quantization=quantization, precision=precision, has_gpu=has_gpu)
    check_files(folder)
    allow_tf32(precision, device)
    if precision == "bf16" and not uses_bfloat16(precision, device):
        logger.info("products in float32: this processor has no instructions for bfloat16")
    config = AutoConfig.from_pretrained(folder, local_files_only=True)
    with torch.device("meta"):
        skeleton = AutoModelForImageTextToText.from_config(config)
    processor = load_checked_processor(folder) if type_argument(skeleton) else None
    architecture = find_architecture(skeleton, processor)
    text = next(
        (key for key, value in vars(config).items() if value is config.get_text_config()), "text_config"
    )
    quantised = quantization_config(quantization, architecture)
    try:
        model, info = AutoModelForImageTextToText.from_pretrained(
            folder,
            dtype="auto",  # as stored: 14 GB for 7 billion parameters, not 28
            attn_implementation={text: choose_attention(attention, device, context_length)},
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
    attach(model, architecture)
    if quantised is not None:
        # Freezes the model, and converts what is not quantised to float32 for stable training.
        prepare_model_for_kbit_training(model, use_gradient_checkpointing=False)
    else:
        convert_weights(model, precision, device)
        model.requires_grad_(False)
        model.to(device)
    if architecture.separate:
        model.get_submodule(architecture.tower).to(memory_format=torch.channels_last)
    return model.eval()


def attach(model: PreTrainedModel, architecture: Architecture) -> None:
    """Give a model its architecture as an attribute, the arguments of `complete_inputs` and `exact_logits`."""
    model.architecture = architecture
    model.register_forward_pre_hook(complete_inputs, with_kwargs=True)
    model.get_output_embeddings().register_forward_hook(exact_logits)


def exact_logits(output: nn.Linear, inputs: tuple[torch.Tensor], logits: torch.Tensor) -> torch.Tensor | None:
    """Compute an output layer's logits in float32 where there are no gradients.

    Logits in bfloat16 have steps of 1/16 to 1/8: the likeliest classes of many cases would tie, and their order decide.
    Weights are converted a few tokens at a time: a copy of all of them would triple the time of a batch on a CPU.
    """
    if torch.is_grad_enabled() or logits.dtype == torch.float32:
        return None
    with torch.autocast(logits.device.type, enabled=False):
        hidden = inputs[0].float()
        exact = torch.cat([linear(hidden, rows.float()) for rows in output.weight.split(ROWS)], dim=-1)
    return exact if output.bias is None else exact + output.bias


def allow_tf32(precision: str, device: torch.device) -> None:
    """Let a GPU multiply float32 matrices with 10-bit fractions, unless `precision` is "fp32"."""
    if device.type == "cuda":
        torch.backends.cuda.matmul.allow_tf32 = precision != "fp32"
        torch.backends.cudnn.allow_tf32 = precision != "fp32"


def has_bfloat16_instructions() -> bool:
    """Return whether this machine's CPU has instructions for products in bfloat16: x86 avx512_bf16, ARM bf16.

    Without, PyTorch emulates them: on x86 they take about twice as long as in float32 with AVX-512, and about seven
    times as long, convolutions ten times, with AVX2.
    """
    capabilities = torch.cpu.get_capabilities()
    return any(capabilities.get(name, False) for name in ("avx512_bf16", "bf16"))


def uses_bfloat16(precision: str, device: torch.device) -> bool:
    """Return whether matrix products are in bfloat16: with bf16, unless a CPU has no instructions for it."""
    return precision == "bf16" and (device.type != "cpu" or has_bfloat16_instructions())


def convert_weights(model: PreTrainedModel, precision: str, device: torch.device) -> None:
    """Convert a model's weights, in place, to the types in which they are stored.

    Tower and projector are float32 always. With bfloat16, the language model is so on a GPU. On a CPU only the
    matrices of its layers and of the output layer are, which saves a tenth of a step in casts; the output layer's are
    then no longer tied to the embeddings. Embeddings and norms stay float32, and the outputs of norms are cast once for
    all matrices that use them.

    Each tensor is converted by itself, so that a model in half precision is never in memory as float32.
    """
    architecture, decoder = model.architecture, model.get_decoder()
    half: set[int] = set()
    bfloat16 = uses_bfloat16(precision, device)
    if bfloat16 and device.type == "cuda":
        half = {
            id(parameter)
            for part in (decoder, model.get_output_embeddings())
            for parameter in part.parameters()
        }
    elif bfloat16:
        output = model.get_output_embeddings()
        output.weight = nn.Parameter(output.weight.to(torch.bfloat16), requires_grad=False)
        linears = (module for module in decoder.layers.modules() if isinstance(module, nn.Linear))
        half = {id(parameter) for part in (output, *linears) for parameter in part.parameters()}
        if architecture.plain_layers:
            for layer in decoder.layers:
                for norm in (layer.input_layernorm, layer.post_attention_layernorm):
                    norm.register_forward_hook(lambda _, __, output: output.to(torch.bfloat16))
    for parameter in model.parameters():
        parameter.data = parameter.data.to(torch.bfloat16 if id(parameter) in half else torch.float32)
    for buffer in model.buffers():
        if buffer.is_floating_point():
            buffer.data = buffer.data.float()


def autocast(precision: str, device: torch.device) -> torch.autocast:
    """Return the context in which matrix products use `precision`.

    Casts are not kept: a forward pass uses each weight once, and those of LoRA on 7 billion parameters are 0.6 GB.
    """
    enabled = uses_bfloat16(precision, device)
    return torch.autocast(device.type, dtype=torch.bfloat16, enabled=enabled, cache_enabled=False)


def inner_model(model: Any) -> PreTrainedModel:
    """Return the model inside the wrappers of DDP and PEFT, or the model itself."""
    model = model.module if isinstance(model, DistributedDataParallel) else model
    return model.get_base_model() if hasattr(model, "get_base_model") else model


def count_parameters(model: Any) -> dict[str, int]:
    """Count ``total`` and ``trainable`` parameters of a model or PeftModel.

    A tied output layer counts once, even where it is a copy in another type (`convert_weights`).
    """
    inner = inner_model(model)
    tied = inner.get_output_embeddings().weight if inner.config.tie_word_embeddings else None
    embeddings = inner.get_input_embeddings().weight
    counted = [p for p in model.parameters() if p is not tied or tied is embeddings]
    return {
        "total": sum(parameter.numel() for parameter in counted),
        "trainable": sum(parameter.numel() for parameter in counted if parameter.requires_grad),
    }


def complete_inputs(
    model: PreTrainedModel, arguments: tuple[Any, ...], keywords: Mapping[str, Any]
) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Replace the arguments that a forward pass takes here by those of the model; a hook.

    `vision_features`, of shape (n_images, tower_tokens, vision_hidden_size), are projected: the trained projector must
    run inside the forward pass, since DDP and FSDP gather parameters before it, and exchange gradients after it.
    `projected_images`, of shape (n_images, tokens, hidden_size), take their place where the projector is frozen.
    `answer_mask`, a mask of the answers' tokens, becomes the argument that tells tokens apart, in passes over whole
    prompts.
    """
    others = dict(keywords)
    features, answer = others.pop("vision_features", None), others.pop("answer_mask", None)
    projected = others.pop("projected_images", None)
    if features is not None:
        projected = model.model.multi_modal_projector(features)
    if projected is not None:
        others["mm_encoder_outputs"] = {"image": BaseModelOutputWithPooling(pooler_output=list(projected))}
    if answer is not None:
        others |= model.architecture.type_ids(others["input_ids"], answer)
    return arguments, others


def position_ids(
    model: Any, batch: Mapping[str, torch.Tensor], images: Mapping[str, torch.Tensor]
) -> torch.Tensor:
    """Return the positions of prompts' tokens, int64, counted from the start of each.

    The shape is (batch, length); (3, batch, length) where an image's tokens have three coordinates.
    """
    inner = inner_model(model)
    if not hasattr(inner.base_model, "get_rope_index"):
        return (batch["attention_mask"].cumsum(1) - 1).clamp(min=0)
    accepted = inspect.signature(inner.base_model.get_rope_index).parameters
    types = inner.architecture.type_ids(batch["input_ids"])
    others = {name: value for name, value in {**images, **types}.items() if name in accepted}
    positions, _ = inner.base_model.get_rope_index(
        batch["input_ids"], attention_mask=batch["attention_mask"], **others
    )
    return positions


@contextmanager
def only_rows(model: Any, kept: torch.Tensor) -> Iterator[None]:
    """Restrict the last decoder layer, after its attention, to some positions.

    No layer follows, and the output layer is applied to these positions only, so logits and gradients stay the
    same. This saves a seventh of a step with six layers. It has no effect where the layer's activations are recomputed
    (`gradient_checkpointing`), which would happen after this context, or the layer is unlike those of Llama. `kept` is
    a mask of shape (batch, length).
    """
    inner = inner_model(model)
    layer = inner.get_decoder().layers[-1]
    if layer.gradient_checkpointing or not inner.architecture.plain_layers:
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
