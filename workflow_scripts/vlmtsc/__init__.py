"""Time-series classification with vision-language models: pure functions of arrays, tokens and tables."""

from __future__ import annotations

import importlib
from typing import Any

__all__ = ["VLMClassifier"]


def __getattr__(name: str) -> Any:
    # Imported when it is used: aeon and PyTorch take seconds, and the rules need neither at their start.
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return importlib.import_module("vlmtsc.classifier").VLMClassifier
