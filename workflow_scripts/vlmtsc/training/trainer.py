"""Fine-tuning with transformers' Trainer: the loss on answers alone, two learning rates, weight averaging."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import torch
from accelerate.data_loader import SeedableRandomSampler
from peft import PeftModel
from safetensors.torch import load_file, save_file
from scipy.special import entr, log_softmax
from torch import nn
from torch.nn.functional import log_softmax as torch_log_softmax
from torch.nn.functional import pad
from torch.optim.swa_utils import get_ema_multi_avg_fn
from torch.utils.data import RandomSampler, Sampler
from transformers import Trainer, TrainerCallback, TrainerControl, TrainerState, TrainingArguments
from transformers.trainer_utils import PREFIX_CHECKPOINT_DIR

from vlmtsc.errors import InputError
from vlmtsc.examples import IGNORED, Collator, ExampleSet
from vlmtsc.model.adapter import parameter_groups
from vlmtsc.model.checkpoint import autocast, inner_model, only_rows
from vlmtsc.model.vision import Images, VisionFeatures
from vlmtsc.scoring import score_examples
from vlmtsc.settings import AGREED_WEIGHT, FinetuneSettings, TrackingSettings
from vlmtsc.training.alignment import SoftAnswers
from vlmtsc.training.muon import Muon
from vlmtsc.training.processes import PaddedSampler, Processes, divide_work, gather_scores
from vlmtsc.training.schedule import Schedule

#: File of the averaged weights in a checkpoint.
AVERAGE = "weight_average.safetensors"


def compile_layers(model: PeftModel, backend: str = "inductor") -> None:
    """Compile the decoder layers of the language model in place with torch.compile, except the last.

    Layers are alike, so they share one compilation. What surrounds them, and the last layer's selection of rows
    (`only_rows`), would break the graph. Names of parameters do not change.
    """
    for layer in inner_model(model).get_decoder().layers[:-1]:
        layer.compile(backend=backend, dynamic=True)  # batches differ in length


def set_activation_checkpointing(model: PeftModel, enabled: bool) -> None:
    """Switch activation checkpointing of the language model's layers on or off.

    The vision tower is frozen and runs without gradient. The hooks that make token embeddings require a gradient are
    removed: only reentrant checkpointing needs them. The last layer keeps its activations: its backward pass comes
    first, so recomputing them would free nothing, and it computes few rows (`only_rows`).
    """
    language_model = inner_model(model).get_decoder()
    if enabled:
        language_model.activation_checkpointing_enable()
        language_model.disable_input_require_grads()
        language_model.layers[-1].gradient_checkpointing = False
    else:
        language_model.activation_checkpointing_disable()


class WeightAverage(TrainerCallback):
    """Exponential moving average of a model's trained parameters, updated after each optimizer step."""

    def __init__(self, model: nn.Module, decay: float) -> None:
        self._trained = {name: tensor for name, tensor in model.named_parameters() if tensor.requires_grad}
        self._average = {name: tensor.detach().clone() for name, tensor in self._trained.items()}
        self._updates = torch.tensor(0)
        self._combine = get_ema_multi_avg_fn(decay)

    def on_step_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any
    ) -> None:
        """Update the average."""
        self.update()

    @torch.no_grad()
    def update(self) -> None:
        """Include the present weights; the first ones are the average."""
        if self._updates:
            self._combine(list(self._average.values()), list(self._trained.values()), self._updates)
        else:
            _copy(self._trained, self._average)
        self._updates += 1

    def copy_to_model(self) -> None:
        """Replace the model's weights by the average."""
        _copy(self._average, self._trained)

    @contextmanager
    def in_place(self) -> Iterator[None]:
        """Replace the model's weights by the average within the block, if there has been an update."""
        if not self._updates:
            yield
            return
        kept = {name: tensor.detach().clone() for name, tensor in self._trained.items()}
        self.copy_to_model()
        try:
            yield
        finally:
            _copy(kept, self._trained)

    def save(self, folder: Path) -> None:
        """Write the average into a checkpoint."""
        tensors = {name: tensor.contiguous() for name, tensor in self._average.items()}
        save_file(tensors | {"n_averaged": self._updates}, folder / AVERAGE)

    def restore(self, folder: Path) -> None:
        """Read the average from a checkpoint."""
        tensors = load_file(folder / AVERAGE)
        self._updates = tensors.pop("n_averaged")
        _copy(tensors, self._average)


@torch.no_grad()
def _copy(source: Mapping[str, torch.Tensor], target: Mapping[str, torch.Tensor]) -> None:
    for name, tensor in target.items():
        tensor.copy_(source[name])


def training_arguments(
    settings: FinetuneSettings,
    schedule: Schedule,
    device: torch.device,
    checkpoints: Path,
    has_images: bool = True,
    tracking: TrackingSettings | None = None,
) -> TrainingArguments:
    """Translate a recipe into the Trainer's arguments; without images the projector has no gradient."""
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
        # `AnswerTrainer.compute_loss` has its own mixed precision, the same as validation and test.
        bf16=False,
        tf32=settings.precision != "fp32" if device.type == "cuda" else None,
        use_cpu=device.type == "cpu",
        eval_strategy="epoch",
        save_strategy="epoch",
        save_total_limit=1,
        load_best_model_at_end=settings.keep == "best",
        metric_for_best_model="eval_selection_loss",
        greater_is_better=False,
        logging_strategy="steps",
        logging_steps=max(1, schedule.steps // 40),
        logging_first_step=True,
        logging_nan_inf_filter=False,  # would log NaN as 0
        disable_tqdm=True,
        report_to=list(tracking.trackers) if tracking is not None else "none",
        run_name=tracking.name if tracking is not None else None,
        remove_unused_columns=False,
        label_names=["labels"],
        dataloader_pin_memory=device.type == "cuda",
        ddp_find_unused_parameters=not has_images,
    )


class AnswerTrainer(Trainer):
    """A Trainer with a loss on answers only, which validates by scoring whole answers.

    With ``ema_decay``, the average of the weights is validated, and is the result; training continues from the weights
    themselves. Checkpoints contain both.

    Parameters
    ----------
    settings : FinetuneSettings
    answers : sequence of sequence of int
        Tokens by which each class is scored.
    vision : Images or None
    collator : Collator
    evaluation_batch_size : int
        Cases in one forward pass of a validation.
    processes : Processes
    soft_answers : SoftAnswers, optional
        What training cases show, and with which answers; by default their plots, and their own.
    **kwargs
        As for `transformers.Trainer`; datasets are `ExampleSet`.
    """

    optimizer: torch.optim.Optimizer | None

    def __init__(
        self,
        *args: Any,
        settings: FinetuneSettings,
        answers: Sequence[Sequence[int]],
        vision: Images | None,
        collator: Collator,
        evaluation_batch_size: int,
        processes: Processes,
        soft_answers: SoftAnswers | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(*args, data_collator=collator, **kwargs)
        # Some models say that they do not take the number of items; the loss is computed here, for all of them.
        self.model_accepts_loss_kwargs = True
        self.settings = settings
        self.answers = answers
        self.vision = vision
        self.soft_answers = soft_answers
        self.evaluation_batch_size = evaluation_batch_size
        self.processes = processes
        self.validation_probabilities: np.ndarray | None = None
        if soft_answers is not None and isinstance(vision, VisionFeatures):
            scores = soft_answers.head.scores(vision, self.eval_dataset.image_indices)
            self.validation_probabilities = scores.exp().numpy()
        self.average: WeightAverage | None = None
        if settings.ema_decay:
            if self.is_fsdp_enabled:
                raise InputError(
                    "ema_decay with FSDP, where no process has whole weights; allowed: ema_decay=0"
                )
            self.average = WeightAverage(self.model, settings.ema_decay)
            self.add_callback(self.average)

    def train(self, resume_from_checkpoint: str | None = None, **kwargs: Any) -> Any:
        """Train; afterwards the model has the weights of the result, averaged if any are."""
        average = self.average
        if average is None:
            return super().train(resume_from_checkpoint=resume_from_checkpoint, **kwargs)
        if resume_from_checkpoint is not None:
            average.restore(Path(resume_from_checkpoint))
        result = super().train(resume_from_checkpoint=resume_from_checkpoint, **kwargs)
        if self.args.load_best_model_at_end and self.state.best_model_checkpoint is not None:
            average.restore(Path(self.state.best_model_checkpoint))
        average.copy_to_model()
        self.average = None
        return result

    def _save_rng_state(self, output_dir: str) -> None:
        """Save the average as well, before the file that marks a complete checkpoint."""
        super()._save_rng_state(output_dir)
        if self.average is not None and self.args.should_save:
            self.average.save(Path(output_dir))

    def _get_train_sampler(self, train_dataset: ExampleSet | None = None) -> Sampler | None:
        """Return the order of an epoch's cases, the same as in a single process."""
        order = super()._get_train_sampler(train_dataset)
        if self.processes.count == 1:
            return order
        if isinstance(order, RandomSampler):  # as accelerate would replace it
            order = SeedableRandomSampler(order.data_source, data_seed=self.args.data_seed)
        return PaddedSampler(order, self.args.per_device_train_batch_size * self.processes.count)

    def create_optimizer(self, model: Any = None) -> torch.optim.Optimizer:
        """Return Muon, if it is asked for and there are no images, or AdamW with a parameter group for the projector.

        In several processes a projector without gradient is left out: a sharded optimizer cannot be loaded without the
        state of one of its parameters.
        """
        if self.optimizer is not None:
            return self.optimizer
        settings, rate = self.settings, self.settings.muon_learning_rate
        if rate and self.vision is None:
            groups = parameter_groups(self.model, settings.changed(learning_rate=rate), with_images=False)
            self.optimizer = Muon(groups)
        else:
            used = self.processes.count == 1 or self.vision is not None
            groups = parameter_groups(self.model, settings, with_images=used)
            self.optimizer = torch.optim.AdamW(groups, betas=(0.9, settings.adam_beta2), fused=True)
        return self.optimizer

    def _save_checkpoint(self, model: Any, trial: Any) -> None:
        """Save a checkpoint whose folder exists beforehand.

        Every process looks for the best checkpoint's folder. With sharded weights some would look before it exists,
        and remember another checkpoint as the best.
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
        """Return the mean cross-entropy of the answer tokens (`answer_loss`)."""
        with autocast(self.settings.precision, inputs["input_ids"].device):
            loss = answer_loss(model, inputs, self.vision, num_items_in_batch, self.soft_answers)
        # The divisor counts the tokens of all processes, but DDP averages their gradients.
        loss = loss * self.processes.count if self.processes.count > 1 else loss
        return (loss, {}) if return_outputs else loss

    def evaluate(
        self, eval_dataset: ExampleSet | None = None, ignore_keys: Any = None, metric_key_prefix: str = "eval"
    ) -> dict[str, float]:
        """Score the validation set, with averaged weights if any; no logits are gathered."""
        with nullcontext() if self.average is None else self.average.in_place():
            metrics = self._validate(eval_dataset or self.eval_dataset, metric_key_prefix)
        self.log(metrics)
        self.control: TrainerControl = self.callback_handler.on_evaluate(
            self.args, self.state, self.control, metrics
        )
        return metrics

    def _validate(self, dataset: ExampleSet, prefix: str) -> dict[str, float]:
        scores = self._scores(dataset)
        labels = np.array([example.label_index for example in dataset.examples])
        log_likelihoods = log_softmax(scores, axis=1)
        loss = selection_loss = float(-log_likelihoods[np.arange(len(labels)), labels].mean())
        lowest_loss = 0.0
        if self.validation_probabilities is not None:
            selection_loss = float(-(self.validation_probabilities * log_likelihoods).sum(axis=1).mean())
            lowest_loss = float(entr(self.validation_probabilities).sum(axis=1).mean())
        accuracy = float((scores.argmax(axis=1) == labels).mean())
        return {
            f"{prefix}_loss": loss,
            f"{prefix}_selection_loss": selection_loss,
            f"{prefix}_lowest_loss": lowest_loss,  # that `selection_loss` can reach
            f"{prefix}_accuracy": accuracy,
        }

    def _scores(self, dataset: ExampleSet) -> np.ndarray:
        """Score the classes of all cases, shared among the processes; shape (n_cases, n_classes)."""
        alone = self.processes.count == 1
        shares = divide_work([example.tokens for example in dataset.examples], self.processes.count)
        share = range(len(dataset)) if alone else shares[self.processes.rank]
        scores = score_examples(
            self.model,
            [dataset.examples[case] for case in share],
            self.answers,
            features=self.vision,
            image_indices=[dataset.image_indices[case] for case in share],
            pad_token_id=self.data_collator.pad_token_id,
            batch_size=self.evaluation_batch_size,
            precision=self.settings.precision,
        )
        return scores if alone else gather_scores(scores, shares, self.args.device)

    def _determine_best_metric(self, metrics: dict[str, float], trial: Any) -> bool:
        """Choose the latest of the validations whose loss is within the threshold of the lowest.

        The Trainer would choose the lowest. A later one of about the same loss was trained longer, at a lower rate.
        """
        loss = metrics["eval_selection_loss"]
        self.state.best_metric = loss if self.state.best_metric is None else min(loss, self.state.best_metric)
        as_good = loss <= self.state.best_metric + self.settings.early_stopping_threshold
        if as_good:
            self.state.best_global_step = self.state.global_step
        return as_good


def answer_loss(
    model: Any,
    inputs: Mapping[str, torch.Tensor],
    vision: Images | None,
    items: torch.Tensor | int | None = None,
    soft_answers: SoftAnswers | None = None,
) -> torch.Tensor:
    """Return the cross-entropy of the supervised tokens of a batch of `Collator`.

    The output layer is applied only before supervised tokens, two or three of hundreds: a row of logits is as long as
    the vocabulary.

    Parameters
    ----------
    model : PreTrainedModel or PeftModel
    inputs : mapping of str to torch.Tensor
    vision : Images or None
    items : int or torch.Tensor, optional
        Divisor of the summed loss, for gradient accumulation; by default the supervised tokens of the batch.
    soft_answers : SoftAnswers, optional
        What the cases show, and with which answers; by default their plots, and their own.
    """
    targets = pad(inputs["labels"], (0, 1), value=IGNORED)[:, 1:]
    supervised = targets != IGNORED
    # Without any supervised token (the switch `first_case_factor` can cut off all answers) the loss is 0, not 0 / 0.
    items = torch.as_tensor(supervised.sum() if items is None else items).clamp(min=1)
    images, probabilities = {}, None
    if vision is not None:
        images = vision.inputs(inputs["image_index"].tolist())
        if soft_answers is not None:
            images["projected_images"], probabilities = soft_answers(images.pop("vision_features"))
    own = {"labels": inputs["labels"], "shift_labels": targets[supervised], "num_items_in_batch": items}
    with only_rows(model, supervised):
        output = model(
            input_ids=inputs["input_ids"],
            attention_mask=inputs["attention_mask"],
            logits_to_keep=supervised,
            use_cache=False,
            answer_mask=inputs["labels"] != IGNORED,
            **images,
            **(own if probabilities is None else {}),
        )
    if soft_answers is None or probabilities is None:
        return output.loss
    logits = output.logits.reshape(-1, output.logits.shape[-1])
    labels = inputs["label_index"]
    return soft_loss(logits, supervised, targets, labels, probabilities, soft_answers.answers) / items


def soft_loss(
    logits: torch.Tensor,
    supervised: torch.Tensor,
    targets: torch.Tensor,
    labels: torch.Tensor,
    probabilities: torch.Tensor,
    answers: torch.Tensor,
) -> torch.Tensor:
    """Return the summed cross-entropy of supervised tokens with soft answers.

    The target of a token is the distribution of the next tokens of those classes whose answers begin with the same
    tokens as the case's, weighted by the classes' probabilities. So it is the one token itself where all of them agree,
    as before the class and at the end; a token behind the answer (a rationale) is its own target. Such tokens count
    `AGREED_WEIGHT`: they are learnt in a few steps, and would crowd out the class.

    Parameters
    ----------
    logits : torch.Tensor
        Shape (n_supervised, vocabulary).
    supervised : torch.Tensor
        Mask of the positions before supervised tokens, shape (batch, length).
    targets : torch.Tensor
        int64, shape (batch, length): the supervised tokens at these positions.
    labels : torch.Tensor
        int64, shape (batch,): class of each case.
    probabilities : torch.Tensor
        Shape (batch, n_classes).
    answers : torch.Tensor
        int64, shape (n_classes, longest answer): tokens of each class's answer, then -1.
    """
    log_likelihoods = torch_log_softmax(logits.float(), dim=-1)
    cases = supervised.nonzero()[:, 0]
    places = supervised.cumsum(1)[supervised] - 1
    longest = answers.shape[1]
    own = answers[labels[cases]]
    earlier = torch.arange(longest, device=answers.device) < places[:, None]
    alike = ((answers == own[:, None]) | ~earlier[:, None]).all(-1)
    following = answers.T[places.clamp(max=longest - 1)]
    weights = probabilities[cases] * (alike & (following >= 0))
    total = weights.sum(1)
    # A total of 0 (behind an answer, or from underflow) selects the hard loss; 0 / 0 would still make its gradient NaN.
    smallest = torch.finfo(total.dtype).tiny
    soft = -(weights * log_likelihoods.gather(1, following.clamp(min=0))).sum(1) / total.clamp(min=smallest)
    hard = -log_likelihoods.gather(1, targets[supervised][:, None])[:, 0]
    inside = (
        (places < longest) & (own.gather(1, places.clamp(max=longest - 1)[:, None])[:, 0] >= 0) & (total > 0)
    )
    differing = inside & ((weights > 0) & (following != targets[supervised][:, None])).any(1)
    return (torch.where(inside, soft, hard) * torch.where(differing, 1.0, AGREED_WEIGHT)).sum()
