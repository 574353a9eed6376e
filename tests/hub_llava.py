"""A small LLaVA of random weights with the architecture and the files of the repositories llava-hf/llava-1.5-*."""

from __future__ import annotations

import re
from pathlib import Path

import torch
from safetensors.torch import save_file
from tokenizers import (
    AddedToken,
    Tokenizer,
    decoders,
    models,
    normalizers,
    pre_tokenizers,
    processors,
    trainers,
)
from transformers import CLIPVisionConfig, LlamaConfig, LlavaConfig, LlavaForConditionalGeneration

from vlmtsc.files import write_json

#: 24x24 patches of 14 pixels, as CLIP ViT-L/14 at 336 pixels has them.
IMAGE_TOKENS = 576
#: Spare rows of the embeddings beyond the tokenizer's last token.
SPARE_ROWS = 64
CORPUS = [
    "A chat between a curious user and an artificial intelligence assistant. The assistant gives helpful, "
    "detailed, and polite answers to the user's questions. USER: ASSISTANT:",
    "Which class is the following signal from? Class: TimeSeries data: mean std_dev Dimension",
]


def sentencepiece_style_tokenizer() -> Tokenizer:
    """Llama's tokenizer in small: blanks as metaspaces, one before each text, unknown characters as bytes."""
    special = ["<unk>", "<s>", "</s>"]
    core = Tokenizer(models.BPE(unk_token="<unk>", byte_fallback=True, fuse_unk=True))
    # Pieces do not reach over blanks and hold one digit each, as Llama's own vocabulary has them.
    core.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Metaspace(prepend_scheme="first"),
            pre_tokenizers.Digits(individual_digits=True),
        ]
    )
    characters = sorted({chr(code) for code in range(33, 127)} | {"▁"})
    size = len(special) + 256 + len(characters) + 60
    trainer = trainers.BpeTrainer(
        vocab_size=size,
        initial_alphabet=characters,
        special_tokens=[*special, *(f"<0x{byte:02X}>" for byte in range(256))],
        show_progress=False,
    )
    core.train_from_iterator(CORPUS, trainer)
    return llama_tokenizer(core.model)


def llama_tokenizer(model: models.BPE) -> Tokenizer:
    """Return the tokenizer of LLaVA 1.5 for a vocabulary."""
    core = Tokenizer(model)
    core.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    core.decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    )
    core.post_processor = processors.TemplateProcessing(
        single="<s> $A", pair="<s> $A <s> $B", special_tokens=[("<s>", core.token_to_id("<s>"))]
    )
    core.add_special_tokens([AddedToken("<image>", special=True), AddedToken("<pad>", special=True)])
    return core


def write_hub_checkpoint(folder: Path, *, image_size: int = 336, seed: int = 0) -> Path:
    """Write a folder as `download_model` leaves it: half precision, two shards, parameters under their old names."""
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer = sentencepiece_style_tokenizer()
    image, padding = tokenizer.token_to_id("<image>"), tokenizer.token_to_id("<pad>")
    rows = tokenizer.get_vocab_size() + SPARE_ROWS
    vision = {
        "hidden_size": 32,
        "intermediate_size": 64,
        "num_hidden_layers": 3,
        "num_attention_heads": 2,
        "image_size": image_size,
        "patch_size": 14,
        "projection_dim": 16,
        "vocab_size": 32000,
    }
    text = {
        "hidden_size": 32,
        "intermediate_size": 64,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 4,
        "max_position_embeddings": 4096,
        "rms_norm_eps": 1e-5,
        "vocab_size": rows,
        "initializer_range": 0.15,
    }
    config = LlavaConfig(
        vision_config=CLIPVisionConfig(**vision, initializer_factor=4.0),
        text_config=LlamaConfig(**text),
        image_token_index=image,
        vision_feature_layer=-2,
        vision_feature_select_strategy="default",
    )
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = LlavaForConditionalGeneration(config)
        with torch.no_grad():
            for name, parameter in model.named_parameters():
                if "projector" in name or ("vision" in name and parameter.ndim > 1):
                    parameter.normal_(0, 0.4)
    write_shards(folder, model)
    write_json(
        folder / "config.json",
        {
            "architectures": ["LlavaForConditionalGeneration"],
            "ignore_index": -100,
            "image_token_index": image,
            "model_type": "llava",
            "pad_token_id": padding,
            "projector_hidden_act": "gelu",
            "text_config": {"model_type": "llama", "torch_dtype": "float16", **text},
            "tie_word_embeddings": False,
            "torch_dtype": "float16",
            "vision_config": {"model_type": "clip_vision_model", **vision},
            "vision_feature_layer": -2,
            "vision_feature_select_strategy": "default",
        },
    )
    write_json(
        folder / "generation_config.json", {"bos_token_id": 1, "eos_token_id": 2, "pad_token_id": padding}
    )
    write_processor_files(folder, tokenizer, image_size)
    return folder


def old_name(name: str) -> str:
    """Return a parameter's name in files that transformers wrote before version 5."""
    name = re.sub(r"^lm_head\.", "language_model.lm_head.", name)
    name = re.sub(r"^model\.language_model\.", "language_model.model.", name)
    name = re.sub(r"^model\.vision_tower\.(?!vision_model)", "vision_tower.vision_model.", name)
    return re.sub(r"^model\.", "", name)


def write_shards(folder: Path, model: LlavaForConditionalGeneration) -> None:
    state = {old_name(name): tensor.half().contiguous() for name, tensor in model.state_dict().items()}
    names = sorted(state)
    shards = {
        "model-00001-of-00002.safetensors": names[: len(names) // 2],
        "model-00002-of-00002.safetensors": names[len(names) // 2 :],
    }
    for file, members in shards.items():
        save_file({name: state[name] for name in members}, folder / file, metadata={"format": "pt"})
    size = sum(tensor.numel() * 2 for tensor in state.values())
    index = {
        "metadata": {"total_size": size},
        "weight_map": {name: file for file, members in shards.items() for name in members},
    }
    write_json(folder / "model.safetensors.index.json", index)


def write_processor_files(folder: Path, tokenizer: Tokenizer, image_size: int) -> None:
    tokenizer.save(str(folder / "tokenizer.json"))
    write_json(
        folder / "tokenizer_config.json",
        {
            "add_bos_token": True,
            "add_eos_token": False,
            "bos_token": "<s>",
            "eos_token": "</s>",
            "unk_token": "<unk>",
            "pad_token": "<pad>",
            "legacy": False,
            "padding_side": "left",
            "processor_class": "LlavaProcessor",
            "tokenizer_class": "LlamaTokenizer",
        },
    )
    write_json(
        folder / "preprocessor_config.json",
        {
            "crop_size": {"height": image_size, "width": image_size},
            "do_center_crop": True,
            "do_convert_rgb": True,
            "do_normalize": True,
            "do_rescale": True,
            "do_resize": True,
            "image_mean": [0.48145466, 0.4578275, 0.40821073],
            "image_processor_type": "CLIPImageProcessor",
            "image_std": [0.26862954, 0.26130258, 0.27577711],
            "processor_class": "LlavaProcessor",
            "resample": 3,
            "rescale_factor": 0.00392156862745098,
            "size": {"shortest_edge": image_size},
        },
    )
    write_json(
        folder / "processor_config.json",
        {
            "image_token": "<image>",
            "num_additional_image_tokens": 1,
            "patch_size": 14,
            "processor_class": "LlavaProcessor",
            "vision_feature_select_strategy": "default",
        },
    )
