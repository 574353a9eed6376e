"""Floating-point operations of a token in a frozen language model with LoRA: one definition for all scripts.

Not counted: embeddings, output layer, attention's own products, norms, activation functions.
"""

from __future__ import annotations


def training_flops(frozen: float, trained: float) -> float:
    """Return the operations of a training step for each token.

    Parameters
    ----------
    frozen, trained : float
        Weights of the adapted layers, and of LoRA's matrices. 4 operations for each of the first (forward, and backward
        to its input), 6 for each of the second (its own gradient too).
    """
    return 4 * frozen + 6 * trained


def forward_flops(frozen: float, trained: float) -> float:
    """Return the operations of a forward pass for each token: a product and a sum for each weight."""
    return 2 * (frozen + trained)
