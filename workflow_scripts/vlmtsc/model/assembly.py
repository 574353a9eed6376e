"""Assembling a LLaVA from a language model and a vision tower.

Both are pretrained; only the two-layer projector between them is new, as before LLaVA's first training stage (H. Liu
et al., Visual instruction tuning, NeurIPS 2023). The result pools an image's tokens (`pooled_llava`).
"""

from __future__ import annotations

import logging
import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import torch
from scipy.optimize import minimize_scalar
from torch.nn.functional import cross_entropy, normalize
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    AutoTokenizer,
    CLIPImageProcessorPil,
    LlamaForCausalLM,
    LlavaProcessor,
    PreTrainedTokenizerBase,
)
from transformers.utils import logging as transformers_logging

from vlmtsc.errors import InputError
from vlmtsc.model.pooled_llava import (
    EfficientNetLiteConfig,
    EfficientNetLiteModel,
    PooledLlava,
    PooledLlavaConfig,
    PoolingProjector,
    token_width,
)
from vlmtsc.representation.plots import LinePlotter
from vlmtsc.representation.prompts import IMAGE_TOKEN
from vlmtsc.settings import AssemblySettings, PlotSettings

#: LLaVA v1's conversation as a Jinja template; `vlmtsc.representation.prompts.llava_format` writes the same text.
CHAT_TEMPLATE = (
    "{% for message in messages %}"
    "{% if message['role'] == 'system' %}{{ message['content'] }} {% endif %}"
    "{% if message['role'] == 'user' %}USER: "
    "{% for part in message['content'] if part['type'] == 'image' %}<image>\n{% endfor %}"
    "{% for part in message['content'] if part['type'] == 'text' %}{{ part['text'] }}{% endfor %} ASSISTANT:"
    "{% endif %}"
    "{% if message['role'] == 'assistant' %}"
    "{% for part in message['content'] %} {{ part['text'] }}{% endfor %}{{ eos_token }}"
    "{% endif %}{% endfor %}"
)

#: Addend of a hidden unit, in standard deviations of its sum, on tokens outside its column: GELU is then near 0.
CLOSED = -4.0
#: Square root of the repetitions of an image's token: a processor counts the patches of a square.
IMAGE_SIDE = 2
#: Text of the domain, used only to calibrate the output's scale.
CALIBRATION_TEXT = (
    "The power demand of a household follows the hours of the day: it rises in the morning, falls after noon, "
    "and rises again in the evening. USER: Which class is the following signal from? 3 5 7 9 11 13 15 17 19 "
    "Class: ASSISTANT: 1"
)

logger = logging.getLogger(__name__)


def load_language_model(gguf: Path, layers: int) -> tuple[LlamaForCausalLM, PreTrainedTokenizerBase]:
    """Load a language model from a GGUF file, dequantised to float32, and keep its first layers."""
    transformers_logging.disable_progress_bar()
    tokenizer = AutoTokenizer.from_pretrained(gguf.parent, gguf_file=gguf.name)
    config = AutoConfig.from_pretrained(gguf.parent, gguf_file=gguf.name)
    total, config.num_hidden_layers = config.num_hidden_layers, layers
    if not 1 <= layers <= total:
        raise InputError(f"{gguf}: layers={layers}; allowed: 1 to {total}")
    model = AutoModelForCausalLM.from_pretrained(
        gguf.parent, gguf_file=gguf.name, config=config, dtype=torch.float32
    )
    del model.config.quantization_config
    factor = calibrate_output(model, tokenizer) if layers < total else 1.0
    logger.info("%s: %d of %d layers, output scaled by %.2f", gguf.name, layers, total, factor)
    return model, tokenizer


def calibrate_output(model: LlamaForCausalLM, tokenizer: PreTrainedTokenizerBase) -> float:
    """Scale the last norm of a shortened model to maximise the likelihood of `CALIBRATION_TEXT`; return the factor.

    The output layer was not trained on these layers' hidden states, so its logits are large and wrong: fine-tuning
    would begin with a loss of 18, which one factor halves.
    """
    tokens = tokenizer(CALIBRATION_TEXT, return_tensors="pt")["input_ids"]
    with torch.inference_mode():
        hidden = model.model(input_ids=tokens, use_cache=False).last_hidden_state[0, :-1]

        def loss(factor: float) -> float:
            return float(cross_entropy(model.lm_head(hidden * factor), tokens[0, 1:]))

        factor = float(minimize_scalar(loss, bounds=(0.01, 1.0), method="bounded").x)
    model.model.norm.weight.data.mul_(factor)
    return factor


def load_vision_tower(
    weights: Path, strides: Sequence[int] = (32,), column_codes: bool = False
) -> EfficientNetLiteModel:
    """Load EfficientNet-Lite0 from a state dictionary, without its classifier."""
    config = EfficientNetLiteConfig(strides=list(strides), column_codes=column_codes)
    config.hidden_size = token_width(strides) + column_codes * config.columns
    tower = EfficientNetLiteModel(config)
    state = torch.load(weights, weights_only=True, map_location="cpu")
    state = {name: value for name, value in state.items() if not name.startswith("_fc.")}
    result = tower.network.load_state_dict(state, strict=False)
    if result.missing_keys or result.unexpected_keys:
        raise InputError(
            f"{weights}: missing {result.missing_keys[:3]}, unexpected {result.unexpected_keys[:3]}; "
            "allowed: the weights of EfficientNet-Lite0"
        )
    return tower


def make_processor(tokenizer: PreTrainedTokenizerBase, tower: EfficientNetLiteConfig) -> LlavaProcessor:
    """Return the processor: the tower's pixel scaling, (x - 127) / 128, LLaVA v1's conversation, pooled tokens."""
    images = CLIPImageProcessorPil(
        size={"height": tower.image_size, "width": tower.image_size},
        do_center_crop=False,
        image_mean=[127 / 255] * 3,
        image_std=[128 / 255] * 3,
    )
    return LlavaProcessor(
        images,
        tokenizer,
        patch_size=tower.image_size // IMAGE_SIDE,
        vision_feature_select_strategy="full",
        num_additional_image_tokens=0,
        image_token=IMAGE_TOKEN,
        chat_template=CHAT_TEMPLATE,
    )


def random_plots(count: int, seed: int) -> list[np.ndarray]:
    """Draw line plots of random walks, as typical images: uint8, shape (height, width, 3)."""
    generator = np.random.default_rng(seed)
    plotter = LinePlotter(PlotSettings(), n_channels=1)
    return [plotter.render(generator.standard_normal((1, 100)).cumsum(axis=1)) for _ in range(count)]


def initialise_projector(
    projector: PoolingProjector,
    features: torch.Tensor,
    embedding_scale: float,
    seed: int,
    columns: int = 0,
    column_share: float = 0.0,
) -> None:
    """Initialise the projector so that its outputs have the scale of token embeddings from the first step.

    The tower's features are sparse and far from zero mean, and the language model's embeddings are small: with the
    usual initialisation, a projector needs its first hundred steps for scale alone. Here the first layer standardises
    each feature (P. Krähenbühl et al., Data-dependent initializations of convolutional neural networks, ICLR 2016),
    and the outputs of the second have the root mean square `embedding_scale` of the token embeddings, as has the
    constant part of the pooled token.

    A share of the hidden units see the tokens of one column of the image each: a token's time is where in the image it
    lies, and the same shape at another time may stand for another class.

    Parameters
    ----------
    projector : PoolingProjector
        Changed in place.
    features : torch.Tensor
        Of typical images, float32 of shape (n_tokens, vision_hidden_size).
    embedding_scale : float
    seed : int
    columns : int
        How many features, the last ones, are a one-hot code of the column.
    column_share : float
        Share of the hidden units that see one column, divided evenly among the columns.
    """
    generator = torch.Generator().manual_seed(seed)
    mean, deviation = features.mean(0), features.std(0)
    spread = deviation + 0.05 * deviation.max()  # does not amplify features of little variance
    first, second = projector.linear_1, projector.linear_2
    with torch.no_grad():
        first.weight.normal_(0, 1 / math.sqrt(first.in_features), generator=generator).div_(spread)
        codes = first.weight[:, len(mean) - columns :]  # a view: the weights of the columns' codes
        codes.zero_()
        first.bias.copy_(-first.weight @ mean)
        for unit in range(round(column_share * first.out_features)):
            codes[unit] = CLOSED
            codes[unit, unit % columns] = 0  # open on this column
        second.weight.normal_(0, 1 / math.sqrt(second.in_features), generator=generator)
        second.bias.zero_()
        hidden = projector.act(first(features))
        second.weight.mul_(embedding_scale / second(hidden).pow(2).mean().sqrt())
        direction = normalize(torch.randn(second.out_features, generator=generator), dim=0)
        projector.constant.copy_(embedding_scale * math.sqrt(second.out_features) * direction)


@contextmanager
def single_thread() -> Iterator[None]:
    """Compute with one thread: the order of sums, and with it their rounding, depends on the number of threads."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


@single_thread()
def assemble_checkpoint(
    gguf: Path, tower_weights: Path, settings: AssemblySettings, output: Path
) -> PooledLlava:
    """Write a checkpoint, independent of the number of CPUs, and return its float32 model.

    `tower_weights` is EfficientNet-Lite0's state dictionary. The folder `output` contains model (safetensors),
    tokenizer, processor and chat template.
    """
    language_model, tokenizer = load_language_model(gguf, settings.layers)
    tower = load_vision_tower(tower_weights, settings.vision_strides, settings.column_share > 0)
    tokenizer.add_special_tokens({"additional_special_tokens": [IMAGE_TOKEN]})
    tokenizer.pad_token = tokenizer.unk_token  # not the end token, which has to be trained
    known = min(language_model.config.vocab_size, len(tokenizer) - 1)
    language_model.resize_token_embeddings(len(tokenizer), mean_resizing=False)
    # Rows of <image>, which is never looked up, and of other new tokens, which were never trained.
    with torch.no_grad():
        embeddings = language_model.get_input_embeddings().weight
        embeddings[known:] = embeddings[:known].mean(0)
    processor = make_processor(tokenizer, tower.config)

    config = PooledLlavaConfig(
        vision_config=tower.config,
        text_config=language_model.config,
        image_token_index=processor.image_token_id,
        image_seq_length=IMAGE_SIDE**2,
        vision_feature_layer=-1,
        vision_feature_select_strategy="full",
    )
    config.pad_token_id = tokenizer.pad_token_id
    model = PooledLlava(config)
    model.model.language_model.load_state_dict(language_model.model.state_dict())
    model.model.vision_tower.load_state_dict(tower.state_dict())
    model.tie_weights()
    pixels = processor.image_processor(random_plots(32, settings.seed), return_tensors="pt")["pixel_values"]
    with torch.inference_mode():
        features = model.model.vision_tower(pixels).last_hidden_state
    scale = language_model.get_input_embeddings().weight.detach().pow(2).mean().sqrt().item()
    initialise_projector(
        model.model.multi_modal_projector,
        features.flatten(0, 1).clone(),
        scale,
        settings.seed,
        columns=tower.config.columns if tower.config.column_codes else 0,
        column_share=settings.column_share,
    )
    # A path would be wrong on other machines.
    model.config.text_config._name_or_path = ""
    model.generation_config.eos_token_id = tokenizer.eos_token_id
    model.generation_config.pad_token_id = tokenizer.pad_token_id
    model.save_pretrained(output)
    processor.save_pretrained(output)
    return model
