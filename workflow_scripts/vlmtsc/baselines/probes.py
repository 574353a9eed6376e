"""Probes: logistic regression on features of an untuned model's vision tower or language model."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from sklearn.decomposition import PCA
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss
from torch.nn.utils.rnn import pad_sequence

from vlmtsc.baselines.results import BaselineData, BaselineResult, all_classes
from vlmtsc.baselines.series import fit_majority
from vlmtsc.data.splits import SETS
from vlmtsc.errors import InputError
from vlmtsc.examples import make_questions
from vlmtsc.files import read_json
from vlmtsc.model.checkpoint import autocast, load_checkpoint
from vlmtsc.model.files import load_checked_processor
from vlmtsc.model.vision import PlotTensors, VisionFeatures, feature_tensor, read_features
from vlmtsc.paths import plot_file_name
from vlmtsc.representation.plot_files import plots_in
from vlmtsc.representation.representation import Representation
from vlmtsc.script import Progress
from vlmtsc.settings import BASELINE_SEED

logger = logging.getLogger(__name__)

#: Cases in one forward pass.
BATCH = 16
#: Inverse penalties that are tried.
PENALTIES = (1e-4, 1e-3, 1e-2, 1e-1, 1.0, 10.0)
#: Features of more than `LARGE` dimensions are reduced to `COMPONENTS` principal components, fitted on `FITTED_CASES`.
COMPONENTS, FITTED_CASES, LARGE = 300, 1200, 4096


def tower_features(
    checkpoint: Path,
    plots: Path,
    train: np.ndarray,
    n_cases: int,
    precision: str,
    stored: Path | None = None,
) -> np.ndarray:
    """Encode the plot of every case with the frozen tower of an untuned model: float32 (n_cases, n_features).

    Features are all tokens of the tower, flattened: their mean would lose where in the plot a line runs. Of models
    that do not separate tower and projector, they are projected (with the image processor's own options). Principal
    components are fitted on the cases `train`. With the file `stored`, features are read instead of computed.
    """
    if stored is not None:
        known = read_features(stored)
        if len(known) != n_cases:
            raise InputError(f"{stored}: features of {len(known)} plots; allowed: of all {n_cases} cases")
        return reduced_features(
            lambda cases: feature_tensor(known, cases).float().flatten(1).numpy(), train, n_cases
        )
    model = load_checkpoint(checkpoint, precision=precision, attention="auto", context_length=0)
    processor = load_checked_processor(checkpoint)
    store = plots_in(plots)
    paths = [store / plot_file_name(case) for case in range(n_cases)]
    features = VisionFeatures(model, processor, paths, precision=precision, cache_mb=0, batch_size=BATCH)
    tensors = PlotTensors(model, processor, paths, cache_mb=0, options={})

    def encode(cases: Sequence[int]) -> np.ndarray:
        if model.architecture.separate:
            return features(cases).float().flatten(1).cpu().numpy()
        with torch.no_grad(), autocast(precision, model.device):
            projected = model.get_image_features(**tensors.inputs(cases), return_dict=True).pooler_output
        return torch.stack([image.flatten() for image in projected]).float().cpu().numpy()

    return reduced_features(encode, train, n_cases)


def reduced_features(
    encode: Callable[[Sequence[int]], np.ndarray], train: np.ndarray, n_cases: int
) -> np.ndarray:
    """Encode all cases in batches, and reduce features of very many dimensions to principal components.

    `encode` returns the features of the cases at some indices, shape (n, n_features). Components are fitted on the
    first `FITTED_CASES` of the cases `train`. Returns float32 of shape (n_cases, n_components or n_features).
    """
    progress = Progress(logger, "vision tower", n_cases, "plots")
    fitted, done = train[:FITTED_CASES], 0

    def batches(cases: np.ndarray, reduce: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
        nonlocal done
        reduced = []
        for start in range(0, len(cases), BATCH):
            batch = cases[start : start + BATCH].tolist()
            reduced.append(reduce(encode(batch)))
            done += len(batch)
            progress.update(done)
        return np.concatenate(reduced)

    known = batches(fitted, np.asarray)
    reduce: Callable[[np.ndarray], np.ndarray] = np.asarray
    if known.shape[1] > LARGE:
        components = PCA(min(COMPONENTS, *known.shape), svd_solver="randomized", random_state=BASELINE_SEED)
        known = components.fit_transform(known)
        reduce = components.transform
    others = np.setdiff1d(np.arange(n_cases), fitted)
    result = np.empty((n_cases, known.shape[1]), dtype=np.float32)
    result[fitted] = known
    if len(others):
        result[others] = batches(others, reduce)
    return result


def read_conversations(folder: Path) -> tuple[list[dict[str, Any]], Representation]:
    """Read the conversations of all sets in a folder, and their representation."""
    records = [record for name in SETS for record in read_json(folder / f"{name}.json")]
    return records, Representation.load(folder / "representation.json")


def language_features(
    checkpoint: Path,
    records: Sequence[Mapping[str, Any]],
    representation: Representation,
    case_ids: Sequence[str],
    precision: str,
) -> np.ndarray:
    """Return the language model's last hidden state at the end of each question, float32 (n_cases, hidden_size).

    A tuned model predicts the answer's first token from that state. `records` are the conversations of all sets,
    whose answers are not used; `case_ids` is the order of the result. InputError if the scenario has an image, a case
    has no conversation, or a conversation belongs to another dataset.
    """
    scenario = representation.scenario
    if representation.has_image:
        raise InputError(f"scenario {scenario.name}: shows a plot; allowed here: one of numbers alone")
    positions = {identity: position for position, identity in enumerate(case_ids)}
    found = {record["id"] for record in records}
    if strange := [identity for identity in found if identity not in positions]:
        raise InputError(f"conversation {strange[0]}: of no case of the dataset ({case_ids[0]}, ...)")
    if missing := [identity for identity in case_ids if identity not in found]:
        raise InputError(f"case {missing[0]}: without a conversation; allowed: one for each case")
    model = load_checkpoint(
        checkpoint, precision=precision, attention="auto", context_length=scenario.context_length
    )
    tokenizer = load_checked_processor(checkpoint).tokenizer
    prompts = [example.prompt for example in make_questions(records, representation, tokenizer)]
    order = sorted(range(len(prompts)), key=lambda index: -len(prompts[index]))
    states = np.empty((len(case_ids), model.config.get_text_config().hidden_size), dtype=np.float32)
    progress = Progress(logger, "language model", len(prompts), "prompts")
    with torch.inference_mode(), autocast(precision, model.device):
        for start in range(0, len(order), BATCH):
            chunk = order[start : start + BATCH]
            lengths = torch.tensor([len(prompts[index]) for index in chunk])
            tokens = pad_sequence(
                [torch.tensor(prompts[index]) for index in chunk],
                batch_first=True,
                padding_value=tokenizer.pad_token_id,
            )
            # The last token does not attend to the padding on its right.
            mask = (torch.arange(tokens.shape[1]) < lengths[:, None]).long()
            output = model.get_decoder()(
                input_ids=tokens.to(model.device), attention_mask=mask.to(model.device), use_cache=False
            )
            last = output.last_hidden_state[torch.arange(len(chunk)), lengths - 1]
            states[[positions[records[index]["id"]] for index in chunk]] = last.float().cpu().numpy()
            progress.update(start + len(chunk))
    return states


def fit_logistic(data: BaselineData) -> BaselineResult:
    """Fit logistic regression with the penalty of the highest validation accuracy, on a tie of the lowest loss.

    The data are features of shape (n_cases, n_features). With one class in the training set it is the answer.
    InputError if a feature is not finite.
    """
    if len(np.unique(data.train_labels)) == 1:
        return fit_majority(data)
    if not all(np.isfinite(cases).all() for cases in (data.train, data.validation, data.test)):
        raise InputError("features that are not finite; allowed: a model whose activations are")
    centre = data.train.mean(axis=0)
    # One scale for all features, so that directions of little variance stay small.
    scale = float(np.sqrt(((data.train - centre) ** 2).mean())) or 1.0
    train, validation, test = ((cases - centre) / scale for cases in (data.train, data.validation, data.test))
    tried: dict[float, tuple[float, float]] = {}
    models: dict[float, LogisticRegression] = {}
    for penalty in PENALTIES:
        models[penalty] = LogisticRegression(C=penalty, max_iter=500).fit(train, data.train_labels)
        scores = _scores(models[penalty], validation, data.n_classes)
        accuracy = float((scores.argmax(axis=1) == data.validation_labels).mean())
        loss = log_loss(data.validation_labels, np.exp(scores), labels=np.arange(data.n_classes))
        tried[penalty] = (accuracy, -float(loss))
    best = max(tried, key=lambda penalty: tried[penalty])
    chosen = {
        "inverse_penalty": best,
        "validation_accuracies": {str(penalty): accuracy for penalty, (accuracy, _) in tried.items()},
    }
    results = [_scores(models[best], cases, data.n_classes) for cases in (validation, test)]
    return BaselineResult(results[0], results[1], True, chosen)


def _scores(model: LogisticRegression, features: np.ndarray, n_classes: int) -> np.ndarray:
    return all_classes(model.predict_log_proba(features), model.classes_, n_classes)
