"""Storing the frozen language model in four bits a weight (QLoRA), through bitsandbytes."""

from __future__ import annotations

import torch
from peft import prepare_model_for_kbit_training
from transformers import BitsAndBytesConfig, LlavaForConditionalGeneration

#: What keeps its precision: all but the language model's layers.
UNQUANTISED = ("model.vision_tower", "model.multi_modal_projector", "lm_head")


def quantization_config(quantization: str) -> BitsAndBytesConfig | None:
    """Return how transformers is to quantise a model while it loads it; None for `quantization` "none".

    Four-bit normal floats with bfloat16 products, and the scales of the blocks quantised as well, as in [1]_.

    References
    ----------
    .. [1] T. Dettmers et al., QLoRA: Efficient Finetuning of Quantized LLMs. NeurIPS 2023.
    """
    if quantization == "none":
        return None
    return BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type=quantization,
        bnb_4bit_compute_dtype=torch.bfloat16,
        bnb_4bit_use_double_quant=True,
        llm_int8_skip_modules=list(UNQUANTISED),  # used for four bits too, despite its name
    )


def prepare_quantised(model: LlavaForConditionalGeneration) -> None:
    """Freeze a model that was loaded in four bits, and make what is not quantised float32 for stable training.

    Activation checkpointing is decided elsewhere (`vlmtsc.training.activation_checkpointing`).
    """
    prepare_model_for_kbit_training(model, use_gradient_checkpointing=False)
