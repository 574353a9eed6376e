"""Features of an untuned model: what its tower sees in the plots, what its language model makes of the numbers."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.nn.utils.rnn import pad_sequence

from vlmtsc.baselines.logistic import reduced_features
from vlmtsc.errors import InputError
from vlmtsc.examples import make_questions
from vlmtsc.model.checkpoint import autocast, load_checkpoint
from vlmtsc.model.files import load_checked_processor
from vlmtsc.model.vision import VisionFeatures
from vlmtsc.paths import plot_file_name
from vlmtsc.representation.plot_files import plots_in
from vlmtsc.representation.representation import Representation

logger = logging.getLogger(__name__)

#: Series that are encoded at a time, and after how many of these batches a line of progress is written.
BATCH, REPORT = 16, 50


def tower_features(
    checkpoint: Path, plots: Path, train: np.ndarray, n_cases: int, precision: str
) -> np.ndarray:
    """Encode the plot of every case with the frozen vision tower.

    All image tokens count, flattened: a mean over them would forget where in the plot a line runs. Principal components
    are kept of so many features.

    Parameters
    ----------
    checkpoint : Path
        Checkpoint folder of the untuned model.
    plots : Path
        Folder of plots, one for each case.
    train : ndarray of int64
        Cases of the training part: components are fitted on them.
    n_cases : int
    precision : {"bf16", "fp32"}

    Returns
    -------
    ndarray of float32, shape (n_cases, n_features)
    """
    model = load_checkpoint(checkpoint, precision=precision, attention="auto", context_length=0)
    processor = load_checked_processor(checkpoint)
    store = plots_in(plots)
    paths = [store / plot_file_name(case) for case in range(n_cases)]
    features = VisionFeatures(model, processor, paths, precision=precision, cache_mb=0, batch_size=BATCH)

    def encode(cases: Sequence[int]) -> np.ndarray:
        return features(cases).float().flatten(1).cpu().numpy()

    def report(done: int) -> None:
        if done % (BATCH * REPORT) < BATCH:
            logger.info("%d of %d plots encoded", done, n_cases)

    return reduced_features(encode, train, n_cases, batch_size=BATCH, progress=report)


def language_features(
    checkpoint: Path,
    records: Sequence[Mapping[str, Any]],
    representation: Representation,
    case_ids: Sequence[str],
    precision: str,
) -> np.ndarray:
    """Return the language model's last hidden state at the end of each question.

    That is the state from which a tuned model predicts the answer's first token.

    Parameters
    ----------
    checkpoint : Path
        Checkpoint folder of the untuned model.
    records : sequence of mapping
        Conversations of all parts; their answers are not looked at.
    representation : Representation
        The one stored beside them, of a scenario without an image.
    case_ids : sequence of str
        Identifiers of the cases, in the order of the result.
    precision : {"bf16", "fp32"}

    Returns
    -------
    ndarray of float32, shape (n_cases, hidden_size)
        NaN for a case without a conversation.

    Raises
    ------
    InputError
        If the scenario has an image, or a conversation is of another dataset.
    """
    scenario = representation.scenario
    if representation.has_image:
        raise InputError(f"scenario {scenario.name}: shows a plot; allowed here: one of numbers alone")
    positions = {identity: position for position, identity in enumerate(case_ids)}
    strange = [record["id"] for record in records if record["id"] not in positions]
    if strange:
        raise InputError(f"conversation {strange[0]}: of no case of the dataset ({case_ids[0]}, ...)")
    model = load_checkpoint(
        checkpoint, precision=precision, attention="auto", context_length=scenario.context_length
    )
    tokenizer = load_checked_processor(checkpoint).tokenizer
    prompts = [example.prompt for example in make_questions(records, representation, tokenizer)]
    order = sorted(range(len(prompts)), key=lambda index: -len(prompts[index]))
    states = np.full((len(case_ids), model.config.text_config.hidden_size), np.nan, dtype=np.float32)
    with torch.inference_mode(), autocast(precision, model.device):
        for start in range(0, len(order), BATCH):
            chunk = order[start : start + BATCH]
            lengths = torch.tensor([len(prompts[index]) for index in chunk])
            tokens = pad_sequence(
                [torch.tensor(prompts[index]) for index in chunk],
                batch_first=True,
                padding_value=tokenizer.pad_token_id,
            )
            # Padding on the right is behind the last token, which does not look there.
            mask = (torch.arange(tokens.shape[1]) < lengths[:, None]).long()
            output = model.model.language_model(
                input_ids=tokens.to(model.device), attention_mask=mask.to(model.device), use_cache=False
            )
            last = output.last_hidden_state[torch.arange(len(chunk)), lengths - 1]
            places = [positions[records[index]["id"]] for index in chunk]
            states[places] = last.float().cpu().numpy()
            if start // BATCH % REPORT == 0:
                logger.info("%d of %d prompts read", start + len(chunk), len(prompts))
    return states
