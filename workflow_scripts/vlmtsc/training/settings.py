"""Settings of fine-tuning and evaluation. Imports nothing heavy: the workflow reads this while it plans."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, Literal

from vlmtsc.errors import InputError


@dataclass(frozen=True)
class FinetuneSettings:
    """A fine-tuning recipe and the seed of one run.

    Attributes
    ----------
    seed : int
        Seed of the adapter's initial weights, dropout and the order of cases; not of the split.
    lora_r : int
        Rank of the LoRA matrices.
    lora_alpha : int
        LoRA scale; the update is multiplied by lora_alpha / lora_r.
    lora_dropout : float
        Dropout before the LoRA matrices.
    learning_rate : float
        Peak learning rate of the LoRA matrices.
    projector_learning_rate : float
        Peak learning rate of the multimodal projector, which is trained in full.
    weight_decay : float
        Decoupled weight decay (AdamW).
    adam_beta2 : float
        Decay of AdamW's squared gradients. A shortened language model starts with a huge loss on the answer's
        form; with the usual 0.999 that keeps the steps small for a thousand steps, with 0.95 for twenty.
    warmup_ratio : float
        Share of the steps over which the learning rate rises, before a cosine to zero.
    batch_size : int
        Cases in one optimizer step, of all processes together.
    micro_batch_size : int
        Cases in one forward pass of one process; times the processes, a divisor of `batch_size`. Gradients are
        accumulated.
    epochs : float
        Passes over the training part, at most.
    token_budget : int
        Training tokens of one run, at most; 0: no limit. Counts every token of every pass, image included.
    early_stopping_patience : int
        Validations in a row without progress after which a run stops; 0: never. Those before any was better
        than chance do not count.
    early_stopping_steps : int
        Steps without progress that a run is granted in any case.
    early_stopping_threshold : float
        What counts as progress: a validation loss at least this much (nats a case) below the best one before.
    keep : {"best", "last"}
        Which adapter is kept: that of the latest validation whose loss is within `early_stopping_threshold` of the
        lowest, or that of the last step.
    max_grad_norm : float
        Gradients are clipped to this norm.
    precision : {"bf16", "tf32", "fp32"}
        Compute type of matrix products. With bf16, frozen matrices are stored in it too. tf32 differs from fp32 on
        NVIDIA GPUs only.
    attention : {"auto", "eager", "sdpa", "flash_attention_2"}
        Attention kernel. auto: eager on a CPU with a context of up to 512 tokens, where it is faster.
    lora_targets : {"all", "attention", "mlp", "query_value"}
        Which linear layers of the language model have LoRA matrices.
    use_rslora : bool
        Scale by lora_alpha / sqrt(lora_r) (rank-stabilised LoRA).
    use_dora : bool
        Train the length of each row of the weights by itself (DoRA).
    quantization : {"none", "nf4"}
        Storage of the language model's frozen matrices; nf4: four bits a weight (QLoRA).
    ema_decay : float
        Decay, a step, of an average of the trained weights, which is what is validated and kept; 0: no average.
    torch_compile : bool
        Compile each decoder layer.
    """

    seed: int
    lora_r: int
    lora_alpha: int
    lora_dropout: float
    learning_rate: float
    projector_learning_rate: float
    weight_decay: float
    adam_beta2: float
    warmup_ratio: float
    batch_size: int
    micro_batch_size: int
    epochs: float
    token_budget: int
    early_stopping_patience: int
    early_stopping_steps: int
    early_stopping_threshold: float
    keep: Literal["best", "last"]
    max_grad_norm: float
    precision: Literal["bf16", "tf32", "fp32"]
    attention: Literal["auto", "eager", "sdpa", "flash_attention_2"]
    lora_targets: Literal["all", "attention", "mlp", "query_value"] = "all"
    use_rslora: bool = False
    use_dora: bool = False
    quantization: Literal["none", "nf4"] = "none"
    ema_decay: float = 0.0
    torch_compile: bool = False

    @classmethod
    def of_run(cls, values: Mapping[str, Any]) -> FinetuneSettings:
        """Make the settings that stand in a run's record; earlier runs had those of memory among them."""
        memory = {field.name for field in fields(MemorySettings)}
        return cls(**{key: value for key, value in values.items() if key not in memory})


@dataclass(frozen=True)
class MemorySettings:
    """What a job may hold in memory to be fast. Changes no result, and so makes no step run again.

    Attributes
    ----------
    evaluation_batch_size : int
        Cases in one forward pass of validation and test.
    vision_cache_mb : int
        Memory for the frozen tower's features, computed once per image; images beyond it are encoded anew.
    activation_checkpointing : bool
        Whether the backward pass recomputes the activations of each decoder layer instead of storing them.
    """

    evaluation_batch_size: int = 16
    vision_cache_mb: int = 2048
    activation_checkpointing: bool = False


@dataclass(frozen=True)
class TrackingSettings:
    """Who follows a run while it trains. Changes no result.

    Attributes
    ----------
    trackers : tuple of {"tensorboard", "wandb"}
    folder : str
        Folder of all tracked runs.
    name : str
        Name of the run, the parts of a path.
    identity : str
        The same for each attempt at the same training; letters and digits, at most 64.
    """

    trackers: tuple[Literal["tensorboard", "wandb"], ...] = ()
    folder: str = "."
    name: str = "run"
    identity: str = "run"


def count_passes(batch_size: int, micro_batch_size: int, processes: int = 1) -> int:
    """Return how many forward passes of each process make one optimizer step.

    Raises
    ------
    InputError
        If the micro batches of all processes do not divide the batch.
    """
    if batch_size % (micro_batch_size * processes):
        shared = f" in {processes} processes" if processes > 1 else ""
        raise InputError(
            f"micro_batch_size={micro_batch_size}{shared}; allowed: a divisor of batch_size={batch_size}"
            + (f" divided by {processes}" if processes > 1 else "")
        )
    return batch_size // (micro_batch_size * processes)
