"""The fully convolutional network of Wang et al., with limits that suit a CPU."""

from __future__ import annotations

import copy
import math

import numpy as np
import torch
from torch import nn
from torch.nn.functional import avg_pool1d, cross_entropy, log_softmax

from vlmtsc.baselines.results import BaselineData, BaselineResult
from vlmtsc.settings import BASELINE_SEED


class FullyConvolutionalNetwork(nn.Module):
    """Three convolutions with batch normalisation, the mean over time, one linear layer [1]_.

    References
    ----------
    .. [1] Z. Wang, W. Yan and T. Oates, Time series classification from scratch with deep neural networks: a strong
       baseline, IJCNN 2017, 1578-1585.
    """

    def __init__(self, n_channels: int, n_classes: int) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        width = n_channels
        for filters, kernel in ((128, 8), (256, 5), (128, 3)):
            layers += [
                nn.Conv1d(width, filters, kernel, padding="same"),
                nn.BatchNorm1d(filters),
                nn.ReLU(),
            ]
            width = filters
        self.features = nn.Sequential(*layers)
        self.output = nn.Linear(width, n_classes)

    def forward(self, series: torch.Tensor) -> torch.Tensor:
        """Return logits, shape (batch, n_classes), of float32 series of shape (batch, n_channels, n_timepoints)."""
        return self.output(self.features(series).mean(dim=-1))


def fit_fcn(
    data: BaselineData,
    *,
    epochs: int = 300,
    patience: int = 30,
    max_steps: int = 15_000,
    max_timepoints: int = 15_000_000,
    max_length: int = 512,
) -> BaselineResult:
    """Train the network, and keep the weights of the epoch with the lowest validation loss.

    Optimiser, learning rate (halved on a plateau) and batch size are those of the paper and its common
    re-implementations; the number of epochs is chosen on validation instead of a fixed 2000. Training stops after
    `patience` epochs without a lower loss, after `max_steps` batches, or when `max_timepoints` were processed, of
    about 1.6 million operations each. Series longer than `max_length` are shortened by averaging neighbouring
    timepoints.
    """
    torch.set_num_threads(1)  # batches are small: more threads are slower where cores are shared
    torch.manual_seed(BASELINE_SEED)
    factor = math.ceil(data.train.shape[-1] / max_length)
    mean = data.train.mean(axis=(0, 2), keepdims=True)
    deviation = data.train.std(axis=(0, 2), keepdims=True) + 1e-8

    def prepare(series: np.ndarray) -> torch.Tensor:
        scaled = torch.as_tensor((series - mean) / deviation, dtype=torch.float32)
        return avg_pool1d(scaled, factor, ceil_mode=True)

    train, validation, test = map(prepare, (data.train, data.validation, data.test))
    labels, wanted = torch.as_tensor(data.train_labels), torch.as_tensor(data.validation_labels)
    network = FullyConvolutionalNetwork(train.shape[1], data.n_classes)
    optimizer = torch.optim.Adam(network.parameters(), lr=1e-3)
    plateau = torch.optim.lr_scheduler.ReduceLROnPlateau(optimizer, factor=0.5, patience=10, min_lr=1e-4)
    batch_size = max(2, min(16, len(train) // 10))
    order = torch.Generator().manual_seed(BASELINE_SEED)
    best = (math.inf, 0, copy.deepcopy(network.state_dict()))
    epoch = steps = 0
    reason = "epochs"
    for epoch in range(1, epochs + 1):
        network.train()
        for batch in torch.randperm(len(train), generator=order).split(batch_size):
            # Batch normalisation needs more than one case.
            if len(batch) > 1:
                optimizer.zero_grad()
                cross_entropy(network(train[batch]), labels[batch]).backward()
                optimizer.step()
                steps += 1
        loss = float(cross_entropy(_logits(network, validation), wanted))
        plateau.step(loss)
        if loss < best[0]:
            best = (loss, epoch, copy.deepcopy(network.state_dict()))
        if epoch - best[1] >= patience:
            reason = "validation"
            break
        if steps >= max_steps or epoch * train.shape[0] * train.shape[-1] >= max_timepoints:
            reason = "limit"
            break
    network.load_state_dict(best[2])
    scores = [log_softmax(_logits(network, cases).double(), dim=1).numpy() for cases in (validation, test)]
    chosen = {"epochs": best[1], "epochs_done": epoch, "stopped_by": reason, "averaged_over": factor}
    return BaselineResult(scores[0], scores[1], True, chosen)


@torch.inference_mode()
def _logits(network: nn.Module, series: torch.Tensor) -> torch.Tensor:
    network.eval()
    return torch.cat([network(block) for block in series.split(64)])
