"""A LLaVA checkpoint of random weights, and conversations for it: small enough for every test."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
from transformers import (
    CLIPImageProcessorPil,
    CLIPVisionConfig,
    LlamaConfig,
    LlavaConfig,
    LlavaForConditionalGeneration,
    LlavaProcessor,
    PreTrainedTokenizerFast,
)

from vlmtsc.data.series import CleanSeries
from vlmtsc.files import write_json
from vlmtsc.paths import Run, plot_file_name
from vlmtsc.representation.conversations import make_conversations
from vlmtsc.representation.plots import LinePlotter, write_png
from vlmtsc.representation.processor import load_processor, model_options
from vlmtsc.representation.representation import Representation
from vlmtsc.settings import FinetuneSettings, PlotSettings, ScenarioSettings, Switch, Template

if TYPE_CHECKING:
    from vlmtsc.training.finetune import TrainingJob

#: What the tokenizers learn their few merges from.
CORPUS = [
    "Which class is the following signal from? Class: USER: ASSISTANT:",
    "Given the following multi-dimensional timeseries. Which class is the above signal from",
    "Dimension scale centre values from to",
]
IMAGE_TOKENS = 4
RUN = Run("tiny", "Waves", "pooled", "mine", 0)


def byte_level_tokenizer() -> PreTrainedTokenizerFast:
    """Byte-level BPE with digits one by one and no begin token, as SmolLM2's."""
    core = Tokenizer(models.BPE())
    core.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)]
    )
    core.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=320, initial_alphabet=alphabet, special_tokens=["<pad>", "</s>"], show_progress=False
    )
    core.train_from_iterator(CORPUS, trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=core,
        eos_token="</s>",
        pad_token="<pad>",
        additional_special_tokens=["<image>"],
        padding_side="right",
    )


def llama_tokenizer(split: bool = True) -> PreTrainedTokenizerFast:
    """BPE with a begin token and blanks as metaspaces, as Llama's; without `split`, pieces reach over blanks."""
    special = ["<unk>", "<s>", "</s>", "<pad>"]
    core = Tokenizer(models.BPE(unk_token="<unk>"))
    core.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Metaspace(prepend_scheme="first", split=split),
            pre_tokenizers.Digits(individual_digits=True),
        ]
    )
    core.decoder = decoders.Metaspace(prepend_scheme="first")
    characters = sorted({chr(code) for code in range(32, 127)} | {"\n", "▁"})
    trainer = trainers.BpeTrainer(
        vocab_size=320, initial_alphabet=characters, special_tokens=special, show_progress=False
    )
    core.train_from_iterator(CORPUS, trainer)
    core.post_processor = processors.TemplateProcessing(
        single="<s> $A", pair="<s> $A <s> $B", special_tokens=[("<s>", core.token_to_id("<s>"))]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=core,
        bos_token="<s>",
        eos_token="</s>",
        unk_token="<unk>",
        pad_token="<pad>",
        additional_special_tokens=["<image>"],
        padding_side="left",
    )


def write_checkpoint(folder: Path, *, style: str = "byte_level", seed: int = 0) -> Path:
    """Write a LLaVA checkpoint folder: CLIP of 4 patches and a class token, Llama of two layers.

    Weights are larger than usual, so that every input has a visible effect.
    """
    tokenizer = {"byte_level": byte_level_tokenizer, "llama": llama_tokenizer}[style]()
    processor = LlavaProcessor(
        CLIPImageProcessorPil(size={"shortest_edge": 28}, crop_size={"height": 28, "width": 28}),
        tokenizer,
        patch_size=14,
        vision_feature_select_strategy="default",
        num_additional_image_tokens=1,
        image_token="<image>",
    )
    scale = 0.15
    config = LlavaConfig(
        vision_config=CLIPVisionConfig(
            hidden_size=16,
            intermediate_size=32,
            num_hidden_layers=2,
            num_attention_heads=2,
            image_size=28,
            patch_size=14,
            initializer_factor=4.0,
        ),
        text_config=LlamaConfig(
            vocab_size=len(tokenizer),
            hidden_size=32,
            intermediate_size=64,
            num_hidden_layers=2,
            num_attention_heads=4,
            num_key_value_heads=2,
            max_position_embeddings=2048,
            initializer_range=scale,
            bos_token_id=tokenizer.bos_token_id,
            eos_token_id=tokenizer.eos_token_id,
            pad_token_id=tokenizer.pad_token_id,
        ),
        image_token_index=tokenizer.convert_tokens_to_ids("<image>"),
        image_seq_length=IMAGE_TOKENS,
        vision_feature_layer=-2,
        vision_feature_select_strategy="default",
        initializer_range=scale,
    )
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = LlavaForConditionalGeneration(config)
        with torch.no_grad():
            for name, parameter in model.named_parameters():
                if "projector" in name or ("vision" in name and parameter.ndim > 1):
                    parameter.normal_(0, 0.4)
    model.save_pretrained(folder)
    processor.save_pretrained(folder)
    return folder


@dataclass(frozen=True)
class TinyTask:
    """Conversations of one scenario, and the plots that they name."""

    records: dict[str, list[dict[str, Any]]]
    representation: Representation
    plots: Path | None
    series: CleanSeries

    def write(self, folder: Path) -> dict[str, Path]:
        """Write the conversations and their representation as a run of the workflow reads them."""
        files = {name: folder / f"{name}.json" for name in ("train", "validation", "test", "representation")}
        for name, records in self.records.items():
            write_json(files[name], records)
        self.representation.save(files["representation"])
        return files

    def job(self, checkpoint: Path, folder: Path, run: Run = RUN, **options: Any) -> TrainingJob:
        """Write the inputs of a training into a folder; options are fields of the job, or of the recipe."""
        from vlmtsc.training.finetune import TrainingJob  # seconds of imports

        others = {
            key: options.pop(key) for key in ("memory", "tracking", "threads", "alignments") if key in options
        }
        files = self.write(folder)
        return TrainingJob(
            run=run,
            model=checkpoint,
            train=files["train"],
            validation=files["validation"],
            representation=files["representation"],
            settings=options.pop("settings", None) or recipe(**options),
            checkpoints=folder / "checkpoints",
            adapter=folder / "adapter",
            training_log=folder / "training_log.csv",
            plots=self.plots if self.representation.has_image else None,
            **others,
        )


def finetune_into(job: TrainingJob, run: Path, shared: Path | None = None) -> None:
    """Fine-tune as the workflow does, into a run's folder."""
    from vlmtsc.training.sharing import train_or_reuse

    train_or_reuse(
        job.changed(adapter=run / "adapter", training_log=run / "training_log.csv"),
        run / "parameters.json",
        run / "run_record.json",
        code="0",
        worker=Path("train_adapter.py"),
        shared=shared,
    )


def make_task(
    checkpoint: Path,
    folder: Path,
    *,
    modality: str = "both",
    n_classes: int = 2,
    n_channels: int = 1,
    n_train: int = 12,
    context_length: int = 512,
    system_prompt: str = "",
    rationale_target: bool = False,
    compat: Sequence[Switch] = (),
    template: Template = "llava_v1",
    shots: int = 0,
) -> TinyTask:
    """Make noisy waves, a frequency a class, and their conversations and plots."""
    generator = np.random.default_rng(0)
    n_cases = n_train + 8
    label_index = np.arange(n_cases) % n_classes
    time = np.linspace(0, 1, 16)
    waves = np.sin(2 * np.pi * np.outer(label_index + 1, time))
    values = waves[:, None, :] + 0.3 * generator.standard_normal((n_cases, n_channels, 16))
    # Texts of different lengths, even in a format of fixed places.
    values[::3] *= 20
    series = CleanSeries(
        values=values,
        label_index=label_index,
        classes=np.array([f"class {index}" for index in range(n_classes)]),
        case_ids=np.array([f"Waves-{index:05d}" for index in range(n_cases)]),
        n_train=n_train,
    )
    split = {
        "train": np.arange(n_train),
        "validation": np.arange(n_train, n_train + 4),
        "test": np.arange(n_train + 4, n_cases),
    }
    scenario = ScenarioSettings(
        name=modality,
        modality=modality,
        numbers="none" if modality == "plot" else "decimals",
        plot="none" if modality == "numbers" else "line",
        context_length=context_length,
        describer="template" if rationale_target else "none",
        target="answer_then_rationale" if rationale_target else "answer",
        compat=tuple(compat),
        tuned=not shots,
        shots=shots,
    )
    rationales = {
        identity: f"It goes {'up' if case % 2 else 'down, then up again'}."
        for case, identity in enumerate(series.case_ids.tolist())
    }
    plot = None if modality == "numbers" else PlotSettings(inches=1.0, dpi=40)
    processor = load_processor(checkpoint)
    shown = plot if scenario.has_image else None
    made = make_conversations(
        series,
        split,
        scenario,
        plot,
        **model_options(processor, shown, system_prompt, template),
        rationales=rationales if rationale_target else None,
    )
    if plot is not None:
        folder.mkdir(parents=True, exist_ok=True)
        plotter = LinePlotter(plot, n_channels)
        for case, rows in enumerate(values):
            write_png(plotter.render(rows), folder / plot_file_name(case))
    return TinyTask(made.records, made.representation, None if plot is None else folder, series)


def recipe(**changes: Any) -> FinetuneSettings:
    """Return a recipe of seconds, in full precision."""
    settings: dict[str, Any] = {
        "seed": 0,
        "lora_r": 4,
        "lora_alpha": 8,
        "lora_dropout": 0.0,
        "learning_rate": 5e-3,
        "projector_learning_rate": 1e-3,
        "weight_decay": 0.0,
        "adam_beta2": 0.95,
        "warmup_ratio": 0.1,
        "batch_size": 4,
        "micro_batch_size": 4,
        "epochs": 2,
        "token_budget": 0,
        "early_stopping_patience": 0,
        "early_stopping_steps": 0,
        "early_stopping_threshold": 0.0,
        "keep": "last",
        "max_grad_norm": 1.0,
        "precision": "fp32",
        "attention": "eager",
    }
    return FinetuneSettings(**settings | changes)
