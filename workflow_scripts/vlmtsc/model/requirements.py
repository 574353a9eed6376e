"""What the chosen kernels need of the machine, checked before anything is computed."""

from __future__ import annotations

import importlib.util

from vlmtsc.errors import InputError

#: By kernel: the setting that asks for it, the package that holds it, and what installs that package.
NEEDED = {
    "nf4": ("quantization", "bitsandbytes", "pip install 'bitsandbytes>=0.46.1'"),
    "flash_attention_2": ("attention", "flash_attn", "pip install flash-attn --no-build-isolation"),
}


def check_kernels(*, attention: str, quantization: str, precision: str, has_gpu: bool) -> None:
    """Check that the machine has what a recipe's kernels need.

    Parameters
    ----------
    attention, quantization, precision : str
        As in `FinetuneSettings`.
    has_gpu : bool

    Raises
    ------
    InputError
        If there is no GPU, the precision is another than bf16, or the package is missing; with what installs it.
    """
    for kernel in (quantization, attention):
        if kernel not in NEEDED:
            continue
        key, package, command = NEEDED[kernel]
        allowed = "none" if key == "quantization" else "auto, eager or sdpa"
        if precision != "bf16":
            raise InputError(f"{key}={kernel} with precision={precision}; allowed: precision=bf16")
        if not has_gpu:
            raise InputError(
                f"{key}={kernel}, and no NVIDIA GPU is here; allowed on the processor: {key}={allowed}"
            )
        if importlib.util.find_spec(package) is None:
            raise InputError(f"{key}={kernel} needs the package {package}: {command}; or {key}={allowed}")
