"""What runs cost: operations counted from an adapter, utilisation, and the tables of both."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from conftest import ROOT
from safetensors.numpy import save_file

from vlmtsc.errors import InputError
from vlmtsc.reporting.costs import (
    GPU_MEMORY,
    NO_PEAK,
    adapter_flops,
    costs_table,
    job_seconds,
    peak_rate,
    run_costs,
    training_flops,
)
from vlmtsc.reporting.runs import COSTS, RUN_COLUMNS, runs_table

LAYER = "base_model.model.model.language_model.layers.0.mlp.up_proj"
H100 = "NVIDIA H100 80GB HBM3"


def write_adapter(folder: Path, **shapes: tuple[int, ...]) -> Path:
    """Write an adapter of one layer with these matrices, and a projector, which does not count."""
    folder.mkdir(exist_ok=True)
    tensors = {f"{LAYER}.{name}.weight": np.zeros(shape, dtype=np.float32) for name, shape in shapes.items()}
    tensors["base_model.model.model.multi_modal_projector.linear_1.weight"] = np.zeros((7, 7), np.float32)
    save_file(tensors, folder / "adapter_model.safetensors")
    return folder


def record(gpus: list[str], threads: int = 2, processes: int = 1, precision: str = "bf16") -> dict[str, Any]:
    """Give a run record of 1,000 tokens in 10 seconds."""
    return {
        "wall_seconds": 10.0,
        "train_tokens": 1000,
        "processes": processes,
        "hardware": {"processor": "EPYC", "threads": threads, "gpus": gpus},
        "settings": {"precision": precision},
    }


def test_operations_are_counted_from_the_shapes_of_an_adapter(tmp_path: Path) -> None:
    # 5 outputs, 3 inputs, rank 2: 15 frozen weights, 2 * (5 + 3) trained ones.
    adapter = write_adapter(tmp_path / "adapter", lora_A=(2, 3), lora_B=(5, 2))
    assert adapter_flops(adapter) == training_flops(15, 16) == 4 * 15 + 6 * 16
    assert adapter_flops(tmp_path / "removed") is None
    with pytest.raises(InputError, match=r"up_proj has LoRA matrix A; allowed: both A and B"):
        adapter_flops(write_adapter(tmp_path / "half", lora_A=(2, 3)))
    file = adapter / "adapter_model.safetensors"
    file.write_bytes(file.read_bytes()[:20])
    with pytest.raises(InputError, match=r"adapter_model.safetensors: not an adapter"):
        adapter_flops(adapter)


def test_all_adapted_layers_are_counted(tiny_checkpoint: Path, tmp_path: Path) -> None:
    from vlmtsc.configuration import load_configuration_files
    from vlmtsc.model.adapter import add_adapter, save_adapter
    from vlmtsc.model.checkpoint import load_checkpoint

    base = load_checkpoint(tiny_checkpoint, precision="fp32", attention="eager", context_length=64)
    model = add_adapter(base, load_configuration_files([], ROOT).finetune_settings("embedded", 0))
    save_adapter(model, tmp_path / "adapter", base="tiny")
    layers = [layer for layer in model.modules() if getattr(layer, "lora_A", None)]
    frozen = sum(layer.get_base_layer().weight.numel() for layer in layers)
    trained = sum(
        w.numel() for layer in layers for w in (*layer.lora_A.parameters(), *layer.lora_B.parameters())
    )
    assert adapter_flops(tmp_path / "adapter") == 4 * frozen + 6 * trained > 0


def test_costs_of_a_processor_have_a_rate_and_no_utilisation() -> None:
    costs = run_costs(record([], threads=2), flops_per_token=50, evaluation_seconds=3.0)
    assert list(costs) == COSTS
    assert costs["device"] == "EPYC, 2 threads"
    assert costs["cpu_hours"] == pytest.approx(20 / 3600)
    assert (costs["gpu_hours"], costs["flops_utilisation"]) == (0, None)
    assert costs["flops_per_second"] == pytest.approx(50 * 1000 / 10)
    assert costs["compute_seconds"] == pytest.approx(2 * (10 + 3))


@pytest.mark.parametrize(
    ("gpus", "processes", "count"),
    [
        ([H100], 1, 1),
        ([H100, H100], 2, 2),
        ([H100] * 4, 8, 8),
    ],  # one; two of a node; four on each of two nodes
)
def test_utilisation_is_of_all_gpus(gpus: list[str], processes: int, count: int) -> None:
    costs = run_costs(record(gpus, processes=processes), 10**12, 3.0)
    assert costs["gpu_hours"] == pytest.approx(10 * count / 3600)
    assert costs["cpu_hours"] == pytest.approx(10 * 2 * processes / 3600)
    assert costs["compute_seconds"] == pytest.approx(10 * count + 3)
    assert costs["flops_utilisation"] == pytest.approx(1e14 / (989e12 * count))
    assert costs["device"] == f"{count} x {H100}"


def test_what_is_not_known_stays_empty() -> None:
    for changed in (record(["Some GPU"]), record([H100], precision="fp32")):
        assert run_costs(changed, 10**12, 3.0)["flops_utilisation"] is None
    without = run_costs(record([H100]), None, None)
    assert [without[name] for name in ("flops_per_second", "flops_utilisation", "compute_seconds")] == [
        None
    ] * 3


@pytest.mark.parametrize(
    ("name", "rate"),
    [
        (H100, 989e12),
        ("NVIDIA H100 PCIe", 756e12),
        ("NVIDIA H100 NVL", 835e12),
        ("NVIDIA H200", 989e12),
        ("NVIDIA H200 NVL", 835e12),
        ("NVIDIA A100-SXM4-80GB", 312e12),
        ("NVIDIA A10", 125e12),
        ("NVIDIA L4", 121e12),
        ("NVIDIA L40S", 362e12),
        ("NVIDIA GeForce RTX 4090", 165e12),
        ("NVIDIA L40", None),
    ],
)
def test_peaks_are_found_by_whole_words(name: str, rate: float | None) -> None:
    assert peak_rate(name, "bf16") == rate
    assert peak_rate(name, "fp32") is None


def test_seconds_of_a_job_come_from_its_benchmark_if_there_is_one(tmp_path: Path) -> None:
    benchmark = tmp_path / "seed-0.tsv"
    assert job_seconds(benchmark) is None
    benchmark.write_text("s\th:m:s\tmax_rss\n12.5\t0:00:12\tNA\n")
    assert job_seconds(benchmark) == 12.5
    benchmark.write_text("s\th:m:s\nNA\tNA\n")
    with pytest.raises(InputError, match=r"seed-0.tsv: no seconds in it"):
        job_seconds(benchmark)


def finished_run(
    scenario: str, seed: int, shared_with: str | None = None, gpu: bool = False
) -> dict[str, Any]:
    """Give a finished run of 10 (seed 0) or 20 minutes."""
    minutes = 10 * (seed + 1)
    costs = run_costs(
        record([H100] if gpu else [], threads=1)
        | {"wall_seconds": 60.0 * minutes, "peak_gpu_memory_mb": 40960.0 if gpu else None},
        10**9,
        30.0,
    )
    return dict.fromkeys(RUN_COLUMNS) | {
        "model": "m",
        "dataset": "d",
        "protocol": "pooled",
        "scenario": scenario,
        "seed": seed,
        "status": "done",
        "wall_seconds": 60.0 * minutes,
        "train_tokens": 1000 * minutes,
        "tokens_per_second": 16.7,
        "samples_per_second": 0.25,
        "peak_memory_mb": 2048.0,
        "shared_with": shared_with,
        **costs,
    }


def test_the_table_shows_means_of_seeds_and_adds_up_what_was_spent() -> None:
    runs = [
        finished_run("plot", 0),
        finished_run("plot", 1),
        finished_run("numbers", 0, "m/d/pooled/plot/seed-0"),
    ]
    lacking = dict.fromkeys(RUN_COLUMNS) | {"model": "m", "dataset": "d", "protocol": "pooled", "seed": 1}
    table = costs_table(runs_table([*runs, lacking | {"scenario": "numbers", "status": "not run"}]))
    plot, numbers = table.cells.to_dict("records")
    assert (plot["seeds"], plot["minutes"], plot["CPU hours"]) == ("2", "15", "0.25")
    assert (plot["memory (GiB)"], plot["training tokens"], plot["evaluation (s)"]) == ("2", "15k", "30")
    assert (numbers["seeds"], numbers["minutes"], numbers["FLOP/token"]) == ("1", "10", "1G")
    # What two runs share was spent once.
    assert (
        "In total: 2 fine-tunings, 30 minutes, 0.5 CPU hours, 30k training tokens, on EPYC, 1 thread."
        in table.note
    )
    assert NO_PEAK in table.note
    assert not {"utilisation %", "GPU hours", "GPU memory (GiB)"} & set(table.cells)
    assert "| d         | plot" in table.to_markdown()


def test_the_table_of_gpus_has_their_hours_and_utilisation() -> None:
    table = costs_table(runs_table([finished_run("plot", 0, gpu=True)]))
    row = table.cells.iloc[0]
    rate = 10**9 * 1000 / 600  # of `record`: 1,000 tokens
    assert (row["GPU hours"], row["GPU memory (GiB)"]) == ("0.167", "40")
    assert GPU_MEMORY in table.note
    assert float(row["utilisation %"]) == pytest.approx(100 * rate / 989e12, rel=0.01)
    assert costs_table(runs_table([])).cells.empty
    assert "No run is finished." in costs_table(runs_table([])).to_markdown()
    assert pd.isna(runs_table([dict.fromkeys(RUN_COLUMNS)])["flops_per_token"][0])
