"""A fine-tuned model that classifies conversations, and its evaluation on a test set."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from peft import PeftModel

from vlmtsc.evaluation.constants import ALIGNED
from vlmtsc.evaluation.generation import end_token, generate_greedily, generation_limit, read_answer
from vlmtsc.evaluation.metrics import (
    INVALID,
    compute_metrics,
    finite_scores,
    generation_metrics,
    prediction_table,
    temperature_metrics,
)
from vlmtsc.examples import Example, image_paths, index_images, make_questions, scored_tokens, shot_paths
from vlmtsc.model.adapter import load_adapter, merge_in_place
from vlmtsc.model.checkpoint import inner_model, load_checkpoint
from vlmtsc.model.files import load_checked_processor
from vlmtsc.model.vision import Images, VisionFeatures, plot_images
from vlmtsc.representation.plot_files import PlotPath
from vlmtsc.representation.representation import Representation
from vlmtsc.scoring import Prefilled, score_examples
from vlmtsc.settings import FinetuneSettings, MemorySettings
from vlmtsc.training.alignment import ProjectorHead, class_codes

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Predictor:
    """A model with its adapter (processor: ProcessorMixin), and the representation and settings of its training.

    `batch_size` counts the cases in one forward pass. `features` is a file of the features of plots; others are
    computed. `shots` is the folder with the plots of solved cases, where every question begins with some.
    """

    model: PeftModel
    processor: Any
    representation: Representation
    settings: FinetuneSettings
    batch_size: int = MemorySettings().evaluation_batch_size
    features: Path | None = None
    shots: Path | None = None

    @classmethod
    def load(
        cls,
        checkpoint: Path,
        adapter: Path,
        parameters: Mapping[str, Any],
        threads: int = 1,
        batch_size: int = MemorySettings().evaluation_batch_size,
        features: Path | None = None,
        shots: Path | None = None,
    ) -> Predictor:
        """Load a base model and an adapter with the settings of the training, the run's parameters.json."""
        torch.set_num_threads(threads)
        settings = FinetuneSettings(**parameters["finetune"])
        representation = Representation.from_json(parameters["representation"])
        base = load_checkpoint(
            checkpoint,
            precision=settings.precision,
            attention=settings.attention,
            context_length=representation.scenario.context_length,
            quantization=settings.quantization,
        )
        model, processor = load_adapter(base, adapter), load_checked_processor(checkpoint)
        merge_in_place(model)
        return cls(model, processor, representation, settings, batch_size, features, shots)

    def questions(self, records: Sequence[Mapping[str, Any]], *, slack: int = 0) -> list[Example]:
        """Tokenise conversations up to the question, see `make_questions`."""
        return make_questions(records, self.representation, self.processor.tokenizer, slack=slack)

    def vision(self, paths: Sequence[PlotPath], *, cache_mb: int = 0) -> Images | None:
        """Return plots as the model takes them, cached in up to `cache_mb` MiB; None if there are no plots."""
        if not paths:
            return None
        return plot_images(
            inner_model(self.model),
            self.processor,
            paths,
            self.representation,
            precision=self.settings.precision,
            cache_mb=cache_mb,
            stored=self.features,
            frozen=self.settings.vision_tuning == "frozen",
            shots=shot_paths(self.representation, self.shots),
        )

    def score_questions(
        self,
        questions: Sequence[Example],
        vision: Images | None,
        image_indices: Sequence[int],
        then: Callable[[Sequence[int], Prefilled], None] | None = None,
    ) -> np.ndarray:
        """Score every class for every question: `score_examples` with the settings of this model.

        InputError if a score is not finite.
        """
        tokenizer = self.processor.tokenizer
        scores = score_examples(
            self.model,
            questions,
            scored_tokens(tokenizer, self.representation),
            features=vision,
            image_indices=image_indices,
            pad_token_id=tokenizer.pad_token_id,
            batch_size=self.batch_size,
            precision=self.settings.precision,
            then=then,
        )
        return finite_scores(scores, self.representation.classes)

    def score(
        self,
        records: Sequence[Mapping[str, Any]],
        plots: Path | None,
        then: Callable[[Sequence[int], Prefilled], None] | None = None,
        *,
        slack: int = 0,
    ) -> np.ndarray:
        """Return the log-likelihood of every class for every conversation, float64 of shape (n_records, n_classes).

        `plots` is the folder of plots; `then` is that of `score_examples`, `slack` that of `make_questions`. Answers in
        the conversations are not used.
        """
        questions = self.questions(records, slack=slack)
        [examples] = index_images([questions])
        vision = self.vision(image_paths([questions], plots))
        return self.score_questions(questions, vision, examples.image_indices, then)

    def score_projector(self, records: Sequence[Mapping[str, Any]], plots: Path | None) -> np.ndarray | None:
        """Return the log-probabilities of the aligned projector alone, without the language model.

        None without an image, without alignment, or if the projector has been trained further.
        """
        settings = self.settings
        if not (settings.has_own_first_stage and self.representation.has_image):
            return None
        questions = self.questions(records)
        [examples] = index_images([questions])
        vision = self.vision(image_paths([questions], plots))
        if not isinstance(vision, VisionFeatures):
            return None
        base = inner_model(self.model)
        answers = scored_tokens(self.processor.tokenizer, self.representation)
        codes = class_codes(base.get_input_embeddings().weight.detach(), answers)
        head = ProjectorHead(
            base.model.multi_modal_projector, codes, settings.align_margin, settings.precision
        )
        return head.scores(vision, examples.image_indices).double().numpy()

    def score_and_generate(
        self, records: Sequence[Mapping[str, Any]], plots: Path | None
    ) -> tuple[np.ndarray, tuple[list[str], np.ndarray]]:
        """Score every class for every conversation, and generate answers from the same pass over the prompts.

        Returned are the scores, float64 of shape (n_records, n_classes), and the generated texts with the indices of
        the classes that they name, or `INVALID`.
        """
        tokenizer = self.processor.tokenizer
        max_tokens = generation_limit(tokenizer, self.representation)
        end = end_token(tokenizer, self.representation)
        texts, indices = [""] * len(records), np.full(len(records), INVALID)

        def generate(cases: Sequence[int], prefilled: Prefilled) -> None:
            generated = generate_greedily(self.model, prefilled, end, max_tokens)
            for case, tokens in zip(cases, generated, strict=True):
                texts[case], indices[case] = read_answer(tokens, tokenizer, self.representation)

        return self.score(records, plots, generate), (texts, indices)


def evaluate_test_set(
    predictor: Predictor,
    test: Sequence[Mapping[str, Any]],
    validation: Sequence[Mapping[str, Any]],
    plots: Path | None,
    *,
    generate: bool,
) -> tuple[pd.DataFrame, dict[str, Any]]:
    """Return the `prediction_table` of a test set's conversations, and metrics.

    One temperature of the scores is fitted to `validation`, unless that is empty; with `generate` the model also
    generates answers. Metrics are those of `compute_metrics`, `temperature_metrics` and `generation_metrics`, and of
    the aligned projector alone under its name, if there is one.
    """
    classes = list(predictor.representation.classes)
    generated = None
    if generate:
        scores, generated = predictor.score_and_generate(test, plots)
    else:
        scores = predictor.score(test, plots)
    labels = _labels(test)
    metrics = compute_metrics(labels, scores, classes)
    if validation:
        fitted = predictor.score(validation, plots), _labels(validation)
        metrics |= temperature_metrics(fitted, (scores, labels))
    if generated is not None:
        metrics |= generation_metrics(labels, generated[1])
    aligned = predictor.score_projector(test, plots)
    if aligned is not None:
        metrics[ALIGNED] = compute_metrics(labels, aligned, classes)
    logger.info("accuracy %.1f%% of %d cases", 100 * metrics["accuracy"], metrics["n_cases"])
    ids = [record["id"] for record in test]
    return prediction_table(ids, scores, classes, labels, generated, aligned), metrics


def _labels(records: Sequence[Mapping[str, Any]]) -> np.ndarray:
    return np.array([record["label_index"] for record in records])
