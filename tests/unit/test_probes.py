"""Features of an untuned model: of the right place, whatever they are batched with."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from tiny_llava import make_task

from vlmtsc.baselines.probes import language_features, tower_features
from vlmtsc.errors import InputError
from vlmtsc.examples import make_questions
from vlmtsc.model.checkpoint import load_checkpoint
from vlmtsc.model.files import load_checked_processor
from vlmtsc.model.vision import encode_pixels, load_pixels
from vlmtsc.paths import plot_file_name


def test_language_features_are_the_last_state_of_each_question(
    llama_checkpoint: Path, tmp_path: Path
) -> None:
    task = make_task(llama_checkpoint, tmp_path / "plots", modality="numbers", n_train=5)
    records = [record for part in task.records.values() for record in part]
    ids = sorted(record["id"] for record in records)
    features = language_features(llama_checkpoint, records, task.representation, [*ids, "absent"], "fp32")
    assert np.isnan(features[-1]).all()
    model = load_checkpoint(llama_checkpoint, precision="fp32", attention="auto", context_length=512)
    tokenizer = load_checked_processor(llama_checkpoint).tokenizer
    for record in records[:3]:
        [question] = make_questions([record], task.representation, tokenizer)
        with torch.inference_mode():
            alone = model.model.language_model(input_ids=torch.tensor([question.prompt])).last_hidden_state
        assert np.allclose(features[ids.index(record["id"])], alone[0, -1].numpy(), atol=1e-4)
    with pytest.raises(InputError, match="of no case of the dataset"):
        language_features(llama_checkpoint, records, task.representation, ids[1:], "fp32")


def test_tower_features_are_all_image_tokens_of_each_plot(tiny_checkpoint: Path, tmp_path: Path) -> None:
    plots = tmp_path / "plots"
    task = make_task(tiny_checkpoint, plots, n_train=5)
    n_cases = len(list(plots.glob("*.png")))
    features = tower_features(tiny_checkpoint, plots, np.arange(2, 7), n_cases, "fp32")
    model = load_checkpoint(tiny_checkpoint, precision="fp32", attention="auto", context_length=0)
    pixels = load_pixels([plots / plot_file_name(3)], load_checked_processor(tiny_checkpoint))
    with torch.inference_mode():
        alone = encode_pixels(model, pixels).flatten().numpy()
    assert features.shape == (n_cases, alone.size)
    assert np.allclose(features[3], alone, atol=1e-4)
    with pytest.raises(InputError, match="shows a plot; allowed here: one of numbers alone"):
        language_features(tiny_checkpoint, [], task.representation, [], "fp32")
