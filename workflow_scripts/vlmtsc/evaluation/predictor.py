"""A fine-tuned model, ready to classify."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from peft import PeftModel

from vlmtsc.evaluation.scoring import score_examples, scored_tokens
from vlmtsc.model.adapter import load_adapter
from vlmtsc.model.checkpoint import inner_model, load_checkpoint
from vlmtsc.model.files import load_checked_processor
from vlmtsc.model.vision_features import VisionFeatures
from vlmtsc.representation.representation import Representation
from vlmtsc.training.examples import make_questions
from vlmtsc.training.finetune import image_paths, index_images
from vlmtsc.training.settings import FinetuneSettings, MemorySettings


@dataclass(frozen=True)
class Predictor:
    """A model with its adapter, and the representation it was trained on.

    Attributes
    ----------
    model : PeftModel
    processor : LlavaProcessor
    representation : Representation
    settings : FinetuneSettings
    """

    model: PeftModel
    processor: Any
    representation: Representation
    settings: FinetuneSettings

    @classmethod
    def load(
        cls, checkpoint: Path, adapter: Path, parameters: Mapping[str, Any], threads: int = 1
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
        return cls(load_adapter(base, adapter), load_checked_processor(checkpoint), representation, settings)

    def score(
        self,
        records: Sequence[Mapping[str, Any]],
        plots: Path | None,
        batch_size: int = MemorySettings.evaluation_batch_size,
    ) -> np.ndarray:
        """Score every class for every conversation.

        Parameters
        ----------
        records : sequence of mapping
            Conversations; their answers are not looked at.
        plots : Path or None
            Folder of plots.
        batch_size : int
            Cases in one forward pass.

        Returns
        -------
        ndarray of float64, shape (n_records, n_classes)
            Log-likelihoods.
        """
        tokenizer = self.processor.tokenizer
        examples = make_questions(records, self.representation, tokenizer)
        paths = image_paths([examples], plots)
        vision = None
        if paths:
            vision = VisionFeatures(
                inner_model(self.model),
                self.processor,
                paths,
                precision=self.settings.precision,
                cache_mb=0,  # each image is looked at once
            )
        [part] = index_images([examples])
        return score_examples(
            self.model,
            examples,
            scored_tokens(tokenizer, self.representation),
            features=vision,
            image_indices=part.image_indices,
            pad_token_id=tokenizer.pad_token_id,
            batch_size=batch_size,
            precision=self.settings.precision,
        )
