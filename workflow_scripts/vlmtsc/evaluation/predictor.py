"""A fine-tuned model, ready to classify."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from peft import PeftModel

from vlmtsc.evaluation.generation import INVALID, generate_greedily, generation_limits, read_answer
from vlmtsc.examples import Example, image_paths, index_images, make_questions, scored_tokens
from vlmtsc.model.adapter import load_adapter
from vlmtsc.model.checkpoint import inner_model, load_checkpoint
from vlmtsc.model.files import load_checked_processor
from vlmtsc.model.vision import VisionFeatures
from vlmtsc.representation.plot_files import PlotPath
from vlmtsc.representation.representation import Representation
from vlmtsc.scoring import Prefilled, score_examples
from vlmtsc.settings import FinetuneSettings, MemorySettings


@dataclass(frozen=True)
class Readout:
    """What a model makes of cases.

    Attributes
    ----------
    scores : ndarray of float64, shape (n_cases, n_classes)
        Log-likelihood of each class's answer.
    generated : tuple of list of str and ndarray of int64, shape (n_cases,), optional
        What the model generates, if it was asked to; and the class that each text names, or `INVALID`.
    """

    scores: np.ndarray
    generated: tuple[list[str], np.ndarray] | None = None


@dataclass(frozen=True)
class Predictor:
    """A model with its adapter, and the representation it was trained on.

    Attributes
    ----------
    model : PeftModel
    processor : LlavaProcessor
    representation : Representation
    settings : FinetuneSettings
    batch_size : int
        Cases in one forward pass.
    """

    model: PeftModel
    processor: Any
    representation: Representation
    settings: FinetuneSettings
    batch_size: int = MemorySettings().evaluation_batch_size

    @classmethod
    def load(
        cls,
        checkpoint: Path,
        adapter: Path,
        parameters: Mapping[str, Any],
        threads: int = 1,
        batch_size: int = MemorySettings().evaluation_batch_size,
    ) -> Predictor:
        """Load a fine-tuned model as it was trained.

        Parameters
        ----------
        checkpoint : Path
            Checkpoint folder of the base model.
        adapter : Path
            Adapter folder.
        parameters : mapping
            The run's resolved settings.
        threads : int
            Threads of each tensor operation.
        batch_size : int
            Cases in one forward pass.
        """
        torch.set_num_threads(threads)
        settings = FinetuneSettings.of_run(parameters["finetune"])
        representation = Representation.from_json(parameters["representation"])
        base = load_checkpoint(
            checkpoint,
            precision=settings.precision,
            attention=settings.attention,
            context_length=representation.scenario.context_length,
            quantization=settings.quantization,
        )
        model, processor = load_adapter(base, adapter), load_checked_processor(checkpoint)
        return cls(model, processor, representation, settings, batch_size)

    def questions(self, records: Sequence[Mapping[str, Any]], *, slack: int = 0) -> list[Example]:
        """Tokenise conversations up to the question, see `make_questions`."""
        return make_questions(records, self.representation, self.processor.tokenizer, slack=slack)

    def vision(self, paths: Sequence[PlotPath], *, cache_mb: int = 0) -> VisionFeatures | None:
        """Return the features of plots; None if there is no plot.

        Parameters
        ----------
        paths : sequence of Path or zipfile.Path
        cache_mb : int
            Memory for features, in MiB, where plots are looked at more than once.
        """
        if not paths:
            return None
        return VisionFeatures(
            inner_model(self.model),
            self.processor,
            paths,
            precision=self.settings.precision,
            cache_mb=cache_mb,
        )

    def score_questions(
        self,
        questions: Sequence[Example],
        vision: VisionFeatures | None,
        image_indices: Sequence[int],
        then: Callable[[Sequence[int], Prefilled], None] | None = None,
    ) -> np.ndarray:
        """Score every class for every question: `score_examples` with what belongs to this model."""
        tokenizer = self.processor.tokenizer
        return score_examples(
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

    def score(self, records: Sequence[Mapping[str, Any]], plots: Path | None) -> np.ndarray:
        """Score every class for every conversation.

        Parameters
        ----------
        records : sequence of mapping
            Conversations; their answers are not looked at.
        plots : Path or None
            Folder of plots.

        Returns
        -------
        ndarray of float64, shape (n_records, n_classes)
            Log-likelihoods.
        """
        return self.read(records, plots, generate=False).scores

    def read(self, records: Sequence[Mapping[str, Any]], plots: Path | None, *, generate: bool) -> Readout:
        """Score every class for every conversation, and let the model answer freely.

        Free generation goes on from the same pass over the prompts, so that it costs a step for each new token.

        Parameters
        ----------
        records : sequence of mapping
            Conversations; their answers are not looked at.
        plots : Path or None
            Folder of plots.
        generate : bool
            Whether answers are generated.
        """
        questions = self.questions(records)
        [part] = index_images([questions])
        vision = self.vision(image_paths([questions], plots))
        tokenizer = self.processor.tokenizer
        limits = generation_limits(tokenizer, self.representation)
        texts, indices = [""] * len(questions), np.full(len(questions), INVALID)

        def go_on(cases: Sequence[int], prefilled: Prefilled) -> None:
            generated = generate_greedily(self.model, prefilled, limits)
            for case, tokens in zip(cases, generated, strict=True):
                texts[case], indices[case] = read_answer(tokens, tokenizer, self.representation)

        scores = self.score_questions(questions, vision, part.image_indices, go_on if generate else None)
        return Readout(scores, (texts, indices) if generate else None)
