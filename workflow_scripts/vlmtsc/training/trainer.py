"""Fine-tuning with transformers' Trainer: the loss on answers alone, two learning rates, our own validation."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from accelerate.data_loader import SeedableRandomSampler
from scipy.special import log_softmax
from torch.nn.functional import pad
from torch.utils.data import RandomSampler, Sampler
from transformers import Trainer, TrainerControl, TrainingArguments
from transformers.trainer_utils import PREFIX_CHECKPOINT_DIR

from vlmtsc.examples import IGNORED, Collator, ExampleSet
from vlmtsc.model.adapter import parameter_groups
from vlmtsc.model.answer_rows import only_rows
from vlmtsc.model.checkpoint import autocast
from vlmtsc.model.vision_features import VisionFeatures
from vlmtsc.scoring import score_examples
from vlmtsc.settings import FinetuneSettings
from vlmtsc.training.processes import PaddedSampler, Processes, divide_work, gather_scores
from vlmtsc.training.schedule import Schedule

logger = logging.getLogger(__name__)


def training_arguments(
    settings: FinetuneSettings,
    schedule: Schedule,
    device: torch.device,
    checkpoints: Path,
    has_images: bool = True,
) -> TrainingArguments:
    """Translate a recipe into the Trainer's arguments.

    Parameters
    ----------
    settings : FinetuneSettings
    schedule : Schedule
    device : torch.device
        Where the model is.
    checkpoints : Path
        Folder for the state that an interrupted run goes on from.
    has_images : bool
        Without images the projector is not used. Several processes have to know that it gets no gradient.
    """
    return TrainingArguments(
        output_dir=str(checkpoints),
        max_steps=schedule.steps,
        per_device_train_batch_size=settings.micro_batch_size,
        gradient_accumulation_steps=schedule.accumulation,
        learning_rate=settings.learning_rate,
        weight_decay=settings.weight_decay,
        lr_scheduler_type="cosine",
        warmup_steps=max(1, round(settings.warmup_ratio * schedule.steps)),
        max_grad_norm=settings.max_grad_norm,
        seed=settings.seed,
        data_seed=settings.seed,
        # Mixed precision is ours (`AnswerTrainer.compute_loss`): one context for training, validation and test.
        bf16=False,
        tf32=settings.precision != "fp32" if device.type == "cuda" else None,
        use_cpu=device.type == "cpu",
        eval_strategy="epoch",
        save_strategy="epoch",
        save_total_limit=1,
        load_best_model_at_end=settings.keep == "best",
        metric_for_best_model="eval_loss",
        greater_is_better=False,
        logging_strategy="steps",
        logging_steps=max(1, schedule.steps // 40),
        logging_first_step=True,
        logging_nan_inf_filter=False,  # would log a loss that is no number as 0
        disable_tqdm=True,
        report_to="none",
        remove_unused_columns=False,
        label_names=["labels"],
        dataloader_pin_memory=device.type == "cuda",
        ddp_find_unused_parameters=not has_images,
    )


class AnswerTrainer(Trainer):
    """A Trainer whose loss looks at answers only, and whose validation scores whole answers.

    Parameters
    ----------
    settings : FinetuneSettings
    answers : sequence of sequence of int
        Tokens by which each class is scored.
    vision : VisionFeatures or None
        None in a run without images.
    pad_token_id : int
    evaluation_batch_size : int
        Cases in one forward pass of a validation.
    processes : Processes
        Those that train together.
    **kwargs
        As for `transformers.Trainer`; both datasets are a `ExampleSet`.
    """

    optimizer: torch.optim.Optimizer | None

    def __init__(
        self,
        *args: Any,
        settings: FinetuneSettings,
        answers: Sequence[Sequence[int]],
        vision: VisionFeatures | None,
        pad_token_id: int,
        evaluation_batch_size: int,
        processes: Processes,
        **kwargs: Any,
    ) -> None:
        super().__init__(*args, data_collator=Collator(pad_token_id), **kwargs)
        self.settings = settings
        self.answers = answers
        self.vision = vision
        self.pad_token_id = pad_token_id
        self.evaluation_batch_size = evaluation_batch_size
        self.processes = processes

    def _get_train_sampler(self, train_dataset: ExampleSet | None = None) -> Sampler | None:
        """Give the order of an epoch's cases, the same in all processes and as in one alone."""
        order = super()._get_train_sampler(train_dataset)
        if self.processes.count == 1:
            return order
        if isinstance(order, RandomSampler):  # as `accelerate` would do, did it see it
            order = SeedableRandomSampler(order.data_source, data_seed=self.args.data_seed)
        return PaddedSampler(order, self.args.per_device_train_batch_size * self.processes.count)

    def create_optimizer(self, model: Any = None) -> torch.optim.Optimizer:
        """Make AdamW with the projector in a parameter group of its own.

        In several processes a projector without gradients is left out: a divided optimizer cannot be loaded
        without the state of one of its parameters.
        """
        if self.optimizer is None:
            used = self.processes.count == 1 or self.vision is not None
            groups = parameter_groups(self.model, self.settings, with_projector=used)
            self.optimizer = torch.optim.AdamW(groups, betas=(0.9, self.settings.adam_beta2), fused=True)
        return self.optimizer

    def _save_checkpoint(self, model: Any, trial: Any) -> None:
        """Save the state; its folder is there first.

        Each process looks for the folder of the best state. With divided weights, some would look before it is made,
        and remember another state as the best.
        """
        if self.processes.count > 1:
            folder = Path(self.args.output_dir) / f"{PREFIX_CHECKPOINT_DIR}-{self.state.global_step}"
            folder.mkdir(parents=True, exist_ok=True)
        super()._save_checkpoint(model, trial)

    def compute_loss(
        self,
        model: Any,
        inputs: Mapping[str, torch.Tensor],
        return_outputs: bool = False,
        num_items_in_batch: torch.Tensor | int | None = None,
    ) -> Any:
        """Return the mean cross-entropy of the answer tokens.

        The output layer is applied to the positions before answer tokens only: two or three of hundreds, and
        a row of logits is as long as the vocabulary.
        """
        with autocast(self.settings.precision, inputs["input_ids"].device):
            loss = answer_loss(model, inputs, self.vision, num_items_in_batch)
        # Divided by the answer tokens of all processes, whose gradients are then averaged.
        loss = loss * self.processes.count if self.processes.count > 1 else loss
        return (loss, {}) if return_outputs else loss

    def evaluate(
        self, eval_dataset: ExampleSet | None = None, ignore_keys: Any = None, metric_key_prefix: str = "eval"
    ) -> dict[str, float]:
        """Score the validation part; no logits are gathered, so memory does not grow with it."""
        part = eval_dataset or self.eval_dataset
        scores = self._scores(part)
        labels = np.array([example.label_index for example in part.examples])
        rows = np.arange(len(labels))
        metrics = {
            f"{metric_key_prefix}_loss": float(-log_softmax(scores, axis=1)[rows, labels].mean()),
            f"{metric_key_prefix}_accuracy": float((scores.argmax(axis=1) == labels).mean()),
        }
        self.log(metrics)
        self.control: TrainerControl = self.callback_handler.on_evaluate(
            self.args, self.state, self.control, metrics
        )
        return metrics

    def _scores(self, part: ExampleSet) -> np.ndarray:
        """Score the classes of all cases, each process its share of them; shape (n_cases, n_classes)."""
        shares = divide_work([example.tokens for example in part.examples], self.processes)
        share = shares[self.processes.rank] if self.processes.count > 1 else range(len(part))
        scores = score_examples(
            self.model,
            [part.examples[case] for case in share],
            self.answers,
            features=self.vision,
            image_indices=[part.image_indices[case] for case in share],
            pad_token_id=self.pad_token_id,
            batch_size=self.evaluation_batch_size,
            precision=self.settings.precision,
        )
        return scores if self.processes.count == 1 else gather_scores(scores, shares, self.args.device)

    def _determine_best_metric(self, metrics: dict[str, float], trial: Any) -> bool:
        """Keep the latest of the validations that are as good as the lowest loss.

        The Trainer would keep the lowest itself. Of two that differ by less than what counts as progress, the
        later one was trained for longer and at a lower rate.
        """
        loss = metrics["eval_loss"]
        self.state.best_metric = loss if self.state.best_metric is None else min(loss, self.state.best_metric)
        as_good = loss <= self.state.best_metric + self.settings.early_stopping_threshold
        if as_good:
            self.state.best_global_step = self.state.global_step
        return as_good


def answer_loss(
    model: Any,
    inputs: Mapping[str, torch.Tensor],
    vision: VisionFeatures | None,
    items: torch.Tensor | int | None = None,
) -> torch.Tensor:
    """Return the cross-entropy of the supervised tokens of a batch of `Collator`.

    Parameters
    ----------
    model : LlavaForConditionalGeneration or PeftModel
    inputs : mapping of str to torch.Tensor
    vision : VisionFeatures or None
    items : int or torch.Tensor, optional
        Divisor of the summed loss, for gradient accumulation; the supervised tokens of the batch if None.
    """
    targets = pad(inputs["labels"], (0, 1), value=IGNORED)[:, 1:]
    supervised = targets != IGNORED
    # Where all answers were cut off (switch `first_case_factor`) the loss is 0, and not 0 divided by 0.
    items = torch.as_tensor(supervised.sum() if items is None else items).clamp(min=1)
    images = {}
    if vision is not None:
        images["vision_features"] = vision(inputs["image_index"].tolist())
    with only_rows(model, supervised):
        output = model(
            input_ids=inputs["input_ids"],
            attention_mask=inputs["attention_mask"],
            labels=inputs["labels"],
            shift_labels=targets[supervised],
            logits_to_keep=supervised,
            use_cache=False,
            num_items_in_batch=items,
            **images,
        )
    return output.loss
