"""Alignment of the projector with the answers' embeddings, on features of plots, without the language model."""

from __future__ import annotations

import copy
import hashlib
import json
import logging
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import nn
from torch.distributions import Dirichlet
from torch.nn.functional import log_softmax, nll_loss, normalize
from torch.nn.utils.rnn import pad_sequence
from transformers import get_cosine_schedule_with_warmup

from vlmtsc.code_digest import code_digest
from vlmtsc.errors import InputError
from vlmtsc.files import atomic_path, exclusive, read_json, write_json
from vlmtsc.model.checkpoint import autocast
from vlmtsc.model.devices import name_gpu
from vlmtsc.scoring import shared_prefix
from vlmtsc.settings import NOISE, SHORTEST, FinetuneSettings
from vlmtsc.training.checkpoints import fault_of_file
from vlmtsc.training.record import kernels, package_versions

logger = logging.getLogger(__name__)

#: Weight of each token of an answer, relative to the one before it.
TOKEN_DECAY = 0.5
#: Length of the random part of class codes, relative to that of the answers' embeddings.
RANDOM_SHARE = 0.01
BETAS = (0.9, 0.98)
WARMUP = 0.1
#: Steps from one validation to the next (a multiple, where a validation has more tokens than these steps), and decrease
#: of its loss that counts as progress.
VALIDATION_INTERVAL, MIN_IMPROVEMENT = 50, 0.002
#: Validations in a row without progress that stop the alignment, at least, where they are further apart.
FEWEST_VALIDATIONS = 3
#: Training cases whose projected tokens determine the final scale.
RESCALING_CASES = 256
#: Concentration of the Dirichlet distribution of the cases' shares in a mixed image.
CONCENTRATION = 0.5

Features = Callable[[Sequence[int]], torch.Tensor]


def class_codes(embeddings: torch.Tensor, answers: Sequence[Sequence[int]]) -> torch.Tensor:
    """Return a unit vector for each class in the space of token embeddings, all equally far apart.

    A class starts from the embeddings of the tokens after the answers' common beginning, each token with half the
    weight of the one before, and a small random vector. The codes are the regular simplex nearest to these vectors
    [1]_; with more classes than dimensions, the nearest tight frame. So they are defined, and distinct, also for
    answers that begin with one another ("1" and "10"), have the same tokens in another order, or span few dimensions.

    Parameters
    ----------
    embeddings : torch.Tensor
        Token embeddings, shape (vocabulary, hidden_size).
    answers : sequence of sequence of int
        Tokens by which each class is scored.

    Returns
    -------
    torch.Tensor
        float32, shape (n_classes, hidden_size).

    References
    ----------
    .. [1] P.-O. Löwdin, On the non-orthogonality problem connected with the use of atomic wave functions in the theory
       of molecules and crystals, Journal of Chemical Physics 18 (1950) 365-375.
    """
    prefix = len(shared_prefix(answers))
    rows = []
    for answer in answers:
        tokens = torch.tensor(answer[prefix:], device=embeddings.device)
        weights = TOKEN_DECAY ** torch.arange(len(tokens), dtype=torch.float64)
        rows.append(weights @ embeddings[tokens].double().cpu())
    known = torch.stack(rows)
    noise = torch.randn(known.shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    known = known + noise * RANDOM_SHARE * known.pow(2).mean().sqrt()
    left, _, right = torch.linalg.svd(known - known.mean(0), full_matrices=False)
    rank = min(len(answers) - 1, known.shape[1])
    return normalize(left[:, :rank] @ right[:rank], dim=1).float().to(embeddings.device)


@dataclass(frozen=True)
class ProjectorHead:
    """Classification by the projector alone.

    The log-probabilities are those of a softmax of ``scale`` times the dot product of each class's code and the mean of
    the case's projected tokens, each of length 1.

    Attributes
    ----------
    projector : nn.Module
    codes : torch.Tensor
        Of `class_codes`.
    margin : float
        Log-odds between a class and all others for tokens equal to its code.
    precision : {"bf16", "tf32", "fp32"}
    """

    projector: nn.Module
    codes: torch.Tensor
    margin: float
    precision: str

    @property
    def scale(self) -> float:
        """Factor of the dot products."""
        others = len(self.codes) - 1
        return (self.margin + math.log(max(others, 1))) * others / (others + 1)

    @property
    def pools(self) -> bool:
        """Whether the projector averages an image's tokens itself (`vlmtsc.model.pooled_llava`)."""
        return hasattr(self.projector, "pool")

    def project(self, features: torch.Tensor) -> torch.Tensor:
        """Return projected images, pooled if the projector does so: float32, shape (n_images, n, hidden_size)."""
        with autocast(self.precision, features.device):
            return (self.projector.pool if self.pools else self.projector)(features).float()

    def tokens(self, projected: torch.Tensor) -> torch.Tensor:
        """Return results of `project` as tokens of the language model, shape (n_images, image_tokens, hidden_size)."""
        return self.projector.embed(projected) if self.pools else projected

    def classify(self, projected: torch.Tensor) -> torch.Tensor:
        """Return log-probabilities of results of `project`: float32, shape (n_images, n_classes)."""
        mean = (projected if self.pools else normalize(projected, dim=-1)).mean(1)
        return log_softmax(self.scale * mean @ self.codes.T, dim=-1)

    def __call__(self, features: torch.Tensor) -> torch.Tensor:
        """Return log-probabilities: float32, shape (n_images, n_classes)."""
        return self.classify(self.project(features))

    def scores(self, features: Features, images: Sequence[int], batch_size: int = 128) -> torch.Tensor:
        """Return the log-probabilities of many images."""
        with torch.no_grad():
            parts = [
                self(features(images[start : start + batch_size]))
                for start in range(0, len(images), batch_size)
            ]
        return torch.cat(parts).cpu()


def shown_tokens(features: torch.Tensor, share: float) -> torch.Tensor:
    """Return a random share of each image's tokens, at least one, in their order; drawn from PyTorch's generator."""
    count = max(1, round(share * features.shape[1]))
    if count == features.shape[1]:
        return features
    kept = torch.rand(features.shape[:2]).argsort(dim=1)[:, :count].sort(dim=1).values.to(features.device)
    return features.gather(1, kept[..., None].expand(-1, -1, features.shape[2]))


@dataclass(frozen=True)
class SoftAnswers:
    """What the training cases of the second stage show, and the first stage's answers to that.

    Draws come from PyTorch's generator, whose state checkpoints contain.

    Attributes
    ----------
    head : ProjectorHead
    mixed : float
        Probability with which a case is mixed.
    answers : torch.Tensor
        int64, shape (n_classes, longest answer): tokens of each class's answer, then -1.
    """

    head: ProjectorHead
    mixed: float
    answers: torch.Tensor

    @torch.no_grad()
    def __call__(self, features: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return images as tokens, shape (batch, n, hidden_size), and probabilities, shape (batch, n_classes).

        float32, also within the Trainer's mixed precision, as in validation.
        """
        with torch.autocast(features.device.type, enabled=False):
            projected = self.head.project(features)
            if self.mixed:
                projected = self._mixed(projected)
            return self.head.tokens(projected), self.head.classify(projected).exp()

    def _mixed(self, projected: torch.Tensor) -> torch.Tensor:
        """Average each case with the others of the forward pass; the shares are random, the largest is its own.

        Pooled images are shortened, and noise is added: those that were not trained on are less like any class than
        those that were, shorter, and in directions that are no class's.
        """
        count, device = len(projected), projected.device
        shares = Dirichlet(torch.full((count,), CONCENTRATION)).sample((count,))
        shares = shares.sort(dim=1, descending=True).values
        cases = torch.arange(count)
        of_case = torch.zeros(count, count).scatter(1, (cases[:, None] + cases) % count, shares)
        mixed = torch.tensordot(of_case.to(device), projected, dims=1)
        if self.head.pools:
            factors = SHORTEST + (1 - SHORTEST) * torch.rand(count, 1, 1)
            noise = normalize(torch.randn(projected.shape), dim=-1) * (NOISE * torch.rand(count, 1, 1))
            mixed = mixed * factors.to(device) + noise.to(device) * projected.norm(dim=-1).mean()
        chosen = torch.rand(count, 1, 1) < self.mixed
        return torch.where(chosen.to(device), mixed, projected)


def padded_answers(answers: Sequence[Sequence[int]]) -> torch.Tensor:
    """Return answers as a matrix, shape (n_classes, longest answer), filled up with -1."""
    return pad_sequence([torch.tensor(answer) for answer in answers], batch_first=True, padding_value=-1)


@dataclass(frozen=True)
class Labelled:
    """Images by their positions in the features, and their classes."""

    images: Sequence[int]
    labels: Sequence[int]


def align_projector(
    head: ProjectorHead,
    features: Features,
    train: Labelled,
    validation: Labelled,
    settings: FinetuneSettings,
    embedding_scale: float,
) -> dict[str, Any]:
    """Train the projector of a head, in place, and keep the weights of the lowest validation loss.

    Afterwards its outputs, unless it pools, have the root mean square of the token embeddings (`rescale`), which
    changes no probability.

    Parameters
    ----------
    head : ProjectorHead
    features : callable
        Returns the features of the images at some positions: `vlmtsc.model.vision.VisionFeatures`.
    train, validation : Labelled
    settings : FinetuneSettings
    embedding_scale : float
        Root mean square of the language model's token embeddings.

    Returns
    -------
    dict
        Steps, epochs, projected tokens, seconds; step, accuracy and loss of the validation whose weights are kept.

    Raises
    ------
    InputError
        If the loss is not finite.
    """
    begin = time.monotonic()
    projector = head.projector.requires_grad_(True)
    device = head.codes.device
    train_labels = torch.tensor(train.labels, device=device)
    validation_labels = torch.tensor(validation.labels)
    steps_per_epoch = math.ceil(len(train.images) / settings.align_batch_size)
    planned = max(1, min(settings.align_steps, math.ceil(settings.align_epochs * steps_per_epoch)))
    # Validation cases that have as many tokens as the training cases of `VALIDATION_INTERVAL` steps show.
    cases = VALIDATION_INTERVAL * settings.align_batch_size * settings.align_token_share
    interval = VALIDATION_INTERVAL * math.ceil(len(validation.images) / cases)
    fewest = min(settings.align_patience, FEWEST_VALIDATIONS)
    patience = max(settings.align_patience * VALIDATION_INTERVAL, fewest * interval)
    optimizer = torch.optim.AdamW(
        projector.parameters(),
        lr=settings.align_learning_rate,
        betas=BETAS,
        weight_decay=settings.align_weight_decay,
        fused=True,
    )
    scheduler = get_cosine_schedule_with_warmup(optimizer, max(1, round(WARMUP * planned)), planned)
    best: dict[str, Any] = {"kept_step": 0, "validation_loss": math.inf}
    lowest, progress = math.inf, 0
    weights = copy.deepcopy(projector.state_dict())
    order: list[int] = []
    projected = step = 0
    total = torch.zeros((), device=device)
    for step in range(1, planned + 1):
        order = order or torch.randperm(len(train.images)).tolist()
        batch, order = order[: settings.align_batch_size], order[settings.align_batch_size :]
        shown = shown_tokens(features([train.images[case] for case in batch]), settings.align_token_share)
        loss = nll_loss(head(shown), train_labels[batch])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        scheduler.step()
        projected += shown.shape[0] * shown.shape[1]
        total += loss.detach()
        if step % interval and step < planned:
            continue
        scores = head.scores(features, validation.images)
        validation_loss = float(nll_loss(scores, validation_labels))
        accuracy = float((scores.argmax(1) == validation_labels).double().mean())
        since = step % interval or interval
        logger.info(
            "alignment: step %d/%d, loss %.3f; validation loss %.3f, accuracy %.1f%%",
            *(step, planned, float(total) / since, validation_loss, 100 * accuracy),
        )
        total.zero_()
        if not math.isfinite(validation_loss):
            raise InputError(
                f"alignment: the loss is {validation_loss} at step {step}; a lower align_learning_rate may help"
            )
        if validation_loss < lowest - MIN_IMPROVEMENT:
            lowest, progress = validation_loss, step
        if validation_loss < best["validation_loss"]:
            best = {"kept_step": step, "validation_accuracy": accuracy, "validation_loss": validation_loss}
            weights = copy.deepcopy(projector.state_dict())
        if settings.align_patience and step - progress >= patience:
            break
    projector.load_state_dict(weights)
    projector.requires_grad_(False)
    projected += rescale(head, features, train.images[:RESCALING_CASES], embedding_scale)
    return {
        "steps": step,
        "epochs": round(step / steps_per_epoch, 3),
        "projected_tokens": projected,
        "seconds": round(time.monotonic() - begin, 1),
        **best,
    }


@torch.no_grad()
def rescale(head: ProjectorHead, features: Features, images: Sequence[int], scale: float) -> int:
    """Give the outputs on some images of a projector that does not pool a root mean square of `scale`.

    Return the number of projected tokens.
    """
    if head.pools:
        return 0
    tokens = head.project(features(images))
    factor = scale / tokens.pow(2).mean().sqrt()
    for parameter in head.projector.linear_2.parameters():
        parameter.mul_(factor)
    return tokens.shape[0] * tokens.shape[1]


def alignment_digest(
    head: ProjectorHead,
    features: Features,
    train: Labelled,
    validation: Labelled,
    settings: FinetuneSettings,
    embedding_scale: float,
) -> str:
    """Return a SHA-256 of everything that determines the result of `align_projector`, which has these parameters.

    Of the conversations, only the classes of the images and the answers' codes count: scenarios that show the same
    images have the same alignment.
    """
    content = {
        "settings": {
            name: value
            for name, value in settings.model_dump().items()
            if name.startswith("align_") or name == "seed"
        },
        "head": [head.margin, head.precision, embedding_scale],
        "labels": [list(train.labels), list(validation.labels)],
        "device": name_gpu() if head.codes.device.type == "cuda" else head.codes.device.type,
        "threads": torch.get_num_threads(),
        "kernels": kernels(),
        "versions": package_versions(),
        "code": code_digest(Path(__file__), Path(__file__).parents[2]),
    }
    digest = hashlib.sha256(json.dumps(content, sort_keys=True).encode())
    images = [*train.images, *validation.images]
    batches = (features(images[start : start + 128]) for start in range(0, len(images), 128))
    for tensor in (head.codes, *head.projector.state_dict().values(), *batches):
        digest.update(tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy())
    return digest.hexdigest()


def aligned_once(
    folder: Path, projector: nn.Module, align: Callable[[], dict[str, Any]]
) -> tuple[dict[str, Any], bool]:
    """Align a projector and store it in a folder, or load it if it is stored there.

    Return the record of the alignment, and whether it was stored. Another process that aligns the same is waited for.

    Parameters
    ----------
    folder : Path
        Folder of this alignment: the same for equal ones.
    projector : nn.Module
        Changed in place.
    align : callable
        `align_projector` of this projector.
    """
    weights, record = folder / "projector.safetensors", folder / "alignment.json"
    with exclusive(folder):
        if record.is_file() and not (fault_of_file(record) or fault_of_file(weights)):
            projector.load_state_dict(load_file(weights))
            projector.requires_grad_(False)
            logger.info("alignment: stored by an earlier run on the same images")
            return read_json(record), True
        result = align()
        with atomic_path(weights) as path:
            save_file({name: tensor.contiguous() for name, tensor in projector.state_dict().items()}, path)
        write_json(record, result)
    return result, False
