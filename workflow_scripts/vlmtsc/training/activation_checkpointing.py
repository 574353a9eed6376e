"""Activation checkpointing: keep less between the passes, compute it again in the backward pass."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import Any

import torch
from peft import PeftModel

from vlmtsc.errors import InputError
from vlmtsc.examples import Example
from vlmtsc.model.checkpoint import inner_model
from vlmtsc.training.trainer import AnswerTrainer

logger = logging.getLogger(__name__)

#: What to do where the GPU's memory is too small.
HINT = "a smaller micro_batch_size, a shorter context, quantization=nf4 or a smaller vision_cache_mb may help"


def set_activation_checkpointing(model: PeftModel, enabled: bool) -> None:
    """Switch activation checkpointing of the language model's layers on or off.

    Not of the vision tower, which is frozen and runs without gradient. And without the hooks that make the token
    embeddings require a gradient: only the older, reentrant kind of checkpointing needs them. The last layer keeps its
    activations: its backward pass comes first, so that they would be there again before anything is freed, and it
    computes a few positions only (`answer_rows`).
    """
    language_model = inner_model(model).model.language_model
    if enabled:
        language_model.activation_checkpointing_enable()
        language_model.disable_input_require_grads()
        language_model.layers[-1].gradient_checkpointing = False
    else:
        language_model.activation_checkpointing_disable()


def fit_to_memory(trainer: AnswerTrainer, mode: str) -> bool:
    """Set a run up for the memory that there is; see `choose_activation_checkpointing`.

    Parameters
    ----------
    trainer : AnswerTrainer
        Before its first step.
    mode : {"auto", "always", "never"}
        With FSDP, "auto" is "always": weights are shared out only when training begins, too late to try.
    """
    if mode == "auto" and trainer.is_fsdp_enabled:
        mode = "always"
    part = trainer.train_dataset
    indices = longest_batch(part.examples, trainer.args.per_device_train_batch_size)

    def try_longest() -> torch.Tensor:
        batch = trainer.data_collator([part[index] for index in indices])
        inputs = {name: tensor.to(trainer.args.device) for name, tensor in batch.items()}
        return trainer.compute_loss(trainer.model, inputs)

    reserved = optimizer_bytes(trainer.model, averages=trainer.settings.ema_decay > 0)
    if trainer.vision is not None and trainer.args.device.type == "cuda":
        reserved += trainer.vision.bytes_to_come()
    return choose_activation_checkpointing(
        trainer.model, mode, try_longest, device=trainer.args.device, reserved_bytes=reserved
    )


def choose_activation_checkpointing(
    model: PeftModel,
    mode: str,
    try_longest: Callable[[], torch.Tensor],
    *,
    device: torch.device,
    reserved_bytes: int,
) -> bool:
    """Decide whether a run keeps its activations, and set the model up for it.

    Parameters
    ----------
    model : PeftModel
        On its device, ready to train.
    mode : {"auto", "always", "never"}
        auto: on a GPU, a forward and a backward pass of the longest batch are tried. On a CPU activations
        are kept: nothing there tells a process in time that its memory is used up.
    try_longest : callable
        Returns the loss of the longest batch.
    device : torch.device
        Where the model is.
    reserved_bytes : int
        Memory that training will need beside that batch: the optimizer's states, features of images.

    Returns
    -------
    bool
        Whether activations are computed again.

    Raises
    ------
    InputError
        If the longest batch does not fit even so.
    """
    chosen = mode == "always"
    if mode == "auto" and device.type == "cuda":
        chosen = not _fits(model, try_longest, reserved_bytes)
        if chosen:
            set_activation_checkpointing(model, True)
            logger.info("the longest batch does not fit: activations are computed again in the backward pass")
            if not _fits(model, try_longest, reserved_bytes):
                raise InputError(f"the longest batch does not fit the GPU's memory; {HINT}")
            return True
    set_activation_checkpointing(model, chosen)
    return chosen


def _fits(model: PeftModel, try_longest: Callable[[], torch.Tensor], reserved_bytes: int) -> bool:
    """Train on the longest batch without a step, and leave weights, gradients and random numbers as they were."""
    was_training = model.training
    device = next(model.parameters()).device
    devices = [device] if device.type == "cuda" else []
    try:
        with torch.random.fork_rng(devices=devices):
            reserved = torch.empty(reserved_bytes, dtype=torch.uint8, device=device)
            model.train()
            try_longest().backward()
            del reserved
        return True
    except torch.OutOfMemoryError:
        return False
    finally:
        model.zero_grad(set_to_none=True)
        model.train(was_training)
        if device.type == "cuda":
            torch.cuda.empty_cache()


def longest_batch(examples: Sequence[Example], size: int) -> list[int]:
    """Return the indices of the `size` longest examples: no batch of a run is padded to more tokens."""
    order = sorted(range(len(examples)), key=lambda index: examples[index].tokens, reverse=True)
    return order[:size]


def optimizer_bytes(model: Any, averages: bool) -> int:
    """Return the bytes of AdamW's two states, and of an average, of the trained parameters in float32."""
    trained = sum(parameter.numel() for parameter in model.parameters() if parameter.requires_grad)
    return trained * 4 * (3 if averages else 2)
