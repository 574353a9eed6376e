"""Checkpoints of random weights of many kinds of vision-language models, in the files that their repositories have."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
import transformers
from tiny_llava import CORPUS
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
from transformers import AutoModelForImageTextToText, PreTrainedTokenizerFast

from vlmtsc.representation.processor import NoVideos

WIDTH = 32
TEXT = {
    "hidden_size": WIDTH,
    "intermediate_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 8,
    "max_position_embeddings": 4096,
    "initializer_range": 0.15,
}
VISION = {
    "hidden_size": 16,
    "intermediate_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "image_size": 28,
    "patch_size": 14,
}
QWEN_VISION = {
    "depth": 2,
    "hidden_size": 16,
    "intermediate_size": 32,
    "num_heads": 2,
    "out_hidden_size": WIDTH,
}
ROPE = {"rope_type": "default", "rope_theta": 1e4, "mrope_section": [1, 1, 2]}

IMAGES_FIRST = (
    "{% for part in message['content'] if part['type'] == 'image' %}IMAGE{% endfor %}"
    "{% for part in message['content'] if part['type'] == 'text' %}{{ part['text'] }}{% endfor %}"
)
IN_ORDER = (
    "{% for part in message['content'] %}{% if part['type'] == 'image' %}IMAGE"
    "{% else %}{{ part['text'] }}{% endif %}{% endfor %}"
)
IM_START = (
    "{% for message in messages %}{% if loop.first and message['role'] != 'system' %}SYSTEM{% endif %}"
    "<|im_start|>{{ message['role'] }}\n" + IN_ORDER + "<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\nTHINK{% endif %}"
)
DEFAULT_SYSTEM = "<|im_start|>system\nYou are a helpful assistant.<|im_end|>\n"


def im_start(image: str, system: str = "", think: str = "") -> str:
    """Return the template of Qwen and its relatives."""
    return IM_START.replace("IMAGE", image).replace("SYSTEM", system).replace("THINK", think)


#: As in the repositories of SmolVLM and Idefics3.
SMOLVLM = (
    "<|im_start|>{% for message in messages %}{{ message['role'] | capitalize }}"
    "{% if message['content'][0]['type'] == 'image' %}:{% else %}: {% endif %}"
    + IN_ORDER.replace("IMAGE", "<image>")
    + "<end_of_utterance>\n{% endfor %}{% if add_generation_prompt %}Assistant:{% endif %}"
)
GEMMA = (
    "{{ bos_token }}{% for message in messages %}"
    "<start_of_turn>{{ 'model' if message['role'] == 'assistant' else message['role'] }}\n"
    + IN_ORDER.replace("IMAGE", "<start_of_image>").replace("part['text']", "part['text'] | trim")
    + "<end_of_turn>\n{% endfor %}{% if add_generation_prompt %}<start_of_turn>model\n{% endif %}"
)
MISTRAL = (
    "{{ bos_token }}{% for message in messages %}{% if message['role'] == 'user' %}[INST]"
    + IN_ORDER.replace("IMAGE", "[IMG]")
    + "[/INST]{% elif message['role'] == 'system' %}[SYSTEM_PROMPT]"
    + IN_ORDER.replace("IMAGE", "")
    + "[/SYSTEM_PROMPT]{% else %}"
    + IN_ORDER.replace("IMAGE", "")
    + "{{ eos_token }}{% endif %}{% endfor %}"
)
LLAVA = (
    "{% for message in messages %}{% if message['role'] != 'system' %}{{ message['role'].upper() + ': ' }}{% endif %}"
    + IMAGES_FIRST.replace("IMAGE", "<image>\n")
    + "{{ ' ' if message['role'] != 'assistant' else eos_token }}{% endfor %}"
    "{% if add_generation_prompt %}{{ 'ASSISTANT:' }}{% endif %}"
)


@dataclass(frozen=True)
class Family:
    """One kind of model.

    Attributes
    ----------
    config : callable
        Makes the configuration from the tokens' ids and the size of the vocabulary.
    processor : str
        Class of transformers.
    images : str
        Class of its image processor.
    image_options, options : mapping
        Arguments of image processor and processor.
    tokens : sequence of str
        Special tokens besides ``<pad>`` and ``</s>``.
    names : mapping
        Tokens that the tokenizer has as attributes.
    template : str or None
    bos : str or None
        Token that the tokenizer puts first.
    end : str
    """

    config: Callable[[Mapping[str, int], int], Any]
    processor: str
    images: str
    image_options: Mapping[str, Any] = field(default_factory=dict)
    options: Mapping[str, Any] = field(default_factory=dict)
    tokens: Sequence[str] = ("<image>",)
    names: Mapping[str, str] = field(default_factory=dict)
    template: str | None = None
    bos: str | None = None
    end: str = "</s>"


def tokenizer_of(family: Family) -> PreTrainedTokenizerFast:
    """Byte-level BPE with the special tokens of a family."""
    special = list(dict.fromkeys(["<pad>", "</s>", *([family.bos] if family.bos else []), *family.tokens]))
    core = Tokenizer(models.BPE())
    core.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    core.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=300 + len(special),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        special_tokens=special,
        show_progress=False,
    )
    core.train_from_iterator(CORPUS, trainer)
    if family.bos:
        begin = [(family.bos, core.token_to_id(family.bos))]
        core.post_processor = processors.TemplateProcessing(
            single=f"{family.bos} $A", pair=f"{family.bos} $A $B:1", special_tokens=begin
        )
    return PreTrainedTokenizerFast(
        tokenizer_object=core,
        bos_token=family.bos,
        eos_token=family.end,
        pad_token="<pad>",
        additional_special_tokens=list(family.tokens),
        extra_special_tokens=dict(family.names),
        padding_side="left",
    )


def text_of(kind: str, tokens: Mapping[str, int], size: int, **options: Any) -> dict[str, Any]:
    """Return the settings of a language model."""
    end = {"pad_token_id": tokens["<pad>"], "eos_token_id": tokens["</s>"], "bos_token_id": tokens["</s>"]}
    return {"model_type": kind, **TEXT, "vocab_size": size, **end, **options}


def composed(kind: str, vision: str, text: str, image: str = "<image>", **options: Any) -> Callable:
    """Return the function that makes a configuration of one vision and one language model."""

    def make(tokens: Mapping[str, int], size: int) -> Any:
        changes = {key: tokens.get(value, value) for key, value in options.items() if isinstance(value, str)}
        text_options = {"rope_parameters": ROPE} if kind.startswith("qwen") else {}
        text_options |= {"sliding_window": 16, "sliding_window_pattern": 2} if text == "gemma3_text" else {}
        vision_settings = dict(QWEN_VISION if kind.startswith("qwen") else VISION, model_type=vision)
        vision_settings |= options.get("vision_options", {})
        by_index = kind.startswith("llava") or kind in ("mistral3", "gemma3", "paligemma")
        return transformers.AutoConfig.for_model(
            kind,
            vision_config=vision_settings,
            text_config=text_of(text, tokens, size, **text_options),
            **{"image_token_index" if by_index else "image_token_id": tokens[image]},
            tie_word_embeddings=False,
            **({key: value for key, value in options.items() if key != "vision_options"} | changes),
        )

    return make


QWEN_TOKENS = (
    "<|im_start|>",
    "<|im_end|>",
    "<|vision_start|>",
    "<|vision_end|>",
    "<|image_pad|>",
    "<|video_pad|>",
)
QWEN_IMAGE = "<|vision_start|><|image_pad|><|vision_end|>"
SMOL_TOKENS = (
    "<|im_start|>",
    "<fake_token_around_image>",
    "<image>",
    "<end_of_utterance>",
    "<global-img>",
    *(f"<row_{row}_col_{column}>" for row in range(1, 7) for column in range(1, 7)),
)
SMALL = {"height": 28, "width": 28}
SMALL_CLIP = {"size": {"shortest_edge": 28}, "crop_size": SMALL}
TILES = {"size": {"longest_edge": 56}, "max_image_size": {"longest_edge": 28}}
QWEN_IDS = {
    "video_token_id": "<|video_pad|>",
    "vision_start_token_id": "<|vision_start|>",
    "vision_end_token_id": "<|vision_end|>",
}

FAMILIES: dict[str, Family] = {
    "llava": Family(
        composed("llava", "clip_vision_model", "llama"),
        "LlavaProcessor",
        "CLIPImageProcessorPil",
        SMALL_CLIP,
        {"patch_size": 14, "vision_feature_select_strategy": "default", "num_additional_image_tokens": 1},
        template=LLAVA,
    ),
    "llava_next": Family(
        composed("llava_next", "clip_vision_model", "mistral", image_grid_pinpoints=[[28, 56], [56, 28]]),
        "LlavaNextProcessor",
        "LlavaNextImageProcessorPil",
        SMALL_CLIP | {"image_grid_pinpoints": [[28, 56], [56, 28]]},
        {"patch_size": 14, "vision_feature_select_strategy": "default", "num_additional_image_tokens": 1},
        tokens=("<s>", "[INST]", "[/INST]", "[SYSTEM_PROMPT]", "[/SYSTEM_PROMPT]", "<image>"),
        template=MISTRAL.replace("[IMG]", "<image>\n"),
        bos="<s>",
    ),
    "llava_onevision": Family(
        composed(
            "llava_onevision",
            "siglip_vision_model",
            "qwen2",
            image_grid_pinpoints=[[28, 56], [56, 28]],
            video_token_index="<video>",
        ),
        "LlavaOnevisionProcessor",
        "LlavaOnevisionImageProcessorPil",
        {"size": SMALL, "image_grid_pinpoints": [[28, 56], [56, 28]]},
        {"num_image_tokens": 4, "vision_feature_select_strategy": "full"},
        tokens=("<|im_start|>", "<|im_end|>", "<image>", "<video>"),
        template=im_start("<image>\n"),
        end="<|im_end|>",
    ),
    "qwen2_5_vl": Family(
        composed(
            "qwen2_5_vl",
            "qwen2_5_vl_vision",
            "qwen2_5_vl_text",
            "<|image_pad|>",
            vision_options={"window_size": 56, "fullatt_block_indexes": [1]},
            **QWEN_IDS,
        ),
        "Qwen2_5_VLProcessor",
        "Qwen2VLImageProcessorPil",
        tokens=QWEN_TOKENS,
        template=im_start(QWEN_IMAGE, DEFAULT_SYSTEM),
        end="<|im_end|>",
    ),
    "qwen3_vl": Family(
        composed(
            "qwen3_vl",
            "qwen3_vl_vision",
            "qwen3_vl_text",
            "<|image_pad|>",
            vision_options={"deepstack_visual_indexes": [0], "num_position_embeddings": 16},
            **QWEN_IDS,
        ),
        "Qwen3VLProcessor",
        "Qwen2VLImageProcessorPil",
        {"patch_size": 16},
        tokens=(*QWEN_TOKENS, "<think>", "</think>"),
        template=im_start(QWEN_IMAGE, think="<think>\n"),
        end="<|im_end|>",
    ),
    "smolvlm": Family(
        composed("smolvlm", "smolvlm_vision", "llama", scale_factor=2),
        "SmolVLMProcessor",
        "SmolVLMImageProcessorPil",
        TILES,
        {"image_seq_len": 1},
        tokens=SMOL_TOKENS,
        template=SMOLVLM,
        end="<end_of_utterance>",
    ),
    "idefics3": Family(
        composed("idefics3", "idefics3_vision", "llama", scale_factor=2),
        "Idefics3Processor",
        "Idefics3ImageProcessorPil",
        TILES | {"do_image_splitting": False},
        {"image_seq_len": 1},
        tokens=SMOL_TOKENS,
        template=SMOLVLM,
        end="<end_of_utterance>",
    ),
    "internvl": Family(
        composed(
            "internvl",
            "internvl_vision",
            "qwen2",
            "<IMG_CONTEXT>",
            vision_options={"image_size": [28, 28], "patch_size": [14, 14]},
            image_seq_length=1,
        ),
        "InternVLProcessor",
        "GotOcr2ImageProcessorPil",
        {"size": SMALL, "crop_to_patches": True},
        {"image_seq_length": 1},
        tokens=("<|im_start|>", "<|im_end|>", "<img>", "</img>", "<IMG_CONTEXT>", "<video>"),
        names={
            "start_image_token": "<img>",
            "end_image_token": "</img>",
            "context_image_token": "<IMG_CONTEXT>",
            "video_token": "<video>",
        },
        template=im_start("<IMG_CONTEXT>\n"),
        end="<|im_end|>",
    ),
    "gemma3": Family(
        composed(
            "gemma3",
            "siglip_vision_model",
            "gemma3_text",
            "<image_soft_token>",
            mm_tokens_per_image=4,
            boi_token_index="<start_of_image>",
            eoi_token_index="<end_of_image>",
        ),
        "Gemma3Processor",
        "Gemma3ImageProcessorPil",
        {"size": SMALL},
        {"image_seq_length": 4},
        tokens=(
            "<bos>",
            "<start_of_turn>",
            "<end_of_turn>",
            "<start_of_image>",
            "<end_of_image>",
            "<image_soft_token>",
        ),
        names={
            "image_token": "<image_soft_token>",
            "boi_token": "<start_of_image>",
            "eoi_token": "<end_of_image>",
        },
        template=GEMMA,
        bos="<bos>",
    ),
    "paligemma": Family(
        composed(
            "paligemma",
            "siglip_vision_model",
            "gemma",
            vision_options={"projection_dim": WIDTH},
            projection_dim=WIDTH,
        ),
        "PaliGemmaProcessor",
        "SiglipImageProcessorPil",
        {"size": SMALL, "image_seq_length": 4},
        tokens=("<bos>", "<image>"),
        bos="<bos>",
    ),
    "mistral3": Family(
        composed(
            "mistral3", "pixtral", "mistral", "[IMG]", vision_options={"head_dim": 8}, spatial_merge_size=2
        ),
        "PixtralProcessor",
        "PixtralImageProcessorPil",
        {"size": {"longest_edge": 56}, "patch_size": 14},
        {"patch_size": 14, "spatial_merge_size": 2},
        tokens=(
            "<s>",
            "[INST]",
            "[/INST]",
            "[SYSTEM_PROMPT]",
            "[/SYSTEM_PROMPT]",
            "[IMG]",
            "[IMG_BREAK]",
            "[IMG_END]",
        ),
        template=MISTRAL,
        bos="<s>",
    ),
}


def write_family(name: str, folder: Path, seed: int = 0) -> Path:
    """Write a checkpoint folder of a family: weights large enough that every input has a visible effect."""
    family = FAMILIES[name]
    tokenizer = tokenizer_of(family)
    images = getattr(transformers, family.images)(**family.image_options)
    kind = getattr(transformers, family.processor)
    parts = {"image_processor": images, "tokenizer": tokenizer, "video_processor": NoVideos()}
    needed = {part: parts[part] for part in kind.get_attributes()}
    processor = kind(**needed, **family.options, chat_template=family.template)
    vocabulary = {
        token: tokenizer.convert_tokens_to_ids(token) for token in ("<pad>", "</s>", *family.tokens)
    }
    config = family.config(vocabulary, len(tokenizer))
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = AutoModelForImageTextToText.from_config(config)
        with torch.no_grad():
            for parameter_name, parameter in model.named_parameters():
                if (
                    parameter.ndim > 1
                    and "language_model" not in parameter_name
                    and "text_model" not in parameter_name
                ):
                    parameter.normal_(0, 0.3)
    model.save_pretrained(folder)
    processor.save_pretrained(folder)
    return folder
